//! Bandwidth: bytes of bodies by user and by datastore, in each direction.
//!
//! Whoever passes bytes takes the time that they need from a shared schedule and waits until it has passed, so that all who share a
//! limit take turns, in the order in which they came. No lock is held while somebody waits. Without a limit there is no schedule.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::api::ResponseBody;
use crate::auth::AuthId;
use crate::limits::Bandwidth;

/// Most users, and most datastores, whose schedules are kept while nobody uses them.
const NAMES_MAX: usize = 1024;
/// How far a body may be ahead of its schedule, as a span of time: a burst that hides the clock's grain.
const BURST: Duration = Duration::from_millis(100);

/// The schedules of a server.
#[derive(Debug)]
pub(crate) struct Paces {
    limits: Bandwidth,
    users: Mutex<BTreeMap<String, Pace>>,
    stores: Mutex<BTreeMap<String, Pace>>,
}

/// The schedules that the bodies of one request or session go by. None of them: nothing waits.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    received: Vec<Arc<Schedule>>,
    sent: Vec<Arc<Schedule>>,
}

impl Paces {
    pub(crate) fn new(limits: Bandwidth) -> Self {
        Self { limits, users: Mutex::default(), stores: Mutex::default() }
    }

    /// Returns the schedules of a user (and the user's tokens) on a datastore.
    pub(crate) fn of(&self, who: &AuthId, store: Option<&str>) -> Pace {
        let Bandwidth { user_in, user_out, store_in, store_out } = self.limits;
        let mut pace = Pace::default();
        pace.add(&self.users, who.user(), (user_in, user_out));
        if let Some(store) = store {
            pace.add(&self.stores, store, (store_in, store_out));
        }
        pace
    }
}

impl Pace {
    /// Makes schedules of so many bytes a second; 0 for none.
    fn new(received: u64, sent: u64) -> Self {
        let schedule = |rate: u64| (rate > 0).then(|| Arc::new(Schedule::new(rate))).into_iter().collect();
        Self { received: schedule(received), sent: schedule(sent) }
    }

    /// Adds the schedules of a name, which are made if need be.
    fn add(&mut self, known: &Mutex<BTreeMap<String, Self>>, name: &str, (received, sent): (u64, u64)) {
        if received == 0 && sent == 0 {
            return;
        }
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= NAMES_MAX {
            known.retain(|_, pace| pace.is_shared());
        }
        let pace = known.entry(name.to_owned()).or_insert_with(|| Self::new(received, sent));
        self.received.extend(pace.received.iter().cloned());
        self.sent.extend(pace.sent.iter().cloned());
    }

    fn is_shared(&self) -> bool {
        self.received.iter().chain(&self.sent).any(|schedule| Arc::strong_count(schedule) > 1)
    }

    /// Waits until these bytes of an upload have had their time; returns for how long.
    ///
    /// # Cancel safety
    /// Dropping the future leaves their time taken.
    pub(crate) async fn received(&self, bytes: usize) -> Duration {
        let Some(at) = book(&self.received, bytes) else { return Duration::ZERO };
        let begun = Instant::now();
        tokio::time::sleep_until(at).await;
        begun.elapsed()
    }

    /// Has a body go by the schedules; one that has none stays as it is.
    pub(crate) fn send(&self, body: ResponseBody) -> ResponseBody {
        if self.sent.is_empty() {
            return body;
        }
        PacedBody { body, schedules: self.sent.clone(), held: None }.boxed_unsync()
    }
}

/// When what passes has had its time.
#[derive(Debug)]
pub(crate) struct Schedule {
    bytes_per_second: u64,
    free_at: Mutex<Instant>,
}

impl Schedule {
    /// Lets so many bytes pass a second, at least one.
    pub(crate) fn new(bytes_per_second: u64) -> Self {
        let bytes_per_second = bytes_per_second.max(1);
        Self { bytes_per_second, free_at: Mutex::new(Instant::now()) }
    }

    /// Waits until these bytes have had their time.
    ///
    /// # Cancel safety
    /// Dropping the future leaves their time taken.
    pub(crate) async fn pass(&self, bytes: usize) {
        tokio::time::sleep_until(self.book(bytes, Instant::now())).await;
    }

    /// Takes the time for these bytes; returns when it has passed.
    fn book(&self, bytes: usize, now: Instant) -> Instant {
        let takes = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        // What was not used is not saved up.
        *free_at = (*free_at).max(now) + takes;
        *free_at
    }
}

