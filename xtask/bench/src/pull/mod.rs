//! `bench pull`: a pull between two servers, near and far.
//!
//! One group of twenty snapshots, each of which shares 80 % of its chunks with the one before, is pulled into fresh targets: over a plain
//! connection, over a line without delay, and over one with a round trip. What distance costs is the ratio of the last two, so that the
//! line's own work counts on both sides. A second pull finds nothing new. The peer is `cp` of the source's folder: what the same bytes
//! cost where nothing is checked, listed or encrypted, on the same machine in the same run.

mod flags;
mod generations;
mod line;
mod report;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::coldkeep::{Coldkeep, Far, IMAGE, Running};
use crate::e2e::{remove, same_content, work_folder};
use crate::output::{Metric, Row, Samples};
use crate::process::{Usage, measure, measure_output};
use crate::pull::generations::{Generations, SNAPSHOTS};
use crate::pull::line::Line;
use crate::pull::report::PullReport;

pub(crate) use crate::pull::flags::Flags;

/// The backup group.
const GROUP: &str = "pulled";
/// The source's name at the target.
const REMOTE: &str = "source";
const STORE: &str = "default";
/// Time of the first snapshot, 2026-01-01T00:00:00Z; the others follow a day apart.
const FIRST_TIME_UNIX_SECONDS: u64 = 1_767_225_600;
const SECONDS_BETWEEN: u64 = 86_400;
/// The peer's name.
const CP: &str = "cp";
const GIB: f64 = (1_u64 << 30) as f64;

/// Fills a source and runs the rounds that were asked for.
pub(crate) fn run(flags: &Flags) -> Result<Vec<Row>> {
    let generations = Generations::of_mib(flags.mib);
    let folder = work_folder(generations.distinct_bytes())?;
    eprintln!("working in {}", folder.path().display());
    let coldkeep = Coldkeep { program: &flags.coldkeep };
    let mut bench = Bench { coldkeep, folder: folder.path(), generations, samples: Samples::default() };
    let source = bench.source()?;
    for run in 1..=flags.runs {
        eprintln!("run {run} of {}", flags.runs);
        bench.run_once(&source, flags)?;
    }
    source.running.server.stop()?;
    Ok(bench.samples.into_rows())
}

struct Bench<'a> {
    coldkeep: Coldkeep<'a>,
    folder: &'a Path,
    generations: Generations,
    samples: Samples,
}

/// The server that is pulled from, with all snapshots.
struct Source {
    running: Running,
    password_file: PathBuf,
}

/// What lies between the servers.
#[derive(Debug, Clone, Copy)]
enum Distance {
    Direct,
    Line(Duration),
}

