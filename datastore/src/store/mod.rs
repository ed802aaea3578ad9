//! The datastore: the async shell around the blocking snapshot tree and the chunk store.

mod groups;
mod namespaces;
mod open;
mod references;
mod snapshots;

use std::sync::Arc;

use coldkeep_chunk_store::AnyStore;

pub use open::OpenError;
pub use references::{IndexRead, ReferenceError};

use crate::lock::{LockGuard, LockKey, LockTable};
use crate::name::{GroupName, Namespace, SnapshotName, StoreName};
use crate::tree::{Layout, Metadata, TreeError};

/// A datastore in a folder: snapshots in namespaces and groups, and the chunks that they share.
///
/// Shared in an `Arc`. One process owns it while it is open (R11), so locks of groups and snapshots are values in
/// memory. Blocking file work runs on the runtime's blocking threads.
#[derive(Debug)]
pub struct Datastore {
    name: StoreName,
    chunks: AnyStore,
    tree: Arc<Tree>,
    leftover_errors: Vec<TreeError>,
}

/// What the blocking side of a datastore shares.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) layout: Layout,
    pub(crate) locks: Arc<LockTable>,
    pub(crate) metadata: Metadata,
}

/// Size of the filesystem that holds a datastore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes in all.
    pub total: u64,
    /// Bytes used, by whomever.
    pub used: u64,
    /// Bytes that the server may still use.
    pub avail: u64,
}

impl Datastore {
    /// Returns the name under which clients know the datastore.
    pub const fn name(&self) -> &StoreName {
        &self.name
    }

    /// Returns what kept the open from removing all that unfinished backups left behind; the next open tries again.
    pub fn leftover_errors(&self) -> &[TreeError] {
        &self.leftover_errors
    }

    /// Returns the chunk store.
    pub const fn chunks(&self) -> &AnyStore {
        &self.chunks
    }

    pub(crate) const fn tree(&self) -> &Arc<Tree> {
        &self.tree
    }

    /// Returns the folder that holds the datastore.
    pub fn folder(&self) -> &std::path::Path {
        self.tree.layout.base()
    }

    /// Asks the filesystem for its size.
    ///
    /// # Errors
    /// [`TreeError::File`].
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn usage(&self) -> Result<Usage, TreeError> {
        self.blocking(|tree| {
            let base = tree.layout.base();
            let stat = rustix::fs::statvfs(base).map_err(|errno| {
                coldkeep_chunk_store::dir::DirError::new(
                    "ask for the size of the filesystem of",
                    base,
                    errno.into(),
                )
            })?;
            let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
            let used = bytes(stat.f_blocks.saturating_sub(stat.f_bfree));
            Ok(Usage { total: bytes(stat.f_blocks), used, avail: bytes(stat.f_bavail) })
        })
        .await
    }

    /// Runs blocking work on the tree; the one place of this crate that does so for the tree.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tree) -> Result<T, TreeError> + Send + 'static,
    ) -> Result<T, TreeError> {
        let tree = Arc::clone(&self.tree);
        run_blocking(move || work(&tree)).await.unwrap_or(Err(TreeError::ShuttingDown))
    }
}

impl Tree {
    pub(crate) fn lock_group(&self, ns: &Namespace, group: &GroupName) -> Result<LockGuard, TreeError> {
        let lock = self.locks.try_exclusive(LockKey::Group(ns.clone(), group.clone()));
        lock.ok_or_else(|| TreeError::GroupInUse { group: group.clone() })
    }

    /// Locks a snapshot against everyone else: for making or removing it.
    pub(crate) fn lock_snapshot(
        &self,
        ns: &Namespace,
        snapshot: &SnapshotName,
    ) -> Result<LockGuard, TreeError> {
        let lock = self.locks.try_exclusive(LockKey::Snapshot(ns.clone(), snapshot.clone()));
        lock.ok_or_else(|| TreeError::SnapshotInUse { snapshot: snapshot.clone() })
    }

    /// Locks a snapshot against its removal: for reading it, building on it or rewriting its manifest.
    pub(crate) fn share_snapshot(
        &self,
        ns: &Namespace,
        snapshot: &SnapshotName,
    ) -> Result<LockGuard, TreeError> {
        let lock = self.locks.try_shared(LockKey::Snapshot(ns.clone(), snapshot.clone()));
        lock.ok_or_else(|| TreeError::SnapshotInUse { snapshot: snapshot.clone() })
    }
}

/// Runs blocking work on the runtime's blocking threads; `None` if the runtime is shutting down.
///
/// The work runs to its end even if the returned future is dropped.
pub(crate) async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Some(done),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => None,
    }
}
