//! Bounds of one transfer.

use std::num::NonZeroUsize;

/// Bounds of one upload or download: memory, requests in flight, busy cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransferLimits {
    /// Most bytes of chunks held between reading and sending, or between fetching and writing. At least 16 MiB, the
    /// largest chunk, are always granted.
    pub memory_bytes: usize,
    /// Most chunks on the way to or from the server.
    pub requests: usize,
    /// Most chunks hashed, compressed or decoded at once.
    pub workers: usize,
}

impl Default for TransferLimits {
    /// 64 MiB, 12 requests, one worker per core.
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            requests: 12,
            workers: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
        }
    }
}

impl TransferLimits {
    /// Sets the memory bound.
    #[must_use]
    pub const fn with_memory_bytes(mut self, bytes: usize) -> Self {
        self.memory_bytes = bytes;
        self
    }

    /// Sets the number of requests in flight.
    #[must_use]
    pub const fn with_requests(mut self, requests: usize) -> Self {
        self.requests = requests;
        self
    }

    /// Sets the number of workers.
    #[must_use]
    pub const fn with_workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }
}
