//! Writing an index: under a temporary name, sealed with its checksum, then renamed.
//!
//! The temporary name is `<base>.tmp_fidx` or `<base>.tmp_didx` (spec `formats.md` §4), which no reader takes for an
//! index. A writer that is dropped before [`DynamicIndexWriter::commit`] or [`FixedIndexWriter::commit`] removes it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use coldkeep_chunk_store::dir::DirError;
use coldkeep_chunk_store::{DIGEST_BYTES, Digest, DigestBuilder};

use super::reader::Blocks;
use super::{
    CONTENT_BYTES_MAX, DynamicHeader, FIXED_CHUNK_BYTES, FixedHeader, HEADER_BYTES, IndexError, IndexKind,
    IndexReader, READ_BYTES, dynamic,
};
use crate::file::{Context as _, remove_if_there};

/// What a new index says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexOrigin {
    /// Random id.
    pub uuid: [u8; 16],
    /// Creation time, seconds since the Unix epoch.
    pub created_at: i64,
}

/// What a sealed index holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexTotals {
    /// Number of entries.
    pub chunk_count: u64,
    /// Size of the archive in bytes.
    pub size: u64,
    /// Checksum over the entries.
    pub csum: Digest,
}

/// The file of an index that is being written.
#[derive(Debug)]
struct Draft {
    file: File,
    temporary: PathBuf,
    target: PathBuf,
    committed: bool,
}

impl Draft {
    fn create(target: &Path, kind: IndexKind) -> Result<Self, DirError> {
        let temporary = target.with_extension(match kind {
            IndexKind::Fixed => "tmp_fidx",
            IndexKind::Dynamic => "tmp_didx",
        });
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&temporary)
            .context("create", &temporary)?;
        Ok(Self { file, temporary, target: target.to_owned(), committed: false })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), DirError> {
        self.file.write_all_at(bytes, offset).context("write", &self.temporary)
    }

    /// Writes the header, syncs the file and gives it its name; the folder is synced by the snapshot's commit.
    fn commit(mut self, header: &[u8; HEADER_BYTES]) -> Result<(), DirError> {
        self.write_at(header, 0)?;
        self.file.sync_all().context("sync", &self.temporary)?;
        fs::rename(&self.temporary, &self.target).context("rename a temporary file to", &self.target)?;
        self.committed = true;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.committed {
            // Best effort: the snapshot's folder goes too if its session fails.
            let _ = remove_if_there(&self.temporary);
        }
    }
}

/// Appends entries to a new dynamic index; blocking.
#[derive(Debug)]
pub struct DynamicIndexWriter {
    draft: Draft,
    origin: IndexOrigin,
    csum: DigestBuilder,
    chunk_count: u64,
    end: u64,
}

impl DynamicIndexWriter {
    /// Starts an index that will be called `target`.
    ///
    /// # Errors
    /// [`IndexError::File`].
    pub fn create(target: &Path, origin: IndexOrigin) -> Result<Self, IndexError> {
        let draft = Draft::create(target, IndexKind::Dynamic)?;
        Ok(Self { draft, origin, csum: DigestBuilder::new(), chunk_count: 0, end: 0 })
    }

    /// Returns the end of the last entry: the offset that the next one must have.
    pub const fn end(&self) -> u64 {
        self.end
    }

    /// Returns the number of entries.
    pub const fn chunk_count(&self) -> u64 {
        self.chunk_count
    }

    /// Appends chunks given with their plain lengths. If writing fails, none of them counts.
    ///
    /// # Errors
    /// [`IndexError::Offset`] for a length of 0 or above 16 MiB, or past 1 PiB; [`IndexError::File`].
    pub fn append(&mut self, chunks: &[(Digest, u64)]) -> Result<(), IndexError> {
        let mut bytes = Vec::with_capacity(chunks.len() * IndexKind::Dynamic.entry_bytes());
        let mut end = self.end;
        for (position, (digest, plain_len)) in chunks.iter().enumerate() {
            let entry = self.chunk_count + position as u64;
            end = dynamic::span(entry, end, end.saturating_add(*plain_len), *digest)?.end;
            bytes.extend(end.to_le_bytes());
            bytes.extend(digest.as_bytes());
        }
        let entry_bytes = IndexKind::Dynamic.entry_bytes() as u64;
        self.draft.write_at(&bytes, HEADER_BYTES as u64 + self.chunk_count * entry_bytes)?;
        self.csum.update(&bytes);
        self.chunk_count += chunks.len() as u64;
        self.end = end;
        Ok(())
    }

    /// Returns what the index holds now.
    pub fn summary(&self) -> IndexTotals {
        IndexTotals { chunk_count: self.chunk_count, size: self.end, csum: self.csum.clone().finish() }
    }

    /// Writes the checksum, syncs the file and gives it its name.
    ///
    /// # Errors
    /// [`IndexError::File`]; the temporary file is gone then.
    pub fn commit(self) -> Result<IndexTotals, IndexError> {
        let summary = self.summary();
        let IndexOrigin { uuid, created_at } = self.origin;
        self.draft.commit(&DynamicHeader { uuid, created_at, csum: summary.csum }.to_bytes())?;
        Ok(summary)
    }
}

/// Writes the positions of a new fixed index, in any order; blocking.
#[derive(Debug)]
pub struct FixedIndexWriter {
    draft: Draft,
    origin: IndexOrigin,
    /// Announced, or fixed by the first short chunk.
    size: Option<u64>,
    /// End of the furthest chunk written.
    reached: u64,
    prefilled: bool,
}

