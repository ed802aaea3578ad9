//! The dynamic index format (spec `formats.md` §5).

use coldkeep_chunk_store::blob::CHUNK_BYTES_MAX;
use coldkeep_chunk_store::{Digest, DigestBuilder};

use super::{
    CONTENT_BYTES_MAX, ChunkSpan, HEADER_BYTES, IndexError, IndexKind, check_magic, entry_digest, entry_end,
    field, split_header,
};

/// Header of a dynamic index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DynamicHeader {
    /// Random id of the index.
    pub uuid: [u8; 16],
    /// Creation time, seconds since the Unix epoch.
    pub created_at: i64,
    /// Checksum as stored; readers recompute it and trust only that.
    pub csum: Digest,
}

impl DynamicHeader {
    /// Parses a header and checks it against the length of the file.
    ///
    /// # Errors
    /// [`IndexError::Magic`], [`IndexError::FileLength`].
    pub fn parse(header: &[u8; HEADER_BYTES], file_bytes: u64) -> Result<Self, IndexError> {
        check_magic(IndexKind::Dynamic, header)?;
        let entry_bytes = IndexKind::Dynamic.entry_bytes() as u64;
        match file_bytes.checked_sub(HEADER_BYTES as u64) {
            Some(entries) if entries.is_multiple_of(entry_bytes) => Ok(Self {
                uuid: field(header, 8),
                created_at: i64::from_le_bytes(field(header, 24)),
                csum: Digest::from_bytes(field(header, 32)),
            }),
            _ => Err(IndexError::FileLength { kind: IndexKind::Dynamic, bytes: file_bytes }),
        }
    }

    /// Writes the header; reserved bytes are zero.
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(&IndexKind::Dynamic.magic());
        header[8..24].copy_from_slice(&self.uuid);
        header[24..32].copy_from_slice(&self.created_at.to_le_bytes());
        header[32..64].copy_from_slice(self.csum.as_bytes());
        header
    }
}

/// Checks one end offset against the one before.
pub(super) fn span(entry: u64, start: u64, end: u64, digest: Digest) -> Result<ChunkSpan, IndexError> {
    let length = end.checked_sub(start).filter(|length| (1..=CHUNK_BYTES_MAX as u64).contains(length));
    match length {
        Some(_) if end <= CONTENT_BYTES_MAX => Ok(ChunkSpan { digest, start, end }),
        _ => Err(IndexError::Offset { entry, start, end }),
    }
}

/// A dynamic index in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DynamicIndex {
    header: DynamicHeader,
    spans: Vec<ChunkSpan>,
}

impl DynamicIndex {
    /// Parses the bytes of a whole index file. The stored checksum is not compared; see [`Self::compute_csum`].
    ///
    /// # Errors
    /// Those of [`DynamicHeader::parse`], and [`IndexError::Offset`].
    pub fn parse(bytes: &[u8]) -> Result<Self, IndexError> {
        let (header, entries) = split_header(IndexKind::Dynamic, bytes)?;
        let header = DynamicHeader::parse(header, bytes.len() as u64)?;
        let mut start = 0;
        let spans = entries
            .chunks_exact(IndexKind::Dynamic.entry_bytes())
            .enumerate()
            .map(|(entry, bytes)| {
                let span = span(entry as u64, start, entry_end(bytes), entry_digest(bytes))?;
                start = span.end;
                Ok(span)
            })
            .collect::<Result<_, IndexError>>()?;
        Ok(Self { header, spans })
    }

    /// Writes the bytes of the index file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.header.to_bytes().to_vec();
        for span in &self.spans {
            bytes.extend(span.end.to_le_bytes());
            bytes.extend(span.digest.as_bytes());
        }
        bytes
    }

    /// Returns the header.
    pub const fn header(&self) -> &DynamicHeader {
        &self.header
    }

    /// Returns the size of the stream in bytes; 0 for an index without entries.
    pub fn size(&self) -> u64 {
        self.spans.last().map_or(0, |span| span.end)
    }

    /// Returns the entries in order.
    pub fn spans(&self) -> &[ChunkSpan] {
        &self.spans
    }

    /// Computes the checksum: SHA-256 over all entries as stored.
    pub fn compute_csum(&self) -> Digest {
        let mut csum = DigestBuilder::new();
        for span in &self.spans {
            csum.update(&span.end.to_le_bytes());
            csum.update(span.digest.as_bytes());
        }
        csum.finish()
    }
}
