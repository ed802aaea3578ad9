//! `coldkeep backup`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use clap::Args;
use coldkeep_client::directory::{DirectoryOptions, DirectoryReport, DirectoryWarning, Filesystems};
use coldkeep_client::pattern::{Pattern, PatternError};
use coldkeep_client::{
    ArchiveContent, BackupError, BackupSession, ImageSource, ProgressSnapshot, Store, TransferLimits,
    Uploaded,
};
use coldkeep_datastore::{ArchiveName, BackupId, BackupTime, BackupType, GroupName, Namespace, SnapshotName};
use serde::Serialize;

use super::human;
use super::names::{parse_time, snapshot_fields};
use super::progress::{Bar, Measure};
use super::shell::Shell;
use super::source::{Input, Source, open_all};
use super::table::{Align, Table};
use super::target::{Missing, Target};

/// The arguments of `coldkeep backup`.
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// What to back up: NAME.pxar:PATH for a directory, NAME.img:PATH for a disk image or block device, NAME.bin:PATH
    /// for any other file (- is standard input), NAME.conf:PATH for a small file.
    #[arg(required = true, value_name = "NAME.TYPE:PATH")]
    items: Vec<OsString>,
    #[command(flatten)]
    directories: Directories,
    #[command(flatten)]
    target: Target,
    /// Kind of source: host, vm or ct.
    #[arg(long = "backup-type", value_name = "TYPE", default_value = "host")]
    ty: BackupType,
    /// Name of the source; default: the host name.
    #[arg(long = "backup-id", value_name = "ID")]
    id: Option<BackupId>,
    /// Time of the snapshot, as 2026-01-31T12:00:00Z or in seconds since 1970; default: now.
    #[arg(long = "backup-time", value_name = "TIME", value_parser = parse_time)]
    time: Option<BackupTime>,
}

/// How directories are read.
#[derive(Debug, Args)]
#[command(next_help_heading = "Directories")]
#[expect(clippy::struct_excessive_bools, reason = "flags of the command line")]
struct Directories {
    /// Leave out what matches, as `*.tmp`, `/var/cache` or `node_modules/`; `!` in front takes in again. The last
    /// pattern that matches decides; those in files `.pxarexclude` come later still.
    #[arg(long, value_name = "PATTERN", value_parser = parse_pattern)]
    exclude: Vec<Pattern>,
    /// Stay on the filesystem of the directory, which is the default.
    #[arg(long, conflicts_with_all = ["include_dev", "all_file_systems"])]
    one_file_system: bool,
    /// Read the filesystem that this path is on, too.
    #[arg(long, value_name = "PATH")]
    include_dev: Vec<PathBuf>,
    /// Read all filesystems but those without files of their own, such as /proc.
    #[arg(long, conflicts_with = "include_dev")]
    all_file_systems: bool,
    /// Leave out the directories `lost+found`.
    #[arg(long)]
    skip_lost_and_found: bool,
    /// Store files without their attributes if those are too many for the system to list.
    #[arg(long)]
    skip_e2big_xattr: bool,
    /// Most entries in memory: those of all directories on the way to the one that is read.
    #[arg(long, value_name = "COUNT", default_value_t = 1 << 20)]
    entries_max: usize,
}

impl Directories {
    fn options(self) -> Result<DirectoryOptions> {
        let mut excludes = self.exclude;
        if self.skip_lost_and_found {
            excludes.push(Pattern::new("lost+found")?);
        }
        let filesystems = match (self.all_file_systems, self.include_dev) {
            (true, _) => Filesystems::All,
            (false, paths) if paths.is_empty() => Filesystems::One,
            (false, paths) => Filesystems::Also(paths),
        };
        let (entries_max, may_skip_long_xattrs) = (self.entries_max, self.skip_e2big_xattr);
        Ok(DirectoryOptions { excludes, filesystems, entries_max, may_skip_long_xattrs })
    }
}

fn parse_pattern(text: &str) -> Result<Pattern, PatternError> {
    Pattern::new(text)
}

/// What a backup did.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Summary {
    snapshot: String,
    #[serde(flatten)]
    name: serde_json::Value,
    ns: Namespace,
    archives: Vec<Archive>,
    #[serde(flatten)]
    total: Amounts,
    duration_seconds: f64,
    bytes_per_second: u64,
}

/// What became of one archive.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Archive {
    #[serde(rename = "archive")]
    name: ArchiveName,
    chunks: u64,
    incremental: bool,
    #[serde(flatten)]
    amounts: Amounts,
    duration_seconds: f64,
    #[serde(flatten)]
    directory: Option<Entries>,
}

/// Entries of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Entries {
    files: u64,
    folders: u64,
    others: u64,
    excluded: u64,
    /// What was not stored as it is.
    warnings: u64,
}

