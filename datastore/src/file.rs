//! Durable writes and errors of file operations.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// A file operation that the system refused.
#[derive(Debug, thiserror::Error)]
#[error("could not {verb} {}", path.display())]
pub struct FileError {
    /// What was attempted.
    pub verb: &'static str,
    /// On which file or folder.
    pub path: PathBuf,
    /// What the system answered.
    pub source: io::Error,
}

impl FileError {
    /// Tells whether the file or folder does not exist.
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }

    /// Tells whether the disk or a quota is full.
    pub fn is_disk_full(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

/// Attaches verb and path to an `io::Error` where it happened.
pub(crate) trait Context<T> {
    fn context(self, verb: &'static str, path: &Path) -> Result<T, FileError>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, verb: &'static str, path: &Path) -> Result<T, FileError> {
        self.map_err(|source| FileError { verb, path: path.to_owned(), source })
    }
}

/// Replaces `target` by a file that holds `data`, durably: temporary file, fsync, rename, fsync of the folder.
///
/// The temporary name is fixed (`.NAME.tmp`), so that a crash leaves at most one, which the next write replaces;
/// callers hold the lock that serialises writers of `target`.
pub(crate) fn write_durably(target: &Path, data: &[u8]) -> Result<(), FileError> {
    let temporary = temporary_beside(target);
    let written = write_and_sync(&temporary, data)
        .and_then(|()| fs::rename(&temporary, target).context("rename a temporary file to", target));
    if let Err(error) = written {
        // Best effort: a full disk must not keep the piece that did fit.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    sync_folder_of(target)
}

fn write_and_sync(path: &Path, data: &[u8]) -> Result<(), FileError> {
    let mut file = File::create(path).context("create", path)?;
    file.write_all(data).context("write", path)?;
    file.sync_all().context("sync", path)
}

fn temporary_beside(target: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(".tmp");
    target.with_file_name(name)
}

/// Makes entries of a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), FileError> {
    File::open(folder).and_then(|folder| folder.sync_all()).context("sync the folder", folder)
}

/// Makes the entry of `path` in its folder durable.
pub(crate) fn sync_folder_of(path: &Path) -> Result<(), FileError> {
    path.parent().map_or(Ok(()), sync_folder)
}

/// Removes a file; one that is gone already is fine.
pub(crate) fn remove_if_there(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.context("remove", path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_durable_write_replaces_the_file_and_leaves_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("owner");
        write_durably(&target, b"one").unwrap();
        write_durably(&target, b"two").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("owner");
        fs::create_dir(&target).unwrap();
        let error = write_durably(&target, b"one").unwrap_err();
        assert_eq!(error.path, target);
        assert!(!error.is_not_found() && !error.is_disk_full());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = write_durably(&folder.path().join("gone/owner"), b"one").unwrap_err();
        assert!(error.is_not_found() && error.to_string().starts_with("could not create /"), "{error}");
    }
}
