//! `bench list`: what a list of very many snapshots costs a server.
//!
//! Ten thousand snapshots in a thousand groups, written into the store's folder as stock servers lay them out. The first list finds a
//! tree that has just been written, and reads it; the later ones find it unchanged. What a list costs the server is its CPU time, less
//! what as many logins cost, since each command logs in. The peer is `find`, which looks at the same folders and reads no file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lexopt::prelude::*;

use crate::coldkeep::{Coldkeep, Running};
use crate::e2e::work_folder;
use crate::output::{Metric, Row, Samples};
use crate::process::shown;

const STORE: &str = "default";
const GROUPS: usize = 1000;
const SNAPSHOTS_EACH: usize = 10;
/// Lists and logins that are counted together: the kernel counts CPU time in hundredths of a second.
const REPEATS: u32 = 20;
/// What has changed a moment ago is read again by the next list.
const SETTLES_WITHIN: Duration = Duration::from_secs(5);
/// Room for the tree, in bytes.
const ROOM_BYTES: u64 = 512 << 20;
const FIND: &str = "find";

/// What to measure, and with which program.
#[derive(Debug)]
pub(crate) struct Flags {
    /// The release binary.
    coldkeep: PathBuf,
    /// One JSON object on standard output instead of a table.
    pub(crate) json: bool,
    /// How often each case runs; the median counts.
    runs: usize,
}

impl Flags {
    /// Parses the process's own arguments behind the benchmark's name.
    pub(crate) fn parse(args: &mut lexopt::Parser) -> Result<Flags> {
        let (mut coldkeep, mut json, mut runs) = (None, false, 3);
        while let Some(arg) = args.next()? {
            match arg {
                Long("coldkeep") => coldkeep = Some(PathBuf::from(args.value()?)),
                Long("json") => json = true,
                Long("runs") => runs = args.value()?.parse()?,
                other => return Err(other.unexpected().into()),
            }
        }
        ensure!(runs > 0, "--runs must be at least 1");
        Ok(Flags { coldkeep: coldkeep.context("--coldkeep is missing")?, json, runs })
    }
}

/// Writes the tree and lists it.
pub(crate) fn run(flags: &Flags) -> Result<Vec<Row>> {
    let folder = work_folder(ROOM_BYTES)?;
    eprintln!("working in {}", folder.path().display());
    let coldkeep = Coldkeep { program: &flags.coldkeep };
    let running = coldkeep.serve(folder.path(), STORE)?;
    let store = running.store()?;
    write_tree(&store)?;
    let mut bench = Bench { coldkeep, running, samples: Samples::default() };
    let case = "list 10,000 snapshots, first";
    let login = bench.cpu_seconds(REPEATS, Bench::login)? / f64::from(REPEATS);
    let first = bench.cpu_seconds(1, Bench::list)? - login;
    bench.samples.add(case, Metric::ServerCpuSeconds, None, first.max(0.0));
    thread::sleep(SETTLES_WITHIN);
    bench.list()?;
    let case = "list 10,000 snapshots, again";
    for run in 1..=flags.runs {
        eprintln!("run {run} of {}", flags.runs);
        let login = bench.cpu_seconds(REPEATS, Bench::login)?;
        let begun = Instant::now();
        let lists = bench.cpu_seconds(REPEATS, Bench::list)?;
        let wall = begun.elapsed().as_secs_f64() / f64::from(REPEATS);
        let server = (lists - login).max(0.0) / f64::from(REPEATS);
        bench.samples.add(case, Metric::ServerCpuSeconds, None, server);
        bench.samples.add(case, Metric::WallSeconds, None, wall);
        bench.samples.add(case, Metric::WallSeconds, Some(FIND), find(&store)?);
    }
    bench.samples.add(case, Metric::PeakMemoryBytes, None, bench.running.server.peak_memory_bytes()? as f64);
    bench.running.server.stop()?;
    Ok(bench.samples.into_rows())
}

struct Bench<'a> {
    coldkeep: Coldkeep<'a>,
    running: Running,
    samples: Samples,
}

