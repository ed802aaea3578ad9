//! Why bytes are no index, or an index cannot be read or written.

use coldkeep_chunk_store::Digest;
use coldkeep_chunk_store::dir::DirError;

use super::IndexKind;
use crate::file::is_missing;

/// An index that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The first eight bytes are not those of the kind.
    #[error("not a {kind} index: unknown magic")]
    Magic {
        /// The expected kind.
        kind: IndexKind,
    },
    /// The length does not fit the header and a whole number of entries.
    #[error("a {kind} index cannot be {bytes} bytes long; it is cut short or has trailing bytes")]
    FileLength {
        /// The kind.
        kind: IndexKind,
        /// Length of the file.
        bytes: u64,
    },
    /// The chunk size is no power of two up to 16 MiB.
    #[error("chunk size {chunk_size} is no power of two up to 16 MiB")]
    ChunkSize {
        /// The size in the header.
        chunk_size: u64,
    },
    /// The size of the content is zero or above the limit.
    #[error("content size {size} is outside 1 byte to 1 PiB")]
    ContentSize {
        /// The size.
        size: u64,
    },
    /// The end of an entry is not above its start, or the chunk would be longer than 16 MiB.
    #[error("entry {entry} of the dynamic index ends at {end} and starts at {start}")]
    Offset {
        /// Position of the entry.
        entry: u64,
        /// End of the entry before.
        start: u64,
        /// End of this entry.
        end: u64,
    },
    /// A position of the fixed index was never written.
    #[error("chunk {entry} of the fixed index was never appended")]
    Hole {
        /// Position of the entry.
        entry: u64,
    },
    /// An index cannot be reused for an archive of another size.
    #[error("the previous index describes {previous} bytes, the new one {announced}: it cannot be reused")]
    Reuse {
        /// Size of the previous archive.
        previous: u64,
        /// Announced size of the new one.
        announced: u64,
    },
    /// The checksum is not the announced one.
    #[error("index checksum is {got}, announced was {expected}")]
    Checksum {
        /// The announced checksum.
        expected: Digest,
        /// The computed checksum.
        got: Digest,
    },
    /// The file could not be read or written.
    #[error(transparent)]
    File(#[from] DirError),
}

impl IndexError {
    /// Tells whether the index file does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::File(error) if is_missing(error))
    }

    /// Tells whether the bytes are at fault, not the reading of them.
    pub fn is_malformed(&self) -> bool {
        !matches!(self, Self::File(_))
    }
}
