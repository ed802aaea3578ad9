//! Opening and closing a store in a bucket (R7, R10, R11).

use super::{BucketOptions, BucketStore, InUse};
use crate::backend::{BackendError, ObjectBackend};
use crate::dir::{DirError, MarkerDir};
use crate::owner::OwnerLock;
use crate::store::{OpenError, StoreError};

/// Why a store in a bucket could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BucketOpenError {
    /// Another server holds the bucket (R11, hazard H12).
    #[error("the bucket is in use by {} (process {}) since {}; stop it, or take the bucket over", holder.holder.host, holder.holder.process, holder.since)]
    InUse {
        /// Who holds it.
        holder: Box<InUse>,
    },
    /// The local directory could not be opened.
    #[error(transparent)]
    Local(#[from] OpenError),
    /// The journal is damaged.
    #[error(transparent)]
    Journal(#[from] super::JournalError),
    /// A request failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A file operation failed.
    #[error(transparent)]
    Dir(#[from] DirError),
}

impl<D: MarkerDir, B: ObjectBackend> BucketStore<D, B> {
    /// Opens a store on a directory that nobody else on this machine uses.
    pub async fn open(
        _dir: D,
        _backend: B,
        _options: BucketOptions,
        _owner: Option<OwnerLock>,
    ) -> Result<Self, BucketOpenError> {
        todo!()
    }

    /// Ends the use of the store cleanly.
    pub async fn close(&self) -> Result<(), StoreError> {
        todo!()
    }
}
