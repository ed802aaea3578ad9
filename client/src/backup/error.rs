//! Why a backup failed.

use std::sync::Arc;

use coldkeep_chunk_store::Digest;
use coldkeep_chunk_store::blob::BlobError;
use coldkeep_datastore::manifest::ManifestError;
use coldkeep_datastore::{ArchiveName, SnapshotName};

use crate::error::{BoxError, RequestError};
use crate::index::IndexMismatch;

/// A backup, or one of its archives, failed.
///
/// After an error of an upload the session cannot be finished, see [`BackupError::Incomplete`]. Drop the session; the server removes the unfinished snapshot, and the chunks already sent are not sent twice into the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// A call failed.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A chunk could not be sent; other uses of the same chunk fail with the same cause.
    #[error("a chunk of {archive} could not be sent")]
    Chunk {
        /// The archive.
        archive: ArchiveName,
        /// Why.
        #[source]
        source: Arc<RequestError>,
    },
    /// Another upload of this session, dropped before it was done, should have sent a chunk of this archive.
    #[error("a chunk of {archive} was left to another upload that was given up")]
    GivenUp {
        /// The archive.
        archive: ArchiveName,
    },
    /// The server no longer has chunks that the previous snapshot refers to, or refuses them for another reason.
    #[error(
        "the server refused {reused} reused and {sent} sent chunks of {archive}; \
         if a reused one is missing, the next backup sends it again"
    )]
    Append {
        /// The archive.
        archive: ArchiveName,
        /// Chunks of the refused batch that were not sent, since the previous snapshot or this one has them.
        reused: usize,
        /// Chunks of the refused batch that were sent in this session for this archive.
        sent: usize,
        /// What the server said.
        #[source]
        source: Box<RequestError>,
    },
    /// The source could not be read.
    #[error("cannot read the source of {archive}")]
    Read {
        /// The archive.
        archive: ArchiveName,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The thread that reads the source could not be started, or it panicked.
    #[error("the reader of {archive} did not run to its end")]
    Reader {
        /// The archive.
        archive: ArchiveName,
    },
    /// An image must hold at least one byte: there is no empty fixed index (spec `formats.md` §4).
    #[error(
        "the source of {archive} is empty; an image must hold at least one byte, an empty file can be a stream (.bin)"
    )]
    Empty {
        /// The archive.
        archive: ArchiveName,
    },
    /// The archive's name asks for another kind of upload.
    #[error("{archive} cannot be uploaded as {what}")]
    Kind {
        /// The archive.
        archive: ArchiveName,
        /// What it was to be uploaded as.
        what: &'static str,
    },
    /// The archive was uploaded in this session before.
    #[error("{archive} is already part of this backup")]
    Twice {
        /// The archive.
        archive: ArchiveName,
    },
    /// The upload of an archive failed or was dropped, so the backup must not be finished.
    #[error("{archive} was not uploaded to its end, so the backup cannot be finished")]
    Incomplete {
        /// The archive.
        archive: ArchiveName,
    },
    /// A blob's data does not fit one upload.
    #[error("{archive} has {bytes} encoded bytes, at most {max} fit a blob")]
    BlobTooLarge {
        /// The archive.
        archive: ArchiveName,
        /// Its encoded size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Data could not be encoded.
    #[error("cannot encode {archive}")]
    Encode {
        /// The archive.
        archive: ArchiveName,
        /// Why.
        #[source]
        source: BlobError,
    },
    /// The manifest could not be written, or what is to be pushed as one is none.
    #[error("cannot make or read the manifest")]
    Manifest(#[from] ManifestError),
    /// The manifest to push belongs to another snapshot.
    #[error("the manifest for {expected} says that it belongs to {got}")]
    Snapshot {
        /// The snapshot that is pushed.
        expected: SnapshotName,
        /// The snapshot in the manifest.
        got: SnapshotName,
    },
    /// A chunk to push could not be read where it is stored.
    #[error("cannot read chunk {digest} of {archive}")]
    Load {
        /// The archive.
        archive: ArchiveName,
        /// The chunk.
        digest: Digest,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// An index to push has a gap, or a chunk of a size that the protocol cannot register.
    #[error("{archive} cannot be pushed: no chunk of it can reach from {start} to {end}")]
    Spans {
        /// The archive.
        archive: ArchiveName,
        /// Where the entry starts.
        start: u64,
        /// Where it ends.
        end: u64,
    },
    /// An index to push is not the one in the manifest.
    #[error("the index {archive} does not fit the manifest")]
    Index {
        /// The archive.
        archive: ArchiveName,
        /// How.
        #[source]
        source: IndexMismatch,
    },
    /// A worker panicked or the runtime shuts down.
    #[error("a worker did not run to its end")]
    Worker(#[source] tokio::task::JoinError),
}
