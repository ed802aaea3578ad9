//! What sessions and removals that did not end left in the snapshot tree (I5).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Tree;
use crate::name::{GroupName, Namespace, SnapshotName};
use crate::tree::{self, TreeError};

/// What a clearing of unfinished snapshots came to.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Cleared {
    /// Snapshots without manifest that were removed.
    pub snapshots: u64,
    /// Those that stay because a session works on them or a request for them may still take effect.
    pub in_use: u64,
    /// What kept others from being removed.
    pub errors: Vec<TreeError>,
}

/// What is called like a snapshot and is none.
#[derive(Debug, Default)]
struct Leftovers {
    /// Without a manifest and not protected: made by a session that goes on or did not end.
    unfinished: BTreeSet<(Namespace, SnapshotName)>,
    /// Hidden for a removal that goes on or did not end.
    hidden: BTreeSet<(Namespace, SnapshotName)>,
    /// What could not be looked at.
    errors: Vec<TreeError>,
}

impl Tree {
    /// Removes what sessions and removals that did not end left behind, but for what somebody holds.
    ///
    /// What goes: hidden folders of unfinished removals, and folders that are called like a snapshot, have no manifest,
    /// are not protected and lie in a group with a readable owner. When in doubt data is kept: anything else stays, and so
    /// does what cannot be looked at or removed. Ends before the next snapshot once `is_cancelled` says so.
    pub(crate) fn clear_leftovers(self: &Arc<Self>, is_cancelled: &dyn Fn() -> bool) -> Cleared {
        let found = self.leftovers();
        let mut cleared = Cleared { errors: found.errors, ..Cleared::default() };
        for (ns, snapshot) in found.hidden {
            // A removal that goes on has the lock.
            let Ok(_held) = self.lock_snapshot(&ns, &snapshot) else { continue };
            cleared.errors.extend(tree::remove_hidden(&self.layout, &ns, &snapshot).err());
        }
        for (ns, snapshot) in found.unfinished {
            if is_cancelled() {
                break;
            }
            match self.clear_one(&ns, &snapshot) {
                Ok(removed) => cleared.snapshots += u64::from(removed),
                Err(error) if error.is_in_use() => cleared.in_use += 1,
                // Its session failed and removed it itself.
                Err(error) if error.is_not_found() => {}
                Err(error) => cleared.errors.push(error),
            }
        }
        cleared
    }

    /// Returns those snapshots that [`Self::clear_leftovers`] would remove now, and how many it would leave in use.
    ///
    /// # Errors
    /// The first thing that cannot be looked at.
    pub(crate) fn list_unfinished(
        self: &Arc<Self>,
    ) -> Result<(BTreeSet<(Namespace, SnapshotName)>, u64), TreeError> {
        let Leftovers { mut unfinished, errors, .. } = self.leftovers();
        if let Some(error) = errors.into_iter().next() {
            return Err(error);
        }
        let all = unfinished.len();
        unfinished.retain(|(ns, snapshot)| self.lock_snapshot(ns, snapshot).is_ok());
        let in_use = (all - unfinished.len()) as u64;
        Ok((unfinished, in_use))
    }

    fn leftovers(&self) -> Leftovers {
        let mut found = Leftovers::default();
        self.look_through(&Namespace::root(), &mut found);
        found
    }

    fn look_through(&self, ns: &Namespace, found: &mut Leftovers) {
        match tree::groups(&self.layout, ns) {
            Ok(groups) => {
                for group in groups.iter().filter(|group| tree::read_owner(&self.layout, ns, group).is_ok()) {
                    let looked = self.look_through_group(ns, group, found);
                    found.errors.extend(looked.err());
                }
            }
            Err(error) => found.errors.push(error),
        }
        match tree::namespaces(&self.layout, ns, 1) {
            // The first is `ns` itself.
            Ok(children) => children[1..].iter().for_each(|child| self.look_through(child, found)),
            Err(error) => found.errors.push(error),
        }
    }

    fn look_through_group(
        &self,
        ns: &Namespace,
        group: &GroupName,
        found: &mut Leftovers,
    ) -> Result<(), TreeError> {
        let hidden = tree::hidden(&self.layout, ns, group)?;
        found.hidden.extend(hidden.into_iter().map(|snapshot| (ns.clone(), snapshot)));
        for snapshot in tree::snapshots(&self.layout, ns, group)? {
            match tree::is_unfinished(&self.layout, ns, &snapshot) {
                Ok(true) => {
                    found.unfinished.insert((ns.clone(), snapshot));
                }
                Ok(false) => {}
                Err(error) => found.errors.push(error),
            }
        }
        Ok(())
    }

    /// Returns whether it was there to be removed.
    fn clear_one(self: &Arc<Self>, ns: &Namespace, snapshot: &SnapshotName) -> Result<bool, TreeError> {
        let held = self.lock_snapshot(ns, snapshot)?;
        // Its session may have finished it since.
        if !tree::is_unfinished(&self.layout, ns, snapshot)? {
            return Ok(false);
        }
        tree::remove_snapshot(&self.layout, ns, snapshot)?;
        drop(held);
        // A backup of the group that is running cares for the group's folder.
        if let Ok(_held) = self.lock_group(ns, &snapshot.group) {
            tree::remove_group_if_empty(&self.layout, ns, &snapshot.group)?;
        }
        Ok(true)
    }
}
