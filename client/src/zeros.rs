//! Runs of zeros: recognised quickly, hashed once.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use coldkeep_chunk_store::Digest;

/// Most lengths whose digest is remembered; images and streams use two.
const LENGTHS_MAX: usize = 8;

/// Tells whether all bytes are zero. Data that is not costs one look at its first non-zero page.
pub(crate) fn is_zero(data: &[u8]) -> bool {
    // Folding a whole page without a branch is what the compiler turns into wide instructions.
    data.chunks(4096).all(|page| page.iter().fold(0, |any, byte| any | byte) == 0)
}

/// Digests of runs of zeros by length.
#[derive(Debug, Default)]
pub(crate) struct ZeroDigests(Mutex<BTreeMap<usize, Digest>>);

impl ZeroDigests {
    /// Returns the digest of `len` zeros.
    pub(crate) fn of(&self, len: usize) -> Digest {
        if let Some(digest) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&len) {
            return *digest;
        }
        let digest = Digest::of(&vec![0; len]);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < LENGTHS_MAX {
            known.insert(len, digest);
        }
        digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_anywhere_breaks_a_run() {
        assert!(is_zero(&[]));
        assert!(is_zero(&[0; 10_000]));
        for position in [0, 4095, 4096, 9_999] {
            let mut data = [0; 10_000];
            data[position] = 1;
            assert!(!is_zero(&data), "{position}");
        }
    }

    #[test]
    fn the_digest_of_the_zero_chunk_is_the_published_one() {
        // formats.md §3.
        let zeros = ZeroDigests::default();
        for _ in 0..2 {
            assert_eq!(
                zeros.of(4 << 20).to_string(),
                "bb9f8df61474d25e71fa00722318cd387396ca1736605e1248821cc0de3d3af8"
            );
        }
        for len in 1..20 {
            assert_eq!(zeros.of(len), Digest::of(&vec![0; len]));
        }
    }
}
