//! The time of a snapshot.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::NameError;
use super::error::excerpt;

/// Time of a snapshot: whole seconds since the Unix epoch, from 1 to the end of the year 9999.
///
/// Shown as the folder is called, `YYYY-MM-DDTHH:MM:SSZ`; serialized as the number that the protocol uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackupTime(i64);

const SECONDS_PER_DAY: i64 = 86_400;
/// 9999-12-31T23:59:59Z: later years do not fit the folder's name.
const SECONDS_MAX: i64 = 253_402_300_799;

impl BackupTime {
    /// Makes a time of seconds since the Unix epoch.
    ///
    /// # Errors
    /// [`NameError::Time`] below 1 or past the year 9999.
    pub fn from_unix(seconds: i64) -> Result<Self, NameError> {
        if (1..=SECONDS_MAX).contains(&seconds) {
            Ok(Self(seconds))
        } else {
            Err(NameError::Time { text: seconds.to_string() })
        }
    }

    /// Returns seconds since the Unix epoch.
    pub const fn unix_seconds(self) -> i64 {
        self.0
    }
}

impl fmt::Display for BackupTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date_of_days(self.0.div_euclid(SECONDS_PER_DAY));
        let second = self.0.rem_euclid(SECONDS_PER_DAY);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

impl FromStr for BackupTime {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let time = parse(text).and_then(|seconds| Self::from_unix(seconds).ok());
        // Dates such as 31 February compute to another date: only what shows itself as it was written is a time.
        time.filter(|time| time.to_string() == text).ok_or_else(|| NameError::Time { text: excerpt(text) })
    }
}

impl Serialize for BackupTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0)
    }
}

impl<'de> Deserialize<'de> for BackupTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_unix(i64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

fn parse(text: &str) -> Option<i64> {
    if text.len() != 20 || !text.is_ascii() {
        return None;
    }
    let field = |from: usize, to: usize| -> Option<i64> {
        let digits = &text[from..to];
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
    };
    let days = days_of_date(field(0, 4)?, field(5, 7)?, field(8, 10)?);
    Some(days * SECONDS_PER_DAY + field(11, 13)? * 3600 + field(14, 16)? * 60 + field(17, 19)?)
}

/// Days of one 400-year cycle of the Gregorian calendar.
const CYCLE_DAYS: i64 = 146_097;
/// Days from 0000-03-01, where the cycle below starts, to 1970-01-01.
const EPOCH_DAYS: i64 = 719_468;

/// Converts days since 1970-01-01 to year, month and day; years start in March, so that leap days come last.
pub(crate) fn date_of_days(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH_DAYS;
    let cycle = days.div_euclid(CYCLE_DAYS);
    let day_of_cycle = days.rem_euclid(CYCLE_DAYS);
    let year_of_cycle =
        (day_of_cycle - day_of_cycle / 1460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (cycle * 400 + year_of_cycle + i64::from(month <= 2), month, day)
}

/// The inverse of [`date_of_days`]; dates that do not exist give the days of some other date.
fn days_of_date(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let cycle = year.div_euclid(400);
    let year_of_cycle = year.rem_euclid(400);
    let month_from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    cycle * CYCLE_DAYS + year_of_cycle * 365 + year_of_cycle / 4 - year_of_cycle / 100 + day_of_year
        - EPOCH_DAYS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_instants_show_as_published() {
        for (seconds, text) in [
            (1, "1970-01-01T00:00:01Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (SECONDS_MAX, "9999-12-31T23:59:59Z"),
        ] {
            let time = BackupTime::from_unix(seconds).unwrap();
            assert_eq!(time.to_string(), text);
            assert_eq!(text.parse(), Ok(time));
        }
    }

    #[test]
    fn numbers_outside_the_range_are_refused() {
        for seconds in [i64::MIN, -1, 0, SECONDS_MAX + 1, i64::MAX] {
            assert!(BackupTime::from_unix(seconds).is_err(), "{seconds}");
        }
    }

    #[test]
    fn texts_that_are_no_instants_are_refused() {
        for text in [
            "",
            "2023-11-14",
            "2023-02-30T00:00:00Z",
            "2023-11-14T24:00:00Z",
            "2023-11-14 22:13:20Z",
            "2023-11-14T22:13:20+",
            "1970-01-01T00:00:00Z",
            "2023-1é-14T22:13:0Z",
            "+023-11-14T22:13:20Z",
        ] {
            assert!(text.parse::<BackupTime>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_time_parses_as_it_shows(seconds in 1..=SECONDS_MAX) {
            let time = BackupTime::from_unix(seconds).unwrap();
            prop_assert_eq!(time.to_string().parse(), Ok(time));
        }

        #[test]
        fn any_text_gives_a_time_or_an_error(text in ".{0,24}") {
            if let Ok(time) = text.parse::<BackupTime>() {
                prop_assert_eq!(time.to_string(), text);
            }
        }
    }
}
