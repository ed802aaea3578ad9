//! The backend's clock, as far as its answers tell (DESIGN §2, *expiry*).

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::backend::{Answer, BackendError};
use crate::time::{StoreClock, StoreTime};

/// What one date may differ from what was expected before it counts as a clock that was set.
const SET: Duration = Duration::from_mins(1);

/// What the dates of answers say. Only they end limbo; no local clock does (R9, hazard H30).
#[derive(Debug, Default)]
pub(super) struct BackendClock {
    seen: Mutex<Option<Seen>>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    /// What the clock has reached for certain.
    latest: StoreTime,
    reading: Reading,
    /// A date far ahead of that, which no other answer has borne out.
    leap: Option<Reading>,
}

/// What the clock showed, and when that was on the monotonic clock.
#[derive(Debug, Clone, Copy)]
struct Reading {
    date: StoreTime,
    noted_at: Duration,
}

impl Reading {
    /// Returns what the clock shows now if nobody sets it.
    fn carried(self, now: Duration) -> StoreTime {
        self.date.plus(now.saturating_sub(self.noted_at))
    }

    fn agrees(self, date: StoreTime, now: Duration) -> bool {
        let expected = self.carried(now);
        date.since(expected).max(expected.since(date)) <= SET
    }
}

impl Seen {
    fn note(&mut self, date: StoreTime, now: Duration) {
        let expected = self.reading.carried(now);
        if self.reading.agrees(date, now) {
            self.latest = self.latest.max(date);
            // The date of a slow answer is an old one: a clock that was not set has not gone back.
            self.reading = Reading { date: date.max(expected), noted_at: now };
            self.leap = None;
        } else if date < expected {
            // It was set back, so it takes requests for longer than its earlier dates say (hazards H30, H35).
            self.latest = self.latest.min(date);
            self.reading = Reading { date, noted_at: now };
            self.leap = None;
        } else if self.leap.is_some_and(|leap| leap.agrees(date, now)) {
            self.latest = date;
            self.reading = Reading { date, noted_at: now };
            self.leap = None;
        } else {
            // It leapt ahead, or this one answer is wrong: signed by it, a request would outlive every wait of a successor.
            self.leap = Some(Reading { date, noted_at: now });
        }
    }
}

impl BackendClock {
    /// Notes the date of an answer that came just now.
    pub(super) fn note(&self, date: StoreTime, clock: &StoreClock) {
        let now = clock.monotonic();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let first = Seen { latest: date, reading: Reading { date, noted_at: now }, leap: None };
        seen.get_or_insert(first).note(date, now);
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

    /// Returns what the backend's clock has reached: the latest date that another answer bore out, less if the clock was
    /// set back since.
    pub(super) fn latest(&self) -> Option<StoreTime> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).map(|seen| seen.latest)
    }

    /// Returns what the backend's clock shows now, for signing: a date and what has elapsed since. Before any answer it is
    /// the store clock's time.
    pub(super) fn estimate(&self, clock: &StoreClock) -> StoreTime {
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.map_or_else(|| clock.now(), |seen| seen.reading.carried(clock.monotonic()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::testing::ManualClock;

    fn at(seconds: i64) -> StoreTime {
        StoreTime::from_unix(seconds, 0)
    }

    #[test]
    fn signing_follows_the_backends_clock_and_expiry_its_latest_date() {
        let source = Arc::new(ManualClock::at(at(5_000)));
        let clock = StoreClock::new(Arc::clone(&source) as _, StoreTime::EPOCH);
        let backend = BackendClock::default();
        assert!(backend.latest().is_none() && backend.estimate(&clock) >= at(5_000));
        backend.note(at(1_000), &clock);
        source.advance(Duration::from_secs(30));
        assert_eq!((backend.latest(), backend.estimate(&clock)), (Some(at(1_000)), at(1_030)));
        // An answer that was long on its way.
        backend.note(at(1_010), &clock);
        assert_eq!((backend.latest(), backend.estimate(&clock)), (Some(at(1_010)), at(1_030)));
    }

    fn noted(dates: &[i64]) -> (Option<StoreTime>, StoreTime) {
        let clock = StoreClock::new(Arc::new(ManualClock::at(at(5_000))), StoreTime::EPOCH);
        let backend = BackendClock::default();
        for date in dates {
            backend.note(at(*date), &clock);
        }
        (backend.latest(), backend.estimate(&clock))
    }

    #[test]
    fn h30_one_date_that_is_far_ahead_ends_nothing() {
        assert_eq!(noted(&[1_000, 900_000]), (Some(at(1_000)), at(1_000)));
        assert_eq!(noted(&[1_000, 900_000, 500_000]), (Some(at(1_000)), at(1_000)));
        assert_eq!(noted(&[1_000, 900_000, 1_001]), (Some(at(1_001)), at(1_001)));
        assert_eq!(noted(&[1_000, 900_000, 1_001, 900_001]), (Some(at(1_001)), at(1_001)));
    }

    #[test]
    fn h30_a_clock_that_leapt_ahead_counts_once_a_second_answer_says_so() {
        assert_eq!(noted(&[1_000, 9_000, 9_001]), (Some(at(9_001)), at(9_001)));
    }

    #[test]
    fn h30_a_clock_that_was_set_back_takes_back_what_its_earlier_dates_said() {
        assert_eq!(noted(&[9_000, 1_000]), (Some(at(1_000)), at(1_000)));
        assert_eq!(noted(&[9_000, 1_000, 1_001]), (Some(at(1_001)), at(1_001)));
    }
}
