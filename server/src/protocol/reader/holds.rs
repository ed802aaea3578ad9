//! Chunks that wait for the client of a session to take them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How many chunks wait, and since when the client has taken none of them.
#[derive(Debug, Default)]
pub(super) struct Holds {
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    count: usize,
    since: Option<Instant>,
}

/// One chunk; it waits until this is dropped.
#[derive(Debug)]
pub(super) struct Hold {
    holds: Arc<Holds>,
}

impl Holds {
    /// Notes that a chunk waits from now on.
    pub(super) fn begin(self: &Arc<Self>) -> Hold {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.count += 1;
        waiting.since.get_or_insert_with(Instant::now);
        Hold { holds: Arc::clone(self) }
    }

    /// Returns for how long chunks have waited and none was taken; `None` if none waits.
    pub(super) fn idle_for(&self) -> Option<Duration> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.since.map(|since| since.elapsed())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut waiting = self.holds.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.count -= 1;
        waiting.since = (waiting.count > 0).then(Instant::now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_counts_from_the_last_chunk_that_was_taken() {
        let holds = Arc::<Holds>::default();
        assert_eq!(holds.idle_for(), None);
        let first = holds.begin();
        tokio::time::advance(Duration::from_secs(5)).await;
        let second = holds.begin();
        assert_eq!(holds.idle_for(), Some(Duration::from_secs(5)));
        drop(first);
        assert_eq!(holds.idle_for(), Some(Duration::ZERO));
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(holds.idle_for(), Some(Duration::from_secs(3)));
        drop(second);
        assert_eq!(holds.idle_for(), None);
    }
}
