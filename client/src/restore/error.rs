//! Why a restore failed.

use std::sync::Arc;

use coldkeep_chunk_store::Digest;
use coldkeep_chunk_store::blob::BlobError;
use coldkeep_datastore::manifest::ManifestError;
use coldkeep_datastore::{ArchiveName, SnapshotName};

use crate::error::RequestError;
use crate::index::IndexMismatch;

/// A chunk could not be fetched, or is not what its digest says.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkError {
    /// It could not be fetched.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// What came is no blob, damaged, or encrypted.
    #[error("the chunk is damaged or encrypted")]
    Blob(#[from] BlobError),
    /// The data has another digest.
    #[error("the chunk's data has digest {got}")]
    Digest {
        /// Digest of the data.
        got: Digest,
    },
    /// The data has another length.
    #[error("the chunk has {got} bytes, the index says {expected}")]
    Length {
        /// Length in the index.
        expected: u64,
        /// Length of the data.
        got: u64,
    },
    /// A worker panicked or the runtime shuts down.
    #[error("a worker did not run to its end")]
    Worker(#[source] tokio::task::JoinError),
}

/// A snapshot, or one of its archives, could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// A call failed.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The snapshot does not exist, or is not finished.
    #[error("{snapshot} is gone from the server or not finished")]
    Vanished {
        /// The snapshot.
        snapshot: SnapshotName,
        /// What the server said.
        #[source]
        source: Box<RequestError>,
    },
    /// The manifest is damaged.
    #[error("the manifest of {snapshot} is damaged")]
    Manifest {
        /// The snapshot.
        snapshot: SnapshotName,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// The manifest belongs to another snapshot.
    #[error("the manifest of {expected} says that it belongs to {got}")]
    Snapshot {
        /// The snapshot asked for.
        expected: SnapshotName,
        /// The snapshot in the manifest.
        got: SnapshotName,
    },
    /// The archive could not be restored into a directory.
    #[error("cannot restore {archive} into a directory")]
    Extract {
        /// The archive.
        archive: ArchiveName,
        /// Why.
        #[source]
        source: crate::extract::ExtractError,
    },
    /// The snapshot has no such archive.
    #[error("{snapshot} has no archive {archive}")]
    NoArchive {
        /// The snapshot.
        snapshot: SnapshotName,
        /// The archive.
        archive: ArchiveName,
    },
    /// The snapshot was made with a key, and this client has none.
    #[error(
        "{archive} was backed up with the key {fingerprint}, and restoring with a key is not supported yet"
    )]
    KeyNeeded {
        /// The archive.
        archive: ArchiveName,
        /// The key's fingerprint, or `unknown`.
        fingerprint: String,
    },
    /// The archive's name asks for another kind of restore.
    #[error("{archive} is not {what}")]
    Kind {
        /// The archive.
        archive: ArchiveName,
        /// What it was to be read as.
        what: &'static str,
    },
    /// The index is damaged or not the one in the manifest.
    #[error("the index {archive} does not fit the manifest")]
    Index {
        /// The archive.
        archive: ArchiveName,
        /// How.
        #[source]
        source: IndexMismatch,
    },
    /// The blob's encoded bytes are not those in the manifest.
    #[error(
        "{archive} has {got_bytes} bytes with checksum {got}, the manifest says {expected_bytes} and {expected}"
    )]
    BlobMismatch {
        /// The archive.
        archive: ArchiveName,
        /// Size in the manifest.
        expected_bytes: u64,
        /// Checksum in the manifest.
        expected: Digest,
        /// Size of what came.
        got_bytes: u64,
        /// Checksum of what came.
        got: Digest,
    },
    /// The blob does not decode.
    #[error("{archive} is damaged")]
    Blob {
        /// The archive.
        archive: ArchiveName,
        /// Why.
        #[source]
        source: BlobError,
    },
    /// A chunk is missing, damaged or could not be fetched; everything before `offset` is right.
    #[error("chunk {digest} of {archive} at offset {offset} cannot be read")]
    Chunk {
        /// The archive.
        archive: ArchiveName,
        /// The chunk.
        digest: Digest,
        /// Where it belongs.
        offset: u64,
        /// Why.
        #[source]
        source: Arc<ChunkError>,
    },
    /// The target could not be written.
    #[error("cannot write the target of {archive}")]
    Write {
        /// The archive.
        archive: ArchiveName,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A worker panicked or the runtime shuts down.
    #[error("a worker did not run to its end")]
    Worker(#[source] tokio::task::JoinError),
}

impl RestoreError {
    /// Tells whether the server sent more than it was asked for at most.
    pub fn is_too_long(&self) -> bool {
        matches!(self, Self::Request(RequestError::TooLong { .. }))
    }

    /// Tells whether the snapshot does not exist; known only where [`Store::open_stored`](crate::Store::open_stored)
    /// failed.
    pub const fn is_vanished(&self) -> bool {
        matches!(self, Self::Vanished { .. })
    }
}