impl Entries {
    /// Counts what was seen, and tells of what was not stored as it is.
    fn of(report: &DirectoryReport, path: &str) -> Self {
        let told = report.take_warnings();
        for DirectoryWarning { path: below, kind } in &told {
            eprintln!("warning: {path}{} {kind}", String::from_utf8_lossy(below));
        }
        let warnings = report.warning_count();
        if warnings > told.len() as u64 {
            eprintln!("warning: {} more of {path} are not shown", warnings - told.len() as u64);
        }
        Self {
            files: report.files(),
            folders: report.folders(),
            others: report.others(),
            excluded: report.excluded(),
            warnings,
        }
    }
}

/// Bytes of an archive or of a whole backup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Amounts {
    /// Read from the source.
    size: u64,
    /// Not sent, since the server has them.
    reused_bytes: u64,
    /// Sent, before compression.
    new_bytes: u64,
    /// Sent, after compression.
    stored_bytes: u64,
}

impl Amounts {
    fn between(before: ProgressSnapshot, after: ProgressSnapshot) -> Self {
        Self {
            size: after.read_bytes - before.read_bytes,
            reused_bytes: after.reused_bytes - before.reused_bytes,
            new_bytes: after.transferred_bytes - before.transferred_bytes,
            stored_bytes: after.encoded_bytes - before.encoded_bytes,
        }
    }
}

impl Backup {
    pub(crate) async fn run(self, shell: &Shell) -> Result<()> {
        let sources = open_all(&self.items, &self.directories.options()?)?;
        let id = match self.id {
            Some(id) => id,
            None => host_name()?,
        };
        let group = GroupName::new(self.ty, id);
        let time = self.time;
        let work = async |store| back_up(&store, group, time, sources).await;
        let summary = Box::pin(self.target.run(shell, Missing::Create, work)).await?;
        shell.show(&summary, describe)
    }
}

async fn back_up(
    store: &Store,
    group: GroupName,
    time: Option<BackupTime>,
    sources: Vec<Source>,
) -> Result<Summary> {
    let started_at = Instant::now();
    let time = match time {
        Some(time) => time,
        None => next_time(store, &group).await?,
    };
    let snapshot = SnapshotName::new(group, time);
    let failed = || format!("cannot back up to {snapshot}");
    let session = store.begin_backup(&snapshot, TransferLimits::default()).await.with_context(failed)?;
    let total_size = sources.iter().map(Source::size).sum::<Option<u64>>();
    let bar = Bar::new(total_size);
    let progress = session.progress();
    let mut archives = Vec::with_capacity(sources.len());
    for source in sources {
        let (began_at, before) = (Instant::now(), progress.snapshot());
        bar.name(source.item.archive.as_str());
        let path = source.item.path.display().to_string();
        let report = match &source.input {
            Input::Directory(directory) => Some(directory.report()),
            _ => None,
        };
        let uploaded = bar.watch(Measure::Read, &progress, upload(&session, source)).await;
        let uploaded = uploaded.with_context(|| format!("cannot back up {path}"))?;
        archives.push(Archive {
            chunks: uploaded.chunk_count,
            incremental: uploaded.is_incremental,
            name: uploaded.archive,
            amounts: Amounts::between(before, progress.snapshot()),
            duration_seconds: began_at.elapsed().as_secs_f64(),
            directory: report.map(|report| Entries::of(&report, path.trim_end_matches('/'))),
        });
    }
    session.finish().await.with_context(failed)?;
    drop(bar);
    let duration = started_at.elapsed();
    let total = Amounts::between(ProgressSnapshot::default(), progress.snapshot());
    Ok(Summary {
        snapshot: snapshot.to_string(),
        name: snapshot_fields(&snapshot),
        ns: store.namespace().clone(),
        archives,
        total,
        duration_seconds: duration.as_secs_f64(),
        bytes_per_second: human::per_second(total.size, duration),
    })
}

async fn upload(session: &BackupSession, source: Source) -> Result<Uploaded, BackupError> {
    let Source { item, input } = source;
    let read_error = |source| BackupError::Read { archive: item.archive.clone(), source };
    match (item.content, input) {
        (ArchiveContent::Image, Input::Sized(file, _) | Input::Endless(file)) => {
            let image = ImageSource::file(file).map_err(read_error)?;
            session.upload_image(&item.archive, image).await
        }
        (
            ArchiveContent::Stream | ArchiveContent::Directory,
            Input::Sized(file, _) | Input::Endless(file),
        ) => session.upload_stream(&item.archive, file).await,
        (ArchiveContent::Blob, Input::Sized(file, _) | Input::Endless(file)) => {
            let data = read_blob(file).await.map_err(read_error)?;
            session.upload_blob(&item.archive, data.into()).await
        }
        (_, Input::Directory(directory)) => session.upload_stream(&item.archive, *directory).await,
        // The items were checked: nothing but a stream comes from standard input.
        (_, Input::Stdin) => {
            // Without the buffer of `io::stdin`, which would only copy everything once more.
            let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(read_error)?;
            session.upload_stream(&item.archive, File::from(stdin)).await
        }
    }
}

