//! Index files: the ordered digests that rebuild one archive.
//!
//! A **fixed** index (`.fidx`) names chunks of equal size, a **dynamic** one (`.didx`) chunks with their end offsets
//! (spec `formats.md` §4 and §5). Both start with a header of 4096 bytes. [`FixedIndex`] and [`DynamicIndex`] hold a
//! whole index in memory (the client's view); [`IndexReader`] streams one from a file by positioned reads, never by a
//! memory mapping: a file that shrinks is an error, not a signal.

mod dynamic;
mod error;
mod fixed;
mod reader;
mod writer;

pub use dynamic::{DynamicHeader, DynamicIndex};
pub use error::IndexError;
pub use fixed::{FixedHeader, FixedIndex};
pub use reader::{IndexReader, Spans};
pub use writer::{DynamicIndexWriter, FixedIndexWriter, IndexOrigin, IndexTotals};

use coldkeep_chunk_store::{DIGEST_BYTES, Digest};

/// Length of the header of both kinds (spec `formats.md` §4 and §5).
pub const HEADER_BYTES: usize = 4096;

/// Chunk size of every fixed index that the server writes: 4 MiB (spec `formats.md` §3).
pub const FIXED_CHUNK_BYTES: u64 = 4 << 20;

/// Most content an index may describe: 1 PiB, so that a hostile size cannot make an index file of terabytes.
pub const CONTENT_BYTES_MAX: u64 = 1 << 50;

/// Size of one positioned read.
const READ_BYTES: usize = 1 << 20;

const MAGIC_BYTES: usize = 8;

/// The two kinds of index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IndexKind {
    /// Equal-size chunks, `.fidx`.
    Fixed,
    /// Chunks with end offsets, `.didx`.
    Dynamic,
}

impl IndexKind {
    /// Returns the first eight bytes of a file of this kind (spec `formats.md` §1).
    const fn magic(self) -> [u8; MAGIC_BYTES] {
        match self {
            Self::Fixed => [0x2f, 0x7f, 0x41, 0xed, 0x91, 0xfd, 0x0f, 0xcd],
            Self::Dynamic => [0x1c, 0x91, 0x4e, 0xa5, 0x19, 0xba, 0xb3, 0xcd],
        }
    }

    /// Returns the length of one entry.
    pub const fn entry_bytes(self) -> usize {
        match self {
            Self::Fixed => DIGEST_BYTES,
            Self::Dynamic => 8 + DIGEST_BYTES,
        }
    }

    /// Returns the suffix of the file's name, without a dot.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Fixed => "fidx",
            Self::Dynamic => "didx",
        }
    }
}

impl std::fmt::Display for IndexKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fixed => "fixed",
            Self::Dynamic => "dynamic",
        })
    }
}

/// One entry of an index: a chunk and the part of the archive that it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkSpan {
    /// The chunk.
    pub digest: Digest,
    /// Offset of its first byte in the archive.
    pub start: u64,
    /// Offset behind its last byte; always above `start`.
    pub end: u64,
}

impl ChunkSpan {
    /// Returns the plain length of the chunk.
    pub const fn plain_len(&self) -> u64 {
        self.end - self.start
    }
}

/// Reads `N` bytes at `offset` of a header; the caller checked that the header is whole.
fn field<const N: usize>(header: &[u8; HEADER_BYTES], offset: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&header[offset..offset + N]);
    bytes
}

fn check_magic(kind: IndexKind, header: &[u8; HEADER_BYTES]) -> Result<(), IndexError> {
    if field(header, 0) == kind.magic() { Ok(()) } else { Err(IndexError::Magic { kind }) }
}

/// Splits a whole index into header and entries.
fn split_header(kind: IndexKind, bytes: &[u8]) -> Result<(&[u8; HEADER_BYTES], &[u8]), IndexError> {
    bytes.split_first_chunk().ok_or(IndexError::FileLength { kind, bytes: bytes.len() as u64 })
}

/// Tells whether a whole index agrees with the checksum in its header: over all entries as stored, in both kinds (spec
/// `formats.md` §4 and §5).
pub(crate) fn agrees_with_csum(bytes: &[u8]) -> bool {
    bytes
        .split_first_chunk::<HEADER_BYTES>()
        .is_some_and(|(header, entries)| Digest::of(entries) == Digest::from_bytes(field(header, 32)))
}

/// Reads the digest of one entry; fixed entries are a digest only, dynamic ones end with it.
fn entry_digest(entry: &[u8]) -> Digest {
    let mut bytes = [0; DIGEST_BYTES];
    bytes.copy_from_slice(&entry[entry.len() - DIGEST_BYTES..]);
    Digest::from_bytes(bytes)
}

/// Reads the end offset of one dynamic entry.
fn entry_end(entry: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&entry[..8]);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests;