impl FixedIndexWriter {
    /// Starts an index that will be called `target`, with chunks of 4 MiB.
    ///
    /// Without `size` the index grows until a chunk shorter than 4 MiB ends it.
    ///
    /// # Errors
    /// [`IndexError::ContentSize`] for 0 or more than 1 PiB, [`IndexError::File`].
    pub fn create(target: &Path, size: Option<u64>, origin: IndexOrigin) -> Result<Self, IndexError> {
        if let Some(size) = size
            && !(1..=CONTENT_BYTES_MAX).contains(&size)
        {
            return Err(IndexError::ContentSize { size });
        }
        let draft = Draft::create(target, IndexKind::Fixed)?;
        Ok(Self { draft, origin, size, reached: 0, prefilled: false })
    }

    /// Copies all digests of `previous`, which must describe an archive of the same size.
    ///
    /// # Errors
    /// [`IndexError::Reuse`] if the sizes differ, [`IndexError::ChunkSize`], [`IndexError::File`].
    pub fn prefill(&mut self, previous: &IndexReader) -> Result<(), IndexError> {
        let chunk_size = previous.chunk_size().unwrap_or(0);
        if chunk_size != FIXED_CHUNK_BYTES {
            return Err(IndexError::ChunkSize { chunk_size });
        }
        // The same number of chunks is not enough: a last chunk of another length would not fit the size.
        let announced = self.size.unwrap_or(0);
        if previous.size() != announced {
            return Err(IndexError::Reuse { previous: previous.size(), announced });
        }
        let mut offset = HEADER_BYTES as u64;
        let mut block = Vec::with_capacity(READ_BYTES);
        for span in previous.spans() {
            block.extend(span?.digest.as_bytes());
            if block.len() >= READ_BYTES {
                self.draft.write_at(&block, offset)?;
                offset += block.len() as u64;
                block.clear();
            }
        }
        self.draft.write_at(&block, offset)?;
        self.reached = announced;
        self.prefilled = true;
        Ok(())
    }

    /// Returns the announced size, or the one that a short chunk fixed.
    pub const fn size(&self) -> Option<u64> {
        self.size
    }

    /// Tells whether the index began as a copy.
    pub const fn is_prefilled(&self) -> bool {
        self.prefilled
    }

    /// Writes one chunk at `offset`; overwrites what stood there.
    ///
    /// # Errors
    /// [`IndexError::Offset`] if the offset is no multiple of 4 MiB or past the end, or if the length is neither
    /// 4 MiB nor what the last chunk of the image needs; [`IndexError::File`].
    pub fn put(&mut self, digest: Digest, offset: u64, plain_len: u64) -> Result<(), IndexError> {
        let entry = offset / FIXED_CHUNK_BYTES;
        let end = offset.saturating_add(plain_len);
        let aligned =
            offset.is_multiple_of(FIXED_CHUNK_BYTES) && (1..=FIXED_CHUNK_BYTES).contains(&plain_len);
        let ends_image = match self.size {
            Some(size) => end == size,
            None => end >= self.reached,
        };
        let fits = end <= self.size.unwrap_or(CONTENT_BYTES_MAX);
        if !aligned || !fits || (plain_len < FIXED_CHUNK_BYTES && !ends_image) {
            return Err(IndexError::Offset { entry, start: offset, end });
        }
        self.draft.write_at(digest.as_bytes(), HEADER_BYTES as u64 + entry * DIGEST_BYTES as u64)?;
        self.reached = self.reached.max(end);
        if plain_len < FIXED_CHUNK_BYTES {
            self.size = Some(end);
        }
        Ok(())
    }

    /// Reads the positions back and returns what the index holds.
    ///
    /// # Errors
    /// [`IndexError::Hole`] for the first position that was never written, [`IndexError::ContentSize`] if nothing was
    /// appended, [`IndexError::File`].
    pub fn summary(&self) -> Result<IndexTotals, IndexError> {
        let size = self.size.unwrap_or(self.reached);
        if size == 0 {
            return Err(IndexError::ContentSize { size });
        }
        let chunk_count = size.div_ceil(FIXED_CHUNK_BYTES);
        if self.reached < size {
            return Err(IndexError::Hole { entry: self.reached / FIXED_CHUNK_BYTES });
        }
        let mut blocks = Blocks {
            file: &self.draft.file,
            path: &self.draft.temporary,
            offset: HEADER_BYTES as u64,
            end: HEADER_BYTES as u64 + chunk_count * DIGEST_BYTES as u64,
            block_bytes: READ_BYTES,
        };
        let (mut csum, mut buffer, mut entry) = (DigestBuilder::new(), Vec::new(), 0);
        while blocks.next_into(&mut buffer)? {
            let hole = buffer.chunks_exact(DIGEST_BYTES).position(|digest| digest == [0; DIGEST_BYTES]);
            if let Some(position) = hole {
                return Err(IndexError::Hole { entry: entry + position as u64 });
            }
            csum.update(&buffer);
            entry += (buffer.len() / DIGEST_BYTES) as u64;
        }
        Ok(IndexTotals { chunk_count, size, csum: csum.finish() })
    }

    /// Writes the header of what [`Self::summary`] returned, syncs the file and gives it its name.
    ///
    /// # Errors
    /// [`IndexError::File`]; the temporary file is gone then.
    pub fn commit(self, summary: &IndexTotals) -> Result<(), IndexError> {
        let IndexOrigin { uuid, created_at } = self.origin;
        let header = FixedHeader {
            uuid,
            created_at,
            csum: summary.csum,
            size: summary.size,
            chunk_size: FIXED_CHUNK_BYTES,
        };
        self.draft.commit(&header.to_bytes())?;
        Ok(())
    }
}
