//! When jobs run (spec `calendar.md` §1).

mod fields;
mod next;
mod parse;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use fields::{Days, Field, Years};
use jiff::Timestamp;
use jiff::tz::TimeZone;
pub use parse::CalendarError;

/// Longest text of an event, in bytes.
const TEXT_BYTES_MAX: usize = 512;

/// Points in time that come again, as `mon..fri 02:30`, `*-1,15 4:00` or `hourly`; shown as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalendarEvent {
    text: String,
    is_utc: bool,
    days: Days,
    years: Years,
    months: Field,
    days_of_month: Field,
    hours: Field,
    minutes: Field,
    seconds: Field,
}

impl CalendarEvent {
    /// Returns the first of its times that is later than `after`; none if there is none up to the year 2199. Its fields are those
    /// of local time in `zone`, unless it says `UTC`.
    ///
    /// A local time that a change of the clocks leaves out does not come that day. One that comes twice is taken the second
    /// time, as stock servers do, but for events of every hour: they go on as if the clock had not been changed.
    pub fn next_after(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let utc = TimeZone::UTC;
        next::next_after(self, after, if self.is_utc { &utc } else { zone })
    }
}

impl fmt::Display for CalendarEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for CalendarEvent {
    type Err = CalendarError;

    fn from_str(text: &str) -> Result<Self, CalendarError> {
        parse::parse(text)
    }
}
