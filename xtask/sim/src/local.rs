//! The gate before every call of a local directory: when file operations take effect is the history's choice.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use coldkeep_chunk_store::testing::CallGate;

/// Calls that wait, of all directories of a history.
#[derive(Default)]
pub(crate) struct Calls(Mutex<State>);

#[derive(Default)]
struct State {
    is_shut: bool,
    next_id: u64,
    waiting: BTreeMap<u64, Waiting>,
}

#[derive(Default)]
struct Waiting {
    may_pass: bool,
    waker: Option<Waker>,
}

impl Calls {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has later calls wait.
    pub(crate) fn shut(&self) {
        self.lock().is_shut = true;
    }

    /// Lets later calls pass at once.
    pub(crate) fn open(&self) {
        self.lock().is_shut = false;
    }

    /// Returns the calls that wait, the oldest first.
    pub(crate) fn waiting(&self, into: &mut Vec<u64>) {
        into.clear();
        let state = self.lock();
        into.extend(state.waiting.iter().filter(|(_, waiting)| !waiting.may_pass).map(|(id, _)| *id));
    }

    /// Lets a call take effect.
    pub(crate) fn go_on(&self, id: u64) {
        let waker = {
            let mut state = self.lock();
            let Some(waiting) = state.waiting.get_mut(&id) else { return };
            waiting.may_pass = true;
            waiting.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }
}

/// The gate of one directory.
pub(crate) struct LocalGate(pub(crate) Arc<Calls>);

impl CallGate for LocalGate {
    fn pass(&self, _method: &'static str) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        let mut state = self.0.lock();
        if !state.is_shut {
            return None;
        }
        let id = state.next_id;
        state.next_id += 1;
        state.waiting.insert(id, Waiting::default());
        Some(Box::pin(Pass { calls: Arc::clone(&self.0), id }))
    }
}

/// A call at the gate.
struct Pass {
    calls: Arc<Calls>,
    id: u64,
}

impl Future for Pass {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.calls.lock();
        match state.waiting.get_mut(&self.id) {
            Some(waiting) if !waiting.may_pass => {
                waiting.waker = Some(context.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.calls.lock().waiting.remove(&self.id);
    }
}
