//! What is called like a snapshot and is none: made by sessions and removals that go on or did not end.

use std::collections::BTreeSet;

use super::remove::hidden;
use super::walk::tolerate_gone;
use super::{Layout, TreeError, groups, is_group_empty, is_unfinished, namespaces, read_owner, snapshots};
use crate::name::{GroupName, Namespace, SnapshotName};

/// What a look through the tree found. Somebody may hold any of it.
#[derive(Debug, Default)]
pub(crate) struct Leftovers {
    /// Without a manifest and not protected, in a group with a readable owner.
    pub(crate) unfinished: BTreeSet<(Namespace, SnapshotName)>,
    /// Hidden for a removal.
    pub(crate) hidden: BTreeSet<(Namespace, SnapshotName)>,
    /// Groups with a readable owner and nothing in them.
    pub(crate) empty_groups: BTreeSet<(Namespace, GroupName)>,
    /// What could not be looked at.
    pub(crate) errors: Vec<TreeError>,
}

impl Leftovers {
    pub(crate) fn of(layout: &Layout) -> Self {
        let mut found = Self::default();
        found.look_through(layout, &Namespace::root());
        found
    }

    fn look_through(&mut self, layout: &Layout, ns: &Namespace) {
        match tolerate_gone(groups(layout, ns)) {
            Ok(groups) => {
                for group in groups.iter().filter(|group| read_owner(layout, ns, group).is_ok()) {
                    let looked = self.look_through_group(layout, ns, group);
                    self.errors.extend(looked.err());
                }
            }
            Err(error) => self.errors.push(error),
        }
        match tolerate_gone(namespaces(layout, ns, 1)) {
            // The first is `ns` itself.
            Ok(children) => children.iter().skip(1).for_each(|child| self.look_through(layout, child)),
            Err(error) => self.errors.push(error),
        }
    }

    fn look_through_group(
        &mut self,
        layout: &Layout,
        ns: &Namespace,
        group: &GroupName,
    ) -> Result<(), TreeError> {
        if is_group_empty(layout, ns, group)? {
            self.empty_groups.insert((ns.clone(), group.clone()));
        }
        self.hidden.extend(hidden(layout, ns, group)?.into_iter().map(|snapshot| (ns.clone(), snapshot)));
        for snapshot in tolerate_gone(snapshots(layout, ns, group))? {
            match is_unfinished(layout, ns, &snapshot) {
                Ok(true) => {
                    self.unfinished.insert((ns.clone(), snapshot));
                }
                Ok(false) => {}
                Err(error) => self.errors.push(error),
            }
        }
        Ok(())
    }
}
