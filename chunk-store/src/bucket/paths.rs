//! Objects of snapshots: everything below `.cnt/` (R10, R19).

use bytes::Bytes;

use super::{BucketStore, Closed};
use crate::backend::{AnyBackend, BackendError, ObjectBackend, ObjectInfo, ObjectKey};
use crate::dir::{DirError, FsChunkDir, MarkerDir};
use crate::time::StoreTime;

/// Why an object of a snapshot could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// Somebody works on the path.
    #[error("{path} is in use; try again later")]
    InUse {
        /// The path.
        path: String,
    },
    /// A request for the path may still take effect.
    #[error(
        "{path} cannot be used yet: an earlier request for it may still take effect; try again in some minutes"
    )]
    NotExpired {
        /// The path.
        path: String,
        /// Until when, in the backend's clock.
        until: StoreTime,
    },
    /// The store takes no more work.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// A request failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The journal could not be saved.
    #[error(transparent)]
    Dir(#[from] DirError),
}

/// The right to write below a path (R19); ends with [`Self::release`] or by being dropped.
#[derive(Debug)]
pub struct PathClaim<D: MarkerDir = FsChunkDir, B: ObjectBackend = AnyBackend> {
    _store: std::sync::Arc<BucketStore<D, B>>,
}

impl<D: MarkerDir, B: ObjectBackend> BucketStore<D, B> {
    /// Claims a path below `.cnt/` for writing.
    pub async fn claim(self: &std::sync::Arc<Self>, _path: &str) -> Result<PathClaim<D, B>, PathError> {
        todo!()
    }

    /// Reads an object.
    pub async fn read_object(&self, _key: &ObjectKey) -> Result<Option<Bytes>, PathError> {
        todo!()
    }

    /// Lists all objects whose keys start with `prefix`, ascending.
    pub async fn list_objects(&self, _prefix: &str) -> Result<Vec<ObjectInfo>, PathError> {
        todo!()
    }
}

impl<D: MarkerDir, B: ObjectBackend> PathClaim<D, B> {
    /// Puts an object that is new.
    pub async fn put_new(&self, _key: &ObjectKey, _content: Bytes) -> Result<(), PathError> {
        todo!()
    }

    /// Replaces an object, or creates it: reads the token first (R19).
    pub async fn replace(&self, _key: &ObjectKey, _content: Bytes) -> Result<(), PathError> {
        todo!()
    }

    /// Puts the manifest that commits a snapshot: token, put, token (R10).
    pub async fn commit(&self, _key: &ObjectKey, _manifest: Bytes) -> Result<(), PathError> {
        todo!()
    }

    /// Deletes objects: reads the token first (R19).
    pub async fn delete(&self, _keys: &[ObjectKey]) -> Result<(), PathError> {
        todo!()
    }

    /// Gives the path free, or closes it if a request may still take effect (R19).
    pub async fn release(self) -> Result<(), PathError> {
        todo!()
    }
}
