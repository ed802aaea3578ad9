//! Taking the locks of groups and snapshots.

use std::time::Duration;

use super::{Datastore, Tree};
use crate::lock::{Hold, LockGuard, LockKey, Refused};
use crate::name::{GroupName, Namespace, SnapshotName};
use crate::tree::TreeError;

/// How long a session waits for locks that are given back by themselves: a few requests to the bucket, repeated. Whoever
/// starts one waits two minutes for an answer (spec `backup-protocol.md` §1).
const PASSING_MAX: Duration = Duration::from_secs(30);

impl Datastore {
    /// Locks a snapshot against its removal: for reading it, building on it or rewriting its manifest. Waits for a removal,
    /// collection or change that has it alone.
    ///
    /// # Errors
    /// [`TreeError::SnapshotInUse`] if a session makes it, or the wait is too long.
    ///
    /// # Cancel safety
    /// Nothing is locked if the future is dropped.
    pub(crate) async fn share_snapshot(
        &self,
        ns: &Namespace,
        snapshot: &SnapshotName,
    ) -> Result<LockGuard, TreeError> {
        let until = self.passed_by();
        loop {
            match self.tree.share_snapshot(ns, snapshot) {
                Err(error) if self.has_passed(ns, &error, until).await => {}
                lock => return lock,
            }
        }
    }

    /// Locks a group for a session, against everyone else. Waits as [`Self::share_snapshot`].
    ///
    /// # Errors
    /// [`TreeError::GroupInUse`].
    ///
    /// # Cancel safety
    /// Nothing is locked if the future is dropped.
    pub(crate) async fn lock_group(&self, ns: &Namespace, group: &GroupName) -> Result<LockGuard, TreeError> {
        let until = self.passed_by();
        loop {
            match self.tree.lock_group(ns, group, Hold::Session) {
                Err(error) if self.has_passed(ns, &error, until).await => {}
                lock => return lock,
            }
        }
    }

    /// Returns until when, on the monotonic clock, a session that begins now waits for locks.
    pub(crate) fn passed_by(&self) -> Duration {
        self.chunks.clock().monotonic() + PASSING_MAX
    }

    /// Waits until the lock in the namespace that was refused with `error` is free, if it is given back by itself; returns
    /// whether another attempt is worth it. No collection, removal or change then makes a session fail that comes in its
    /// moment. The caller must hold no lock that such a holder may want.
    pub(crate) async fn has_passed(&self, ns: &Namespace, error: &TreeError, until: Duration) -> bool {
        let key = match error {
            TreeError::GroupInUse { group, passes: true } => LockKey::Group(ns.clone(), group.clone()),
            TreeError::SnapshotInUse { snapshot, passes: true } => {
                LockKey::Snapshot(ns.clone(), snapshot.clone())
            }
            _ => return false,
        };
        self.tree.locks.has_passed(&key, self.chunks.clock(), until).await
    }
}

impl Tree {
    /// Locks a group against everyone else.
    pub(crate) fn lock_group(
        &self,
        ns: &Namespace,
        group: &GroupName,
        hold: Hold,
    ) -> Result<LockGuard, TreeError> {
        let lock = self.locks.try_exclusive(LockKey::Group(ns.clone(), group.clone()), hold);
        lock.map_err(|Refused { passes }| TreeError::GroupInUse { group: group.clone(), passes })
    }

    /// Locks a snapshot against everyone else: for making or removing it.
    pub(crate) fn lock_snapshot(
        &self,
        ns: &Namespace,
        snapshot: &SnapshotName,
        hold: Hold,
    ) -> Result<LockGuard, TreeError> {
        let lock = self.locks.try_exclusive(LockKey::Snapshot(ns.clone(), snapshot.clone()), hold);
        lock.map_err(|Refused { passes }| TreeError::SnapshotInUse { snapshot: snapshot.clone(), passes })
    }

    /// Locks a snapshot as [`Datastore::share_snapshot`] does, and waits for nobody.
    pub(crate) fn share_snapshot(
        &self,
        ns: &Namespace,
        snapshot: &SnapshotName,
    ) -> Result<LockGuard, TreeError> {
        let lock = self.locks.try_shared(LockKey::Snapshot(ns.clone(), snapshot.clone()));
        lock.map_err(|Refused { passes }| TreeError::SnapshotInUse { snapshot: snapshot.clone(), passes })
    }
}
