//! Zeroed memory that goes back to the system as soon as it is dropped.

use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

/// Bytes from which on memory is mapped: below, the pages would be rounded up by too much.
const MAPPED_MIN: usize = 64 << 10;

/// Zeroed bytes.
///
/// An allocator keeps what tables outgrew, in one arena for each thread that made them grow: measured with four threads,
/// half as much again as the tables themselves. Larger pieces are therefore mappings of their own.
pub(super) enum Memory {
    Allocated(Box<[u8]>),
    Mapped(MmapMut),
}

impl Memory {
    pub(super) fn zeroed(len: usize) -> Self {
        let mapped = if len < MAPPED_MIN { None } else { MmapMut::map_anon(len).ok() };
        // Where nothing more can be mapped the allocator may still have some.
        mapped.map_or_else(|| Self::Allocated(vec![0; len].into_boxed_slice()), Self::Mapped)
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::Allocated(Box::default())
    }
}

impl Clone for Memory {
    fn clone(&self) -> Self {
        let mut copy = Self::zeroed(self.len());
        copy.copy_from_slice(self);
        copy
    }
}

impl Deref for Memory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Allocated(bytes) => bytes,
            Self::Mapped(bytes) => bytes,
        }
    }
}

impl DerefMut for Memory {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Allocated(bytes) => bytes,
            Self::Mapped(bytes) => bytes,
        }
    }
}
