//! Which markers hold content, the least recently used first.

use crate::digest::Digest;

/// The cache's order and size.
#[derive(Debug)]
pub(super) struct Cache {}

impl Cache {
    /// Makes an empty cache of at most `capacity_bytes`; 0 caches nothing.
    pub(super) fn new(_capacity_bytes: u64, _set_key: u64) -> Self {
        todo!()
    }

    /// Returns whether content of this length is cached at all; else markers are placed empty.
    pub(super) fn takes(&self, _len: u64) -> bool {
        todo!()
    }

    /// Forgets everything: a fresh directory took the place of the old one.
    pub(super) fn clear(&self) {
        todo!()
    }

    /// Forgets a digest whose marker was removed or set aside. The caller holds lock(d).
    pub(super) fn remove(&self, _digest: &Digest) {
        todo!()
    }

    /// Returns sizes and counters.
    pub(super) fn counts(&self) -> CacheCounts {
        todo!()
    }
}

/// Sizes and counters of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct CacheCounts {
    /// Bytes of cached content.
    pub(super) bytes: u64,
    /// Most bytes of cached content.
    pub(super) bytes_max: u64,
    /// Number of chunks with cached content.
    pub(super) chunks: u64,
    /// Loads that the cache served.
    pub(super) hits: u64,
    /// Loads that went to the backend.
    pub(super) misses: u64,
    /// Fills and evictions that the local disk refused.
    pub(super) failures: u64,
}
