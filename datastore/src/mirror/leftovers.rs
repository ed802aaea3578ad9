//! What sessions and removals that did not end left on the disk (I5).

use std::collections::BTreeSet;
use std::time::UNIX_EPOCH;

use coldkeep_chunk_store::StoreTime;

use super::Parts;
use crate::file::Context as _;
use crate::lock::{Hold, LockGuard};
use crate::name::{GroupName, Namespace, SnapshotName};
use crate::store::Tree;
use crate::tree::{self, Leftovers, TreeError};

/// What a clearing of unfinished snapshots came to.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Cleared {
    /// Snapshots without manifest that were removed.
    pub snapshots: u64,
    /// Those that stay because a session works on them, a request for them may still take effect, or they are too young.
    pub in_use: u64,
    /// What kept others from being removed.
    pub errors: Vec<TreeError>,
}

/// What a clearing of unfinished snapshots would come to.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Unfinished {
    /// Snapshots without manifest that would be removed.
    pub clearable: BTreeSet<(Namespace, SnapshotName)>,
    /// As in [`Cleared`].
    pub in_use: u64,
    /// What could not be looked at.
    pub errors: Vec<TreeError>,
}

/// When a change of a folder says that somebody may be at work there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recent {
    pub(crate) since: StoreTime,
    /// What lies beyond is from before this open, when the date was wrong (hazard H30).
    pub(crate) now: StoreTime,
}

/// What became of the removals that did not end.
#[derive(Debug, Default)]
pub(super) struct Hidden {
    pub(super) cleared: Cleared,
    /// Those that are over now.
    pub(super) ended: BTreeSet<(Namespace, SnapshotName)>,
    /// What unfinished snapshots were seen.
    pub(super) unfinished: BTreeSet<(Namespace, SnapshotName)>,
    /// What groups were seen that have nothing in them.
    pub(super) empty_groups: BTreeSet<(Namespace, GroupName)>,
}

impl Cleared {
    /// Takes the answer for one snapshot; returns whether it was removed.
    pub(super) fn note(&mut self, cleared: Result<bool, TreeError>) -> bool {
        match cleared {
            Ok(removed) => {
                self.snapshots += u64::from(removed);
                return removed;
            }
            Err(error) if error.is_in_use() => self.in_use += 1,
            // Its session failed and removed it itself.
            Err(error) if error.is_not_found() => {}
            Err(error) => self.errors.push(error),
        }
        false
    }

    /// Takes the answer for the group of a snapshot that was removed. Who holds or removes the group cares for it.
    pub(super) fn note_group(&mut self, removed: Result<bool, TreeError>) {
        if let Err(error) = removed
            && !error.is_in_use()
            && !error.is_not_found()
        {
            self.errors.push(error);
        }
    }
}

