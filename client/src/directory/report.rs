//! What was seen of a directory while it was read.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Most warnings that are kept; more are only counted.
const WARNINGS_MAX: usize = 10_000;

/// Counts and warnings of one directory's backup; whoever reads the archive may look at it meanwhile.
#[derive(Debug, Default)]
pub struct DirectoryReport {
    files: AtomicU64,
    folders: AtomicU64,
    others: AtomicU64,
    excluded: AtomicU64,
    warning_count: AtomicU64,
    warnings: Mutex<Vec<DirectoryWarning>>,
}

/// Something that was not stored as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryWarning {
    /// Path from the root of the archive, `/a/b`.
    pub path: Vec<u8>,
    /// What happened.
    pub kind: WarningKind,
}

/// What happened to an entry of a directory that is backed up (spec `client.md` §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WarningKind {
    /// It was gone when it was to be read.
    Vanished,
    /// It may not be read: it is left out, with all that is in it.
    Denied,
    /// It is on a filesystem that does not answer any more.
    Stale,
    /// It grew while it was read: it is stored with the length that it had.
    Grew,
    /// It shrank while it was read: it is stored with zeros at its end.
    Shrank,
    /// It became something else while it was looked at.
    Changed,
    /// Its name, target or attributes do not fit into an archive.
    Unstorable,
    /// Another filesystem is mounted there: it is stored without content.
    OtherFilesystem,
    /// It has more attributes than the system lists; they are left out.
    LongAttributes,
    /// Line of a `.pxarexclude` that is no pattern.
    BadPattern,
}

impl fmt::Display for WarningKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vanished => "vanished before it was read; it is left out",
            Self::Denied => "may not be read; it is left out, with all that is in it",
            Self::Stale => "is on a filesystem that does not answer; it is left out",
            Self::Grew => "grew while it was read; what came later is left out",
            Self::Shrank => "shrank while it was read; zeros stand for what is missing",
            Self::Changed => "became something else while it was looked at; it is left out",
            Self::Unstorable => "has a name or attributes that no archive can hold; it is left out",
            Self::OtherFilesystem => "is another filesystem; it is stored as an empty directory",
            Self::LongAttributes => "has more attributes than the system lists; they are left out",
            Self::BadPattern => "has a line that is no pattern; the line is ignored",
        })
    }
}

impl DirectoryReport {
    /// Returns how many regular files were stored, hard links to them not counted.
    pub fn files(&self) -> u64 {
        self.files.load(Ordering::Relaxed)
    }

    /// Returns how many directories were stored, with the root.
    pub fn folders(&self) -> u64 {
        self.folders.load(Ordering::Relaxed)
    }

    /// Returns how many other entries were stored: links, devices, pipes, sockets.
    pub fn others(&self) -> u64 {
        self.others.load(Ordering::Relaxed)
    }

    /// Returns how many entries patterns left out; what is in a directory that was left out is not counted.
    pub fn excluded(&self) -> u64 {
        self.excluded.load(Ordering::Relaxed)
    }

    /// Returns how many warnings there are.
    pub fn warning_count(&self) -> u64 {
        self.warning_count.load(Ordering::Relaxed)
    }

    /// Takes the warnings that came since the last call; the first ten thousand are kept.
    pub fn take_warnings(&self) -> Vec<DirectoryWarning> {
        std::mem::take(&mut self.warnings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn add_file(&self) {
        self.files.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_folder(&self) {
        self.folders.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_other(&self) {
        self.others.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_excluded(&self) {
        self.excluded.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn warn(&self, path: &[u8], kind: WarningKind) {
        self.warning_count.fetch_add(1, Ordering::Relaxed);
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if warnings.len() < WARNINGS_MAX {
            warnings.push(DirectoryWarning { path: path.to_vec(), kind });
        }
    }
}
