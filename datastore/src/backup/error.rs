//! Why a call of a backup session is refused.

use coldkeep_chunk_store::backend::Fault;
use coldkeep_chunk_store::bucket::PathError;
use coldkeep_chunk_store::dir::DirError;
use coldkeep_chunk_store::{Digest, InsertError, SessionFailed, StoreError, TouchError};

use super::WRITERS_MAX;
use crate::index::{IndexError, IndexKind};
use crate::manifest::ManifestError;
use crate::name::{ArchiveName, SnapshotName};
use crate::tree::TreeError;

/// A refused call of a backup session; unless said otherwise the session goes on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The session takes nothing more.
    #[error("the backup session {how}")]
    Over {
        /// How it ended.
        how: &'static str,
    },
    /// A chunk that the session relies on is gone; the session has ended, and the previous snapshot is marked as
    /// failed, so that the next backup does not build on it.
    #[error(
        "chunk {digest} of the previous backup is gone from the store; run the backup again, it will upload anew"
    )]
    ChunkLost {
        /// The chunk.
        digest: Digest,
    },
    /// No open writer has this number.
    #[error("no open index writer has the id {wid}")]
    UnknownWriter {
        /// The number.
        wid: u32,
    },
    /// The writer is one of the other kind.
    #[error("index writer {wid} does not write a {kind} index")]
    WrongKind {
        /// The number.
        wid: u32,
        /// The kind that the call is for.
        kind: IndexKind,
    },
    /// The session has opened as many writers as it may.
    #[error("a session may open {WRITERS_MAX} index writers, not more")]
    TooManyWriters,
    /// An index of this name is open or complete.
    #[error("index {name} is already open or complete in this session")]
    NameInUse {
        /// The name.
        name: ArchiveName,
    },
    /// The name has another suffix than the call asks for.
    #[error("archive name {name} does not end in .{expected}")]
    Suffix {
        /// The name.
        name: ArchiveName,
        /// The expected suffix.
        expected: &'static str,
    },
    /// The chunk was neither uploaded nor is it named by an index fetched in this session (R17).
    #[error(
        "no such chunk {digest}: it was neither uploaded in this session nor named by an index fetched in it"
    )]
    UnknownChunk {
        /// The chunk.
        digest: Digest,
    },
    /// The chunk is longer than those of a fixed index.
    #[error("chunk {digest} has {plain_len} bytes, a fixed index takes chunks of 4 MiB")]
    ChunkTooLong {
        /// The chunk.
        digest: Digest,
        /// Its plain length.
        plain_len: u64,
    },
    /// Only the last chunk of a fixed index may be short.
    #[error(
        "chunk {digest} is shorter than 4 MiB, and so was chunk {earlier}; only the last one of an image may be"
    )]
    SecondShortChunk {
        /// The chunk.
        digest: Digest,
        /// The short one before.
        earlier: Digest,
    },
    /// An encrypted chunk was announced with two plain lengths.
    #[error("chunk {digest} was announced with {plain_len} bytes now and {known} bytes before")]
    LengthConflict {
        /// The chunk.
        digest: Digest,
        /// The length announced now.
        plain_len: u64,
        /// The length known.
        known: u64,
    },
    /// A dynamic index grows without gaps; entries before this one were appended.
    #[error("chunk {digest} was appended at {offset}, but index {name} ends at {end}")]
    Offset {
        /// The index.
        name: ArchiveName,
        /// The chunk.
        digest: Digest,
        /// The offset given.
        offset: u64,
        /// The end of the index.
        end: u64,
    },
    /// A number announced at the close is wrong; the writer is gone.
    #[error("closing index {name}: announced {what} {announced}, found {found}")]
    Totals {
        /// The index.
        name: ArchiveName,
        /// Which number.
        what: &'static str,
        /// What the client announced.
        announced: u64,
        /// What the index holds.
        found: u64,
    },
    /// An index cannot be written or read; after a close the writer is gone.
    #[error("index {name} is refused")]
    Index {
        /// The index.
        name: ArchiveName,
        /// Why.
        #[source]
        source: IndexError,
    },
    /// There is no previous snapshot to build on.
    #[error("there is no previous backup to take {name} from")]
    NoPrevious {
        /// The wanted file.
        name: ArchiveName,
    },
    /// The previous snapshot has no such file.
    #[error("the previous backup {snapshot} has no file {name}")]
    NoPreviousFile {
        /// The previous snapshot.
        snapshot: SnapshotName,
        /// The wanted file.
        name: ArchiveName,
    },
    /// `reuse-csum` needs the size.
    #[error("index {name} can reuse the previous one only if its size is given")]
    ReuseWithoutSize {
        /// The index.
        name: ArchiveName,
    },
    /// Indexes are still open, or uploads under way.
    #[error("{open} index writers or uploads are still open")]
    StillOpen {
        /// How many.
        open: usize,
    },
    /// Nothing was uploaded.
    #[error("the backup has no files")]
    NoFiles,
    /// The manifest was not uploaded.
    #[error("the backup has no manifest index.json.blob")]
    NoManifest,
    /// The uploaded manifest cannot be decoded.
    #[error("the uploaded manifest is refused")]
    Manifest(#[from] ManifestError),
    /// The previous snapshot is gone from the disk.
    #[error("the previous backup {snapshot} is gone; run the backup again")]
    PreviousGone {
        /// The previous snapshot.
        snapshot: SnapshotName,
    },
    /// A benchmark is never committed.
    #[error("a benchmark session cannot be finished as a backup")]
    Benchmark,
    /// The chunk store refused a chunk.
    #[error(transparent)]
    Insert(#[from] InsertError),
    /// The chunk store failed for reasons of the disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The chunk store could not refresh a chunk.
    #[error(transparent)]
    Touch(TouchError),
    /// A chunk that the session relies on was found damaged; the session has ended.
    #[error(transparent)]
    Failed(#[from] SessionFailed),
    /// The snapshot's folder or the bucket refused.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

impl BackupError {
    /// Tells whether the session has ended, so that no later call can succeed.
    pub fn is_session_over(&self) -> bool {
        matches!(self, Self::Over { .. } | Self::ChunkLost { .. } | Self::Failed(_))
    }

    /// Tells whether the disk or a quota is full.
    pub fn is_storage_full(&self) -> bool {
        match self {
            Self::Insert(error) => error.is_storage_full(),
            Self::Store(error) => error.is_storage_full(),
            Self::Index { source: IndexError::File(error), .. } | Self::Tree(TreeError::File(error)) => {
                error.is_storage_full()
            }
            Self::Tree(TreeError::Bucket(PathError::Backend(error))) => error.fault == Fault::Full,
            _ => false,
        }
    }
}

impl From<PathError> for BackupError {
    fn from(error: PathError) -> Self {
        Self::Tree(error.into())
    }
}

impl From<DirError> for BackupError {
    fn from(error: DirError) -> Self {
        Self::Store(StoreError::Dir(error))
    }
}
