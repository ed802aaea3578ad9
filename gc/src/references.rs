//! The references that keep chunks, as the collector sees them.

use std::error::Error;
use std::fmt::Display;
use std::future::Future;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use coldkeep_chunk_store::{Digest, DigestSetBuilder, StoreTime};
use serde::{Deserialize, Serialize};

use crate::control::Control;
use crate::missing::Findings;
use crate::report::FAILURES_MAX;

/// The indexes of a store: what refers to chunks.
pub trait References: Send + Sync {
    /// Names one index; the text is what the report shows. Two are equal if they are the same index, whatever its content.
    type Index: Clone + Ord + Display + Send + Sync;
    /// What can go wrong.
    type Error: Error + Send + Sync + 'static;

    /// Lists every index there is, with or without a manifest beside it, in any order.
    ///
    /// # Errors
    /// Anything that may hide an index, such as a folder that cannot be read or a link in its place. The run ends (I6).
    /// An index that a manifest names and that is not there is none: what it named is lost with it, and verification
    /// reports it.
    ///
    /// # Cancel safety
    /// Dropped when the run is cancelled.
    fn list(&self) -> impl Future<Output = Result<Vec<Self::Index>, Self::Error>> + Send;

    /// Returns whether an index was found where none is expected. It counts all the same, and the report names it.
    fn is_unexpected(&self, _index: &Self::Index) -> bool {
        false
    }

    /// Removes indexes that no snapshot will ever have, left by sessions that ended without a commit (R10, I5). Called once
    /// a run, after its cutoff is fixed and before the first [`list`](Self::list).
    ///
    /// In a dry run it removes nothing, and `list` leaves out from then on what it would have removed. What cannot be
    /// removed is told in the answer, and counts as before. When in doubt, what changed since `cutoff` stays. When `control`
    /// says that the run was cancelled, it ends soon: [`Control::unless_cancelled`] waits for what has no harm in being dropped.
    fn tidy(
        &self,
        _cutoff: StoreTime,
        _dry_run: bool,
        _control: &Control,
    ) -> impl Future<Output = Tidied> + Send {
        async { Tidied::default() }
    }

    /// Reads one index and pushes all its digests into `sink`, in slices of some hundred or thousand.
    ///
    /// Answers [`Outcome::Gone`] only if the index is no longer there *and* its whole snapshot is gone; the collector asks
    /// [`list`](Self::list) again whether that is so. When [`Sink::push`] answers `Break` the rest need not be read.
    ///
    /// # Errors
    /// Anything that keeps a digest from being read. The run ends (I6).
    ///
    /// # Cancel safety
    /// Dropped when the run is cancelled; what it still pushes then counts for nothing.
    fn read(
        &self,
        index: &Self::Index,
        sink: Sink,
    ) -> impl Future<Output = Result<Outcome, Self::Error>> + Send;
}

/// What [`References::tidy`] came to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Tidied {
    /// Unfinished snapshots that were removed.
    pub removed: u64,
    /// Unfinished snapshots that stay for now: a session works on them, or a request for them may still take effect.
    pub in_use: u64,
    /// What kept others from being removed: the first, at most [`FAILURES_MAX`].
    pub failures: Vec<String>,
    /// Failures beyond those named.
    pub failures_unnamed: u64,
}

impl Tidied {
    /// Adds a failure, by name or by number: of a bucket that refuses everything there could be very many.
    pub fn note_failure(&mut self, failure: String) {
        if self.failures.len() < FAILURES_MAX {
            self.failures.push(failure);
        } else {
            self.failures_unnamed += 1;
        }
    }
}

/// How the reading of an index ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All of it was read.
    Read {
        /// Digests that the index states to hold; the collector compares it with what it got (I6).
        references: u64,
        /// Bytes of the archive that the index describes.
        data_bytes: u64,
    },
    /// Its snapshot was removed in the meantime.
    Gone,
}

/// Takes the digests of one index.
///
/// Owned, so that it can move to a thread that does the reading.
#[derive(Debug)]
pub struct Sink {
    purpose: Purpose,
    passed: Arc<AtomicU64>,
    control: Control,
}

/// The set that a mark fills; `None` once the mark has ended, however it did. All readers fill it at once.
pub(crate) type Marking = Arc<RwLock<Option<DigestSetBuilder>>>;

#[derive(Debug, Clone)]
pub(crate) enum Purpose {
    Mark(Marking),
    FindMissing(Arc<Findings>),
}

impl Sink {
    pub(crate) fn new(purpose: Purpose, control: &Control) -> (Self, Passed) {
        let passed = Arc::new(AtomicU64::new(0));
        (Self { purpose, passed: passed.clone(), control: control.clone() }, Passed(passed))
    }

    /// Takes some digests; `Break` says that the run has ended or was cancelled, so that reading on is of no use.
    ///
    /// Each call has a cost of its own: push slices of some hundred or thousand digests, at best as they come from the file.
    pub fn push(&mut self, digests: &[Digest]) -> ControlFlow<()> {
        if self.control.is_cancelled() {
            return ControlFlow::Break(());
        }
        match &self.purpose {
            Purpose::Mark(set) => {
                let set = set.read().unwrap_or_else(PoisonError::into_inner);
                let Some(set) = set.as_ref() else { return ControlFlow::Break(()) };
                set.insert_all(digests);
                self.control.note_references(digests.len() as u64);
            }
            Purpose::FindMissing(findings) => findings.look_at(digests),
        }
        self.passed.fetch_add(digests.len() as u64, Ordering::Relaxed);
        ControlFlow::Continue(())
    }
}

/// How many digests a sink was given.
pub(crate) struct Passed(Arc<AtomicU64>);

impl Passed {
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_beyond_the_bound_are_counted() {
        let mut tidied = Tidied::default();
        for number in 0..FAILURES_MAX + 5 {
            tidied.note_failure(number.to_string());
        }
        assert_eq!((tidied.failures.len(), tidied.failures_unnamed), (FAILURES_MAX, 5));
        assert_eq!(tidied.failures[0], "0");
    }
}
