//! Reading a chunk: the one way through the cache (R6).

use super::BucketStore;
use crate::backend::ObjectBackend;
use crate::blob::Blob;
use crate::digest::Digest;
use crate::dir::MarkerDir;
use crate::store::{LoadError, StoreError};

impl<D: MarkerDir, B: ObjectBackend> BucketStore<D, B> {
    /// Reads a chunk from the cache or the backend and checks its CRC and, where the server can, its digest.
    pub async fn load(&self, _digest: &Digest) -> Result<Blob, LoadError> {
        todo!()
    }

    /// Reads a chunk from the backend, past the cache, and checks it.
    pub async fn fetch(&self, _digest: &Digest) -> Result<Blob, LoadError> {
        todo!()
    }

    /// Brings a chunk into the cache if it is not there.
    pub async fn prefetch(&self, _digest: &Digest) -> Result<(), LoadError> {
        todo!()
    }

    /// Returns the number of encoded bytes of a stored chunk.
    pub async fn stored_len(&self, _digest: &Digest) -> Result<Option<u64>, StoreError> {
        todo!()
    }
}
