//! The store to be swept, as the collector sees it.

use std::collections::BTreeMap;
use std::error::Error;
use std::future::Future;
use std::time::Duration;

use coldkeep_chunk_store::dir::EntryKind;
use coldkeep_chunk_store::{Digest, StoreTime};

/// A store of chunks that can be swept.
///
/// Implemented for [`ChunkStore`](coldkeep_chunk_store::ChunkStore), for
/// [`BucketStore`](coldkeep_chunk_store::bucket::BucketStore) and, with the feature `testing`, for a store in memory.
/// The store alone decides what it takes to remove a chunk safely; the collector only says which ones may go.
pub trait SweepTarget: Send + Sync {
    /// A run: holds the cutoff, and keeps other runs out until it is dropped.
    type Run: Send + Sync;
    /// A part of the store that is listed on its own.
    type Shard: Send;
    /// One listed file or object.
    type Entry: Send + Sync;
    /// What can go wrong.
    type Error: Error + Send + Sync + 'static;

    /// Most entries of one removal. The sweep gathers as many from all shards, if there are so many.
    const REMOVAL_MAX: usize;
    /// Removals that may be under way at once.
    const REMOVALS: usize;
    /// Shards listed at once unless [`Options`](crate::Options) say otherwise.
    const LISTINGS: usize;

    /// Returns the time since some fixed start, for durations in the report; never runs backwards.
    fn monotonic(&self) -> Duration;

    /// Waits, by the store's clock.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send;

    /// Begins a run: fixes the cutoff of R13 atomically with the registration of sessions.
    ///
    /// # Errors
    /// Another run is under way, or the store cannot tell when a chunk was last used.
    ///
    /// # Cancel safety
    /// Dropping the future begins no run. Likewise, dropping that of a listing or a look changes nothing.
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
    /// For each entry its last use is looked at again under lock(d), in one step with the removal or the condemnation (R7).
    /// Answers what became of each, in order; entries beyond the end of the answer count as kept. What can still be left
    /// out is left out once `is_cancelled` says so.
    ///
    /// # Cancel safety
    /// Dropping the future leaves each entry removed or not, and the store whole.
    fn remove(
        &self,
        run: &Self::Run,
        batch: Vec<Self::Entry>,
        is_cancelled: &(dyn Fn() -> bool + Sync),
    ) -> impl Future<Output = Result<Vec<Removal>, Self::Error>> + Send;

    /// Says what [`remove`](Self::remove) would answer now, and changes nothing: for a dry run.
    fn preview(
        &self,
        run: &Self::Run,
        batch: &[Self::Entry],
    ) -> impl Future<Output = Result<Vec<Removal>, Self::Error>> + Send;

    /// Makes object and local record of a digest agree, whichever is wrong (R14). What was listed is the reason to look,
    /// and no more: both are looked at again under lock(d).
    ///
    /// Never called for entries that are described as [`Agreement::Agrees`].
    fn heal(
        &self,
        run: &Self::Run,
        digest: &Digest,
        is_referenced: bool,
    ) -> impl Future<Output = Result<Repair, Self::Error>> + Send;

    /// Says what [`heal`](Self::heal) would answer now, and changes nothing: for a dry run. Sessions that would fail need not
    /// be counted.
    fn preview_heal(
        &self,
        run: &Self::Run,
        digest: &Digest,
        is_referenced: bool,
    ) -> impl Future<Output = Result<Repair, Self::Error>> + Send;

    /// Returns whether the chunk is there: the second look before it is reported as missing.
    fn is_stored(&self, digest: &Digest) -> impl Future<Output = Result<bool, Self::Error>> + Send;

    /// Returns how many requests of each type the store has sent so far, if it sends any.
    fn requests(&self) -> BTreeMap<String, u64> {
        BTreeMap::new()
    }
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// It is gone.
    Removed,
    /// It was used since it was listed, or the run was cancelled first; it stays.
    Kept,
    /// A delete of it was sent whose outcome is not certain (R9), now or by an earlier run.
    InLimbo,
    /// The backend refused to delete it, for this reason; the next run tries again (hazard H18).
    Refused(String),
}

/// What a look at a digest whose object and local record did not agree came to (R14).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// They agree by now, or a delete of the object is on its way.
    Nothing,
    /// The local record was created.
    MarkerCreated,
    /// The local record was removed, so that the next backup uploads the chunk again.
    MarkerRemoved {
        /// Open sessions that failed because they rely on the chunk.
        failed_sessions: u64,
    },
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
    /// Last use, if the store knows it without a further look.
    pub used_at: Option<StoreTime>,
    /// Start of the latest upload of the digest, where there is an object backend.
    pub upload_started_at: Option<StoreTime>,
    /// Last write of the object in the store's own clock, corrected for skew, where there is an object backend.
    pub modified_at: Option<StoreTime>,
    /// Whether object and local record agree.
    pub agreement: Agreement,
}

/// Whether the object of a chunk and its local record agree (I2, R14). On a filesystem both are one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Agreement {
    /// They do, or nothing is recorded of such entries.
    Agrees,
    /// There is an object, and no marker.
    NoMarker,
    /// There is a marker, and no object was listed; on a filesystem, a file that is too short to be a chunk.
    NoObject,
}
