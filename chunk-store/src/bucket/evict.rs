//! Eviction: what is over the cache's bound becomes an empty marker (R6, hazard H14).

use super::BucketStore;
use crate::backend::ObjectBackend;
use crate::digest::Digest;
use crate::dir::MarkerDir;

impl<D: MarkerDir, B: ObjectBackend> BucketStore<D, B> {
    /// Records that the marker of a chunk now has `len` bytes of content, and evicts what is over the bound. Never fails
    /// the caller, who holds no guard.
    pub(super) async fn note_cached(&self, _digest: &Digest, _len: u64) {
        todo!()
    }

    /// Evicts at least `bytes` of content if there is that much, for a disk that is full; returns how many bytes went.
    /// The caller holds no guard.
    pub(super) async fn evict_some(&self, _bytes: u64) -> u64 {
        todo!()
    }
}
