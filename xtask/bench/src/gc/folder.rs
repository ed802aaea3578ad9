//! The sweep of a store on a filesystem beside `find`, which lists the same files and does nothing about them.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::chunks::{Chunks, OLD};
use crate::gc::worker::{self, Measured};
use crate::output::{Metric, Samples};
use crate::process::{self, Usage};

/// The peer's name.
pub(crate) const FIND: &str = "find";

/// Lists all files of a folder, with what the sweep needs to know of each.
pub(crate) fn find(chunks: &Path) -> Result<Usage> {
    let mut command = Command::new("find");
    command.arg(chunks).args(["-printf", r"%A@ %s %p\n"]);
    process::measure(&mut command, Path::new("/dev/null"))
}

/// What is measured of a store.
pub(crate) struct Cases<'a> {
    pub(crate) unchanged: &'a str,
    pub(crate) removing: &'a str,
}

/// Sweeps a new store: first with nothing to remove, then with all its garbage.
pub(crate) fn measure(
    worker: &Path,
    base: &Path,
    (chunks, runs): (Chunks, usize),
    cases: &Cases<'_>,
    samples: &mut Samples,
) -> Result<()> {
    // Too young to be removed at first, so that the same files are looked at in both cases.
    chunks.fill(base, Duration::ZERO)?;
    for case in [cases.unchanged, cases.removing] {
        let is_unchanged = case == cases.unchanged;
        for _ in 0..runs {
            if !is_unchanged {
                chunks.fill_garbage(base, OLD)?;
            }
            let peer = find(&base.join(".chunks"))?;
            let mut args = vec!["--folder".into(), base.into()];
            if is_unchanged {
                args.push("--unchanged".into());
            }
            let ours = worker::run(worker, "collect", &args)?;
            let expected = if is_unchanged { 0 } else { chunks.garbage() };
            let Measured { listed, removed, .. } = ours;
            ensure!(listed == chunks.count as u64, "{listed} of {} chunks were listed", chunks.count);
            ensure!(removed == expected as u64, "{removed} of {expected} unused chunks were removed");
            add(case, chunks.count, &ours, samples);
            samples.add(case, Metric::WallSeconds, Some(FIND), peer.wall_seconds);
            samples.add(
                case,
                Metric::ObjectsPerCpuSecond,
                Some(FIND),
                chunks.count as f64 / peer.cpu_seconds,
            );
        }
    }
    Ok(())
}

/// Adds the figures of a collection; those that have peers come first.
pub(crate) fn add(case: &str, count: usize, ours: &Measured, samples: &mut Samples) {
    let mut add = |case: &str, metric, value| samples.add(case, metric, None, value);
    add(case, Metric::WallSeconds, ours.sweep_seconds());
    add(case, Metric::ObjectsPerCpuSecond, count as f64 / ours.cpu_seconds);
    add(case, Metric::PeakMemoryBytes, ours.peak_memory_bytes as f64);
    add(&format!("{case} with mark"), Metric::WallSeconds, ours.wall_seconds);
}
