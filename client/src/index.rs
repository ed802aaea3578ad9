//! A whole index, as fetched from a server, checked against the manifest.

use coldkeep_chunk_store::Digest;
use coldkeep_datastore::index::{ChunkSpan, DynamicIndex, FixedIndex, IndexError, IndexKind};
use coldkeep_datastore::manifest::FileInfo;

/// Longest index fetched: 512 MiB describe a 64 TiB image or a stream of 50 TiB.
pub(crate) const INDEX_BYTES_MAX: usize = 512 << 20;

/// An index of either kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Index {
    Fixed(FixedIndex),
    Dynamic(DynamicIndex),
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

impl Index {
    pub(crate) fn parse(kind: IndexKind, bytes: &[u8]) -> Result<Self, IndexError> {
        match kind {
            IndexKind::Fixed => FixedIndex::parse(bytes).map(Self::Fixed),
            IndexKind::Dynamic => DynamicIndex::parse(bytes).map(Self::Dynamic),
        }
    }

    /// Compares size and recomputed checksum with the manifest's.
    pub(crate) fn check(&self, expected: &FileInfo) -> Result<(), IndexMismatch> {
        let (size, csum) = (self.size(), self.compute_csum());
        if size != expected.size {
            return Err(IndexMismatch::Size { expected: expected.size, got: size });
        }
        if csum != expected.csum {
            return Err(IndexMismatch::Checksum { expected: expected.csum, got: csum });
        }
        Ok(())
    }

    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Fixed(index) => index.size(),
            Self::Dynamic(index) => index.size(),
        }
    }

    fn compute_csum(&self) -> Digest {
        match self {
            Self::Fixed(index) => index.compute_csum(),
            Self::Dynamic(index) => index.compute_csum(),
        }
    }

    /// Returns the entries in order.
    pub(crate) fn spans(&self) -> impl Iterator<Item = ChunkSpan> + '_ {
        let (fixed, dynamic) = match self {
            Self::Fixed(index) => (Some(index.spans()), None),
            Self::Dynamic(index) => (None, Some(index.spans().iter().copied())),
        };
        fixed.into_iter().flatten().chain(dynamic.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use coldkeep_datastore::manifest::CryptMode;

    use super::*;

    fn vector(name: &str) -> Vec<u8> {
        std::fs::read(format!("{}/../docs/vectors/index/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
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
            let index = Index::parse(kind, &vector(file)).unwrap();
            let entry = |size, csum| FileInfo::new(file.parse().unwrap(), CryptMode::None, size, csum);
            let csum = csum.parse().unwrap();
            index.check(&entry(size, csum)).unwrap();
            assert!(matches!(index.check(&entry(size + 1, csum)), Err(IndexMismatch::Size { .. })));
            let other = Digest::of(b"other");
            assert!(matches!(index.check(&entry(size, other)), Err(IndexMismatch::Checksum { .. })));
            assert_eq!(index.spans().map(|span| span.plain_len()).sum::<u64>(), size);
            assert_eq!(index.spans().count(), 2);
        }
    }

    #[test]
    fn the_other_kind_is_refused() {
        assert!(Index::parse(IndexKind::Fixed, &vector("two-chunks.didx")).is_err());
        assert!(Index::parse(IndexKind::Dynamic, &[]).is_err());
    }
}