impl Parts {
    /// Removes from the disk what sessions and removals that did not end left behind, but for what somebody holds. The
    /// bucket, if there is one, is left alone. So are groups without snapshots on a filesystem: stock servers before 3.4 leave
    /// them on purpose (spec `formats.md` §10).
    ///
    /// What goes: hidden folders of unfinished removals, and folders that are called like a snapshot, have no manifest,
    /// are not protected, were not changed in `recent` time and lie in a group with a readable owner. When in doubt data is
    /// kept: anything else stays, and so does what cannot be looked at or removed. Ends before the next folder once
    /// `is_cancelled` says so.
    pub(crate) async fn clear_leftovers(
        &self,
        recent: Option<Recent>,
        is_cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Cleared {
        let on_disk = Self { bucket: None, ..self.clone() };
        let Hidden { mut cleared, ended, unfinished, .. } = on_disk.clear_hidden(is_cancelled).await;
        for (ns, snapshot) in ended {
            cleared.note_group(on_disk.remove_group_if_left(&ns, &snapshot.group).await);
        }
        for (ns, snapshot) in unfinished {
            if is_cancelled() {
                break;
            }
            let place = (ns.clone(), snapshot.clone());
            let removed = on_disk.blocking(move |tree| tree.clear_one(&place.0, &place.1, recent)).await;
            if cleared.note(removed) {
                cleared.note_group(on_disk.remove_group_if_left(&ns, &snapshot.group).await);
            }
        }
        cleared
    }

    /// Ends removals that did not end, on the disk. Groups stay.
    pub(super) async fn clear_hidden(&self, is_cancelled: &(dyn Fn() -> bool + Sync)) -> Hidden {
        let mut cleared = Cleared::default();
        let mut ended = BTreeSet::new();
        let found = match self.blocking(|tree| Ok(Leftovers::of(&tree.layout))).await {
            Ok(found) => found,
            Err(error) => {
                cleared.errors.push(error);
                return Hidden { cleared, ..Hidden::default() };
            }
        };
        cleared.errors = found.errors;
        for (ns, snapshot) in found.hidden {
            if is_cancelled() {
                break;
            }
            let place = (ns.clone(), snapshot.clone());
            let removed = self.blocking(move |tree| {
                // A removal that goes on has the lock.
                let _held = tree.lock_snapshot(&place.0, &place.1, Hold::Passing)?;
                tree::remove_hidden(&tree.layout, &place.0, &place.1)
            });
            match removed.await {
                Ok(()) => {
                    ended.insert((ns, snapshot));
                }
                Err(error) if error.is_in_use() => {}
                Err(error) => cleared.errors.push(error),
            }
        }
        Hidden { cleared, ended, unfinished: found.unfinished, empty_groups: found.empty_groups }
    }

    /// Returns what [`Self::clear_leftovers`] would do now to unfinished snapshots.
    pub(crate) async fn list_leftovers(&self, recent: Recent) -> Result<Unfinished, TreeError> {
        self.blocking(move |tree| {
            let found = Leftovers::of(&tree.layout);
            let mut foreseen = Unfinished { errors: found.errors, ..Unfinished::default() };
            for (ns, snapshot) in found.unfinished {
                match tree.lock_unfinished(&ns, &snapshot, Some(recent)) {
                    Ok(Some(_held)) => {
                        foreseen.clearable.insert((ns, snapshot));
                    }
                    Ok(None) => {}
                    Err(error) if error.is_in_use() => foreseen.in_use += 1,
                    Err(error) => foreseen.errors.push(error),
                }
            }
            Ok(foreseen)
        })
        .await
    }

    /// Removes a group if nothing is left of it and nobody holds it.
    pub(super) async fn remove_group_if_left(
        &self,
        ns: &Namespace,
        group: &GroupName,
    ) -> Result<bool, TreeError> {
        let _held = self.tree.lock_group(ns, group, Hold::Passing)?;
        self.remove_group_if_empty(ns, group).await
    }
}

impl Tree {
    /// Returns whether it was there to be removed.
    pub(super) fn clear_one(
        &self,
        ns: &Namespace,
        snapshot: &SnapshotName,
        recent: Option<Recent>,
    ) -> Result<bool, TreeError> {
        let Some(_held) = self.lock_unfinished(ns, snapshot, recent)? else { return Ok(false) };
        tree::remove_snapshot(&self.layout, ns, snapshot)?;
        Ok(true)
    }

    /// Locks a snapshot that is unfinished, so that it stays so; none if it is not: its session may have finished it, or
    /// removed it, since it was found.
    ///
    /// # Errors
    /// [`TreeError::SnapshotInUse`] also for one that was changed in `recent` time: somebody may be copying it here.
    fn lock_unfinished(
        &self,
        ns: &Namespace,
        snapshot: &SnapshotName,
        recent: Option<Recent>,
    ) -> Result<Option<LockGuard>, TreeError> {
        let held = self.lock_snapshot(ns, snapshot, Hold::Passing)?;
        if !tree::is_unfinished(&self.layout, ns, snapshot)? {
            return Ok(None);
        }
        if let Some(Recent { since, now }) = recent {
            let folder = self.layout.snapshot(ns, snapshot);
            let changed_at = folder.metadata().and_then(|metadata| metadata.modified());
            let changed_at = changed_at.context("look at", &folder)?;
            let changed_at = StoreTime::EPOCH.plus(changed_at.duration_since(UNIX_EPOCH).unwrap_or_default());
            if (since..=now).contains(&changed_at) {
                return Err(TreeError::SnapshotInUse { snapshot: snapshot.clone(), passes: false });
            }
        }
        Ok(Some(held))
    }
}
