//! A token bucket over the client's clock.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::clock::Clock;
use crate::config::ConfigError;

/// Largest piece that a limited body hands out at once: small enough for an even flow, large enough to cost little.
const PACED_PIECE_BYTES: usize = 64 << 10;

/// A rate with the burst that it allows after a pause: requests, or bytes, per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    per_second: u64,
    burst: u64,
}

impl Rate {
    /// Allows `per_second`, and as much at once after a pause.
    ///
    /// # Errors
    /// [`ConfigError::Zero`] for 0, at which nothing would ever be sent.
    pub fn per_second(per_second: u64) -> Result<Rate, ConfigError> {
        if per_second == 0 {
            return Err(ConfigError::Zero { name: "rate per second" });
        }
        Ok(Rate { per_second, burst: per_second })
    }

    /// Sets the burst.
    #[must_use]
    pub fn with_burst(mut self, burst: u64) -> Rate {
        self.burst = burst;
        self
    }

    /// Returns what is allowed per second in the long run.
    pub fn amount_per_second(self) -> u64 {
        self.per_second
    }

    /// Returns what is allowed at once after a pause.
    pub fn burst(self) -> u64 {
        self.burst
    }
}

/// Tokens that come in at a rate, saved up to the burst.
pub(crate) struct Bucket {
    rate: Rate,
    clock: Arc<dyn Clock>,
    /// The instant at which the tokens taken so far have come in.
    paid_at: Mutex<Duration>,
}

impl Bucket {
    pub(crate) fn new(rate: Rate, clock: Arc<dyn Clock>) -> Bucket {
        Bucket { rate, clock, paid_at: Mutex::new(Duration::ZERO) }
    }

    /// Takes `tokens` and returns how long to wait before using them.
    pub(crate) fn take(&self, tokens: u64) -> Duration {
        // Counted from a burst ago, so that a new bucket is full.
        let now = self.clock.monotonic().saturating_add(self.time_of(self.rate.burst));
        let mut paid_at = self.paid_at.lock().unwrap_or_else(PoisonError::into_inner);
        let start = (*paid_at).max(now.saturating_sub(self.time_of(self.rate.burst)));
        *paid_at = start.saturating_add(self.time_of(tokens));
        paid_at.saturating_sub(now)
    }

    /// Waits for `tokens`.
    pub(crate) async fn wait_for(&self, tokens: u64) {
        let wait = self.take(tokens);
        if !wait.is_zero() {
            let taken = Taken { bucket: self, tokens };
            self.clock.sleep(wait).await;
            std::mem::forget(taken);
        }
    }

    /// Takes back what was taken and not used: else who gives up waiting would hold up all who come later.
    fn give_back(&self, tokens: u64) {
        let mut paid_at = self.paid_at.lock().unwrap_or_else(PoisonError::into_inner);
        *paid_at = paid_at.saturating_sub(self.time_of(tokens));
    }

    fn time_of(&self, tokens: u64) -> Duration {
        let nanos = u128::from(tokens) * 1_000_000_000 / u128::from(self.rate.per_second);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("rate", &self.rate).finish_non_exhaustive()
    }
}

/// Tokens taken, but not yet used; given back when dropped.
struct Taken<'a> {
    bucket: &'a Bucket,
    tokens: u64,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.bucket.give_back(self.tokens);
    }
}

type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How long a body has to wait for its bucket, so that deadlines can leave that out. Clones share the sum.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waited(Arc<Mutex<Duration>>);

impl Waited {
    fn add(&self, wait: Duration) {
        let mut sum = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *sum = sum.saturating_add(wait);
    }

