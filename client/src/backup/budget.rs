//! A bound on bytes between a blocking producer and asynchronous consumers.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Bytes that may be held at once. The producer, a plain thread, waits for room; whoever drops a [`Share`] makes it.
#[derive(Debug)]
pub(super) struct Budget {
    state: Mutex<State>,
    changed: Condvar,
    limit: usize,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    closed: bool,
}

impl Budget {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), changed: Condvar::new(), limit })
    }

    /// Waits for room and takes it; a piece larger than the whole budget waits until nothing else is held.
    /// `None` once the budget is closed.
    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> Option<Share> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self
            .changed
            .wait_while(state, |state| !state.closed && state.taken > 0 && state.taken + bytes > self.limit)
            .unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return None;
        }
        state.taken += bytes;
        Some(Share { budget: Arc::clone(self), bytes })
    }

    fn give_back(&self, bytes: usize) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).taken -= bytes;
        self.changed.notify_one();
    }
}

/// Closes a budget when dropped, so that a producer never waits for consumers that are gone.
#[derive(Debug)]
pub(super) struct CloseOnDrop(pub(super) Arc<Budget>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.0.changed.notify_all();
    }
}

/// Bytes taken from a budget; given back on drop.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Share {
    /// Gives back what exceeds `bytes`.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        if bytes < self.bytes {
            self.budget.give_back(self.bytes - bytes);
            self.bytes = bytes;
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_budget_waits_for_a_share_to_be_dropped() {
        let budget = Budget::new(10);
        let mut first = budget.take(8).unwrap();
        let other = Arc::clone(&budget);
        let waiting = std::thread::spawn(move || other.take(6).map(|share| share.bytes));
        first.shrink_to(4);
        assert_eq!(waiting.join().unwrap(), Some(6));
        drop(first);
        assert_eq!(budget.state.lock().unwrap().taken, 0);
    }

    #[test]
    fn a_piece_above_the_limit_passes_alone() {
        let budget = Budget::new(10);
        let share = budget.take(16).unwrap();
        drop(share);
        assert!(budget.take(16).is_some());
    }

    #[test]
    fn closing_wakes_the_producer() {
        let budget = Budget::new(10);
        let share = budget.take(10).unwrap();
        let other = Arc::clone(&budget);
        let waiting = std::thread::spawn(move || other.take(1).is_none());
        drop(CloseOnDrop(Arc::clone(&budget)));
        assert!(waiting.join().unwrap());
        drop(share);
    }
}
