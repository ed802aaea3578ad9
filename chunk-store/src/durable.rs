//! The one way to replace a small file so that a crash or power loss leaves either the old or the new content.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::dir::DirError;

/// Replaces `path` by `content`: temporary file in the same folder, write, sync, rename, sync the folder.
///
/// The file gets the permission bits `mode` (less the process's mask). Blocks; two callers must not write one path at
/// the same time.
///
/// # Errors
/// [`DirError`]: the old content stands, unless the last step failed, when either may be there after a power loss.
pub fn replace_file(path: &Path, content: &[u8], mode: u32) -> Result<(), DirError> {
    let temporary = temporary_of(path);
    let written = write_synced(&temporary, content, mode);
    if let Err(error) = written.and_then(|()| rename_synced(&temporary, path)) {
        // The attempt's own error says more than one of this clean-up would.
        let _ = std::fs::remove_file(&temporary);
        return Err(error);
    }
    Ok(())
}

/// Renames `from` to `to` in the same folder and makes that durable; the content must be durable already.
///
/// # Errors
/// [`DirError`], as for [`replace_file`].
pub fn rename_synced(from: &Path, to: &Path) -> Result<(), DirError> {
    std::fs::rename(from, to).map_err(|source| DirError::new("rename to", to, source))?;
    sync_folder(to.parent().unwrap_or(Path::new("/")))
}

/// Makes the names in a folder durable.
///
/// # Errors
/// [`DirError`] if the folder cannot be opened or synced.
pub fn sync_folder(folder: &Path) -> Result<(), DirError> {
    let sync = || File::open(folder)?.sync_all();
    sync().map_err(|source: io::Error| DirError::new("sync the folder", folder, source))
}

fn temporary_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    path.with_file_name(name)
}

fn write_synced(path: &Path, content: &[u8], mode: u32) -> Result<(), DirError> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
        file.write_all(content)?;
        file.sync_all()
    };
    write().map_err(|source: io::Error| DirError::new("write", path, source))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn content_is_replaced_and_nothing_is_left_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        replace_file(&path, b"one", 0o600).unwrap();
        replace_file(&path, b"two", 0o600).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_attempt_names_the_file_and_leaves_the_old_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing/state");
        let error = replace_file(&path, b"one", 0o600).unwrap_err();
        assert!(error.to_string().contains("missing/state"), "{error}");
    }
}
