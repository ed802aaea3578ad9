//! The fixed index format (spec `formats.md` §4).

use coldkeep_chunk_store::blob::CHUNK_BYTES_MAX;
use coldkeep_chunk_store::{DIGEST_BYTES, Digest, DigestBuilder};

use super::{
    CONTENT_BYTES_MAX, ChunkSpan, HEADER_BYTES, IndexError, IndexKind, check_magic, entry_digest, field,
    split_header,
};

/// Header of a fixed index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedHeader {
    /// Random id of the index.
    pub uuid: [u8; 16],
    /// Creation time, seconds since the Unix epoch.
    pub created_at: i64,
    /// Checksum as stored; readers recompute it and trust only that.
    pub csum: Digest,
    /// Size of the image in bytes.
    pub size: u64,
    /// Size of every chunk but the last.
    pub chunk_size: u64,
}

impl FixedHeader {
    /// Parses a header and checks it against the length of the file.
    ///
    /// # Errors
    /// [`IndexError::Magic`], [`IndexError::ChunkSize`], [`IndexError::ContentSize`], [`IndexError::FileLength`].
    pub fn parse(header: &[u8; HEADER_BYTES], file_bytes: u64) -> Result<Self, IndexError> {
        check_magic(IndexKind::Fixed, header)?;
        let parsed = Self {
            uuid: field(header, 8),
            created_at: i64::from_le_bytes(field(header, 24)),
            csum: Digest::from_bytes(field(header, 32)),
            size: u64::from_le_bytes(field(header, 64)),
            chunk_size: u64::from_le_bytes(field(header, 72)),
        };
        if !parsed.chunk_size.is_power_of_two() || parsed.chunk_size > CHUNK_BYTES_MAX as u64 {
            return Err(IndexError::ChunkSize { chunk_size: parsed.chunk_size });
        }
        if !(1..=CONTENT_BYTES_MAX).contains(&parsed.size) {
            return Err(IndexError::ContentSize { size: parsed.size });
        }
        // At most 2^50 chunks of 32 bytes: no overflow.
        if file_bytes != HEADER_BYTES as u64 + parsed.chunk_count() * DIGEST_BYTES as u64 {
            return Err(IndexError::FileLength { kind: IndexKind::Fixed, bytes: file_bytes });
        }
        Ok(parsed)
    }

    /// Writes the header; reserved bytes are zero.
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(&IndexKind::Fixed.magic());
        header[8..24].copy_from_slice(&self.uuid);
        header[24..32].copy_from_slice(&self.created_at.to_le_bytes());
        header[32..64].copy_from_slice(self.csum.as_bytes());
        header[64..72].copy_from_slice(&self.size.to_le_bytes());
        header[72..80].copy_from_slice(&self.chunk_size.to_le_bytes());
        header
    }

    /// Returns the number of entries.
    pub const fn chunk_count(&self) -> u64 {
        self.size.div_ceil(self.chunk_size)
    }

    /// Returns the span of entry `entry`, which must be below [`Self::chunk_count`].
    pub(super) fn span(&self, entry: u64, digest: Digest) -> ChunkSpan {
        let start = entry * self.chunk_size;
        ChunkSpan { digest, start, end: (start + self.chunk_size).min(self.size) }
    }
}

/// A fixed index in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FixedIndex {
    header: FixedHeader,
    digests: Vec<Digest>,
}

impl FixedIndex {
    /// Parses the bytes of a whole index file. The stored checksum is not compared; see [`Self::compute_csum`].
    ///
    /// # Errors
    /// Those of [`FixedHeader::parse`].
    pub fn parse(bytes: &[u8]) -> Result<Self, IndexError> {
        let (header, entries) = split_header(IndexKind::Fixed, bytes)?;
        let header = FixedHeader::parse(header, bytes.len() as u64)?;
        Ok(Self { header, digests: entries.chunks_exact(DIGEST_BYTES).map(entry_digest).collect() })
    }

    /// Writes the bytes of the index file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.header.to_bytes().to_vec();
        bytes.extend(self.digests.iter().flat_map(|digest| *digest.as_bytes()));
        bytes
    }

    /// Returns the header.
    pub const fn header(&self) -> &FixedHeader {
        &self.header
    }

    /// Returns the size of the image in bytes.
    pub const fn size(&self) -> u64 {
        self.header.size
    }

    /// Returns the digests in order.
    pub fn digests(&self) -> &[Digest] {
        &self.digests
    }

    /// Lists the entries in order.
    pub fn spans(&self) -> impl ExactSizeIterator<Item = ChunkSpan> + '_ {
        self.digests.iter().enumerate().map(|(entry, digest)| self.header.span(entry as u64, *digest))
    }

    /// Computes the checksum: SHA-256 over all digests.
    pub fn compute_csum(&self) -> Digest {
        let mut csum = DigestBuilder::new();
        self.digests.iter().for_each(|digest| csum.update(digest.as_bytes()));
        csum.finish()
    }
}
