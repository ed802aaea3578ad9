//! A little disk space held back for the store's own state.
//!
//! A full disk must not keep the store from opening, or a collection, which would free space, from starting: both save
//! the clock (R12).

use std::fs;
use std::path::PathBuf;

use super::DirError;
use crate::digest::Digest;

/// Enough for a state file and its folder entry on any filesystem.
const RESERVE_BYTES: usize = 64 << 10;

/// A file that gives its space up when the disk is full.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
}

impl Reserve {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Does `work`, on a full disk once more with the space held back; holds space back again if there is any.
    ///
    /// Blocks. Callers take turns: the space is there once.
    pub(super) fn spend<T>(&self, work: impl Fn() -> Result<T, DirError>) -> Result<T, DirError> {
        let done = match work() {
            Err(error) if error.is_storage_full() && fs::remove_file(&self.path).is_ok() => work(),
            done => done,
        };
        if done.is_ok() && !self.path.exists() {
            self.hold_back();
        }
        done
    }

    fn hold_back(&self) {
        // Digests, since some filesystems store zeros as nothing.
        let content: Vec<u8> =
            (0_u32..).flat_map(|i| *Digest::of(&i.to_le_bytes()).as_bytes()).take(RESERVE_BYTES).collect();
        if fs::write(&self.path, content).is_err() {
            // No room: what was written of it is given back, and the next write of state tries again.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io;

    use super::*;

    #[test]
    fn a_full_disk_is_tried_again_with_the_space_held_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reserve");
        let reserve = Reserve::new(path.clone());
        reserve.spend(|| Ok(())).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), RESERVE_BYTES as u64);

        let full = || DirError::new("write", "state", io::ErrorKind::StorageFull.into());
        let tries = Cell::new(0);
        let write = || {
            tries.set(tries.get() + 1);
            if path.exists() { Err(full()) } else { Ok(()) }
        };
        reserve.spend(write).unwrap();
        assert_eq!(tries.get(), 2);
        assert!(path.exists(), "space is held back for the next time");

        reserve.spend(|| Err::<(), _>(full())).unwrap_err();
        assert!(!path.exists());
        reserve.spend(|| Err::<(), _>(full())).unwrap_err();
    }

    #[test]
    fn other_errors_do_not_touch_it() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = Reserve::new(folder.path().join("reserve"));
        reserve.spend(|| Ok(())).unwrap();
        let denied = || DirError::new("write", "state", io::ErrorKind::PermissionDenied.into());
        reserve.spend(|| Err::<(), _>(denied())).unwrap_err();
        assert!(folder.path().join("reserve").exists());
    }
}
