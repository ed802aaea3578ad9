//! Counters of a transfer that another thread may read at any time.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one backup session or one restore.
///
/// All numbers only grow. They are exact once the call that moves them has returned; a reader in the meantime may
/// see one of them ahead of another.
#[derive(Debug, Default)]
pub struct Progress {
    read_bytes: AtomicU64,
    reused_bytes: AtomicU64,
    transferred_bytes: AtomicU64,
    encoded_bytes: AtomicU64,
    written_bytes: AtomicU64,
    chunks: AtomicU64,
    reused_chunks: AtomicU64,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProgressSnapshot {
    /// Plain bytes read from the sources.
    pub read_bytes: u64,
    /// Plain bytes that did not cross the wire: the server has them already, or a restore knows them.
    pub reused_bytes: u64,
    /// Plain bytes in chunks and blobs that crossed the wire.
    pub transferred_bytes: u64,
    /// Encoded bytes that crossed the wire.
    pub encoded_bytes: u64,
    /// Plain bytes written to a restore's target, holes included.
    pub written_bytes: u64,
    /// Chunks done, reused ones included.
    pub chunks: u64,
    /// Chunks that did not cross the wire.
    pub reused_chunks: u64,
}

impl Progress {
    /// Reads the counters.
    pub fn snapshot(&self) -> ProgressSnapshot {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ProgressSnapshot {
            read_bytes: get(&self.read_bytes),
            reused_bytes: get(&self.reused_bytes),
            transferred_bytes: get(&self.transferred_bytes),
            encoded_bytes: get(&self.encoded_bytes),
            written_bytes: get(&self.written_bytes),
            chunks: get(&self.chunks),
            reused_chunks: get(&self.reused_chunks),
        }
    }

    pub(crate) fn add_read(&self, plain: u64) {
        self.read_bytes.fetch_add(plain, Ordering::Relaxed);
    }

    pub(crate) fn add_written(&self, plain: u64) {
        self.written_bytes.fetch_add(plain, Ordering::Relaxed);
    }

    pub(crate) fn add_reused_chunk(&self, plain: u64) {
        self.reused_bytes.fetch_add(plain, Ordering::Relaxed);
        self.chunks.fetch_add(1, Ordering::Relaxed);
        self.reused_chunks.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add_transferred_chunk(&self, plain: u64, encoded: u64) {
        self.add_transferred_blob(plain, encoded);
        self.chunks.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add_transferred_blob(&self, plain: u64, encoded: u64) {
        self.transferred_bytes.fetch_add(plain, Ordering::Relaxed);
        self.encoded_bytes.fetch_add(encoded, Ordering::Relaxed);
    }
}