    /// Returns the sum and starts over.
    pub(crate) fn take(&self) -> Duration {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One body's use of a bucket.
pub(crate) struct Pace {
    bucket: Arc<Bucket>,
    waited: Waited,
    /// Tokens taken for the piece in hand, and the wait for them.
    waiting: Option<(usize, Sleep)>,
}

impl Pace {
    pub(crate) fn new(bucket: Arc<Bucket>) -> Pace {
        Pace { bucket, waited: Waited::default(), waiting: None }
    }

    /// Returns where the waits of this body add up; without a limit there are none.
    pub(crate) fn waited(pace: Option<&Pace>) -> Waited {
        pace.map(|pace| pace.waited.clone()).unwrap_or_default()
    }

    /// Returns how many of `available` bytes may pass now.
    pub(crate) fn poll_take(&mut self, cx: &mut Context<'_>, available: usize) -> Poll<usize> {
        if self.waiting.is_none() {
            let bytes = available.min(PACED_PIECE_BYTES);
            let wait = self.bucket.take(bytes as u64);
            if wait.is_zero() {
                return Poll::Ready(bytes);
            }
            self.waited.add(wait);
            self.waiting = Some((bytes, self.bucket.clock.sleep(wait)));
        }
        let Some((bytes, sleep)) = &mut self.waiting else { return Poll::Pending };
        let bytes = *bytes;
        match sleep.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                self.waiting = None;
                Poll::Ready(bytes)
            }
        }
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        if let Some((bytes, _)) = self.waiting {
            self.bucket.give_back(bytes as u64);
        }
    }
}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pace").field("bucket", &self.bucket).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestClock;

    fn bucket(per_second: u64, burst: u64) -> (Bucket, Arc<TestClock>) {
        let clock = Arc::new(TestClock::new());
        let rate = Rate::per_second(per_second).unwrap().with_burst(burst);
        (Bucket::new(rate, clock.clone()), clock)
    }

    #[test]
    fn a_burst_passes_and_the_rest_waits() {
        let (bucket, clock) = bucket(10, 5);
        clock.advance(Duration::from_mins(1));
        let waits: Vec<_> = (0..8).map(|_| bucket.take(1).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 100, 200, 300]);
        clock.advance(Duration::from_millis(300));
        assert_eq!(bucket.take(1), Duration::from_millis(100));
    }

    #[test]
    fn a_pause_saves_up_no_more_than_the_burst() {
        let (bucket, clock) = bucket(10, 2);
        clock.advance(Duration::from_hours(1));
        let waits: Vec<_> = (0..4).map(|_| bucket.take(1).as_millis()).collect();
        assert_eq!(waits, [0, 0, 100, 200]);
    }

    #[test]
    fn a_rate_of_nothing_is_refused() {
        assert_eq!(Rate::per_second(0), Err(ConfigError::Zero { name: "rate per second" }));
    }

    #[test]
    fn who_gives_up_waiting_gives_back_what_it_took() {
        let (bucket, clock) = bucket(10, 1);
        clock.advance(Duration::from_secs(1));
        let bucket = Arc::new(bucket);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert_eq!(bucket.take(1), Duration::ZERO);
        for _ in 0..100 {
            assert!(std::pin::pin!(bucket.wait_for(1)).poll(&mut cx).is_pending());
            let mut pace = Pace::new(Arc::clone(&bucket));
            assert!(pace.poll_take(&mut cx, 5).is_pending());
        }
        assert_eq!(bucket.take(1), Duration::from_millis(100));
    }

    #[test]
    fn a_paced_body_hands_out_small_pieces_and_waits() {
        let (bucket, clock) = bucket(64 << 10, 64 << 10);
        clock.advance(Duration::from_secs(1));
        let mut pace = Pace::new(Arc::new(bucket));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert_eq!(pace.poll_take(&mut cx, 1 << 20), Poll::Ready(64 << 10));
        assert_eq!(pace.poll_take(&mut cx, 1 << 20), Poll::Pending);
        clock.advance(Duration::from_secs(1));
        assert_eq!(pace.poll_take(&mut cx, 1 << 20), Poll::Ready(64 << 10));
    }
}
