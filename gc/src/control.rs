//! Looking at a run from outside, and ending it.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use futures_util::future::{self, Either};
use futures_util::task::AtomicWaker;
use serde::{Deserialize, Serialize};

use crate::report::Tally;

/// A handle on one run, for whoever wants to watch or cancel it; clones belong to the same run.
#[derive(Debug, Clone, Default)]
pub struct Control {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    cancelled: AtomicBool,
    /// Wakes the run, so that it needs no clock to notice.
    waker: AtomicWaker,
    progress: Mutex<Progress>,
}

/// What a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Fixes the cutoff.
    #[default]
    Starting,
    /// Reads the indexes.
    Mark,
    /// Lists, judges and removes.
    Sweep,
    /// Reads the indexes again, for those that refer to chunks that were not listed.
    FindMissing,
    /// Has ended.
    Ended,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Progress {
    /// What it does.
    pub phase: Phase,
    /// Indexes or shards done in this phase.
    pub done: u64,
    /// Indexes or shards of this phase.
    pub total: u64,
    /// References read so far.
    pub references: u64,
    /// Files or objects listed so far.
    pub listed: u64,
    /// Chunks removed so far (those that would be removed, in a dry run).
    pub removed: Tally,
    /// Time since the phase began, when something was last done.
    pub elapsed: Duration,
    #[serde(skip)]
    phase_started_at: Duration,
}

impl Progress {
    /// Returns indexes or shards a second in this phase; 0 at its start.
    pub fn rate(&self) -> f64 {
        per_second(self.done, self.elapsed)
    }

    /// Returns an estimate of the time that this phase still takes; `None` at its start.
    pub fn remaining(&self) -> Option<Duration> {
        let rate = self.rate();
        let left = self.total.saturating_sub(self.done) as f64;
        (rate > 0.0).then(|| Duration::try_from_secs_f64(left / rate).unwrap_or(Duration::MAX))
    }
}

/// Returns `count` for each second of `elapsed`; 0 if no time has passed.
pub(crate) fn per_second(count: u64, elapsed: Duration) -> f64 {
    let seconds = elapsed.as_secs_f64();
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

impl Control {
    /// Makes a handle for a run that has not begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the run to end as soon as it can; it then reports what it has done.
    pub fn cancel(&self) {
        self.shared.cancelled.store(true, Ordering::Relaxed);
        self.shared.waker.wake();
    }

    /// Completes when [`cancel`](Self::cancel) is called; for the one run that this handle belongs to.
    pub(crate) async fn cancelled(&self) {
        poll_fn(|context| {
            // Before the look, so that no call in between is missed.
            self.shared.waker.register(context.waker());
            if self.is_cancelled() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Waits for `work`, which is dropped once [`cancel`](Self::cancel) is called; `None` then.
    ///
    /// For the run itself and for what it awaits, such as [`References::tidy`](crate::References::tidy): one task waits for
    /// one cancellation.
    pub async fn unless_cancelled<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        match future::select(pin!(self.cancelled()), pin!(work)).await {
            Either::Left(_) => None,
            Either::Right((done, _)) => Some(done),
        }
    }

    /// Returns whether [`cancel`](Self::cancel) was called.
    pub fn is_cancelled(&self) -> bool {
        self.shared.cancelled.load(Ordering::Relaxed)
    }

    /// Returns how far the run is.
    pub fn progress(&self) -> Progress {
        *self.lock()
    }

    pub(crate) fn begin_phase(&self, phase: Phase, total: u64, now: Duration) {
        let mut progress = self.lock();
        progress.phase = phase;
        progress.done = 0;
        progress.total = total;
        progress.elapsed = Duration::ZERO;
        progress.phase_started_at = now;
    }

    pub(crate) fn note_done(&self, now: Duration) {
        let mut progress = self.lock();
        progress.done += 1;
        progress.elapsed = now.saturating_sub(progress.phase_started_at);
    }

    pub(crate) fn note_references(&self, count: u64) {
        self.lock().references += count;
    }

    pub(crate) fn note_listed(&self, count: u64) {
        self.lock().listed += count;
    }

    pub(crate) fn note_removed(&self, removed: Tally) {
        self.lock().removed.merge(removed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.shared.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_remaining_time_follow_the_work_done() {
        let control = Control::new();
        control.begin_phase(Phase::Sweep, 10, Duration::from_secs(100));
        assert_eq!((control.progress().rate(), control.progress().remaining()), (0.0, None));
        control.note_done(Duration::from_secs(101));
        control.note_done(Duration::from_secs(104));
        let progress = control.progress();
        assert_eq!((progress.phase, progress.done, progress.total), (Phase::Sweep, 2, 10));
        assert_eq!((progress.rate(), progress.remaining()), (0.5, Some(Duration::from_secs(16))));
    }

    #[test]
    fn a_clone_cancels_the_same_run() {
        let control = Control::new();
        control.clone().cancel();
        assert!(control.is_cancelled());
    }
}
