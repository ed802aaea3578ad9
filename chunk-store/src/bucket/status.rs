//! What a store in a bucket tells about itself.

use super::{BucketStore, Closed, JournalCounts, RebuildProgress};
use crate::backend::ObjectBackend;
use crate::dir::MarkerDir;

/// What a store in a bucket tells about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct BucketStatus {
    /// Bytes of cached content.
    pub cache_bytes: u64,
    /// Most bytes of cached content.
    pub cache_bytes_max: u64,
    /// Number of chunks with cached content.
    pub cached_chunks: u64,
    /// Loads that the cache served.
    pub cache_hits: u64,
    /// Loads that went to the backend.
    pub cache_misses: u64,
    /// Fills and evictions of the cache that the local disk refused.
    pub cache_failures: u64,
    /// Uploads under way.
    pub uploads: usize,
    /// Uploads that may be under way at once, at the moment.
    pub uploads_allowed: usize,
    /// Bytes of uploads under way.
    pub upload_bytes: usize,
    /// What is in the journal.
    pub journal: JournalCounts,
    /// Why the store takes no work.
    pub closed: Option<Closed>,
    /// How far a rebuild is.
    pub rebuild: Option<RebuildProgress>,
}

impl<D: MarkerDir, B: ObjectBackend> BucketStore<D, B> {
    /// Returns the store's status.
    pub fn status(&self) -> BucketStatus {
        let (cache, gate) = (self.cache.counts(), self.gate.counts());
        BucketStatus {
            cache_bytes: cache.bytes,
            cache_bytes_max: cache.bytes_max,
            cached_chunks: cache.chunks,
            cache_hits: cache.hits,
            cache_misses: cache.misses,
            cache_failures: cache.failures,
            uploads: gate.uploads,
            uploads_allowed: gate.allowed,
            upload_bytes: gate.bytes,
            journal: self.journal.counts(),
            closed: self.check_open().err(),
            rebuild: self.rebuild.progress(),
        }
    }
}
