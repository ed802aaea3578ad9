//! Chunk buffers used again: fresh memory of some MiB for every chunk costs more in page faults than the copying.

use std::sync::{Mutex, PoisonError};

/// Most buffers kept.
const BUFFERS_MAX: usize = 4;

/// A buffer larger than this is not kept: most chunks are much smaller than the largest ones.
const KEPT_BYTES_MAX: usize = 9 << 20;

/// A few empty buffers with room in them.
#[derive(Debug, Default)]
pub(super) struct BufferPool(Mutex<Vec<Vec<u8>>>);

impl BufferPool {
    /// Returns an empty buffer.
    pub(super) fn take(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Keeps a buffer for later.
    pub(super) fn give(&self, mut buffer: Vec<u8>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < BUFFERS_MAX && buffer.capacity() <= KEPT_BYTES_MAX {
            buffer.clear();
            kept.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_empty_and_large_ones_are_not_kept() {
        let pool = BufferPool::default();
        pool.give(vec![1; 1000]);
        let buffer = pool.take();
        assert!(buffer.is_empty() && buffer.capacity() >= 1000);
        pool.give(Vec::with_capacity(KEPT_BYTES_MAX + 1));
        assert_eq!(pool.take().capacity(), 0);
    }
}
