//! `bench e2e`: backup, restore and collection from end to end.

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::chunks::{self, Chunks, OLD};
use crate::coldkeep::{Coldkeep, IMAGE, Running, STREAM, store};
use crate::data::Data;
use crate::flags::Flags;
use crate::gc::Indexes;
use crate::output::{Metric, Row, Samples};
use crate::peers::{Peer, repository};
use crate::process::{Measured, Usage, measure};

const FIRST: &str = "first backup";
const UNCHANGED: &str = "unchanged backup";
const RESTORE: &str = "restore";
const FOUR: &str = "four backups at once";
const MARK: &str = "mark";
const MARKED: Indexes = Indexes { chunks: 4_000_000, generations: 8 };
const GIB: f64 = (1_u64 << 30) as f64;

/// Runs the cases that were asked for.
pub(crate) fn run(flags: &Flags) -> Result<Vec<Row>> {
    let folder = work_folder(flags.bytes)?;
    eprintln!("working in {}", folder.path().display());
    let mut bench = Bench {
        coldkeep: Coldkeep { program: &flags.coldkeep },
        folder: folder.path(),
        samples: Samples::default(),
    };
    if [FIRST, UNCHANGED, RESTORE, FOUR].iter().any(|case| flags.wants(case)) {
        let data = Data::generate(folder.path(), flags.bytes)?;
        let peers: Vec<Peer> = flags.peers.iter().map(|name| Peer::named(name)).collect::<Result<_>>()?;
        for run in 1..=flags.runs {
            eprintln!("run {run} of {}", flags.runs);
            if [FIRST, UNCHANGED, RESTORE].iter().any(|case| flags.wants(case)) {
                bench.backup_and_restore(&data)?;
                for peer in &peers {
                    bench.peer(*peer, &data).with_context(|| peer.name().to_owned())?;
                }
            }
            if flags.wants(FOUR) {
                bench.four_at_once(&data)?;
            }
        }
        for file in [&data.image, &data.stream] {
            fs::remove_file(file).with_context(|| format!("cannot remove {}", file.display()))?;
        }
    }
    let collect = format!("collect {} chunks", flags.chunks);
    if flags.wants(&collect) {
        bench.collect(&collect, flags)?;
    }
    if let Some(worker) = flags.gc_worker.as_deref().filter(|_| flags.wants(MARK)) {
        bench.mark(worker, flags.runs)?;
    }
    Ok(bench.samples.into_rows())
}

/// A folder in memory if there is room for the data, the store, the restored files and four times the chunks; else on disk. Memory
/// keeps the disk's noise out of the figures.
pub(crate) fn work_folder(bytes: u64) -> Result<TempDir> {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let free = crate::machine::kibibytes(&meminfo, "MemAvailable").unwrap_or(0);
    let memory = Path::new("/dev/shm");
    let base = if memory.is_dir() && free / 2 > 4 * bytes { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::Builder::new()
        .prefix("coldkeep-bench-")
        .tempdir_in(base)
        .context("cannot make a working folder")
}

struct Bench<'a> {
    coldkeep: Coldkeep<'a>,
    folder: &'a Path,
    samples: Samples,
}

