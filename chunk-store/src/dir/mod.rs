//! The local chunk directory: the trait through which a store touches the disk, and the names in it.

mod fs;
mod fs_fresh;
mod fs_list;
mod fs_markers;
mod marker;
mod name;
mod reserve;

use std::future::Future;
use std::io;
use std::path::PathBuf;

use bytes::Bytes;

pub use fs::FsChunkDir;
pub use marker::{Marker, MarkerDir, Marks, NewMarker};
pub use name::{BAD_COPIES_MAX, EntryKind, EntryName, Shard};

use crate::blob::BlobKind;
use crate::locks::DigestGuard;
use crate::time::StoreTime;

/// Facts about one file of the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryStat {
    /// Length of the file in bytes.
    pub len: u64,
    /// Its atime: the chunk's last use (R12).
    pub used_at: StoreTime,
    /// Its mtime: when the content was last known to be good.
    pub written_at: StoreTime,
}

/// One file found by listing a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// What the file is.
    pub name: EntryName,
    /// Facts about it.
    pub stat: EntryStat,
}

/// Whether a write must survive power loss before it counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// A later [`ChunkDir::sync`] makes it durable.
    Deferred,
    /// Durable when the call returns.
    Immediate,
}

/// A small file of the store's own state, beside the chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StateFile {
    /// The store clock's last saved value and what goes with it (R12).
    Clock,
    /// Which generation of the bucket the local state belongs to (R10).
    Generation,
    /// Deletes under way or in limbo, and paths that are closed (R7, R9, R19).
    Journal,
    /// Which markers hold content, the least recently used first.
    Recency,
}

impl StateFile {
    /// Returns the file's name below the state folder.
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Clock => "clock",
            Self::Generation => "generation",
            Self::Journal => "journal",
            Self::Recency => "recency",
        }
    }
}

/// What a probe sets: an odd number of nanoseconds long ago shows both a coarse filesystem and one that ignores set times.
pub(crate) const PROBE_TIME: StoreTime = StoreTime::from_unix(1_000_000_001, 123_456_789);

/// A file operation of the chunk directory that failed.
#[derive(Debug, thiserror::Error)]
#[error("could not {action} {path}", path = path.display())]
pub struct DirError {
    /// What was attempted, as a verb.
    pub action: &'static str,
    /// On which file or folder.
    pub path: PathBuf,
    /// The cause.
    #[source]
    pub source: io::Error,
}

impl DirError {
    /// Makes an error of an attempt.
    pub fn new(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self { action, path: path.into(), source }
    }

    /// Returns whether the disk or the quota is full.
    pub fn is_storage_full(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

/// A directory of chunk files, one per digest and kind.
///
/// Every change is atomic for readers. Calls that change or decide something take the guard of lock(d) as proof;
/// an implementation that works on another thread keeps a clone of the guard until the work is done, so that dropping
/// the returned future never lets go of the lock early. Times are the store clock's and are kept exactly (R12).
pub trait ChunkDir: Send + Sync + 'static {
    /// Returns facts about a file, and the kind of blob that its first bytes name; `None` if there is no such file.
    fn stat(
        &self,
        held: &DigestGuard,
        name: EntryName,
    ) -> impl Future<Output = Result<Option<(EntryStat, Option<BlobKind>)>, DirError>> + Send;

    /// Sets the atime of each file that exists; returns the facts as they were before, in the order of `names`.
    fn touch(
        &self,
        held: &DigestGuard,
        names: Vec<EntryName>,
        at: StoreTime,
    ) -> impl Future<Output = Result<Vec<Option<EntryStat>>, DirError>> + Send;

    /// Sets atime and mtime of a file that exists; the content was just found good.
    fn set_times(
        &self,
        held: &DigestGuard,
        name: EntryName,
        at: StoreTime,
    ) -> impl Future<Output = Result<(), DirError>> + Send;

    /// Reads a whole file without changing its atime; `None` if there is no such file.
    fn read(&self, name: EntryName) -> impl Future<Output = Result<Option<Bytes>, DirError>> + Send;

    /// Creates or replaces a file with atime and mtime `at`.
    fn put(
        &self,
        held: &DigestGuard,
        entry: NewEntry,
        durability: Durability,
    ) -> impl Future<Output = Result<(), DirError>> + Send;

    /// Renames a file within its shard, replacing the target; returns whether there was one to rename.
    fn rename(
        &self,
        held: &DigestGuard,
        from: EntryName,
        to: EntryName,
    ) -> impl Future<Output = Result<bool, DirError>> + Send;

    /// Removes each file whose atime is still before `cutoff`, check and removal in one step (R7); returns which ones
    /// are gone, in the order of `names`. A file that was not there counts as gone.
    fn remove_unused(
        &self,
        held: &DigestGuard,
        names: Vec<EntryName>,
        cutoff: StoreTime,
    ) -> impl Future<Output = Result<Vec<bool>, DirError>> + Send;

    /// Runs work for the processor, such as hashing a chunk, where it holds up no other task.
    fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = Result<T, DirError>> + Send;

    /// Lists the shards that exist, ascending.
    fn shards(&self) -> impl Future<Output = Result<Vec<Shard>, DirError>> + Send;

    /// Lists the files of some shards, one shard after the other, each in ascending order of the names; a shard that does
    /// not exist is empty.
    ///
    /// Files whose names have no meaning here are left out. A file that is replaced meanwhile may be overlooked, as by any
    /// reader of a folder.
    fn list(&self, shards: Vec<Shard>) -> impl Future<Output = Result<Vec<Entry>, DirError>> + Send;

    /// Lists what [`Self::list`] does, but the names only, which spares inspecting each file.
    fn names(&self, shards: Vec<Shard>) -> impl Future<Output = Result<Vec<EntryName>, DirError>> + Send;

    /// Makes every completed change durable.
    fn sync(&self) -> impl Future<Output = Result<(), DirError>> + Send;

    /// Fails once a sync of any kind has failed, until the directory is opened again: what is durable is not known.
    fn check_synced(&self) -> impl Future<Output = Result<(), DirError>> + Send;

    /// Sets times on a probe file and reads them back; returns whether they were kept (R12).
    fn keeps_times(&self, at: StoreTime) -> impl Future<Output = Result<bool, DirError>> + Send;

    /// Reads a state file; `None` if there is none.
    fn load_state(&self, file: StateFile) -> impl Future<Output = Result<Option<Bytes>, DirError>> + Send;

    /// Replaces a state file; durable when the call returns.
    fn save_state(
        &self,
        file: StateFile,
        content: Bytes,
    ) -> impl Future<Output = Result<(), DirError>> + Send;
}

/// A file to be created or replaced.
#[derive(Debug, Clone)]
pub struct NewEntry {
    /// Its name.
    pub name: EntryName,
    /// Its content.
    pub content: Bytes,
    /// Its atime and mtime.
    pub at: StoreTime,
}
