//! Errors of file operations and small file work; the one durable write is `chunk_store::durable::replace_file`.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;

use coldkeep_chunk_store::dir::DirError;
use coldkeep_chunk_store::durable::sync_folder;

/// Permission bits of files in the snapshot tree (spec `conversation.md` §6).
pub(crate) const FILE_MODE: u32 = 0o644;

/// Attaches verb and path to an `io::Error` where it happened.
pub(crate) trait Context<T> {
    fn context(self, verb: &'static str, path: &Path) -> Result<T, DirError>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, verb: &'static str, path: &Path) -> Result<T, DirError> {
        self.map_err(|source| DirError::new(verb, path, source))
    }
}

/// Tells whether an operation failed because the file or folder does not exist.
pub(crate) fn is_missing(error: &DirError) -> bool {
    error.source.kind() == io::ErrorKind::NotFound
}

/// Makes a folder and those above it that are missing; their names are durable when this returns.
pub(crate) fn make_folders(path: &Path) -> Result<(), DirError> {
    let mut parents = Vec::new();
    for folder in path.ancestors() {
        if folder.as_os_str().is_empty() || look(folder)? != Found::Nothing {
            break;
        }
        parents.extend(folder.parent());
    }
    fs::create_dir_all(path).context("create the folder", path)?;
    parents.into_iter().try_for_each(|parent| {
        sync_folder(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })
    })
}

/// Removes a file; one that is gone already is fine.
pub(crate) fn remove_if_there(path: &Path) -> Result<(), DirError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.context("remove", path),
    }
}

/// Reads a small file; `None` if there is none.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, DirError> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context("read", path),
    }
}

/// What is at a path, without following a symbolic link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    Folder,
    File,
    /// A symbolic link, a device or the like.
    Other,
}

/// Looks what is at `path`.
pub(crate) fn look(path: &Path) -> Result<Found, DirError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(Found::Folder),
        Ok(metadata) if metadata.is_file() => Ok(Found::File),
        Ok(_) => Ok(Found::Other),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(Found::Nothing)
        }
        Err(error) => Err(error).context("look at", path),
    }
}

/// Lists the names of a folder's entries, sorted, with what they are; `None` if there is no such folder.
pub(crate) fn list_all(folder: &Path) -> Result<Option<Vec<(OsString, Found)>>, DirError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context("list", folder),
    };
    let mut listed = Vec::new();
    for entry in entries {
        let entry = entry.context("list", folder)?;
        let ty = match entry.file_type() {
            Ok(ty) => ty,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).context("look at", &entry.path()),
        };
        let found = match (ty.is_dir(), ty.is_file()) {
            (true, _) => Found::Folder,
            (_, true) => Found::File,
            _ => Found::Other,
        };
        listed.push((entry.file_name(), found));
    }
    listed.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(Some(listed))
}

/// Like [`list_all`], without names that are not UTF-8: they are none of ours.
pub(crate) fn list(folder: &Path) -> Result<Option<Vec<(String, Found)>>, DirError> {
    let listed = list_all(folder)?.map(|listed| {
        listed.into_iter().filter_map(|(name, found)| Some((name.into_string().ok()?, found))).collect()
    });
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listings_are_sorted_and_do_not_follow_links() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("b")).unwrap();
        fs::write(folder.path().join("c"), "").unwrap();
        std::os::unix::fs::symlink(folder.path().join("b"), folder.path().join("a")).unwrap();
        let listed = list(folder.path()).unwrap().unwrap();
        let expected = [("a", Found::Other), ("b", Found::Folder), ("c", Found::File)];
        assert!(listed.iter().map(|(name, found)| (name.as_str(), *found)).eq(expected));
        assert_eq!(list(&folder.path().join("d")).unwrap(), None);
        assert_eq!(look(&folder.path().join("a")).unwrap(), Found::Other);
        assert_eq!(look(&folder.path().join("c/d")).unwrap(), Found::Nothing);
    }

    #[test]
    fn folders_are_made_with_those_above_them() {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            make_folders(&folder.path().join("a/b/c")).unwrap();
        }
        assert_eq!(look(&folder.path().join("a/b/c")).unwrap(), Found::Folder);
        fs::write(folder.path().join("file"), "").unwrap();
        make_folders(&folder.path().join("file/d")).unwrap_err();
    }

    #[test]
    fn a_missing_file_is_told_from_one_that_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read_if_there(&folder.path().join("a")).unwrap(), None);
        let error = read_if_there(folder.path()).unwrap_err();
        assert!(!is_missing(&error) && error.path == folder.path());
        remove_if_there(&folder.path().join("a")).unwrap();
    }
}
