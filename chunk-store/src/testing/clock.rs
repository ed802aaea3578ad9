//! A clock that moves only when told to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::time::{Clock, Sleep, StoreTime};

/// A clock that moves only when told to; wall clock and monotonic clock can be moved apart.
#[derive(Debug, Clone)]
pub struct ManualClock {
    state: Arc<Mutex<State>>,
    moved: Arc<Notify>,
}

#[derive(Debug)]
struct State {
    wall: StoreTime,
    monotonic: Duration,
    skips: bool,
    sleepers: usize,
}

impl ManualClock {
    /// Starts with the given wall clock and a monotonic clock of zero.
    pub fn at(wall: StoreTime) -> Self {
        let state = State { wall, monotonic: Duration::ZERO, skips: false, sleepers: 0 };
        Self { state: Arc::new(Mutex::new(state)), moved: Arc::default() }
    }

    /// Starts a clock that skips every wait: a sleep moves both clocks on by its length and ends at once.
    pub fn skipping(wall: StoreTime) -> Self {
        let clock = Self::at(wall);
        clock.lock().skips = true;
        clock
    }

    /// Lets `duration` pass on both clocks.
    pub fn advance(&self, duration: Duration) {
        {
            let mut state = self.lock();
            state.wall = state.wall.plus(duration);
            state.monotonic += duration;
        }
        self.moved.notify_waiters();
    }

    /// Sets the wall clock alone, as a wrong or corrected date does.
    pub fn step_wall(&self, wall: StoreTime) {
        self.lock().wall = wall;
    }

    /// Waits until at least `count` sleeps are under way.
    pub async fn sleeping(&self, count: usize) {
        loop {
            let moved = self.moved.notified();
            let mut moved = std::pin::pin!(moved);
            moved.as_mut().enable();
            if self.lock().sleepers >= count {
                return;
            }
            moved.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sleep under way; counted until it is dropped.
struct Sleeper(ManualClock);

impl Sleeper {
    fn new(clock: ManualClock) -> Self {
        clock.lock().sleepers += 1;
        clock.moved.notify_waiters();
        Self(clock)
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.0.lock().sleepers -= 1;
    }
}

impl Clock for ManualClock {
    fn wall(&self) -> StoreTime {
        self.lock().wall
    }

    fn monotonic(&self) -> Duration {
        self.lock().monotonic
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        let clock = self.clone();
        let (until, skips) = {
            let state = clock.lock();
            (state.monotonic + duration, state.skips)
        };
        Box::pin(async move {
            if skips {
                clock.advance(duration);
                tokio::task::yield_now().await;
                return;
            }
            let sleeper = Sleeper::new(clock);
            let clock = &sleeper.0;
            loop {
                let mut moved = std::pin::pin!(clock.moved.notified());
                moved.as_mut().enable();
                if clock.monotonic() >= until {
                    return;
                }
                moved.await;
            }
        })
    }
}
