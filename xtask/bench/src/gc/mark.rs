//! The mark alone: real index files of a datastore without chunks.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::chunks::write_snapshot;
use crate::gc::count;
use crate::gc::worker::{self, Measured};
use crate::output::{Metric, Samples};

/// References of each index: those of an image of 10 TiB.
const INDEX_REFERENCES: usize = 2_500_000;

/// Distinct chunks from which on the growth of the process is that of the set: buffers and threads take some megabytes.
const LARGE: usize = 10_000_000;

/// Indexes that name so many chunks, each of them in several snapshots.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Indexes {
    pub(crate) chunks: usize,
    /// Snapshots that name each chunk, as those of following days do.
    pub(crate) generations: usize,
}

impl Indexes {
    /// What the files take.
    pub(crate) fn bytes(&self) -> u64 {
        40 * (self.chunks * self.generations) as u64
    }

    /// The name of the case.
    pub(crate) fn case(&self) -> String {
        format!("mark {} x{}", count(self.chunks), self.generations)
    }

    /// Makes a datastore without chunks.
    pub(crate) fn fill(&self, base: &Path) -> Result<()> {
        let folder = base.join(".chunks");
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        for generation in 0..self.generations {
            for (index, first) in (0..self.chunks).step_by(INDEX_REFERENCES).enumerate() {
                let end = self.chunks.min(first + INDEX_REFERENCES);
                // Each generation begins with another chunk.
                let turn = (end - first) * generation / self.generations;
                let numbers = (first + turn..end).chain(first..first + turn);
                write_snapshot(base, &format!("bench-{generation}-{index}"), numbers.map(digest))?;
            }
        }
        Ok(())
    }

    /// Reads the indexes once with one processor and once with all.
    pub(crate) fn measure(
        &self,
        worker: &Path,
        base: &Path,
        case: &str,
        samples: &mut Samples,
    ) -> Result<()> {
        let mut args = vec!["--folder".into(), base.into()];
        let all = worker::run(worker, "mark", &args)?;
        args.extend(["--cores".into(), "1".into()]);
        let one = worker::run(worker, "mark", &args)?;
        let Measured { references, distinct_chunks, .. } = one;
        ensure!(references == (self.chunks * self.generations) as u64, "{references} references were read");
        ensure!(distinct_chunks == self.chunks as u64, "{distinct_chunks} distinct chunks were found");
        let chunks = self.chunks as f64;
        let mut add = |case: &str, metric, value| samples.add(case, metric, None, value);
        // CPU time of one processor: its wall time, but for what else the machine does.
        add(case, Metric::ReferencesPerSecondPerCore, references as f64 / one.cpu_seconds);
        add(case, Metric::WallSeconds, all.mark_seconds);
        add(case, Metric::BytesPerChunk, all.set_memory_bytes as f64 / chunks);
        if self.chunks >= LARGE {
            add(&format!("{case} resident"), Metric::BytesPerChunk, all.grown_bytes as f64 / chunks);
        }
        add(case, Metric::PeakMemoryBytes, all.peak_memory_bytes as f64);
        Ok(())
    }
}

/// Any spread-out bytes do; hashing would take longer.
fn digest(number: usize) -> [u8; 32] {
    let mut digest = [0; 32];
    let (words, _) = digest.as_chunks_mut::<8>();
    for (word, salt) in words.iter_mut().zip(0..) {
        let state = (number as u64 * 4 + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        *word = (mixed ^ (mixed >> 29)).to_le_bytes();
    }
    digest
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn digests_differ() {
        assert_eq!((0..10_000).map(digest).collect::<BTreeSet<_>>().len(), 10_000);
    }

    #[test]
    fn each_chunk_is_named_by_each_generation() {
        let folder = tempfile::tempdir().unwrap();
        Indexes { chunks: 7, generations: 2 }.fill(folder.path()).unwrap();
        let mut named = Vec::new();
        for generation in 0..2 {
            let group = folder.path().join(format!("host/bench-{generation}-0"));
            let snapshot = fs::read_dir(group).unwrap().find_map(|entry| {
                let path = entry.unwrap().path();
                path.is_dir().then_some(path)
            });
            let index = fs::read(snapshot.unwrap().join("many.bin.didx")).unwrap();
            let (entries, _) = index[4096..].as_chunks::<40>();
            named.push(entries.iter().map(|entry| entry[8..].to_vec()).collect::<Vec<_>>());
        }
        assert_ne!(named[0], named[1]);
        for digests in &mut named {
            digests.sort();
        }
        assert_eq!((named[0].len(), &named[0]), (7, &named[1]));
    }
}
