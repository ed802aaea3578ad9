//! The server's clock, from the dates of its answers.

use std::time::{Duration, SystemTime};

use super::findings::ClockOffset;

/// `Date` is cut to the second (RFC 9110 §5.6.7).
const DATE_UNIT_MILLIS: i64 = 1000;

/// What the answers so far tell of the server's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ServerClock {
    bounds: Option<Bounds>,
}

/// Server's clock minus ours, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bounds {
    /// Where all answers agree.
    common: (i64, i64),
    /// What they span: in force if they do not agree, as when a clock is set, or answers come from a cache.
    all: (i64, i64),
}

impl ServerClock {
    /// Takes note of an answer dated `date` to a request that was under way between two instants of our clock.
    pub(super) fn note(&mut self, (begun_at, ended_at): (SystemTime, SystemTime), date: SystemTime) {
        // Whenever in between the server looked at its clock, that showed the date or up to a second more.
        let low = millis_between(ended_at, date);
        let high = millis_between(begun_at, date) + DATE_UNIT_MILLIS;
        let (low, high) = (low.min(high), high.max(low));
        self.bounds = Some(match self.bounds {
            None => Bounds { common: (low, high), all: (low, high) },
            Some(Bounds { common, all }) => Bounds {
                common: (common.0.max(low), common.1.min(high)),
                all: (all.0.min(low), all.1.max(high)),
            },
        });
    }

    /// Returns the difference of the clocks; `None` before the first date.
    pub(super) fn offset(&self) -> Option<ClockOffset> {
        let (low, high) = self.range()?;
        let (ahead_millis, width) = (low + (high - low) / 2, (high - low).unsigned_abs());
        Some(ClockOffset { ahead_millis, uncertainty_millis: width.div_ceil(2) })
    }

    /// Returns the earliest and the latest that the server's clock can show when ours shows `now`.
    pub(super) fn span(&self, now: SystemTime) -> Option<(SystemTime, SystemTime)> {
        let (low, high) = self.range()?;
        Some((moved(now, low), moved(now, high)))
    }

    fn range(&self) -> Option<(i64, i64)> {
        let Bounds { common, all } = self.bounds?;
        Some(if common.0 <= common.1 { common } else { all })
    }
}

/// Returns `to - from`.
fn millis_between(from: SystemTime, to: SystemTime) -> i64 {
    let millis = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX / 4);
    match to.duration_since(from) {
        Ok(ahead) => millis(ahead),
        Err(behind) => -millis(behind.duration()),
    }
}

fn moved(time: SystemTime, millis: i64) -> SystemTime {
    let span = Duration::from_millis(millis.unsigned_abs());
    let moved = if millis < 0 { time.checked_sub(span) } else { time.checked_add(span) };
    moved.unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) + Duration::from_millis(millis)
    }

    #[test]
    fn answers_narrow_the_offset() {
        let mut clock = ServerClock::default();
        assert_eq!((clock.offset(), clock.span(at(0))), (None, None));
        // The server is 300 ms ahead.
        clock.note((at(100), at(200)), at(0));
        assert_eq!(clock.offset(), Some(ClockOffset { ahead_millis: 350, uncertainty_millis: 550 }));
        clock.note((at(650), at(710)), at(1000) - Duration::from_secs(1));
        clock.note((at(690), at(710)), at(1000));
        let offset = clock.offset().unwrap();
        assert_eq!((offset.ahead_millis, offset.uncertainty_millis), (320, 30));
        let (earliest, latest) = clock.span(at(0)).unwrap();
        assert!(earliest <= at(300) && at(300) <= latest);
    }

    #[test]
    fn clocks_that_jump_widen_it_again() {
        let mut clock = ServerClock::default();
        clock.note((at(0), at(0)), at(0));
        clock.note((at(0), at(0)), at(60_000));
        let (earliest, latest) = clock.span(at(0)).unwrap();
        assert_eq!((earliest, latest), (at(0), at(61_000)));
    }

    #[test]
    fn a_server_behind_has_a_negative_offset() {
        let mut clock = ServerClock::default();
        clock.note((at(10_000), at(10_000)), at(5000));
        assert_eq!(clock.offset().unwrap().ahead_millis, -4500);
    }
}
