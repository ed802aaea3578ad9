//! `bench store`: a store in a bucket, near and far, beside one on a filesystem.
//!
//! Each round has a server of its own and does the same work: a first backup, one without changes, a restore from the cache, one with the
//! cache empty, and four backups at once. The store on a filesystem is the peer: what a bucket costs, and what distance costs, is seen as
//! ratios of one run.

mod flags;

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::coldkeep::{Coldkeep, IMAGE, Running, STREAM};
use crate::data::Data;
use crate::e2e::{remove, same_content, work_folder};
use crate::output::{Metric, Row, Samples};
use crate::process::{Measured, Usage, measure};
use crate::s3::Origin;

pub(crate) use crate::store::flags::Flags;

const FIRST: &str = "first backup";
const UNCHANGED: &str = "unchanged backup";
const WARM: &str = "restore warm";
const COLD: &str = "restore cold";
const FOUR: &str = "four backups at once";
const GIB: f64 = (1_u64 << 30) as f64;
/// The peer's name.
const FILESYSTEM: &str = "filesystem";
const STORE: &str = "measured";

/// Runs all rounds.
pub(crate) fn run(flags: &Flags) -> Result<Vec<Row>> {
    // The objects are in the memory of the server, too.
    let folder = work_folder(2 * flags.bytes)?;
    eprintln!("working in {}", folder.path().display());
    let data = Data::generate(folder.path(), flags.bytes)?;
    let coldkeep = Coldkeep { program: &flags.coldkeep };
    let mut bench = Bench { coldkeep, flags, folder: folder.path(), data, samples: Samples::default() };
    let far = format!("s3 {}ms", flags.delay_millis);
    for run in 1..=flags.runs {
        eprintln!("run {run} of {}", flags.runs);
        let rates = [(FILESYSTEM, None), ("s3", Some(0)), (far.as_str(), Some(flags.delay_millis))];
        let mut near = Rates::default();
        for (round, delay) in rates {
            let wanted = flags.case.as_deref().is_none_or(|part| round.contains(part));
            if !wanted {
                continue;
            }
            let rates = bench.round(round, delay)?;
            if delay == Some(0) {
                near = rates;
            } else if delay.is_some() {
                bench.compare(round, &near, &rates);
            }
        }
    }
    Ok(bench.samples.into_rows())
}

/// Bytes per second of each case of a round, as far as they were measured.
#[derive(Debug, Default)]
struct Rates(Vec<(&'static str, f64)>);

struct Bench<'a> {
    coldkeep: Coldkeep<'a>,
    flags: &'a Flags,
    folder: &'a Path,
    data: Data,
    samples: Samples,
}

/// A server with its store, and the bucket behind it.
struct Site<'a> {
    round: &'a str,
    folder: PathBuf,
    running: Running,
    origin: Option<Origin>,
    /// Ends with the site.
    _proxy: Option<Origin>,
}

impl Site<'_> {
    /// Requests for chunks so far.
    fn chunk_requests(&mut self) -> Result<u64> {
        let Some(origin) = &mut self.origin else { return Ok(0) };
        let counts = origin.counts()?;
        Ok(counts.iter().filter(|(request, _)| request.ends_with(".chunks")).map(|(_, count)| count).sum())
    }
}

