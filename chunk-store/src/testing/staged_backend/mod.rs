//! A backend whose every request the test can stop, lose, delay or falsify.

mod held;
mod rules;
mod run;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
pub use held::{Held, HeldRequest, Late};
pub use rules::{Request, RequestKind, Which};
use tokio::sync::{Notify, mpsc};

use self::rules::{Action, Falsified, KeyTest, Rules};
use super::MemoryBackend;
use crate::backend::Fault;
use crate::time::Clock;

/// A [`MemoryBackend`] whose requests do what the test says: stop before their effect or between effect and reply, lose
/// the reply, take effect late, fail, or return a wrong body. Clones share everything.
///
/// Nothing sleeps: a test waits for events ([`Held::arrived`], [`StagedBackend::requested`]).
#[derive(Clone)]
pub struct StagedBackend {
    inner: MemoryBackend,
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
    logged: Arc<Notify>,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
struct State {
    rules: Rules,
    log: Vec<Request>,
    refusals: Vec<(KeyTest, String)>,
    is_down: bool,
    ignores_conditions: bool,
    ignores_expiry: bool,
    hides_tags: bool,
}

impl StagedBackend {
    /// Makes an empty bucket that dates its answers and judges expiry by `clock`, which need not be the store's.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let state = State {
            rules: Rules::default(),
            log: Vec::new(),
            refusals: Vec::new(),
            is_down: false,
            ignores_conditions: false,
            ignores_expiry: false,
            hides_tags: false,
        };
        let inner = MemoryBackend::new(Arc::clone(&clock));
        Self { inner, clock, state: Arc::new(Mutex::new(state)), logged: Arc::default() }
    }

    /// Returns the bucket, to look into it or to change it behind the store's back.
    pub fn inner(&self) -> &MemoryBackend {
        &self.inner
    }

    /// Holds requests before their effect.
    pub fn hold_before(&self, which: Which) -> Held {
        let (held, requests) = mpsc::unbounded_channel();
        self.lock().rules.add(which, Action::HoldBefore(held));
        Held(requests)
    }

    /// Holds requests between effect and reply.
    pub fn hold_after(&self, which: Which) -> Held {
        let (held, requests) = mpsc::unbounded_channel();
        self.lock().rules.add(which, Action::HoldAfter(held));
        Held(requests)
    }

    /// Has requests fail without effect; `is_unclear` is what their caller is told.
    pub fn fail(&self, which: Which, fault: Fault, is_unclear: bool) {
        self.lock().rules.add(which, Action::Fail { fault, is_unclear });
    }

    /// Has requests take effect and their replies get lost.
    pub fn lose_replies(&self, which: Which) {
        self.lock().rules.add(which, Action::LoseReply);
    }

    /// Has gets return this content in place of the object's, whose tag and date stay.
    pub fn wrong_body(&self, which: Which, content: impl Into<Bytes>) {
        self.lock().rules.add(which, Action::Falsify(Falsified::Body(content.into())));
    }

    /// Has listings end with a page of at most `count` objects, as if these were all.
    pub fn cut_listings(&self, which: Which, count: usize) {
        self.lock().rules.add(which, Action::Falsify(Falsified::Cut(count)));
    }

    /// Refuses to delete the keys that `is_refused` accepts, for this reason; the rest of their batches goes.
    pub fn refuse_deletes(&self, is_refused: impl Fn(&str) -> bool + Send + 'static, reason: &str) {
        self.lock().refusals.push((Box::new(is_refused), reason.to_owned()));
    }

    /// Forgets all rules and refusals. Requests that are held stay so.
    pub fn clear_rules(&self) {
        let mut state = self.lock();
        state.rules.clear();
        state.refusals.clear();
    }

    /// Lets every request fail from now on, writes unclear.
    pub fn down(&self) {
        self.lock().is_down = true;
    }

    /// Ends [`Self::down`].
    pub fn up(&self) {
        self.lock().is_down = false;
    }

    /// Makes it a backend that ignores the conditions of puts, as `rclone serve s3` does: all of them write.
    pub fn ignore_conditions(&self) {
        self.lock().ignores_conditions = true;
    }

    /// Makes it a backend that takes requests after their expiry.
    pub fn ignore_expiry(&self) {
        self.lock().ignores_expiry = true;
    }

    /// Makes it a backend whose tags cannot be told from the content.
    pub fn hide_tags(&self) {
        self.lock().hides_tags = true;
    }

    /// Returns all requests so far, in the order of their arrival.
    pub fn log(&self) -> Vec<Request> {
        self.lock().log.clone()
    }

    /// Returns how many requests of a kind have arrived.
    pub fn requests(&self, kind: RequestKind) -> usize {
        self.lock().log.iter().filter(|request| request.kind == kind).count()
    }

    /// Waits until at least `count` requests of a kind have arrived since the beginning.
    pub async fn requested(&self, kind: RequestKind, count: usize) {
        loop {
            let mut logged = std::pin::pin!(self.logged.notified());
            logged.as_mut().enable();
            if self.requests(kind) >= count {
                return;
            }
            logged.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for StagedBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StagedBackend").field("inner", &self.inner).finish_non_exhaustive()
    }
}
