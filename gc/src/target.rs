//! The store that is swept, as the collector sees it.

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use coldkeep_chunk_store::dir::EntryKind;
use coldkeep_chunk_store::{Digest, StoreTime};

/// A store of chunks that can be swept.
///
/// Implemented for [`ChunkStore`](coldkeep_chunk_store::ChunkStore) and, with the feature `testing`, for a store in memory.
/// The store alone decides what it takes to remove a chunk safely; the collector only says which ones may go.
pub trait SweepTarget: Send + Sync {
    /// A run: holds the cutoff, and keeps other runs out until it is dropped.
    type Run: Send + Sync;
    /// A part of the store that is listed on its own.
    type Shard: Send;
    /// One listed file or object.
    type Entry: Send;
    /// What can go wrong.
    type Error: Error + Send + Sync + 'static;

    /// Returns the time since some fixed start, for durations in the report; never runs backwards.
    fn monotonic(&self) -> Duration;

    /// Begins a run: fixes the cutoff of R13 atomically with the registration of sessions.
    ///
    /// # Errors
    /// Another run is under way, or the store cannot tell when a chunk was last used.
    fn begin_run(
        &self,
        grace: Duration,
        margin: Duration,
    ) -> impl Future<Output = Result<Self::Run, Self::Error>> + Send;

    /// Returns the instants that the run was begun with.
    fn times(run: &Self::Run) -> RunTimes;

    /// Lists the shards that hold anything, together covering the whole store.
    fn shards(&self, run: &Self::Run) -> impl Future<Output = Result<Vec<Self::Shard>, Self::Error>> + Send;

    /// Lists a part of a shard, or all of it.
    ///
    /// # Errors
    /// Anything that keeps an entry from being listed: a listing is complete or it is an error.
    fn list(
        &self,
        run: &Self::Run,
        shard: Self::Shard,
    ) -> impl Future<Output = Result<Page<Self>, Self::Error>> + Send;

    /// Says what the verdict needs to know of an entry.
    fn describe(entry: &Self::Entry) -> Description;

    /// Removes those entries of `batch` that were not used since the cutoff, even after they were listed.
    ///
    /// For each entry, in order: its time of last use is looked at again under lock(d), in one step with the removal
    /// (R7). Entries beyond the end of the answer count as kept.
    ///
    /// # Cancel safety
    /// Dropping the future leaves each entry removed or not, and the store whole.
    fn remove(
        &self,
        run: &Self::Run,
        batch: Vec<Self::Entry>,
    ) -> impl Future<Output = Result<Vec<Removal>, Self::Error>> + Send;

    /// Returns whether the chunk is there: the second look before it is reported as missing.
    fn is_stored(&self, digest: &Digest) -> impl Future<Output = Result<bool, Self::Error>> + Send;
}

/// The instants that bound a run, all of the store clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunTimes {
    /// Start of the run.
    pub started_at: StoreTime,
    /// What was used at this instant or later stays (R13).
    pub cutoff: StoreTime,
    /// Start of the oldest session that was open when the run began.
    pub oldest_session_at: Option<StoreTime>,
}

/// What became of an entry that was to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It is gone.
    Removed,
    /// It was used since it was listed, and stays.
    Kept,
}

/// Some entries of a shard.
pub struct Page<T: SweepTarget + ?Sized> {
    /// The entries.
    pub entries: Vec<T::Entry>,
    /// What is left of the shard.
    pub rest: Option<T::Shard>,
}

/// What the verdict needs to know of one listed file or object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Description {
    /// The digest in its name.
    pub digest: Digest,
    /// What the file or object is.
    pub kind: EntryKind,
    /// Stored size in bytes.
    pub size: u64,
    /// Last use, if the store knows it.
    pub used_at: Option<StoreTime>,
    /// Start of the latest upload of the digest, where there is an object backend.
    pub upload_started_at: Option<StoreTime>,
    /// Last write of the object in the store's own clock, corrected for skew, where there is an object backend.
    pub modified_at: Option<StoreTime>,
}
