//! `bench gc`: the collector on synthetic stores.
//!
//! Each case is a process of its own. What is on disk is real: index files, chunk files and markers, written by the documented layout. The
//! bucket is within the process, with a latency for each request, so that many millions of objects need neither room nor time to be put.
//! Peers do what cannot be left out, and nothing else: `find` lists the same files, `list` the same objects with the same client.

mod bucket;
mod flags;
mod folder;
mod mark;
mod worker;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::chunks::Chunks;
use crate::e2e::{remove, work_folder};
use crate::gc::bucket::Bucket;
pub(crate) use crate::gc::flags::Flags;
pub(crate) use crate::gc::mark::Indexes;
use crate::output::{Row, Samples};

/// How much of a store no index names where something is to be removed.
const GARBAGE_PERCENT: usize = 5;

/// What a chunk file of a few bytes takes in memory, with its name and its inode.
const FILE_BYTES: u64 = 6 << 10;

/// Runs the cases that were asked for.
pub(crate) fn run(flags: &Flags) -> Result<Vec<Row>> {
    let marks = [
        // As many references as a stock server is published to mark in 22.8 s, with the deduplication of a week.
        Indexes { chunks: flags.mark_chunks * 2 / 25, generations: 8 },
        Indexes { chunks: flags.mark_chunks, generations: 2 },
    ];
    let bytes = marks.iter().map(Indexes::bytes).max().unwrap_or(0).max(flags.chunks as u64 * FILE_BYTES);
    let folder = match &flags.folder {
        Some(base) => tempfile::Builder::new().prefix("coldkeep-bench-").tempdir_in(base),
        // It leaves four times as much free as it is told of, which here is all there will be.
        None => Ok(work_folder(bytes / 4)?),
    };
    let folder = folder.context("cannot make a working folder")?;
    eprintln!("working in {}", folder.path().display());
    let mut samples = Samples::default();
    for indexes in marks {
        mark(flags, folder.path(), &indexes, &mut samples)?;
    }
    sweep_folder(flags, folder.path(), &mut samples)?;
    sweep_buckets(flags, folder.path(), &mut samples)?;
    Ok(samples.into_rows())
}

fn mark(flags: &Flags, folder: &Path, indexes: &Indexes, samples: &mut Samples) -> Result<()> {
    let case = indexes.case();
    if !flags.wants(&case) {
        return Ok(());
    }
    let base = fresh(folder)?;
    indexes.fill(&base)?;
    for _ in 0..flags.runs {
        indexes.measure(&flags.worker, &base, &case, samples)?;
    }
    remove(&base)
}

fn sweep_folder(flags: &Flags, folder: &Path, samples: &mut Samples) -> Result<()> {
    let unchanged = format!("sweep filesystem {}", count(flags.chunks));
    let removing = format!("{unchanged} remove {GARBAGE_PERCENT}%");
    if !flags.wants(&removing) {
        return Ok(());
    }
    let base = fresh(folder)?;
    let chunks = Chunks { count: flags.chunks, garbage_percent: GARBAGE_PERCENT };
    let cases = folder::Cases { unchanged: &unchanged, removing: &removing };
    folder::measure(&flags.worker, &base, (chunks, flags.runs), &cases, samples)?;
    remove(&base)
}

fn sweep_buckets(flags: &Flags, folder: &Path, samples: &mut Samples) -> Result<()> {
    let base = fresh(folder)?;
    let on_disk = Bucket { objects: flags.chunks, markers: Some(&base) };
    let in_memory = Bucket { objects: flags.objects, markers: None };
    for bucket in [on_disk, in_memory] {
        if flags.wants(&format!("{} remove {GARBAGE_PERCENT}%", bucket.case(flags))) {
            bucket.measure(flags, samples)?;
        }
    }
    remove(&base)
}

fn fresh(folder: &Path) -> Result<PathBuf> {
    let base = folder.join("measured");
    fs::create_dir(&base).with_context(|| format!("cannot create {}", base.display()))?;
    Ok(base)
}

/// A number as the names of cases have it: `50M`, `20k`.
fn count(number: usize) -> String {
    match number {
        _ if number > 0 && number.is_multiple_of(1_000_000) => format!("{}M", number / 1_000_000),
        _ if number > 0 && number.is_multiple_of(1000) => format!("{}k", number / 1000),
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_short() {
        for (number, name) in
            [(50_000_000, "50M"), (20_000, "20k"), (1_500_000, "1500k"), (1234, "1234"), (0, "0")]
        {
            assert_eq!(count(number), name);
        }
    }
}
