//! What a session leaves on disk and in the lock table, and how it goes away again.

use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use super::BackupError;
use crate::lock::LockGuard;
use crate::name::{Namespace, SnapshotName};
use crate::store::Tree;
use crate::tree::{self, Layout, TreeError};

/// The snapshot's folder and the locks of a session; blocking.
///
/// Taken back exactly once: by [`Self::keep`] when the session is finished, else by [`Self::remove`]. If neither comes
/// (the runtime ends first), the folder stays without a manifest and the next open of the store removes it.
#[derive(Debug)]
pub(super) struct Footprint {
    tree: Arc<Tree>,
    ns: Namespace,
    snapshot: SnapshotName,
    group_is_new: bool,
    locks: Mutex<Option<SessionLocks>>,
    folder: RwLock<Folder>,
}

/// What becomes of the snapshot's folder; decided once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Folder {
    /// It is there for the session to work in.
    Open,
    /// It is that of a finished snapshot.
    Kept,
    /// It was removed, or should have been.
    Removed,
}

/// Locks of a session: its group and snapshot alone, and the snapshot that it builds on against removal (R5).
#[derive(Debug)]
pub(super) struct SessionLocks {
    /// Shared with the copy of a whole group, of which the session is a part.
    pub(super) _group: Arc<LockGuard>,
    pub(super) _snapshot: LockGuard,
    pub(super) _base: Option<LockGuard>,
}

/// Work in the folder: it is not removed meanwhile.
#[derive(Debug)]
pub(super) struct Entered<'a> {
    tree: &'a Tree,
    _folder: RwLockReadGuard<'a, Folder>,
}

impl Entered<'_> {
    pub(super) fn layout(&self) -> &Layout {
        &self.tree.layout
    }
}

impl Footprint {
    pub(super) fn new(
        tree: Arc<Tree>,
        (ns, snapshot): (Namespace, SnapshotName),
        group_is_new: bool,
        locks: SessionLocks,
    ) -> Self {
        Self {
            tree,
            ns,
            snapshot,
            group_is_new,
            locks: Mutex::new(Some(locks)),
            folder: RwLock::new(Folder::Open),
        }
    }

    /// Starts work in the folder.
    pub(super) fn enter(&self) -> Result<Entered<'_>, BackupError> {
        let folder = self.folder.read().unwrap_or_else(PoisonError::into_inner);
        if *folder == Folder::Open {
            Ok(Entered { tree: &self.tree, _folder: folder })
        } else {
            Err(BackupError::Over { how: "has ended" })
        }
    }

    /// Ends the session with its snapshot: the folder stays, the locks go. `false` if it was removed before.
    pub(super) fn keep(&self) -> bool {
        let mut folder = self.folder.write().unwrap_or_else(PoisonError::into_inner);
        if *folder == Folder::Open {
            *folder = Folder::Kept;
        }
        self.unlock();
        *folder == Folder::Kept
    }

    /// Tells whether the session ended with its snapshot.
    pub(super) fn is_kept(&self) -> bool {
        *self.folder.read().unwrap_or_else(PoisonError::into_inner) == Folder::Kept
    }

    /// Ends the session without a snapshot: waits for work in the folder, removes it, then gives the locks free.
    /// Does nothing if the session has ended.
    pub(super) fn remove(&self) -> Result<(), TreeError> {
        let mut folder = self.folder.write().unwrap_or_else(PoisonError::into_inner);
        let mut removed = Ok(());
        if *folder == Folder::Open {
            *folder = Folder::Removed;
            removed = self.remove_folder();
        }
        self.unlock();
        removed
    }

    fn remove_folder(&self) -> Result<(), TreeError> {
        tree::remove_snapshot(&self.tree.layout, &self.ns, &self.snapshot)?;
        if self.group_is_new {
            tree::remove_group_if_empty(&self.tree.layout, &self.ns, &self.snapshot.group)?;
        }
        Ok(())
    }

    fn unlock(&self) {
        self.locks.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