impl Bench<'_> {
    /// The CPU time that the server takes for so many commands.
    fn cpu_seconds(&self, repeats: u32, command: fn(&Self) -> Result<()>) -> Result<f64> {
        let before = self.running.server.cpu_seconds()?;
        for _ in 0..repeats {
            command(self)?;
        }
        Ok(self.running.server.cpu_seconds()? - before)
    }

    fn login(&self) -> Result<()> {
        output(self.coldkeep.remote(&self.running, "login")).map(drop)
    }

    fn list(&self) -> Result<()> {
        let mut command = self.coldkeep.remote(&self.running, "snapshots");
        command.args(["--output", "json"]);
        let listed: Vec<serde_json::Value> =
            serde_json::from_slice(&output(command)?).context("the list is no JSON")?;
        ensure!(listed.len() == GROUPS * SNAPSHOTS_EACH, "{} snapshots were listed", listed.len());
        Ok(())
    }
}

fn output(mut command: Command) -> Result<Vec<u8>> {
    let output = command.output().with_context(|| format!("cannot run {}", shown(&command)))?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} failed: {error}", shown(&command));
    Ok(output.stdout)
}

/// How long `find` takes to look at every file of the tree.
fn find(store: &Path) -> Result<f64> {
    let begun = Instant::now();
    let mut command = Command::new(FIND);
    command.arg(store.join("host")).args(["-printf", "%s %i %C@\n"]).stdout(Stdio::null());
    let status = command.status().with_context(|| format!("cannot run {FIND}"))?;
    ensure!(status.success(), "{FIND} failed");
    Ok(begun.elapsed().as_secs_f64())
}

/// Writes the snapshots of a month of containers: an archive, its catalog, a log and the manifest each.
fn write_tree(store: &Path) -> Result<()> {
    for group in 0..GROUPS {
        let folder = store.join(format!("host/client{group}"));
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        write(&folder.join("owner"), b"root@pam\n")?;
        for day in 1..=SNAPSHOTS_EACH {
            let snapshot = folder.join(format!("2026-01-{day:02}T00:00:00Z"));
            fs::create_dir(&snapshot).with_context(|| format!("cannot make {}", snapshot.display()))?;
            for name in ["root.pxar.didx", "catalog.pcat1.didx", "client.log.blob"] {
                write(&snapshot.join(name), b"")?;
            }
            write(&snapshot.join("index.json.blob"), &manifest(group, day))?;
        }
    }
    Ok(())
}

/// Makes an encoded manifest (docs/FORMAT.md: a plain blob is magic, CRC32 and data).
fn manifest(group: usize, day: usize) -> Vec<u8> {
    // 2026-01-01T00:00:00Z.
    let time = 1_767_225_600 + (day - 1) * 86_400;
    let file = |name: &str| serde_json::json!({ "filename": name, "crypt-mode": "none", "size": 123_456_789, "csum": "ab".repeat(32) });
    let manifest = serde_json::json!({
        "backup-type": "host",
        "backup-id": format!("client{group}"),
        "backup-time": time,
        "files": [file("root.pxar.didx"), file("catalog.pcat1.didx")],
        "unprotected": { "notes": "a line of notes\nand another one", "chunk_upload_stats": { "count": 7 } },
    });
    let data = manifest.to_string().into_bytes();
    let mut blob = vec![66, 171, 56, 7, 190, 131, 112, 161];
    blob.extend(crc32fast::hash(&data).to_le_bytes());
    blob.extend(data);
    blob
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_and_nonsense_is_refused() {
        let parse = |line: &str| Flags::parse(&mut lexopt::Parser::from_args(line.split_whitespace()));
        let flags = parse("--coldkeep c --runs 2 --json").unwrap();
        assert_eq!((flags.runs, flags.json), (2, true));
        assert_eq!(parse("--coldkeep c").unwrap().runs, 3);
        for line in ["", "--coldkeep c --runs 0", "--coldkeep c --mib 5"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
