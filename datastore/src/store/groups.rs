//! Groups: lists, owners, notes, removal.

use super::Datastore;
use crate::lock::Hold;
use crate::mirror::detached;
use crate::name::{GroupName, Namespace, Owner};
use crate::prune::PruneCandidate;
use crate::tree::{self, Change, DeleteStats, GroupInfo, TreeError};

impl Datastore {
    /// Lists the groups of a namespace, in order.
    ///
    /// # Errors
    /// [`TreeError::NoNamespace`], [`TreeError::File`].
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn groups(&self, ns: &Namespace) -> Result<Vec<GroupInfo>, TreeError> {
        let ns = ns.clone();
        self.blocking(move |tree| {
            let mut infos = Vec::new();
            for group in tree::groups(&tree.layout, &ns)? {
                match tree::group_info(&tree.layout, &ns, &group) {
                    // Removed since the folder was listed.
                    Err(error) if error.is_not_found() => {}
                    info => infos.push(info?),
                }
            }
            Ok(infos)
        })
        .await
    }

    /// Lists the names of the groups of a namespace, in order, without a look into them.
    ///
    /// # Errors
    /// [`TreeError::NoNamespace`], [`TreeError::File`].
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn group_names(&self, ns: &Namespace) -> Result<Vec<GroupName>, TreeError> {
        let ns = ns.clone();
        self.blocking(move |tree| tree::groups(&tree.layout, &ns)).await
    }

    /// Lists what [`prune::plan`](crate::prune::plan) has to know of a group's snapshots, oldest first.
    ///
    /// No manifest is read: one that is damaged makes its snapshot no unfinished one, because only the operator may decide
    /// that it is worth nothing.
    ///
    /// # Errors
    /// [`TreeError::NoNamespace`], [`TreeError::File`]. An unknown group gives an empty list.
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn prune_candidates(
        &self,
        ns: &Namespace,
        group: &GroupName,
    ) -> Result<Vec<PruneCandidate>, TreeError> {
        let (ns, group) = (ns.clone(), group.clone());
        self.blocking(move |tree| {
            tree::check_namespace(&tree.layout, &ns)?;
            let snapshots = match tree::snapshots(&tree.layout, &ns, &group) {
                Err(TreeError::NoGroup { .. }) => Vec::new(),
                snapshots => snapshots?,
            };
            let mut candidates = Vec::new();
            for snapshot in snapshots {
                let finished = tree::is_finished(&tree.layout, &ns, &snapshot)?;
                let protected = tree::is_protected(&tree.layout, &ns, &snapshot)?;
                match tree::check_snapshot(&tree.layout, &ns, &snapshot) {
                    // Removed since the folder was listed.
                    Err(error) if error.is_not_found() => continue,
                    checked => checked?,
                }
                candidates.push(PruneCandidate { time: snapshot.time, finished, protected });
            }
            Ok(candidates)
        })
        .await
    }

    /// Removes the snapshots of a group, but for protected ones, and the group if none are left. A group stays, and is not counted,
    /// while the bucket has a snapshot of it whose local copy was lost: the next refresh shows that one.
    ///
    /// # Errors
    /// [`TreeError::NoGroup`], [`TreeError::GroupInUse`], [`TreeError::SnapshotInUse`] at the first one in use (older
    /// ones are gone by then); with `error_on_protected` [`TreeError::ProtectedRemain`] after the others were removed.
    ///
    /// # Cancel safety
    /// The removal goes on if the future is dropped.
    pub async fn forget_group(
        &self,
        ns: &Namespace,
        group: &GroupName,
        error_on_protected: bool,
    ) -> Result<DeleteStats, TreeError> {
        let (ns, group) = (ns.clone(), group.clone());
        let parts = self.parts();
        detached(async move {
            let stats = parts.forget_group(&ns, &group).await?;
            if error_on_protected && stats.protected_snapshots > 0 {
                return Err(TreeError::ProtectedRemain { group, protected: stats.protected_snapshots });
            }
            Ok(stats)
        })
        .await
    }

    /// Returns the owner of a group.
    ///
    /// # Errors
    /// [`TreeError::NoGroup`], [`TreeError::Owner`], [`TreeError::File`].
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn owner(&self, ns: &Namespace, group: &GroupName) -> Result<Owner, TreeError> {
        let (ns, group) = (ns.clone(), group.clone());
        self.blocking(move |tree| tree::read_owner(&tree.layout, &ns, &group)).await
    }

    /// Gives a group another owner.
    ///
    /// # Errors
    /// [`TreeError::NoGroup`], [`TreeError::GroupInUse`] while a backup of the group runs, [`TreeError::File`],
    /// [`TreeError::Bucket`].
    ///
    /// # Cancel safety
    /// The group has the old or the new owner if the future is dropped.
    pub async fn change_owner(
        &self,
        ns: &Namespace,
        group: &GroupName,
        owner: &Owner,
    ) -> Result<(), TreeError> {
        let (ns, group, owner) = (ns.clone(), group.clone(), owner.clone());
        let path = self.tree().layout.owner(&ns, &group);
        let prepare = move |tree: &super::Tree| {
            let held = tree.lock_group(&ns, &group, Hold::Passing)?;
            tree::check_group(&tree.layout, &ns, &group)?;
            Ok((held, Change::of_owner(&tree.layout, (&ns, &group), &owner)))
        };
        self.parts().change(path, prepare).await
    }

    /// Returns the notes of a group; empty if there are none.
    ///
    /// # Errors
    /// [`TreeError::NoGroup`], [`TreeError::File`].
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn group_notes(&self, ns: &Namespace, group: &GroupName) -> Result<String, TreeError> {
        let (ns, group) = (ns.clone(), group.clone());
        self.blocking(move |tree| {
            tree::check_group(&tree.layout, &ns, &group)?;
            tree::group_notes(&tree.layout, &ns, &group)
        })
        .await
    }

    /// Replaces the notes of a group; empty ones are removed.
    ///
    /// # Errors
    /// [`TreeError::NoGroup`], [`TreeError::File`].
    ///
    /// # Cancel safety
    /// The group has the old or the new notes if the future is dropped.
    pub async fn set_group_notes(
        &self,
        ns: &Namespace,
        group: &GroupName,
        notes: &str,
    ) -> Result<(), TreeError> {
        let (ns, group, notes) = (ns.clone(), group.clone(), notes.to_owned());
        let path = self.tree().layout.group_notes(&ns, &group);
        let prepare = move |tree: &super::Tree| {
            tree::check_group(&tree.layout, &ns, &group)?;
            Ok(((), Change::of_group_notes(&tree.layout, (&ns, &group), notes)))
        };
        self.parts().change(path, prepare).await
    }
}
