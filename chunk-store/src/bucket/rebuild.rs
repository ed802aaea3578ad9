//! Rebuilding the local state from the bucket (R10).

use super::BucketStore;
use crate::backend::ObjectBackend;
use crate::dir::MarkerDir;
use crate::store::StoreError;

/// What a rebuild is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RebuildPhase {
    /// Waiting until requests of earlier owners have expired.
    Waiting,
    /// Listing the chunks.
    Listing,
    /// The markers stand; the caller restores what is its own and then calls `finish_rebuild`.
    Metadata,
}

/// How far a rebuild is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RebuildProgress {
    /// What it is doing.
    pub phase: RebuildPhase,
    /// Seconds waited, or prefixes listed.
    pub done: u64,
    /// Of how many.
    pub total: u64,
    /// Chunks found so far.
    pub chunks: u64,
}

/// Whether a rebuild is under way.
#[derive(Debug, Default)]
pub(super) struct RebuildState {
    is_unfinished: std::sync::atomic::AtomicBool,
}

impl<D: MarkerDir, B: ObjectBackend> BucketStore<D, B> {
    /// Returns whether the store waits for [`Self::finish_rebuild`].
    pub fn is_rebuilding(&self) -> bool {
        self.rebuild.is_unfinished.load(std::sync::atomic::Ordering::Acquire)
    }

    /// Ends a rebuild: what the caller keeps beside the chunks is restored, durably.
    pub async fn finish_rebuild(&self) -> Result<(), StoreError> {
        todo!()
    }
}
