//! A whole index, as fetched from a server, checked against the manifest.

use bytes::Bytes;
use coldkeep_chunk_store::blob::CHUNK_BYTES_MAX;
use coldkeep_chunk_store::{DIGEST_BYTES, Digest};
use coldkeep_datastore::index::{
    CONTENT_BYTES_MAX, ChunkSpan, DynamicHeader, FixedHeader, HEADER_BYTES, IndexError, IndexKind,
};
use coldkeep_datastore::manifest::FileInfo;

/// Longest index fetched: 512 MiB describe a 64 TiB image or a stream of 50 TiB.
pub(crate) const INDEX_BYTES_MAX: usize = 512 << 20;

/// An index of either kind, in memory as it is stored; cloning is cheap.
///
/// Entries are decoded as they are walked over, so a large index takes no more memory than its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredIndex {
    bytes: Bytes,
    kind: IndexKind,
    /// Size of every chunk of a fixed index but the last; 0 for a dynamic index.
    chunk_size: u64,
    size: u64,
}

/// An index is not what the manifest says.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexMismatch {
    /// It does not parse.
    #[error(transparent)]
    Malformed(#[from] IndexError),
    /// It describes another size.
    #[error("the index describes {got} bytes, the manifest says {expected}")]
    Size {
        /// Size in the manifest.
        expected: u64,
        /// Size in the index.
        got: u64,
    },
    /// Its entries have another checksum.
    #[error("the index has checksum {got}, the manifest says {expected}")]
    Checksum {
        /// Checksum in the manifest.
        expected: Digest,
        /// Checksum of the entries.
        got: Digest,
    },
}

impl StoredIndex {
    /// Takes the bytes of a whole index file, by the rules of [`FixedIndex::parse`] and [`DynamicIndex::parse`]; neither
    /// checksum nor size are compared with anything, see [`check`](Self::check).
    ///
    /// # Errors
    /// [`IndexError::Magic`], [`IndexError::FileLength`], [`IndexError::ChunkSize`], [`IndexError::ContentSize`],
    /// [`IndexError::Offset`]: this is no index of that kind.
    ///
    /// [`FixedIndex::parse`]: coldkeep_datastore::index::FixedIndex::parse
    /// [`DynamicIndex::parse`]: coldkeep_datastore::index::DynamicIndex::parse
    pub fn parse(kind: IndexKind, bytes: Bytes) -> Result<Self, IndexError> {
        let file_bytes = bytes.len() as u64;
        let Some((header, entries)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(IndexError::FileLength { kind, bytes: file_bytes });
        };
        let (chunk_size, size) = match kind {
            IndexKind::Fixed => {
                let header = FixedHeader::parse(header, file_bytes)?;
                (header.chunk_size, header.size)
            }
            IndexKind::Dynamic => {
                DynamicHeader::parse(header, file_bytes)?;
                (0, checked_end(entries)?)
            }
        };
        Ok(Self { bytes, kind, chunk_size, size })
    }

    /// Compares size and recomputed checksum with those in the manifest.
    ///
    /// # Errors
    /// [`IndexMismatch::Size`], [`IndexMismatch::Checksum`]: this is another index than the manifest names.
    pub fn check(&self, expected: &FileInfo) -> Result<(), IndexMismatch> {
        if self.size != expected.size {
            return Err(IndexMismatch::Size { expected: expected.size, got: self.size });
        }
        let csum = self.compute_csum();
        if csum != expected.csum {
            return Err(IndexMismatch::Checksum { expected: expected.csum, got: csum });
        }
        Ok(())
    }

    /// Returns the file as it is stored, header included.
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Returns which kind of index this is.
    pub const fn kind(&self) -> IndexKind {
        self.kind
    }

    /// Returns the size of the archive in bytes; 0 for a dynamic index without entries.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Computes the checksum: SHA-256 over all entries as stored (spec `formats.md` §4 and §5).
    pub fn compute_csum(&self) -> Digest {
        Digest::of(self.entries())
    }

    /// Lists the entries in the order of the archive.
    pub fn spans(&self) -> impl ExactSizeIterator<Item = ChunkSpan> + '_ {
        Spans {
            entries: self.entries().chunks_exact(self.kind.entry_bytes()),
            chunk_size: self.chunk_size,
            size: self.size,
            start: 0,
        }
    }

    fn entries(&self) -> &[u8] {
        // Checked when it was parsed.
        self.bytes.get(HEADER_BYTES..).unwrap_or_default()
    }
}

/// Walks over the entries of an index that was parsed.
#[derive(Debug)]
struct Spans<'a> {
    entries: std::slice::ChunksExact<'a, u8>,
    chunk_size: u64,
    size: u64,
    start: u64,
}

impl Iterator for Spans<'_> {
    type Item = ChunkSpan;

    fn next(&mut self) -> Option<ChunkSpan> {
        let entry = self.entries.next()?;
        let (end, digest) = if entry.len() == DIGEST_BYTES {
            ((self.start + self.chunk_size).min(self.size), digest_at_end(entry))
        } else {
            dynamic_entry(entry)
        };
        let span = ChunkSpan { digest, start: self.start, end };
        self.start = end;
        Some(span)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.entries.size_hint()
    }
}

impl ExactSizeIterator for Spans<'_> {}

/// Checks the end offsets of a dynamic index and returns the last one.
fn checked_end(entries: &[u8]) -> Result<u64, IndexError> {
    let mut start = 0;
    for (entry, bytes) in entries.chunks_exact(IndexKind::Dynamic.entry_bytes()).enumerate() {
        let (end, _) = dynamic_entry(bytes);
        let length = end.saturating_sub(start);
        if !(1..=CHUNK_BYTES_MAX as u64).contains(&length) || end > CONTENT_BYTES_MAX {
            return Err(IndexError::Offset { entry: entry as u64, start, end });
        }
        start = end;
    }
    Ok(start)
}

