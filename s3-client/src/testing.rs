//! For tests of what uses this crate: a clock whose time passes when the test says so, or at once for short waits.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use crate::clock::Clock;

/// Manual time. Waits shorter than a bound (see [`TestClock::skipping`]) end at once and move the clock on.
#[derive(Debug)]
pub struct TestClock {
    state: Arc<Mutex<State>>,
    skipped_below: Duration,
}

#[derive(Debug, Default)]
struct State {
    elapsed: Duration,
    waits: Vec<Duration>,
    sleepers: BTreeMap<u64, (Duration, Option<Waker>)>,
    next_id: u64,
}

struct Sleep {
    state: Arc<Mutex<State>>,
    id: u64,
}

impl TestClock {
    /// 2023-11-14T22:13:20Z.
    pub const START: Duration = Duration::from_secs(1_700_000_000);

    /// Starts at [`TestClock::START`].
    pub fn new() -> TestClock {
        TestClock { state: Arc::default(), skipped_below: Duration::ZERO }
    }

    /// Ends each wait shorter than `bound` at once: pauses between attempts pass, deadlines do not.
    pub fn skipping(bound: Duration) -> TestClock {
        TestClock { skipped_below: bound, ..TestClock::new() }
    }

    /// Lets time pass and wakes who waited for it.
    pub fn advance(&self, by: Duration) {
        let mut state = lock(&self.state);
        state.elapsed += by;
        let elapsed = state.elapsed;
        let due = state.sleepers.values_mut().filter(|(until, _)| *until <= elapsed);
        let wakers: Vec<_> = due.filter_map(|(_, waker)| waker.take()).collect();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Every wait that was skipped, in order.
    pub fn skipped(&self) -> Vec<Duration> {
        lock(&self.state).waits.clone()
    }
}

impl Default for TestClock {
    fn default() -> TestClock {
        TestClock::new()
    }
}

impl Clock for TestClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Self::START + self.monotonic()
    }

    fn monotonic(&self) -> Duration {
        lock(&self.state).elapsed
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        if duration < self.skipped_below {
            lock(&self.state).waits.push(duration);
            self.advance(duration);
            return Box::pin(std::future::ready(()));
        }
        let mut state = lock(&self.state);
        let (id, until) = (state.next_id, state.elapsed + duration);
        state.next_id += 1;
        state.sleepers.insert(id, (until, None));
        drop(state);
        Box::pin(Sleep { state: self.state.clone(), id })
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.state);
        let elapsed = state.elapsed;
        let Some((until, waker)) = state.sleepers.get_mut(&self.id) else { return Poll::Ready(()) };
        if *until <= elapsed {
            return Poll::Ready(());
        }
        *waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        lock(&self.state).sleepers.remove(&self.id);
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
