//! A bound on bytes a second.

use crate::pace::Schedule;

/// Lets so many bytes pass a second; whoever passes more waits until the average is kept.
#[derive(Debug)]
pub(super) struct RateLimit(Option<Schedule>);

impl RateLimit {
    /// None lets everything pass at once.
    pub(super) fn new(bytes_per_second: Option<u64>) -> Self {
        Self(bytes_per_second.filter(|rate| *rate > 0).map(Schedule::new))
    }

    /// Waits until these bytes have had their time.
    ///
    /// # Cancel safety
    /// Dropping the future leaves their time taken.
    pub(super) async fn pass(&self, bytes: usize) {
        if let Some(schedule) = &self.0 {
            schedule.pass(bytes).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

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