impl Bench<'_> {
    /// First backup, unchanged backup and restore against one server.
    fn backup_and_restore(&mut self, data: &Data) -> Result<()> {
        let folder = self.fresh("one")?;
        let running = self.coldkeep.serve(&folder, "default")?;

        let client = self.timed(&running, FIRST, data.bytes, |bench| {
            bench.client(bench.coldkeep.backup(&running, "one", data))
        })?;
        self.add("first backup client", Metric::PeakMemoryBytes, client.peak_memory_bytes as f64);
        self.add("first backup server", Metric::PeakMemoryBytes, running.server.peak_memory_bytes()? as f64);
        self.add(FIRST, Metric::StoredBytes, folder_bytes(&running.store()?)? as f64);

        self.timed(&running, UNCHANGED, data.bytes, |bench| {
            bench.client(bench.coldkeep.backup(&running, "one", data))
        })?;
        self.add(UNCHANGED, Metric::StoredBytes, folder_bytes(&running.store()?)? as f64);

        let snapshot = running.newest("one")?;
        let pairs = [(IMAGE, &data.image), (STREAM, &data.stream)];
        let client = self.timed(&running, RESTORE, data.bytes, |bench| {
            let mut sum = Usage { wall_seconds: 0.0, cpu_seconds: 0.0, peak_memory_bytes: 0 };
            for (archive, _) in pairs {
                let usage = bench.client(bench.coldkeep.restore(
                    &running,
                    &snapshot,
                    archive,
                    &folder.join(archive),
                ))?;
                sum.wall_seconds += usage.wall_seconds;
                sum.cpu_seconds += usage.cpu_seconds;
                sum.peak_memory_bytes = sum.peak_memory_bytes.max(usage.peak_memory_bytes);
            }
            Ok(sum)
        })?;
        self.add("restore client", Metric::PeakMemoryBytes, client.peak_memory_bytes as f64);
        for (archive, original) in pairs {
            ensure!(
                same_content(&folder.join(archive), original)?,
                "{archive} was restored with other bytes"
            );
        }
        running.server.stop()?;
        remove(&folder)
    }

    /// Four clients, four groups, one server: what it takes in memory.
    fn four_at_once(&mut self, data: &Data) -> Result<()> {
        let folder = self.fresh("four")?;
        let running = self.coldkeep.serve(&folder, "default")?;
        self.timed(&running, FOUR, 4 * data.bytes, |bench| {
            let mut clients = Vec::new();
            for id in ["one", "two", "three", "four"] {
                let mut command = bench.coldkeep.backup(&running, id, data);
                clients.push(Measured::start(&mut command, &bench.folder.join(format!("client-{id}.log")))?);
            }
            let mut sum = Usage { wall_seconds: 0.0, cpu_seconds: 0.0, peak_memory_bytes: 0 };
            for client in clients {
                let usage = client.finish()?;
                sum.wall_seconds = sum.wall_seconds.max(usage.wall_seconds);
                sum.cpu_seconds += usage.cpu_seconds;
            }
            Ok(sum)
        })?;
        self.add(FOUR, Metric::PeakMemoryBytes, running.server.peak_memory_bytes()? as f64);
        running.server.stop()?;
        remove(&folder)
    }

    /// Collection of many small chunks, half of them garbage.
    fn collect(&mut self, case: &str, flags: &Flags) -> Result<()> {
        let folder = self.fresh("collect")?;
        let data_dir = folder.join("data");
        let seed = folder.join("seed");
        fs::write(&seed, "seed").context("cannot write the seed file")?;
        self.client(self.coldkeep.backup_embedded(&data_dir, &seed))?;
        let store = store(&data_dir)?;
        let chunks = Chunks { count: flags.chunks, garbage_percent: 50 };
        for _ in 0..flags.runs {
            chunks.fill(&store, OLD)?;
            let before = chunks::count(&store)?;
            let usage = self.client(self.coldkeep.collect_embedded(&data_dir))?;
            let removed = before - chunks::count(&store)?;
            let garbage = chunks.garbage();
            ensure!(removed == garbage, "{removed} of {garbage} unused chunks were removed");
            self.add(case, Metric::WallSeconds, usage.wall_seconds);
            self.add(case, Metric::ObjectsPerSecond, flags.chunks as f64 / usage.wall_seconds);
            self.add(case, Metric::ObjectsPerCpuSecond, flags.chunks as f64 / usage.cpu_seconds);
            self.add(case, Metric::PeakMemoryBytes, usage.peak_memory_bytes as f64);
        }
        remove(&folder)
    }

    /// The smaller mark of `bench gc`.
    fn mark(&mut self, worker: &Path, runs: usize) -> Result<()> {
        let folder = self.fresh("mark")?;
        MARKED.fill(&folder)?;
        for _ in 0..runs {
            MARKED.measure(worker, &folder, MARK, &mut self.samples)?;
        }
        remove(&folder)
    }

    /// The same work by another tool.
    fn peer(&mut self, peer: Peer, data: &Data) -> Result<()> {
        let folder = self.fresh(peer.name())?;
        let log = self.folder.join("peer.log");
        measure(&mut peer.init(&folder), &log)?;
        let first = measure(&mut peer.backup(&folder, "first", data), &log)?;
        self.add_peer(peer, FIRST, data.bytes, first);
        let stored = folder_bytes(&repository(&folder))?;
        self.samples.add(FIRST, Metric::StoredBytes, Some(peer.name()), stored as f64);
        let unchanged = measure(&mut peer.backup(&folder, "second", data), &log)?;
        self.add_peer(peer, UNCHANGED, data.bytes, unchanged);
        let target = folder.join("restored");
        fs::create_dir(&target).context("cannot create the target")?;
        let restore = measure(&mut peer.restore(&folder, "second", &target), &log)?;
        self.add_peer(peer, RESTORE, data.bytes, restore);
        remove(&folder)
    }

    fn add_peer(&mut self, peer: Peer, case: &str, bytes: u64, usage: Usage) {
        let who = Some(peer.name());
        self.samples.add(case, Metric::WallSeconds, who, usage.wall_seconds);
        self.samples.add(case, Metric::BytesPerSecond, who, bytes as f64 / usage.wall_seconds);
        self.samples.add(case, Metric::CpuSecondsPerGib, who, usage.cpu_seconds / (bytes as f64 / GIB));
    }

    /// Runs clients and adds their figures and the server's for a case that moves `bytes`.
    fn timed(
        &mut self,
        running: &Running,
        case: &str,
        bytes: u64,
        clients: impl FnOnce(&Self) -> Result<Usage>,
    ) -> Result<Usage> {
        let before = running.server.cpu_seconds()?;
        let client = clients(self)?;
        let server_cpu = running.server.cpu_seconds()? - before;
        let gib = bytes as f64 / GIB;
        self.add(case, Metric::WallSeconds, client.wall_seconds);
        self.add(case, Metric::BytesPerSecond, bytes as f64 / client.wall_seconds);
        self.add(case, Metric::CpuSecondsPerGib, (client.cpu_seconds + server_cpu) / gib);
        self.add(case, Metric::ServerCpuSecondsPerGib, server_cpu / gib);
        self.add(case, Metric::ClientCpuSecondsPerGib, client.cpu_seconds / gib);
        Ok(client)
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

pub(crate) fn remove(folder: &Path) -> Result<()> {
    fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))
}

