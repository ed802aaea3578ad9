//! The data that is backed up: the same bytes for the same size, on every machine.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A stretch of one kind of data; several chunks long, so that duplicates are found by content-defined chunking too.
const SEGMENT_BYTES: u64 = 16 << 20;
/// Each fifth segment repeats an earlier one: 20 % duplicates.
const DUPLICATE_EVERY: u64 = 5;
/// Segments are written in pieces of this size, so that the benchmark itself stays small.
const BLOCK_BYTES: usize = 64 << 10;

/// Files with half of the bytes each.
pub(crate) struct Data {
    /// Backed up as an image, in chunks of equal size.
    pub(crate) image: PathBuf,
    /// Backed up as a stream, in chunks cut by content.
    pub(crate) stream: PathBuf,
    pub(crate) bytes: u64,
}

impl Data {
    /// Writes both files into `folder`.
    pub(crate) fn generate(folder: &Path, bytes: u64) -> Result<Data> {
        let (image, stream) = (folder.join("disk.raw"), folder.join("dump.sql"));
        write(&image, 1, bytes / 2)?;
        write(&stream, 2, bytes - bytes / 2)?;
        Ok(Data { image, stream, bytes })
    }
}

fn write(path: &Path, seed: u64, bytes: u64) -> Result<()> {
    let context = || format!("cannot write {}", path.display());
    let mut file = BufWriter::new(File::create(path).with_context(context)?);
    for segment in 0..bytes.div_ceil(SEGMENT_BYTES) {
        let length = SEGMENT_BYTES.min(bytes - segment * SEGMENT_BYTES);
        write_segment(&mut file, seed, source(segment), length).with_context(context)?;
    }
    file.flush().with_context(context)
}

/// The segment whose content stands at this place: itself, or for each fifth the one three before, which is no duplicate.
fn source(segment: u64) -> u64 {
    if segment % DUPLICATE_EVERY == DUPLICATE_EVERY - 1 { segment - 3 } else { segment }
}

/// Even segments are incompressible, odd ones are words, which compress to about a third.
pub(crate) fn write_segment(
    file: &mut impl Write,
    seed: u64,
    segment: u64,
    length: u64,
) -> std::io::Result<()> {
    let mut random = Random::new(seed << 32 | segment);
    let mut block = Vec::with_capacity(BLOCK_BYTES + 16);
    let mut left = length as usize;
    while left > 0 {
        block.clear();
        while block.len() < BLOCK_BYTES {
            if segment.is_multiple_of(2) {
                block.extend(random.next().to_le_bytes());
            } else {
                write!(block, "{} ", WORDS[(random.next() >> 58) as usize])?;
                // A number now and then: text without any would compress far better than real data does.
                if random.next().is_multiple_of(4) {
                    write!(block, "{} ", random.next() >> 40)?;
                }
            }
        }
        let take = left.min(BLOCK_BYTES);
        file.write_all(&block[..take])?;
        left -= take;
    }
    Ok(())
}

/// `SplitMix64` (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// 64 words.
const WORDS: [&str; 64] = [
    "account",
    "address",
    "after",
    "amount",
    "archive",
    "backup",
    "balance",
    "before",
    "branch",
    "change",
    "charge",
    "client",
    "column",
    "comment",
    "commit",
    "copy",
    "count",
    "create",
    "customer",
    "date",
    "default",
    "delete",
    "delivery",
    "discount",
    "email",
    "entry",
    "error",
    "export",
    "false",
    "field",
    "first",
    "group",
    "history",
    "import",
    "index",
    "insert",
    "invoice",
    "item",
    "journal",
    "last",
    "level",
    "list",
    "log",
    "message",
    "name",
    "number",
    "order",
    "owner",
    "payment",
    "price",
    "product",
    "quantity",
    "record",
    "region",
    "report",
    "select",
    "status",
    "street",
    "table",
    "total",
    "true",
    "update",
    "value",
    "warehouse",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_segment_in_five_is_a_duplicate() {
        let sources: Vec<u64> = (0..10).map(source).collect();
        assert_eq!(sources, [0, 1, 2, 3, 1, 5, 6, 7, 8, 6]);
    }

    #[test]
    fn data_is_the_same_each_time_and_of_the_right_size() {
        let folder = tempfile::tempdir().unwrap();
        let paths = [folder.path().join("a"), folder.path().join("b")];
        for path in &paths {
            write(path, 1, SEGMENT_BYTES + 1000).unwrap();
        }
        let [a, b] = paths.map(|path| std::fs::read(path).unwrap());
        assert_eq!(a.len() as u64, SEGMENT_BYTES + 1000);
        assert!(a == b);
        assert!(a[SEGMENT_BYTES as usize..].is_ascii());
    }
}
