//! Notices when a session has not been asked for anything for too long (R18).

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// When a session was last asked for something.
#[derive(Debug)]
pub(crate) struct Activity {
    last_at: Mutex<Instant>,
}

impl Activity {
    pub(crate) fn new() -> Self {
        Self { last_at: Mutex::new(Instant::now()) }
    }

    /// Notes a request.
    pub(crate) fn touch(&self) {
        *self.last_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Waits until there was no request for `limit`.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub(crate) async fn idle_for(&self, limit: Duration) {
        loop {
            let end_at = self.last_at() + limit;
            if end_at <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(end_at).await;
        }
    }

    fn last_at(&self) -> Instant {
        *self.last_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_request_puts_the_end_off() {
        let hour = Duration::from_hours(1);
        let activity = Arc::new(Activity::new());
        let mut idle = Box::pin({
            let activity = Arc::clone(&activity);
            async move { activity.idle_for(hour).await }
        });
        tokio::time::sleep(hour / 2).await;
        activity.touch();
        assert!(tokio::time::timeout(hour * 9 / 10, &mut idle).await.is_err());
        assert!(tokio::time::timeout(hour, &mut idle).await.is_ok());
    }
}