/// Reads a small file; one byte more than fits a blob is enough for the upload to refuse it.
async fn read_blob(file: File) -> io::Result<Vec<u8>> {
    let read = move || {
        let mut data = Vec::new();
        file.take(coldkeep_chunk_store::blob::ENCODE_BYTES_MAX as u64 + 1).read_to_end(&mut data)?;
        Ok(data)
    };
    tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
}

/// Picks now, or the second after the group's last snapshot if that is later.
async fn next_time(store: &Store, group: &GroupName) -> Result<BackupTime> {
    let listed = store.snapshots(Some(group.ty), Some(&group.id)).await;
    let listed = listed.with_context(|| format!("cannot list the snapshots of {group}"))?;
    let last = listed.iter().map(|item| item.backup_time).max();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() as i64);
    Ok(time_after(last, now)?)
}

fn time_after(last: Option<BackupTime>, now: i64) -> Result<BackupTime, coldkeep_datastore::NameError> {
    BackupTime::from_unix(last.map_or(now, |last| now.max(last.unix_seconds().saturating_add(1))))
}

fn host_name() -> Result<BackupId> {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    name.parse()
        .with_context(|| format!("the host name {name:?} cannot be used; name the source with --backup-id"))
}

fn describe(summary: &Summary) -> String {
    let columns = [
        ("archive", Align::Left),
        ("size", Align::Right),
        ("reused", Align::Right),
        ("new", Align::Right),
        ("stored", Align::Right),
        ("time", Align::Right),
    ];
    let mut table = Table::new(columns);
    let mut push = |name: &str, amounts: Amounts, seconds: f64| {
        table.push([
            name.to_owned(),
            human::bytes(amounts.size),
            human::bytes(amounts.reused_bytes),
            human::bytes(amounts.new_bytes),
            human::bytes(amounts.stored_bytes),
            human::duration(Duration::from_secs_f64(seconds)),
        ]);
    };
    for archive in &summary.archives {
        push(archive.name.as_str(), archive.amounts, archive.duration_seconds);
    }
    let Amounts { size, reused_bytes, .. } = summary.total;
    let duration = Duration::from_secs_f64(summary.duration_seconds);
    if summary.archives.len() > 1 {
        push("total", summary.total, summary.duration_seconds);
    }
    format!(
        "{}\nsnapshot {}: {} in {} ({}), {} reused\n",
        table.render("").trim_end(),
        summary.snapshot,
        human::bytes(size),
        human::duration(duration),
        human::rate(size, duration),
        human::percent(reused_bytes, size),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_now_or_after_the_last_snapshot() {
        let at = |seconds| BackupTime::from_unix(seconds).unwrap();
        assert_eq!(time_after(None, 100).unwrap(), at(100));
        assert_eq!(time_after(Some(at(50)), 100).unwrap(), at(100));
        assert_eq!(time_after(Some(at(100)), 100).unwrap(), at(101));
        assert_eq!(time_after(Some(at(500)), 100).unwrap(), at(501));
        assert!(time_after(None, 0).is_err(), "a clock that was never set");
    }

    #[test]
    fn the_summary_names_snapshot_archives_and_totals() {
        let amounts =
            Amounts { size: 4 << 20, reused_bytes: 1 << 20, new_bytes: 3 << 20, stored_bytes: 1 << 20 };
        let archive = |name: &str| Archive {
            name: name.parse().unwrap(),
            chunks: 1,
            incremental: true,
            amounts,
            duration_seconds: 0.5,
            directory: None,
        };
        let summary = Summary {
            snapshot: "host/a/2023-11-14T22:13:20Z".to_owned(),
            name: serde_json::json!({}),
            ns: Namespace::root(),
            archives: vec![archive("a.img.fidx"), archive("b.bin.didx")],
            total: Amounts { size: 8 << 20, reused_bytes: 2 << 20, ..amounts },
            duration_seconds: 2.0,
            bytes_per_second: 4 << 20,
        };
        let text = describe(&summary);
        let last = "snapshot host/a/2023-11-14T22:13:20Z: 8.00 MiB in 2.00 s (4.00 MiB/s), 25 % reused";
        assert_eq!(text.lines().last(), Some(last));
        assert_eq!(text.lines().count(), 5, "{text}");
        let json = serde_json::to_value(&summary).unwrap();
        assert_eq!(json["archives"][0]["reused-bytes"], 1 << 20);
        assert_eq!(json["size"], 8 << 20);
    }
}
