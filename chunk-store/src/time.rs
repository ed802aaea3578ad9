//! The store clock and its sources (R12).

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::switch::is_off;

/// An instant of the store clock: nanoseconds since the Unix epoch.
///
/// Reaches from 1677 to 2262; arithmetic saturates at these ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreTime(i64);

const NANOS_PER_SECOND: i64 = 1_000_000_000;

impl StoreTime {
    /// The Unix epoch.
    pub const EPOCH: Self = Self(0);

    /// Makes an instant of nanoseconds since the Unix epoch.
    pub const fn from_unix_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Makes an instant of seconds and nanoseconds (below one second) since the Unix epoch, as in `struct timespec`.
    pub const fn from_unix(seconds: i64, nanos: u32) -> Self {
        Self(seconds.saturating_mul(NANOS_PER_SECOND).saturating_add(nanos as i64))
    }

    /// Returns nanoseconds since the Unix epoch.
    pub const fn unix_nanos(self) -> i64 {
        self.0
    }

    /// Returns whole seconds since the Unix epoch, rounded down.
    pub const fn unix_seconds(self) -> i64 {
        self.0.div_euclid(NANOS_PER_SECOND)
    }

    /// Returns the nanoseconds within the second of [`Self::unix_seconds`].
    pub const fn subsec_nanos(self) -> u32 {
        self.0.rem_euclid(NANOS_PER_SECOND) as u32
    }

    /// Returns the instant `duration` earlier.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(duration)))
    }

    /// Returns the instant `duration` later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }

    /// Returns the time from `earlier` to this instant; zero if `earlier` is the later one.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0).max(0).unsigned_abs())
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// A source of time: the machine's, or a simulated one.
pub trait Clock: Send + Sync + 'static {
    /// Returns the wall clock, which may step either way at any moment.
    fn wall(&self) -> StoreTime;

    /// Returns the time since some fixed start; never runs backwards.
    fn monotonic(&self) -> Duration;

    /// Waits until `duration` has passed on the monotonic clock.
    fn sleep(&self, duration: Duration) -> Sleep;
}

/// A wait; see [`Clock::sleep`].
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The machine's clocks.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// Starts the monotonic clock at zero.
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's wall clock")]
    fn wall(&self) -> StoreTime {
        let now = SystemTime::now();
        match now.duration_since(UNIX_EPOCH) {
            Ok(since) => StoreTime::EPOCH.plus(since),
            Err(before) => StoreTime::EPOCH.minus(before.duration()),
        }
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// The clock of one store: never runs backwards and always advances (R12).
///
/// Its value is `max(wall clock, last value + monotonic time elapsed)`, so that neither a wall clock that steps back
/// nor a restart with a wrong date lets a chunk's last use appear older than it is (hazard H13).
pub struct StoreClock {
    source: Arc<dyn Clock>,
    last: Mutex<Reading>,
}

#[derive(Debug, Clone, Copy)]
struct Reading {
    value: StoreTime,
    monotonic: Duration,
}

impl StoreClock {
    /// Starts a clock that never shows a time at or before `floor`, the value saved when the store was last open.
    pub fn new(source: Arc<dyn Clock>, floor: StoreTime) -> Self {
        let monotonic = source.monotonic();
        Self { source, last: Mutex::new(Reading { value: floor, monotonic }) }
    }

    /// Returns the time; each call gives a later instant than the one before.
    pub fn now(&self) -> StoreTime {
        if is_off("r12") {
            return self.source.wall();
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let monotonic = self.source.monotonic();
        let carried = last.value.plus(monotonic.saturating_sub(last.monotonic)).plus(Duration::from_nanos(1));
        let value = self.source.wall().max(carried);
        *last = Reading { value, monotonic };
        value
    }

    /// Returns the source's monotonic time, for deadlines that must not depend on dates.
    pub fn monotonic(&self) -> Duration {
        self.source.monotonic()
    }

    /// Waits until `duration` has passed on the source's monotonic clock.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        self.source.sleep(duration)
    }
}

impl std::fmt::Debug for StoreClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreClock").field("last", &self.last).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::ManualClock;

    #[test]
    fn seconds_and_nanos_survive_the_round_trip_before_and_after_1970() {
        for (seconds, nanos) in [(0, 0), (1_700_000_000, 5), (-1, 999_999_999), (-5, 1)] {
            let time = StoreTime::from_unix(seconds, nanos);
            assert_eq!((time.unix_seconds(), time.subsec_nanos()), (seconds, nanos));
        }
    }

    #[test]
    fn a_wall_clock_that_steps_back_does_not_turn_the_store_clock_back() {
        let source = Arc::new(ManualClock::at(StoreTime::from_unix(1000, 0)));
        let clock = StoreClock::new(source.clone(), StoreTime::EPOCH);
        let before = clock.now();
        source.advance(Duration::from_secs(10));
        source.step_wall(StoreTime::from_unix(500, 0));
        assert!(clock.now() >= before.plus(Duration::from_secs(10)));
    }

    #[test]
    fn every_reading_is_later_than_the_one_before() {
        let source = Arc::new(ManualClock::at(StoreTime::from_unix(1000, 0)));
        let clock = StoreClock::new(source, StoreTime::EPOCH);
        assert!(clock.now() < clock.now());
    }

    #[test]
    fn a_clock_starts_after_its_floor() {
        let floor = StoreTime::from_unix(5000, 0);
        let clock = StoreClock::new(Arc::new(ManualClock::at(StoreTime::from_unix(1000, 0))), floor);
        assert!(clock.now() > floor);
    }
}
