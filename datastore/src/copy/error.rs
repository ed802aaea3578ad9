//! Why a step of a copy is refused.

use coldkeep_chunk_store::dir::DirError;
use coldkeep_chunk_store::{Digest, InsertError, SessionFailed, TouchError};

use crate::backup::BackupError;
use crate::index::IndexError;
use crate::name::ArchiveName;
use crate::tree::TreeError;
use crate::verify::VerifyError;

/// A step of a copy that failed; nothing half made is visible.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// An index names a chunk that was neither stored nor refreshed by this copy (R5, R17).
    #[error("index {name} names chunk {digest}, which this copy has neither fetched nor found to be usable")]
    UnknownChunk {
        /// The index.
        name: ArchiveName,
        /// The chunk.
        digest: Digest,
    },
    /// A chunk has another length than was said of it before.
    #[error("chunk {digest} is said to have {plain_len} bytes, and had {known} before")]
    LengthConflict {
        /// The chunk.
        digest: Digest,
        /// The length now.
        plain_len: u64,
        /// The length known.
        known: u64,
    },
    /// The file is no index.
    #[error("{name} is not the name of an index")]
    NoIndex {
        /// Its name.
        name: ArchiveName,
    },
    /// An index that is to be stored is malformed.
    #[error("index {name} is refused")]
    Index {
        /// The index.
        name: ArchiveName,
        /// What is wrong with it.
        #[source]
        source: IndexError,
    },
    /// The header of an index has another checksum than its entries.
    #[error("index {name} does not have the checksum that its header states")]
    IndexChecksum {
        /// The index.
        name: ArchiveName,
    },
    /// A file of this store cannot be compared.
    #[error("cannot compare the files of a snapshot")]
    Verify(#[from] VerifyError),
    /// The chunk store refused a chunk.
    #[error(transparent)]
    Insert(#[from] InsertError),
    /// The chunk store could not refresh a chunk.
    #[error(transparent)]
    Touch(#[from] TouchError),
    /// A chunk that the copy relies on was found damaged; the copy has ended.
    #[error(transparent)]
    Failed(#[from] SessionFailed),
    /// A file could not be stored, or the snapshot not be committed.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The tree or the bucket refused.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

impl CopyError {
    /// Tells whether the disk or a quota is full.
    pub fn is_storage_full(&self) -> bool {
        match self {
            Self::Insert(error) => error.is_storage_full(),
            Self::Backup(error) => error.is_storage_full(),
            _ => false,
        }
    }
}

impl From<DirError> for CopyError {
    fn from(error: DirError) -> Self {
        Self::Tree(error.into())
    }
}
