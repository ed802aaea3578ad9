//! Removal of snapshots, groups and namespaces.
//!
//! In the bucket the manifest goes first and is acknowledged by itself: from then on there is no snapshot, whatever
//! becomes of the rest, which [`Parts::clear_unfinished`] deletes later if this does not. Only then anything goes on
//! disk. Prefixes end with `/` (hazard H33).

use std::sync::Arc;

use coldkeep_chunk_store::backend::ObjectKey;
use coldkeep_chunk_store::bucket::{BucketStore, PathClaim};

use super::{Parts, release};
use crate::lock::{Hold, LockGuard};
use crate::name::{GroupName, Namespace, SnapshotName};
use crate::tree::{self, Change, DeleteStats, Layout, TreeError};

impl Parts {
    /// Removes a snapshot that is not protected, and its group with the last one.
    pub(crate) async fn forget(self, ns: Namespace, snapshot: SnapshotName) -> Result<(), TreeError> {
        let (checked_ns, checked) = (ns.clone(), snapshot.clone());
        let held = self
            .blocking(move |tree| {
                let (ns, snapshot) = (&checked_ns, &checked);
                let held = tree.lock_snapshot(ns, snapshot, Hold::Passing)?;
                tree::check_snapshot(&tree.layout, ns, snapshot)?;
                if tree::is_protected(&tree.layout, ns, snapshot)? {
                    return Err(TreeError::Protected { snapshot: snapshot.clone() });
                }
                Ok(held)
            })
            .await?;
        self.remove_snapshot(&ns, &snapshot, held).await?;
        // A backup of the group that is running or removing itself cares for the group's folder.
        if let Ok(_held) = self.tree.lock_group(&ns, &snapshot.group, Hold::Passing) {
            self.remove_group_if_empty(&ns, &snapshot.group).await?;
        }
        Ok(())
    }

    /// Removes the snapshots of a group but for protected ones, and the group if none are left.
    pub(crate) async fn forget_group(
        &self,
        ns: &Namespace,
        group: &GroupName,
    ) -> Result<DeleteStats, TreeError> {
        let _group = self.tree.lock_group(ns, group, Hold::Passing)?;
        let place = (ns.clone(), group.clone());
        let all = self
            .blocking(move |tree| {
                tree::check_group(&tree.layout, &place.0, &place.1)?;
                tree::snapshots(&tree.layout, &place.0, &place.1)
            })
            .await?;
        let mut stats = DeleteStats::default();
        for snapshot in all {
            let held = self.tree.lock_snapshot(ns, &snapshot, Hold::Passing)?;
            let (ns_of, checked) = (ns.clone(), snapshot.clone());
            if self.blocking(move |tree| tree::is_protected(&tree.layout, &ns_of, &checked)).await? {
                stats.protected_snapshots += 1;
            } else {
                self.remove_snapshot(ns, &snapshot, held).await?;
                stats.removed_snapshots += 1;
            }
        }
        if stats.protected_snapshots == 0 && self.remove_group_if_empty(ns, group).await? {
            stats.removed_groups = 1;
        }
        Ok(stats)
    }