/// The bytes of all files below a folder, holes not counted.
fn folder_bytes(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    let mut pending = vec![folder.to_owned()];
    while let Some(folder) = pending.pop() {
        let context = || format!("cannot list {}", folder.display());
        for entry in fs::read_dir(&folder).with_context(context)? {
            let entry = entry.with_context(context)?;
            let metadata = entry.metadata().with_context(context)?;
            if metadata.is_dir() {
                pending.push(entry.path());
            } else {
                bytes += metadata.len();
            }
        }
    }
    Ok(bytes)
}

pub(crate) fn same_content(left: &Path, right: &Path) -> Result<bool> {
    let open = |path: &Path| File::open(path).with_context(|| format!("cannot open {}", path.display()));
    let (mut left, mut right) = (BufReader::new(open(left)?), BufReader::new(open(right)?));
    let (mut a, mut b) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let read = left.read(&mut a).context("cannot read a restored file")?;
        if read == 0 {
            return Ok(right.read(&mut b[..1]).context("cannot read the original")? == 0);
        }
        match right.read_exact(&mut b[..read]) {
            Ok(()) if a[..read] == b[..read] => {}
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error).context("cannot read the original"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_compared_to_their_ends() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            path
        };
        let original = file("a", b"abc");
        assert!(same_content(&file("b", b"abc"), &original).unwrap());
        for other in [&b"abd"[..], b"ab", b"abcd", b""] {
            assert!(!same_content(&file("c", other), &original).unwrap(), "{other:?}");
        }
    }

    #[test]
    fn a_folder_counts_all_its_files() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("d")).unwrap();
        fs::write(folder.path().join("a"), [0; 10]).unwrap();
        fs::write(folder.path().join("d/b"), [0; 5]).unwrap();
        assert_eq!(folder_bytes(folder.path()).unwrap(), 15);
    }
}
