//! `coldkeep restore`.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;
use coldkeep_client::extract::{ExtractOptions, Extracted};
use coldkeep_client::pattern::{Pattern, PatternError};
use coldkeep_client::{ReaderSession, Store, TransferLimits, server_name};
use coldkeep_datastore::{ArchiveKind, ArchiveName};
use serde::Serialize;

use super::failure::not_among;
use super::human;
use super::names::Place;
use super::progress::{Bar, Measure};
use super::shell::Shell;
use super::target::{Missing, Target};

/// The target that stands for standard output.
const STDOUT: &str = "-";

/// How the names of directories' archives end on the server.
const PXAR_SUFFIX: &str = ".pxar.didx";

/// The arguments of `coldkeep restore`.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// Snapshot, as host/web1/2026-01-31T12:00:00Z, or group, as host/web1, for its newest one.
    snapshot: Place,
    /// Name of the archive, as disk.img; `coldkeep ls` lists them.
    archive: String,
    /// File to write, or - for standard output; of a directory's archive, the directory to restore into.
    #[arg(value_name = "TARGET")]
    path: PathBuf,
    /// Replace the content of a file, or write to a block device, that is there already; in a directory, restore into
    /// directories and over files and links that are there.
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    directories: Directories,
    #[command(flatten)]
    target: Target,
}

/// How archives of directories are restored.
#[derive(Debug, Args)]
#[command(next_help_heading = "Directories")]
#[expect(clippy::struct_excessive_bools, reason = "flags of the command line")]
struct Directories {
    /// Restore only what matches and what is below it, as `etc/**` or `*.conf`; `!` in front leaves out again.
    #[arg(long, value_name = "PATTERN", value_parser = parse_pattern)]
    include: Vec<Pattern>,
    /// Restore into directories that are there already; their files are not overwritten.
    #[arg(long)]
    allow_existing_dirs: bool,
    /// Leave owners and groups as they come; the default for everybody but root.
    #[arg(long)]
    ignore_ownership: bool,
    /// Leave permissions as they come.
    #[arg(long)]
    ignore_permissions: bool,
    /// Restore no access lists.
    #[arg(long)]
    ignore_acls: bool,
    /// Restore no extended attributes and file capabilities.
    #[arg(long)]
    ignore_xattrs: bool,
    /// Go on where a device cannot be made.
    #[arg(long)]
    ignore_extract_device_errors: bool,
}

impl Directories {
    fn options(self, overwrite: bool) -> ExtractOptions {
        let mut options = ExtractOptions::default();
        options.patterns = self.include;
        options.allow_existing_dirs = self.allow_existing_dirs || overwrite;
        // Nobody else may give files away.
        options.ignore_ownership = self.ignore_ownership || !rustix::process::geteuid().is_root();
        options.ignore_permissions = self.ignore_permissions;
        options.ignore_acls = self.ignore_acls;
        options.ignore_xattrs = self.ignore_xattrs;
        options.ignore_device_errors = self.ignore_extract_device_errors;
        if overwrite { options.overwriting() } else { options }
    }
}

fn parse_pattern(text: &str) -> Result<Pattern, PatternError> {
    Pattern::new(text)
}

/// What a restore did.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Summary {
    snapshot: String,
    archive: ArchiveName,
    target: PathBuf,
    size: u64,
    duration_seconds: f64,
    bytes_per_second: u64,
    #[serde(flatten)]
    directory: Option<Entries>,
}

/// Entries that were restored into a directory.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Entries {
    files: u64,
    folders: u64,
    others: u64,
    skipped_devices: u64,
}

impl Restore {
    pub(crate) async fn run(self, shell: &Shell) -> Result<()> {
        let Self { snapshot, archive, path, overwrite, directories, target } = self;
        let archive = server_name(&archive).with_context(|| format!("archive {archive:?}"))?;
        let is_directory = archive.as_str().ends_with(PXAR_SUFFIX) && path != Path::new(STDOUT);
        if !is_directory && !directories.include.is_empty() {
            bail!(
                "--include chooses from the archive of a directory that is restored into one; {archive} to {} is not",
                path.display()
            );
        }
        let place = if is_directory {
            Output::Directory(path, Box::new(directories.options(overwrite)))
        } else {
            Output::check(&path, overwrite)?
        };
        let summary = target
            .run(shell, Missing::Refuse, async |store| restore(&store, snapshot, archive, place).await)
            .await?;
        if summary.target == Path::new(STDOUT) {
            // Standard output belongs to the data.
            return Ok(());
        }
        shell.show(&summary, describe)
    }
}

/// Where the data goes; decided before anything is fetched.
#[derive(Debug)]
enum Output {
    Stdout,
    /// A file that is not there yet.
    New(PathBuf),
    /// A file or block device that may be overwritten.
    Existing(PathBuf),
    /// A directory, there or not.
    Directory(PathBuf, Box<ExtractOptions>),
}

impl Output {
    fn check(path: &Path, overwrite: bool) -> Result<Self> {
        if path == Path::new(STDOUT) {
            return Ok(Self::Stdout);
        }
        // A dangling link counts as existing, as nobody knows what writing through it would do.
        match std::fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => match path.parent() {
                Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
                    bail!("there is no directory {}", folder.display())
                }
                _ => Ok(Self::New(path.to_owned())),
            },
            Err(error) => Err(error).with_context(|| format!("cannot look at {}", path.display())),
            Ok(_) if path.is_dir() => bail!("{} is a directory; name a file to write", path.display()),
            Ok(_) if overwrite => Ok(Self::Existing(path.to_owned())),
            Ok(_) => bail!("{} exists already; use --overwrite to replace its content", path.display()),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Stdout => Path::new(STDOUT),
            Self::New(path) | Self::Existing(path) | Self::Directory(path, _) => path,
        }
    }
}