    /// Removes an empty namespace and the empty ones in it; what is not empty stays.
    pub(crate) async fn remove_namespace(&self, ns: &Namespace) -> Result<(), TreeError> {
        let outer = ns.clone();
        let find = move |tree: &crate::store::Tree| {
            tree.layout.check_folders_to(&tree.layout.namespace(&outer))?;
            tree::namespaces(&tree.layout, &outer, Namespace::DEPTH_MAX)
        };
        let mut inner = self.blocking(find).await?;
        inner.reverse();
        for ns in inner {
            if !self.remove_one_namespace(ns).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn remove_one_namespace(&self, ns: Namespace) -> Result<bool, TreeError> {
        let looked = ns.clone();
        let is_empty = move |tree: &crate::store::Tree| {
            let has_inner = tree::namespaces(&tree.layout, &looked, 1)?.len() > 1;
            Ok(!has_inner && tree::groups(&tree.layout, &looked)?.is_empty())
        };
        if !self.blocking(is_empty).await? {
            return Ok(false);
        }
        let path = self.tree.layout.namespace(&ns).join(Layout::NAMESPACE);
        self.mirror(&path, &Change { path: path.clone(), content: None }).await?;
        let removed = self.blocking(move |tree| tree::remove_namespace(&tree.layout, &ns)).await;
        if !matches!(removed, Ok(true)) {
            // A group was made meanwhile, so the namespace is not gone.
            self.mirror(&path, &Change { path: path.clone(), content: Some(bytes::Bytes::new()) }).await?;
        }
        removed
    }

    /// Removes a snapshot under its lock. Protection is the caller's question.
    pub(crate) async fn remove_snapshot(
        &self,
        ns: &Namespace,
        snapshot: &SnapshotName,
        held: LockGuard,
    ) -> Result<(), TreeError> {
        let folder = self.tree.layout.snapshot(ns, snapshot);
        // What the disk refuses by itself must not begin in the bucket.
        self.blocking(move |tree| tree.layout.check_folders_to(&folder)).await?;
        let rest = match &self.bucket {
            Some(bucket) => self.delete_snapshot(bucket, ns, snapshot).await?,
            None => Ok(()),
        };
        // Without its manifest in the bucket it is no snapshot any more; what is left there is cleared later.
        let (ns, snapshot) = (ns.clone(), snapshot.clone());
        self.blocking(move |tree| {
            let removed = tree::remove_snapshot(&tree.layout, &ns, &snapshot);
            drop(held);
            removed
        })
        .await?;
        rest
    }

    /// Deletes a snapshot's objects: the outer error is one before its manifest is gone, the inner one after that.
    async fn delete_snapshot(
        &self,
        bucket: &Arc<BucketStore>,
        ns: &Namespace,
        snapshot: &SnapshotName,
    ) -> Result<Result<(), TreeError>, TreeError> {
        let claim = self.claim(bucket, &self.tree.layout.snapshot(ns, snapshot)).await?;
        let manifest = self.tree.layout.key(&self.tree.layout.manifest(ns, snapshot));
        let without_manifest = claim.delete(&[manifest]).await;
        let rest = match &without_manifest {
            Ok(()) => delete_rest(bucket, &claim).await,
            Err(_) => Ok(()),
        };
        let rest = release(claim, rest).await;
        without_manifest?;
        Ok(rest)
    }

    /// Removes a group that has no snapshots left, under its lock; returns whether it is gone. It stays as long as the bucket
    /// has more of it than owner and notes: a snapshot whose local copy was lost (I1), or one that may be on its way (H25).
    pub(crate) async fn remove_group_if_empty(
        &self,
        ns: &Namespace,
        group: &GroupName,
    ) -> Result<bool, TreeError> {
        // Notes need no lock of the group; those that come now find it gone.
        let notes = self.tree.layout.key(&self.tree.layout.group_notes(ns, group));
        let _turn = self.tree.turns.wait(&notes).await;
        let place = (ns.clone(), group.clone());
        if !self.blocking(move |tree| tree::is_group_empty(&tree.layout, &place.0, &place.1)).await? {
            return Ok(false);
        }
        if let Some(bucket) = &self.bucket
            && !self.clear_group(bucket, ns, group).await?
        {
            return Ok(false);
        }
        self.remove_group_files(ns, group).await
    }

    /// Removes owner and notes of a group without snapshots, under its lock; returns whether it is gone.
    async fn remove_group_files(&self, ns: &Namespace, group: &GroupName) -> Result<bool, TreeError> {
        if self.bucket.is_some() {
            for path in [self.tree.layout.group_notes(ns, group), self.tree.layout.owner(ns, group)] {
                self.mirror(&path, &Change { path: path.clone(), content: None }).await?;
            }
        }
        let place = (ns.clone(), group.clone());
        self.blocking(move |tree| tree::remove_group_if_empty(&tree.layout, &place.0, &place.1)).await
    }
}

/// Deletes everything below a claimed path.
pub(super) async fn delete_rest(bucket: &BucketStore, claim: &PathClaim) -> Result<(), TreeError> {
    let objects = bucket.list_objects(&format!("{}/", claim.path())).await?;
    let keys: Vec<ObjectKey> = objects.into_iter().map(|object| object.key).collect();
    if keys.is_empty() { Ok(()) } else { Ok(claim.delete(&keys).await?) }
}

/// Lists the keys of a folder.
pub(crate) async fn list_folder(
    bucket: &BucketStore,
    folder: &ObjectKey,
) -> Result<Vec<ObjectKey>, TreeError> {
    let objects = bucket.list_objects(&format!("{folder}/")).await?;
    Ok(objects.into_iter().map(|object| object.key).collect())
}