/// Reads one entry of a dynamic index: end offset and digest.
fn dynamic_entry(entry: &[u8]) -> (u64, Digest) {
    let mut end = [0; 8];
    end.copy_from_slice(&entry[..8]);
    (u64::from_le_bytes(end), digest_at_end(entry))
}

/// Reads the digest of an entry, which ends with it in both kinds.
fn digest_at_end(entry: &[u8]) -> Digest {
    let mut digest = [0; DIGEST_BYTES];
    digest.copy_from_slice(&entry[entry.len() - DIGEST_BYTES..]);
    Digest::from_bytes(digest)
}

#[cfg(test)]
mod tests {
    use coldkeep_datastore::index::{DynamicIndex, FixedIndex};
    use coldkeep_datastore::manifest::CryptMode;
    use proptest::prelude::*;

    use super::*;

    fn vector(name: &str) -> Bytes {
        std::fs::read(format!("{}/../docs/vectors/index/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap().into()
    }

    #[test]
    fn the_sample_indexes_fit_their_checksums() {
        for (file, kind, size, csum) in [
            (
                "two-chunks.fidx",
                IndexKind::Fixed,
                4_194_307,
                "3fa6db8310a97daafad66b46d1d89070c4fe821f88b40cb9a06fa9aca84e30ce",
            ),
            (
                "two-chunks.didx",
                IndexKind::Dynamic,
                8,
                "53614531d88db817d6796ccdba680e6b50bcec99ce048f7d30ab65fc879ab78c",
            ),
        ] {
            let index = StoredIndex::parse(kind, vector(file)).unwrap();
            let entry = |size, csum| FileInfo::new(file.parse().unwrap(), CryptMode::None, size, csum);
            let csum = csum.parse().unwrap();
            index.check(&entry(size, csum)).unwrap();
            assert!(matches!(index.check(&entry(size + 1, csum)), Err(IndexMismatch::Size { .. })));
            let other = Digest::of(b"other");
            assert!(matches!(index.check(&entry(size, other)), Err(IndexMismatch::Checksum { .. })));
            assert_eq!(index.spans().map(|span| span.plain_len()).sum::<u64>(), size);
            assert_eq!(index.spans().len(), 2);
            assert_eq!((index.kind(), index.bytes()), (kind, &vector(file)));
        }
    }

    #[test]
    fn the_other_kind_and_cut_files_are_refused() {
        assert!(StoredIndex::parse(IndexKind::Fixed, vector("two-chunks.didx")).is_err());
        assert!(StoredIndex::parse(IndexKind::Dynamic, Bytes::new()).is_err());
        for (file, kind) in [("two-chunks.fidx", IndexKind::Fixed), ("two-chunks.didx", IndexKind::Dynamic)] {
            let whole = vector(file);
            let cut = StoredIndex::parse(kind, whole.slice(..whole.len() - 1));
            assert!(matches!(cut, Err(IndexError::FileLength { .. })));
        }
    }

    /// What the datastore's own parser makes of the bytes: spans, size, checksum.
    fn expected(kind: IndexKind, bytes: &[u8]) -> Option<(Vec<ChunkSpan>, u64, Digest)> {
        match kind {
            IndexKind::Fixed => {
                let index = FixedIndex::parse(bytes).ok()?;
                Some((index.spans().collect(), index.size(), index.compute_csum()))
            }
            IndexKind::Dynamic => {
                let index = DynamicIndex::parse(bytes).ok()?;
                Some((index.spans().to_vec(), index.size(), index.compute_csum()))
            }
        }
    }

    proptest! {
        // Goal: what a remote sends is judged here as the datastore judges it. Headers and ends are near the limits, so
        // that good and bad ones are equally likely.
        #[test]
        fn bytes_are_judged_as_the_datastore_judges_them(
            ends in prop::collection::vec(prop_oneof![4 => 1_u64..1 << 24, 1 => Just(1 << 24), 1 => Just((1 << 24) + 1), 1 => Just(0)], 0..6),
            chunk_size in prop_oneof![Just(1_u64 << 22), Just(4096), Just(0), Just(3), Just(1 << 25)],
            size in 0_u64..40 << 20,
            tail in 0_usize..2,
        ) {
            let header = DynamicHeader { uuid: [1; 16], created_at: 7, csum: Digest::of(b"") };
            let mut dynamic = header.to_bytes().to_vec();
            let mut end = 0;
            for length in &ends {
                end += length;
                dynamic.extend_from_slice(&end.to_le_bytes());
                dynamic.extend_from_slice(Digest::of(&end.to_le_bytes()).as_bytes());
            }
            let header = FixedHeader { uuid: [1; 16], created_at: 7, csum: Digest::of(b""), size, chunk_size };
            let mut fixed = header.to_bytes().to_vec();
            if chunk_size > 0 && size / chunk_size < 1000 {
                (0..header.chunk_count()).for_each(|entry| fixed.extend(Digest::of(&entry.to_le_bytes()).as_bytes()));
            }
            for (kind, mut bytes) in [(IndexKind::Dynamic, dynamic), (IndexKind::Fixed, fixed)] {
                bytes.resize(bytes.len() + tail, 0);
                let got = StoredIndex::parse(kind, bytes.clone().into()).ok();
                let got = got.map(|index| (index.spans().collect(), index.size(), index.compute_csum()));
                prop_assert_eq!(got, expected(kind, &bytes));
            }
        }
    }
}
