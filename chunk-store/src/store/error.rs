//! Why operations of a store fail.

use crate::backend::{BackendError, Fault};
use crate::blob::ChunkClass;
use crate::bucket::Closed;
use crate::checked::CheckError;
use crate::digest::Digest;
use crate::dir::DirError;
use crate::owner::OwnerError;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has the store open (R11), or its lock files are out of reach.
    #[error(transparent)]
    Owner(#[from] OwnerError),
    /// A file operation failed.
    #[error(transparent)]
    Dir(#[from] DirError),
    /// The clock file is damaged.
    #[error("the clock file .coldkeep/clock is damaged; remove it if the machine's date is right")]
    State {
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The runtime is shutting down.
    #[error("could not open the store while shutting down")]
    ShuttingDown,
}

impl OpenError {
    /// Returns whether another process has the store open: waiting may help.
    pub fn is_owned(&self) -> bool {
        matches!(self, Self::Owner(OwnerError::Owned { .. }))
    }
}

/// An operation of the store that failed for reasons of the disk or the backend.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A file operation failed.
    #[error(transparent)]
    Dir(#[from] DirError),
    /// A request to the backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The store takes no work.
    #[error(transparent)]
    Closed(#[from] Closed),
}

impl StoreError {
    /// Returns whether the disk or the quota is full.
    pub fn is_storage_full(&self) -> bool {
        match self {
            Self::Dir(error) => error.is_storage_full(),
            Self::Backend(error) => error.fault == Fault::Full,
            Self::Closed(_) => false,
        }
    }
}

/// Why a chunk was not inserted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InsertError {
    /// An encrypted chunk was offered under the digest of a stored chunk that it cannot stand for (R2, hazard H37).
    #[error("an encrypted chunk was offered for the digest {digest} of a stored {stored:?} chunk")]
    ClassMismatch {
        /// The digest.
        digest: Digest,
        /// The class of the stored chunk.
        stored: ChunkClass,
    },
    /// Two uncompressed encrypted chunks of different length claim one digest (spec `formats.md` §3.2).
    #[error("encrypted chunk {digest} is {offered} bytes long, the stored one {stored}")]
    LengthMismatch {
        /// The digest.
        digest: Digest,
        /// Encoded length of the stored chunk.
        stored: u64,
        /// Encoded length of the offered chunk.
        offered: u64,
    },
    /// A file operation failed.
    #[error(transparent)]
    Dir(#[from] DirError),
    /// A request to the backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The store takes no work.
    #[error(transparent)]
    Closed(#[from] Closed),
}

impl InsertError {
    /// Returns whether the disk or the quota is full.
    pub fn is_storage_full(&self) -> bool {
        match self {
            Self::Dir(error) => error.is_storage_full(),
            Self::Backend(error) => error.fault == Fault::Full,
            _ => false,
        }
    }
}

/// Why digests could not be referenced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TouchError {
    /// The store has no good chunk of this digest (R5).
    #[error("chunk {digest} is not in the store; it must be uploaded again")]
    Missing {
        /// The first digest that is missing.
        digest: Digest,
    },
    /// A file operation failed.
    #[error(transparent)]
    Dir(#[from] DirError),
    /// A request to the backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The store takes no work.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// Why a chunk could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The store has no such chunk.
    #[error("chunk {digest} is not in the store")]
    Missing {
        /// The chunk.
        digest: Digest,
    },
    /// The stored chunk is damaged; verify sets it aside so that the next backup uploads it again.
    #[error("chunk {digest} is damaged in the store")]
    Corrupt {
        /// The chunk.
        digest: Digest,
        /// What is wrong with it.
        #[source]
        source: CheckError,
    },
    /// A file operation failed.
    #[error(transparent)]
    Dir(#[from] DirError),
    /// A request to the backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The store takes no work.
    #[error(transparent)]
    Closed(#[from] Closed),
}

impl From<StoreError> for InsertError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Dir(error) => Self::Dir(error),
            StoreError::Backend(error) => Self::Backend(error),
            StoreError::Closed(error) => Self::Closed(error),
        }
    }
}

impl From<StoreError> for TouchError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Dir(error) => Self::Dir(error),
            StoreError::Backend(error) => Self::Backend(error),
            StoreError::Closed(error) => Self::Closed(error),
        }
    }
}

impl From<StoreError> for LoadError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Dir(error) => Self::Dir(error),
            StoreError::Backend(error) => Self::Backend(error),
            StoreError::Closed(error) => Self::Closed(error),
        }
    }
}