impl Bench<'_> {
    fn round(&mut self, round: &str, delay: Option<u64>) -> Result<Rates> {
        let mut rates = Rates::default();
        let mut site = self.site(round, delay)?;
        let archives = [(IMAGE, self.data.image.clone()), (STREAM, self.data.stream.clone())];

        self.timed(&site, FIRST, &mut rates, |bench, running| {
            bench.client(bench.coldkeep.backup(running, "one", &bench.data))
        })?;
        let before = site.chunk_requests()?;
        self.timed(&site, UNCHANGED, &mut rates, |bench, running| {
            bench.client(bench.coldkeep.backup(running, "one", &bench.data))
        })?;
        let sent = site.chunk_requests()? - before;
        self.add(round, UNCHANGED, Metric::Requests, sent as f64);
        self.restore(&site, WARM, &archives, &mut rates)?;
        if delay.is_some() {
            site.running = self.coldkeep.restart(site.running, empty_cache)?;
            self.restore(&site, COLD, &archives, &mut rates)?;
        }
        let peak = site.running.server.peak_memory_bytes()?;
        self.add(round, "server", Metric::PeakMemoryBytes, peak as f64);
        close(site)?;

        let site = self.site(round, delay)?;
        self.timed(&site, FOUR, &mut rates, Self::four_backups)?;
        let peak = site.running.server.peak_memory_bytes()?;
        self.add(round, FOUR, Metric::PeakMemoryBytes, peak as f64);
        close(site)?;
        Ok(rates)
    }

    fn site<'r>(&self, round: &'r str, delay: Option<u64>) -> Result<Site<'r>> {
        let folder = self.folder.join("site");
        fs::create_dir(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let (mut origin, mut proxy) = (None, None);
        let mut store = "default";
        if let Some(delay) = delay {
            let started = Origin::start(&self.flags.origin)?;
            if delay > 0 {
                proxy = Some(started.delayed(&self.flags.delay, delay)?);
            }
            let target = proxy.as_ref().unwrap_or(&started).target();
            self.client(self.coldkeep.create_in_bucket(&folder, STORE, &target))?;
            origin = Some(started);
            store = STORE;
        }
        let running = self.coldkeep.serve(&folder, store)?;
        Ok(Site { round, folder, running, origin, _proxy: proxy })
    }

    fn four_backups(&self, running: &Running) -> Result<Usage> {
        let mut clients = Vec::new();
        for id in ["one", "two", "three", "four"] {
            let mut command = self.coldkeep.backup(running, id, &self.data);
            clients.push(Measured::start(&mut command, &self.folder.join(format!("client-{id}.log")))?);
        }
        let mut sum = Usage { wall_seconds: 0.0, cpu_seconds: 0.0, peak_memory_bytes: 0 };
        for client in clients {
            let usage = client.finish()?;
            sum.wall_seconds = sum.wall_seconds.max(usage.wall_seconds);
            sum.cpu_seconds += usage.cpu_seconds;
        }
        Ok(sum)
    }

    fn restore(
        &mut self,
        site: &Site<'_>,
        case: &'static str,
        archives: &[(&str, PathBuf)],
        rates: &mut Rates,
    ) -> Result<()> {
        let snapshot = site.running.newest("one")?;
        self.timed(site, case, rates, |bench, running| {
            let mut sum = Usage { wall_seconds: 0.0, cpu_seconds: 0.0, peak_memory_bytes: 0 };
            for (archive, _) in archives {
                let target = site.folder.join(archive);
                let usage = bench.client(bench.coldkeep.restore(running, &snapshot, archive, &target))?;
                sum.wall_seconds += usage.wall_seconds;
                sum.cpu_seconds += usage.cpu_seconds;
            }
            Ok(sum)
        })?;
        for (archive, original) in archives {
            let target = site.folder.join(archive);
            ensure!(same_content(&target, original)?, "{archive} was restored with other bytes");
            fs::remove_file(&target).with_context(|| format!("cannot remove {}", target.display()))?;
        }
        Ok(())
    }

    /// Runs clients and adds their figures and the server's.
    fn timed(
        &mut self,
        site: &Site<'_>,
        case: &'static str,
        rates: &mut Rates,
        clients: impl FnOnce(&Self, &Running) -> Result<Usage>,
    ) -> Result<()> {
        let before = site.running.server.cpu_seconds()?;
        let client = clients(self, &site.running)?;
        let server_cpu = site.running.server.cpu_seconds()? - before;
        let bytes = if case == FOUR { 4 * self.data.bytes } else { self.data.bytes };
        let (gib, rate) = (bytes as f64 / GIB, bytes as f64 / client.wall_seconds);
        self.add(site.round, case, Metric::WallSeconds, client.wall_seconds);
        self.add(site.round, case, Metric::BytesPerSecond, rate);
        self.add(site.round, case, Metric::CpuSecondsPerGib, (client.cpu_seconds + server_cpu) / gib);
        self.add(site.round, case, Metric::ServerCpuSecondsPerGib, server_cpu / gib);
        rates.0.push((case, rate));
        Ok(())
    }

    /// How much of the throughput is kept at a distance.
    fn compare(&mut self, round: &str, near: &Rates, far: &Rates) {
        for (case, rate) in &far.0 {
            if let Some((_, near)) = near.0.iter().find(|(name, _)| name == case) {
                self.add(round, case, Metric::RateKeptAtLatency, rate / near);
            }
        }
    }

    /// Adds a figure of ours, or the peer's beside those of all rounds in buckets.
    fn add(&mut self, round: &str, case: &str, metric: Metric, value: f64) {
        if round == FILESYSTEM {
            let far = format!("s3 {}ms", self.flags.delay_millis);
            for round in ["s3", far.as_str()] {
                self.samples.add(&format!("{case} {round}"), metric, Some(FILESYSTEM), value);
            }
            if case == WARM {
                self.add(round, COLD, metric, value);
            }
        } else {
            self.samples.add(&format!("{case} {round}"), metric, None, value);
        }
    }

    fn client(&self, mut command: Command) -> Result<Usage> {
        measure(&mut command, &self.folder.join("client.log"))
    }
}

fn close(site: Site<'_>) -> Result<()> {
    site.running.server.stop()?;
    remove(&site.folder)
}

/// Empties every marker, as eviction does.
fn empty_cache(store: &Path) -> Result<()> {
    let chunks = store.join(".chunks");
    let context = || format!("cannot empty the cache in {}", chunks.display());
    for shard in fs::read_dir(&chunks).with_context(context)? {
        let shard = shard.with_context(context)?;
        if !shard.file_type().with_context(context)?.is_dir() {
            continue;
        }
        for marker in fs::read_dir(shard.path()).with_context(context)? {
            let path = marker.with_context(context)?.path();
            OpenOptions::new().write(true).truncate(true).open(path).with_context(context)?;
        }
    }
    Ok(())
}