/// Takes the time for these bytes on all schedules; `None` if there is nothing to wait for.
fn book(schedules: &[Arc<Schedule>], bytes: usize) -> Option<Instant> {
    if schedules.is_empty() {
        return None;
    }
    let now = Instant::now();
    let ends = schedules.iter().map(|schedule| schedule.book(bytes, now));
    ends.max().filter(|end| *end > now + BURST)
}

/// A body whose blocks leave when they have had their time.
struct PacedBody {
    body: ResponseBody,
    schedules: Vec<Arc<Schedule>>,
    held: Option<(Frame<Bytes>, Pin<Box<Sleep>>)>,
}

impl Body for PacedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        if this.held.is_none() {
            let Some(frame) = ready!(Pin::new(&mut this.body).poll_frame(cx)?) else {
                return Poll::Ready(None);
            };
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            match book(&this.schedules, bytes) {
                None => return Poll::Ready(Some(Ok(frame))),
                Some(at) => this.held = Some((frame, Box::pin(tokio::time::sleep_until(at)))),
            }
        }
        if let Some((_, sleep)) = &mut this.held {
            ready!(sleep.as_mut().poll(cx));
        }
        Poll::Ready(this.held.take().map(|(frame, _)| Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.body.size_hint();
        let Some((frame, _)) = &self.held else { return hint };
        let held = frame.data_ref().map_or(0, Bytes::len) as u64;
        let mut whole = SizeHint::new();
        if let Some(upper) = hint.upper() {
            whole.set_upper(upper + held);
        }
        whole.set_lower(hint.lower() + held);
        whole
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    fn limits(user_in: u64, user_out: u64, store_in: u64, store_out: u64) -> Bandwidth {
        Bandwidth { user_in, user_out, store_in, store_out }
    }

    fn id(text: &str) -> AuthId {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_user_and_tokens_share_one_limit_and_other_users_have_theirs() {
        let paces = Paces::new(limits(1000, 0, 0, 0));
        let begun = Instant::now();
        let (user, token) = (paces.of(&id("al@pbs"), None), paces.of(&id("al@pbs!ci"), None));
        let other = paces.of(&id("bo@pbs"), None);
        tokio::join!(user.received(1000), token.received(1000), async {
            other.received(500).await;
            assert_eq!(begun.elapsed().as_millis(), 500);
        });
        assert_eq!(begun.elapsed().as_secs(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_tighter_of_two_limits_counts() {
        let paces = Paces::new(limits(1000, 0, 500, 0));
        let begun = Instant::now();
        paces.of(&id("al@pbs"), Some("tank")).received(1000).await;
        assert_eq!(begun.elapsed().as_secs(), 2);
        // The user's own limit has room, the store's is shared with everybody.
        tokio::join!(async { paces.of(&id("al@pbs"), Some("tank")).received(500).await }, async {
            paces.of(&id("bo@pbs"), Some("tank")).received(500).await
        },);
        assert_eq!(begun.elapsed().as_secs(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_are_sent_whole_in_their_time() {
        let paces = Paces::new(limits(0, 1000, 0, 0));
        let pace = paces.of(&id("al@pbs"), None);
        let body = || Full::new(Bytes::from(vec![7; 1000])).map_err(|never| match never {}).boxed_unsync();
        let begun = Instant::now();
        let paced = pace.send(body());
        assert_eq!(paced.size_hint().exact(), Some(1000));
        assert_eq!(paced.collect().await.unwrap().to_bytes().len(), 1000);
        assert_eq!(begun.elapsed().as_secs(), 1);
        pace.received(1_000_000).await;
        assert_eq!(begun.elapsed().as_secs(), 1, "the other direction has no limit");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_nothing_waits_and_nothing_is_kept() {
        let paces = Paces::new(Bandwidth::default());
        let pace = paces.of(&id("al@pbs"), Some("tank"));
        let begun = Instant::now();
        pace.received(usize::MAX).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        assert!(paces.users.lock().unwrap().is_empty() && paces.stores.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn users_that_nobody_acts_as_are_forgotten() {
        let paces = Paces::new(limits(1000, 0, 0, 0));
        let kept = paces.of(&id("al@pbs"), None);
        for number in 0..2 * NAMES_MAX {
            paces.of(&id(&format!("u{number}@pbs")), None);
        }
        let users = paces.users.lock().unwrap();
        assert!(users.len() <= NAMES_MAX && users.contains_key("al@pbs"), "{}", users.len());
        drop(kept);
    }
}
