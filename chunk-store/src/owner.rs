//! One owning process per store directory (R11).

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::dir::DirError;
use crate::switch::is_off;

/// Holds a store directory for this process; dropping it gives the directory free.
///
/// Two locks: `.coldkeep/owner`, which also names the owner for others' error messages, keeps every other open of the
/// same directory out, also within this process. The record lock on `.lock` keeps stock servers out, which use that
/// file in the same way (spec `formats.md` §10.1).
#[derive(Debug)]
pub struct OwnerLock {
    _owner: File,
    _stock: File,
}

/// Why a store directory could not be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OwnerError {
    /// Another process has the store open.
    #[error("the store {folder} is in use by {}", describe(*process), folder = folder.display())]
    Owned {
        /// The store's folder.
        folder: PathBuf,
        /// The owner's process id, if it could be found out.
        process: Option<u32>,
    },
    /// A lock file could not be made or locked.
    #[error(transparent)]
    Dir(#[from] DirError),
}

fn describe(process: Option<u32>) -> String {
    process.map_or_else(|| "another process".to_owned(), |id| format!("process {id}"))
}

impl OwnerLock {
    /// Takes the store at `folder`, whose state folder must exist, without waiting. Blocks for file work only.
    ///
    /// # Errors
    /// [`OwnerError::Owned`] while somebody else has it.
    pub fn take(folder: &Path) -> Result<Self, OwnerError> {
        let path = folder.join(".coldkeep/owner");
        let mut owner = open(&path)?;
        match owner.try_lock() {
            Err(TryLockError::WouldBlock) if !is_off("r11") => {
                return Err(OwnerError::Owned { folder: folder.into(), process: read_id(&mut owner) });
            }
            Err(TryLockError::Error(source)) => return Err(DirError::new("lock", path, source).into()),
            _ => {}
        }
        let stock_path = folder.join(".lock");
        let stock = open(&stock_path)?;
        match rustix::fs::fcntl_lock(&stock, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => {
                return Err(OwnerError::Owned { folder: folder.into(), process: None });
            }
            Err(errno) => return Err(DirError::new("lock", stock_path, errno.into()).into()),
            Ok(()) => {}
        }
        write_id(&mut owner).map_err(|source| DirError::new("write", path, source))?;
        Ok(Self { _owner: owner, _stock: stock })
    }
}

fn open(path: &Path) -> Result<File, DirError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|source| DirError::new("open", path, source))
}

fn read_id(owner: &mut File) -> Option<u32> {
    let mut text = String::new();
    owner.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_id(owner: &mut File) -> io::Result<()> {
    owner.rewind()?;
    // Always as long, so that it is written in place: a full disk has no room for anything else.
    writeln!(owner, "{:<15}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_owner_is_refused_by_name_until_the_first_lets_go() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(".coldkeep")).unwrap();
        let first = OwnerLock::take(folder.path()).unwrap();
        let refused = OwnerLock::take(folder.path()).unwrap_err();
        let own = std::process::id();
        assert!(matches!(&refused, OwnerError::Owned { process: Some(id), .. } if *id == own));
        assert!(refused.to_string().contains(&own.to_string()));
        drop(first);
        OwnerLock::take(folder.path()).unwrap();
    }
}
