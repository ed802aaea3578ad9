//! Streaming an index from its file.

use std::fs::File;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use coldkeep_chunk_store::{Digest, DigestBuilder};

use super::{
    ChunkSpan, DynamicHeader, FixedHeader, HEADER_BYTES, IndexError, IndexKind, READ_BYTES, dynamic,
    entry_digest, entry_end,
};
use crate::file::Context as _;

/// An open index file, read by positioned reads of 1 MiB; blocking.
///
/// The length is taken once, when the file is opened: a file that shrinks later is an error, one that grows is not seen.
#[derive(Debug)]
pub struct IndexReader {
    file: File,
    path: PathBuf,
    header: Header,
    chunk_count: u64,
    size: u64,
}

#[derive(Debug, Clone, Copy)]
enum Header {
    Fixed(FixedHeader),
    Dynamic,
}

impl IndexReader {
    /// Opens the index file at `path` and parses its header.
    ///
    /// # Errors
    /// [`IndexError::File`] if it cannot be read, else what is wrong with its header or length.
    pub fn open(path: &Path, kind: IndexKind) -> Result<Self, IndexError> {
        let file = File::open(path).context("open", path)?;
        let file_bytes = file.metadata().context("read the length of", path)?.len();
        if file_bytes < HEADER_BYTES as u64 {
            return Err(IndexError::FileLength { kind, bytes: file_bytes });
        }
        let mut header = [0; HEADER_BYTES];
        file.read_exact_at(&mut header, 0).context("read", path)?;
        let header = match kind {
            IndexKind::Fixed => Header::Fixed(FixedHeader::parse(&header, file_bytes)?),
            IndexKind::Dynamic => {
                DynamicHeader::parse(&header, file_bytes)?;
                Header::Dynamic
            }
        };
        let chunk_count = (file_bytes - HEADER_BYTES as u64) / kind.entry_bytes() as u64;
        let mut reader = Self { file, path: path.to_owned(), header, chunk_count, size: 0 };
        reader.size = reader.content_size()?;
        Ok(reader)
    }

    /// Returns the kind.
    pub const fn kind(&self) -> IndexKind {
        match self.header {
            Header::Fixed(_) => IndexKind::Fixed,
            Header::Dynamic => IndexKind::Dynamic,
        }
    }

    /// Returns the number of entries.
    pub const fn chunk_count(&self) -> u64 {
        self.chunk_count
    }

    /// Returns the size of the archive in bytes, as the manifest states it.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Returns the chunk size of a fixed index.
    pub const fn chunk_size(&self) -> Option<u64> {
        match self.header {
            Header::Fixed(header) => Some(header.chunk_size),
            Header::Dynamic => None,
        }
    }

    /// Lists the entries in order; ends after the first error.
    pub fn spans(&self) -> Spans<'_> {
        Spans { index: self, blocks: self.blocks(), buffer: Vec::new(), at: 0, entry: 0, start: 0 }
    }

    /// Gives all digests to `sink`, in order and some ten thousand at a time: the collector's way, without a look at
    /// offsets. `Break` ends the reading.
    ///
    /// # Errors
    /// [`IndexError::File`]; digests before the failing read were given already.
    pub fn for_each_block(
        &self,
        sink: &mut dyn FnMut(&[Digest]) -> ControlFlow<()>,
    ) -> Result<(), IndexError> {
        let (mut buffer, mut digests) = (Vec::new(), Vec::new());
        let mut blocks = self.blocks();
        while blocks.next_into(&mut buffer)? {
            digests.clear();
            digests.extend(buffer.chunks_exact(self.kind().entry_bytes()).map(entry_digest));
            if sink(&digests).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Computes the checksum over all entries as stored.
    ///
    /// # Errors
    /// [`IndexError::File`].
    pub fn compute_csum(&self) -> Result<Digest, IndexError> {
        let mut csum = DigestBuilder::new();
        let mut buffer = Vec::new();
        let mut blocks = self.blocks();
        while blocks.next_into(&mut buffer)? {
            csum.update(&buffer);
        }
        Ok(csum.finish())
    }

    fn content_size(&self) -> Result<u64, IndexError> {
        match self.header {
            Header::Fixed(header) => Ok(header.size),
            Header::Dynamic if self.chunk_count == 0 => Ok(0),
            Header::Dynamic => {
                let mut end = [0; 8];
                let entry_bytes = IndexKind::Dynamic.entry_bytes() as u64;
                let offset = HEADER_BYTES as u64 + (self.chunk_count - 1) * entry_bytes;
                self.file.read_exact_at(&mut end, offset).context("read", &self.path)?;
                Ok(u64::from_le_bytes(end))
            }
        }
    }

    fn blocks(&self) -> Blocks<'_> {
        let entry_bytes = self.kind().entry_bytes();
        Blocks {
            file: &self.file,
            path: &self.path,
            offset: HEADER_BYTES as u64,
            end: HEADER_BYTES as u64 + self.chunk_count * entry_bytes as u64,
            block_bytes: READ_BYTES / entry_bytes * entry_bytes,
        }
    }
}

/// Whole entries, about 1 MiB at a time.
#[derive(Debug)]
pub(super) struct Blocks<'a> {
    pub(super) file: &'a File,
    pub(super) path: &'a Path,
    pub(super) offset: u64,
    pub(super) end: u64,
    pub(super) block_bytes: usize,
}

impl Blocks<'_> {
    /// Reads the next block; `false` at the end.
    pub(super) fn next_into(&mut self, buffer: &mut Vec<u8>) -> Result<bool, IndexError> {
        let bytes = (self.end - self.offset).min(self.block_bytes as u64);
        if bytes == 0 {
            return Ok(false);
        }
        buffer.resize(bytes as usize, 0);
        self.file.read_exact_at(buffer, self.offset).context("read", self.path)?;
        self.offset += bytes;
        Ok(true)
    }
}

/// The entries of an index, in order.
#[derive(Debug)]
pub struct Spans<'a> {
    index: &'a IndexReader,
    blocks: Blocks<'a>,
    buffer: Vec<u8>,
    at: usize,
    entry: u64,
    start: u64,
}

impl Spans<'_> {
    fn advance(&mut self) -> Result<Option<ChunkSpan>, IndexError> {
        if self.at == self.buffer.len() {
            self.at = 0;
            if !self.blocks.next_into(&mut self.buffer)? {
                self.buffer.clear();
                return Ok(None);
            }
        }
        let bytes = &self.buffer[self.at..self.at + self.index.kind().entry_bytes()];
        let span = match self.index.header {
            Header::Fixed(header) => header.span(self.entry, entry_digest(bytes)),
            Header::Dynamic => dynamic::span(self.entry, self.start, entry_end(bytes), entry_digest(bytes))?,
        };
        self.at += bytes.len();
        self.entry += 1;
        self.start = span.end;
        Ok(Some(span))
    }
}

impl Iterator for Spans<'_> {
    type Item = Result<ChunkSpan, IndexError>;

    fn next(&mut self) -> Option<Self::Item> {
        let advanced = self.advance();
        if advanced.is_err() {
            // Fused: nothing comes after an error.
            self.blocks.offset = self.blocks.end;
            self.buffer.clear();
            self.at = 0;
        }
        advanced.transpose()
    }
}
