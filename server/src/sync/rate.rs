//! A bound on bytes a second.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Lets so many bytes pass a second; whoever passes more waits until the average is kept.
#[derive(Debug)]
pub(super) struct RateLimit {
    bytes_per_second: Option<u64>,
    /// When everything that passed so far will have had its time.
    free_at: Mutex<Instant>,
}

impl RateLimit {
    /// None lets everything pass at once.
    pub(super) fn new(bytes_per_second: Option<u64>) -> Self {
        Self {
            bytes_per_second: bytes_per_second.filter(|rate| *rate > 0),
            free_at: Mutex::new(Instant::now()),
        }
    }

    /// Waits until these bytes have had their time.
    ///
    /// # Cancel safety
    /// Dropping the future leaves their time taken.
    pub(super) async fn pass(&self, bytes: usize) {
        let Some(rate) = self.bytes_per_second else { return };
        let takes = Duration::from_secs_f64(bytes as f64 / rate as f64);
        let free_at = {
            let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
            *free_at = (*free_at).max(Instant::now()) + takes;
            *free_at
        };
        tokio::time::sleep_until(free_at).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_take_their_time_whoever_sends_them() {
        let limit = RateLimit::new(Some(1000));
        let begun = Instant::now();
        tokio::join!(limit.pass(500), limit.pass(1500));
        assert_eq!(begun.elapsed(), Duration::from_secs(2));
        // A pause is not saved up.
        tokio::time::sleep(Duration::from_mins(1)).await;
        let begun = Instant::now();
        limit.pass(1000).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_nothing_waits() {
        let begun = Instant::now();
        RateLimit::new(None).pass(usize::MAX).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
