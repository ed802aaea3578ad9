//! The clock of a server under test.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use jiff::tz::TimeZone;

/// The clock of [`MemoryS3`](crate::MemoryS3): the system's until a test sets it, then still until the test moves it.
///
/// Clones share the time.
#[derive(Clone, Debug, Default)]
pub struct TestClock {
    /// `None` follows the system.
    fixed: Arc<Mutex<Option<SystemTime>>>,
}

impl TestClock {
    /// A clock that follows the system until it is set.
    pub fn system() -> TestClock {
        TestClock::default()
    }

    /// A clock that stands at `now`.
    pub fn at(now: SystemTime) -> TestClock {
        let clock = TestClock::default();
        clock.set(now);
        clock
    }

    /// Stops the clock at `now`.
    pub fn set(&self, now: SystemTime) {
        *self.fixed.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// Moves the clock by `step` and stops it there.
    pub fn advance(&self, step: Duration) {
        let mut fixed = self.fixed.lock().unwrap_or_else(PoisonError::into_inner);
        *fixed = Some(fixed.unwrap_or_else(SystemTime::now) + step);
    }

    /// The time it shows.
    pub fn now(&self) -> SystemTime {
        self.fixed.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or_else(SystemTime::now)
    }

    /// Whether it follows the system.
    pub(crate) fn follows_system(&self) -> bool {
        self.fixed.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, section 5.6.7).
pub(crate) fn http_date(time: SystemTime) -> String {
    DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&timestamp(time))
        .expect("invariant: test clocks show years of 4 digits")
}

/// `2009-10-12T17:50:30.000Z`, as in S3's XML.
pub(crate) fn xml_date(time: SystemTime) -> String {
    timestamp(time).strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// Reads `20130524T000000Z`, the form of `X-Amz-Date`.
pub(crate) fn parse_amz_date(text: &str) -> Option<SystemTime> {
    let civil = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp().into())
}

fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: Duration = Duration::from_hours(15_849 * 24);

    #[test]
    fn dates_have_the_forms_of_the_s3_reference() {
        let time = SystemTime::UNIX_EPOCH + EXAMPLE;
        assert_eq!(parse_amz_date("20130524T000000Z"), Some(time));
        assert_eq!(parse_amz_date("2013-05-24"), None);
        assert_eq!(http_date(time), "Fri, 24 May 2013 00:00:00 GMT");
        assert_eq!(xml_date(time), "2013-05-24T00:00:00.000Z");
    }

    #[test]
    fn a_set_clock_stands_still_and_is_shared() {
        let clock = TestClock::system();
        let same = clock.clone();
        same.set(SystemTime::UNIX_EPOCH);
        same.advance(Duration::from_secs(2));
        assert_eq!(clock.now(), SystemTime::UNIX_EPOCH + Duration::from_secs(2));
    }
}