async fn restore(store: &Store, place: Place, archive: ArchiveName, output: Output) -> Result<Summary> {
    let started_at = Instant::now();
    let snapshot = place.snapshot(store).await?;
    let failed = || format!("cannot restore {archive} of {snapshot}");
    let session = store.open_snapshot(&snapshot, TransferLimits::default()).await;
    let session = session.with_context(|| format!("cannot open {snapshot}"))?;
    let size = size_of(&session, &archive)?;
    let bar = Bar::new(size);
    bar.name(archive.as_str());
    let progress = session.progress();
    let path = output.path().to_owned();
    let written = bar.watch(Measure::Written, &progress, write(&session, &archive, output)).await;
    let directory = written.with_context(failed)?;
    let (size, duration) = (progress.snapshot().written_bytes, started_at.elapsed());
    Ok(Summary {
        snapshot: snapshot.to_string(),
        archive,
        target: path,
        size,
        duration_seconds: duration.as_secs_f64(),
        bytes_per_second: human::per_second(size, duration),
        directory,
    })
}

/// Returns the plain size of an archive if the manifest tells it; an unknown archive is an error that names the others.
fn size_of(session: &ReaderSession, archive: &ArchiveName) -> Result<Option<u64>> {
    if archive.is_manifest() || archive.as_str() == ArchiveName::CLIENT_LOG {
        return Ok(None);
    }
    let Some(entry) = session.manifest().file(archive) else {
        let names: Vec<String> =
            session.manifest().files().iter().map(|file| file.filename.to_string()).collect();
        return Err(not_among(&format!("{} has no archive {archive}", session.snapshot()), &names));
    };
    // Of a blob the manifest tells only the encoded size.
    Ok(matches!(archive.kind(), ArchiveKind::Index(_)).then_some(entry.size))
}

async fn write(session: &ReaderSession, archive: &ArchiveName, output: Output) -> Result<Option<Entries>> {
    match output {
        Output::Stdout => {
            // Without the buffer of `io::stdout`, which would look for line ends.
            let stdout =
                io::stdout().as_fd().try_clone_to_owned().context("cannot write to standard output")?;
            session.restore_to_writer(archive, File::from(stdout)).await?;
        }
        Output::Existing(path) => {
            // Not truncated here: the restore does so once it has found the archive.
            let file = OpenOptions::new().write(true).open(&path);
            session.restore_to_file(archive, file.with_context(|| cannot_write(&path))?).await?;
        }
        Output::New(path) => {
            let file = File::create_new(&path).with_context(|| cannot_write(&path))?;
            let unfinished = Unfinished(path);
            session.restore_to_file(archive, file).await?;
            unfinished.keep();
        }
        Output::Directory(path, options) => {
            let done = session.restore_directory(archive, &path, *options).await?;
            let Extracted { files, folders, others, skipped_devices, .. } = done;
            return Ok(Some(Entries { files, folders, others, skipped_devices }));
        }
    }
    Ok(None)
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write {}", path.display())
}

/// A new file that is removed again unless all of it was written: half an image looks like a whole one.
struct Unfinished(PathBuf);

impl Unfinished {
    fn keep(mut self) {
        self.0 = PathBuf::new();
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            // If it cannot be removed either, the error that led here tells enough.
            let _ = std::fs::remove_file(&self.0);
        }
    }
}

fn describe(summary: &Summary) -> String {
    let duration = std::time::Duration::from_secs_f64(summary.duration_seconds);
    let entries = summary.directory.map_or(String::new(), |entries| {
        format!(", {} files, {} directories", entries.files, entries.folders)
    });
    format!(
        "{} of {} to {}: {} in {} ({}){entries}\n",
        summary.archive,
        summary.snapshot,
        summary.target.display(),
        human::bytes(summary.size),
        human::duration(duration),
        human::rate(summary.size, duration)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_target_is_refused_unless_it_may_be_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x");
        assert!(matches!(Output::check(&file, false), Ok(Output::New(_))));
        std::fs::write(&file, b"x").unwrap();
        assert!(Output::check(&file, false).unwrap_err().to_string().contains("--overwrite"));
        assert!(matches!(Output::check(&file, true), Ok(Output::Existing(_))));
        assert!(Output::check(folder.path(), true).unwrap_err().to_string().contains("is a directory"));
        let link = folder.path().join("dangling");
        std::os::unix::fs::symlink("/nonexistent/y", &link).unwrap();
        assert!(Output::check(&link, false).is_err());
        assert!(
            Output::check(&folder.path().join("no/x"), false)
                .unwrap_err()
                .to_string()
                .contains("no directory")
        );
        assert!(matches!(Output::check(Path::new("-"), false), Ok(Output::Stdout)));
        assert!(matches!(Output::check(Path::new("bare"), false), Ok(Output::New(_))));
    }

    #[test]
    fn an_unfinished_file_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (lost, kept) = (folder.path().join("lost"), folder.path().join("kept"));
        for path in [&lost, &kept] {
            std::fs::write(path, b"x").unwrap();
        }
        drop(Unfinished(lost.clone()));
        Unfinished(kept.clone()).keep();
        assert!(!lost.exists() && kept.exists());
    }
}
