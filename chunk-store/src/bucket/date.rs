//! The backend's clock, as far as its answers tell (DESIGN §2, *expiry*).

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::backend::{Answer, BackendError};
use crate::time::{StoreClock, StoreTime};

/// What the dates of answers say. Only they end limbo; no local clock does (R9, hazard H30).
#[derive(Debug, Default)]
pub(super) struct BackendClock {
    latest: Mutex<Option<(StoreTime, Duration)>>,
}

impl BackendClock {
    /// Notes the date of an answer that came just now.
    pub(super) fn note(&self, date: StoreTime, clock: &StoreClock) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if latest.is_none_or(|(noted, _)| noted < date) {
            *latest = Some((date, clock.monotonic()));
        }
    }

    /// Notes the date of a result, whichever it is, and passes it on.
    pub(super) fn noted<T>(
        &self,
        result: Result<Answer<T>, BackendError>,
        clock: &StoreClock,
    ) -> Result<Answer<T>, BackendError> {
        let date = match &result {
            Ok(answer) => Some(answer.date),
            Err(error) => error.date,
        };
        if let Some(date) = date {
            self.note(date, clock);
        }
        result
    }

    /// Returns the latest date of any answer: the backend's clock shows at least that.
    pub(super) fn latest(&self) -> Option<StoreTime> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).map(|(date, _)| date)
    }

    /// Returns what the backend's clock shows now, for signing: the latest date and what has elapsed since. Before any
    /// answer it is the store clock's time.
    pub(super) fn estimate(&self, clock: &StoreClock) -> StoreTime {
        let latest = *self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.map_or_else(
            || clock.now(),
            |(date, noted_at)| date.plus(clock.monotonic().saturating_sub(noted_at)),
        )
    }
}
