//! A clock that moves only when told to.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::time::{Clock, StoreTime};

/// A clock that moves only when told to; wall clock and monotonic clock can be moved apart.
#[derive(Debug)]
pub struct ManualClock {
    state: Mutex<(StoreTime, Duration)>,
}

impl ManualClock {
    /// Starts with the given wall clock and a monotonic clock of zero.
    pub fn at(wall: StoreTime) -> Self {
        Self { state: Mutex::new((wall, Duration::ZERO)) }
    }

    /// Lets `duration` pass on both clocks.
    pub fn advance(&self, duration: Duration) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = state.0.plus(duration);
        state.1 += duration;
    }

    /// Sets the wall clock alone, as a wrong or corrected date does.
    pub fn step_wall(&self, wall: StoreTime) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0 = wall;
    }
}

impl Clock for ManualClock {
    fn wall(&self) -> StoreTime {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    fn monotonic(&self) -> Duration {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}