impl Bench<'_> {
    /// Starts the source and backs all snapshots up into it; the image exists for one backup only.
    fn source(&self) -> Result<Source> {
        let folder = self.fresh("source")?;
        let running = self.coldkeep.serve(&folder, STORE)?;
        let image = self.folder.join("image");
        for snapshot in 0..SNAPSHOTS {
            self.generations.write(&image, snapshot)?;
            let time = FIRST_TIME_UNIX_SECONDS + snapshot * SECONDS_BETWEEN;
            self.client(self.coldkeep.backup_image_at(&running, GROUP, time, &image))?;
        }
        fs::remove_file(&image).with_context(|| format!("cannot remove {}", image.display()))?;
        let password_file = folder.join("password");
        write_secret(&password_file, running.password())?;
        Ok(Source { running, password_file })
    }

    /// The peer, then every distance: all of a run are as near to each other in time as can be.
    fn run_once(&mut self, source: &Source, flags: &Flags) -> Result<()> {
        let copied = self.copy(source)?;
        let far = format!("{}ms", flags.delay_millis);
        let rounds = [
            ("direct", Distance::Direct),
            ("0ms", Distance::Line(Duration::ZERO)),
            (far.as_str(), Distance::Line(Duration::from_millis(flags.delay_millis))),
        ];
        let mut near_rate = None;
        for (round, distance) in rounds {
            if !flags.wants(round) {
                continue;
            }
            let rate = self.round(source, round, distance)?;
            self.add_seconds(&format!("pull {round}"), Some(CP), copied.wall_seconds);
            match distance {
                Distance::Direct => {}
                Distance::Line(Duration::ZERO) => near_rate = Some(rate),
                Distance::Line(_) => {
                    if let Some(near_rate) = near_rate {
                        self.add(&format!("pull {round}"), Metric::RateKeptAtLatency, rate / near_rate);
                    }
                }
            }
        }
        Ok(())
    }

    /// Pulls everything into a fresh target, and once more; returns the rate of the first pull.
    fn round(&mut self, source: &Source, round: &str, distance: Distance) -> Result<f64> {
        let line = match distance {
            Distance::Direct => None,
            Distance::Line(round_trip) => Some(Line::open(source.running.address(), round_trip)?),
        };
        let folder = self.fresh("target")?;
        let target = self.coldkeep.serve(&folder, STORE)?;
        let via = line.as_ref().map(Line::address);
        let far = Far { running: &source.running, via, password_file: &source.password_file };
        self.client(self.coldkeep.add_remote(&target, REMOTE, &far))?;

        let case = format!("pull {round}");
        let cpu_before = target.server.cpu_seconds()?;
        let (usage, report) = self.pull(source, &target)?;
        let cpu = target.server.cpu_seconds()? - cpu_before;
        let rate = self.add_seconds(&case, None, usage.wall_seconds);
        self.add(&case, Metric::Requests, report.requests as f64);
        let gib = self.generations.logical_bytes() as f64 / GIB;
        self.add(&case, Metric::ServerCpuSecondsPerGib, cpu / gib);

        let unchanged = format!("unchanged pull {round}");
        let (usage, report) = self.pull(source, &target)?;
        self.add(&unchanged, Metric::WallSeconds, usage.wall_seconds);
        self.add(&unchanged, Metric::Requests, report.requests as f64);

        // Before the check, whose restore is none of the pull's work.
        self.add(&case, Metric::PeakMemoryBytes, target.server.peak_memory_bytes()? as f64);
        self.check(&target, &folder)?;
        target.server.stop()?;
        remove(&folder)?;
        Ok(rate)
    }

    fn pull(&self, source: &Source, target: &Running) -> Result<(Usage, PullReport)> {
        let mut command = self.coldkeep.pull(target, REMOTE, &source.running);
        let (usage, output) = measure_output(&mut command, &self.folder.join("client.log"))?;
        let report = PullReport::parse(&output)?;
        let PullReport { snapshots, chunks_transferred, chunks_reused, bytes_transferred, requests, seconds } =
            report;
        let distinct = self.generations.distinct_blocks();
        eprintln!(
            "{snapshots} snapshots, {chunks_transferred} chunks fetched ({bytes_transferred} bytes) of {distinct}, {chunks_reused} reused, \
             {requests} requests, {seconds:.2} s"
        );
        Ok((usage, report))
    }

    /// All snapshots must be there, and the newest must be what it is at the source.
    fn check(&self, target: &Running, folder: &Path) -> Result<()> {
        let count = target.snapshots(GROUP)?.len() as u64;
        ensure!(count == SNAPSHOTS, "{count} snapshots of {SNAPSHOTS} were pulled");
        let (restored, original) = (folder.join("restored"), folder.join("original"));
        self.client(self.coldkeep.restore(target, &target.newest(GROUP)?, IMAGE, &restored))?;
        self.generations.write(&original, SNAPSHOTS - 1)?;
        ensure!(same_content(&restored, &original)?, "the newest snapshot was pulled with other bytes");
        Ok(())
    }

    /// Copies the source's store as `cp` does.
    fn copy(&self, source: &Source) -> Result<Usage> {
        let copy = self.folder.join("copy");
        let mut command = Command::new("cp");
        command.arg("-r").arg(source.running.store()?).arg(&copy);
        let usage = self.client(command)?;
        remove(&copy)?;
        Ok(usage)
    }

    /// Adds how long everything took, and so how much of what a restore would write came in a second; returns that rate.
    fn add_seconds(&mut self, case: &str, who: Option<&str>, seconds: f64) -> f64 {
        let rate = self.generations.logical_bytes() as f64 / seconds;
        self.samples.add(case, Metric::WallSeconds, who, seconds);
        self.samples.add(case, Metric::BytesPerSecond, who, rate);
        rate
    }

    fn add(&mut self, case: &str, metric: Metric, value: f64) {
        self.samples.add(case, metric, None, value);
    }

    fn client(&self, mut command: Command) -> Result<Usage> {
        measure(&mut command, &self.folder.join("client.log"))
    }

    fn fresh(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        fs::create_dir(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(folder)
    }
}

/// Writes a file that nobody else may read.
fn write_secret(path: &Path, secret: &str) -> Result<()> {
    let context = || format!("cannot write {}", path.display());
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).with_context(context)?;
    writeln!(file, "{secret}").with_context(context)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        write_secret(&path, "s3cret").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "s3cret\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
