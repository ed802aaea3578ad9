//! One image in twenty states, each of which shares four fifths of its chunks with the one before.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};

use crate::data::write_segment;

/// How many states there are.
pub(crate) const SNAPSHOTS: u64 = 20;
/// What changes as a whole: a chunk of an image.
const BLOCK_BYTES: u64 = 4 << 20;
/// Each block is replaced in every fifth state, each fifth block in every state: 20 % new.
const REPLACED_EVERY: u64 = 5;
/// Other bytes than those of the other benchmarks.
const SEED: u64 = 3;

/// The states of the image, by number from 0.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Generations {
    image_bytes: u64,
}

impl Generations {
    /// Divides that many MiB among the snapshots, in whole MiB each; the sum is rounded up.
    pub(crate) fn of_mib(mib: u64) -> Generations {
        Generations { image_bytes: mib.div_ceil(SNAPSHOTS) << 20 }
    }

    /// The size of all snapshots together, as a restore of each would write it.
    pub(crate) fn logical_bytes(self) -> u64 {
        self.image_bytes * SNAPSHOTS
    }

    /// The blocks that differ, which is how many chunks there are in all.
    pub(crate) fn distinct_blocks(self) -> u64 {
        self.blocks() + (1..SNAPSHOTS).map(|snapshot| self.replaced(snapshot).count() as u64).sum::<u64>()
    }

    /// The size of those, uncompressed.
    pub(crate) fn distinct_bytes(self) -> u64 {
        let replaced = (1..SNAPSHOTS).flat_map(|snapshot| self.replaced(snapshot));
        self.image_bytes + replaced.map(|block| self.block_bytes(block)).sum::<u64>()
    }

    /// Writes the image as it is in one snapshot.
    pub(crate) fn write(self, path: &Path, snapshot: u64) -> Result<()> {
        let context = || format!("cannot write {}", path.display());
        let mut file = BufWriter::new(File::create(path).with_context(context)?);
        for block in 0..self.blocks() {
            // An even block is incompressible in every state, an odd one is text.
            let segment = state(block, snapshot) << 20 | block;
            write_segment(&mut file, SEED, segment, self.block_bytes(block)).with_context(context)?;
        }
        file.flush().with_context(context)
    }

    fn blocks(self) -> u64 {
        self.image_bytes.div_ceil(BLOCK_BYTES)
    }

    /// The last block may be shorter than the others.
    fn block_bytes(self, block: u64) -> u64 {
        BLOCK_BYTES.min(self.image_bytes - block * BLOCK_BYTES)
    }

    /// The blocks that a snapshot does not share with the one before it.
    fn replaced(self, snapshot: u64) -> impl Iterator<Item = u64> {
        (0..self.blocks()).filter(move |block| state(*block, snapshot) != state(*block, snapshot - 1))
    }
}

/// How often a block was replaced up to a snapshot: in those whose number and the block's make a multiple of five.
fn state(block: u64, snapshot: u64) -> u64 {
    (block % REPLACED_EVERY + snapshot) / REPLACED_EVERY
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn consecutive_snapshots_share_four_fifths() {
        let image = Generations::of_mib(4096);
        assert_eq!((image.image_bytes >> 20, image.blocks(), image.block_bytes(51)), (205, 52, 1 << 20));
        let mut replaced = 0;
        for snapshot in 1..SNAPSHOTS {
            let count = image.replaced(snapshot).count() as u64;
            assert!((10..=11).contains(&count), "{count} of 52 in {snapshot}");
            replaced += count;
        }
        assert_eq!(replaced, 197, "a fifth of 19 times 52 is 197.6");
        assert_eq!(image.distinct_blocks(), 52 + 197);
        let share = image.distinct_bytes() as f64 / image.logical_bytes() as f64;
        assert!((share - (1.0 + 19.0 * 0.2) / 20.0).abs() < 0.002, "{share}");
    }

    #[test]
    fn what_is_written_is_what_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let image = Generations { image_bytes: 5 * BLOCK_BYTES + 1000 };
        let write = |snapshot| {
            let path = folder.path().join("image");
            image.write(&path, snapshot).unwrap();
            std::fs::read(&path).unwrap()
        };
        let (first, again, second) = (write(0), write(0), write(1));
        assert_eq!(first.len() as u64, image.image_bytes);
        assert!(first == again, "the same bytes each time");
        let blocks = |bytes: &[u8]| -> Vec<Vec<u8>> {
            bytes.chunks(BLOCK_BYTES as usize).map(<[u8]>::to_vec).collect()
        };
        let differ = blocks(&first).iter().zip(blocks(&second)).map(|(a, b)| *a != b).collect::<Vec<_>>();
        let replaced: Vec<u64> = image.replaced(1).collect();
        assert_eq!(differ, (0..6).map(|block| replaced.contains(&block)).collect::<Vec<_>>());
        let distinct: BTreeSet<Vec<u8>> = blocks(&first).into_iter().chain(blocks(&second)).collect();
        assert_eq!(distinct.len(), 6 + replaced.len());
    }

    #[test]
    fn every_other_block_is_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        Generations { image_bytes: 2 * BLOCK_BYTES }.write(&path, 7).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let (random, text) = bytes.split_at(BLOCK_BYTES as usize);
        assert!(!random.is_ascii() && text.is_ascii());
    }
}
