//! Chunks that wait for the client of a session to take them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Since when each chunk waits.
#[derive(Debug, Default)]
pub(super) struct Holds {
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    since: BTreeMap<u64, Instant>,
}

/// One chunk; it waits until this is dropped.
#[derive(Debug)]
pub(super) struct Hold {
    holds: Arc<Holds>,
    number: u64,
}

impl Holds {
    /// Notes that a chunk waits from now on.
    pub(super) fn begin(self: &Arc<Self>) -> Hold {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let number = waiting.next;
        waiting.next += 1;
        waiting.since.insert(number, Instant::now());
        Hold { holds: Arc::clone(self), number }
    }

    /// Returns for how long the chunk has waited that has waited longest.
    pub(super) fn oldest(&self) -> Option<Duration> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.since.first_key_value().map(|(_, since)| since.elapsed())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.holds.waiting.lock().unwrap_or_else(PoisonError::into_inner).since.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_oldest_is_the_one_that_nobody_took() {
        let holds = Arc::<Holds>::default();
        assert_eq!(holds.oldest(), None);
        let first = holds.begin();
        tokio::time::advance(Duration::from_secs(5)).await;
        let second = holds.begin();
        assert_eq!(holds.oldest(), Some(Duration::from_secs(5)));
        drop(first);
        assert_eq!(holds.oldest(), Some(Duration::ZERO));
        drop(second);
        assert_eq!(holds.oldest(), None);
    }
}
