//! What sessions that never committed left in the bucket (R10, I5).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use coldkeep_chunk_store::backend::{ObjectInfo, ObjectKey};
use coldkeep_chunk_store::bucket::{BucketStore, PathError};

use super::leftovers::Hidden;
use super::removal::{delete_rest, list_folder};
use super::{Cleared, ContentKey, Parts, Place, Unfinished, release};
use crate::lock::Hold;
use crate::name::{GroupName, Namespace, SnapshotName};
use crate::store::Tree;
use crate::tree::{self, Leftovers, TreeError};

/// After how many failures in a row the rest is left to the next run: each of them may have taken the client all its patience.
const FAILURES_IN_A_ROW_MAX: usize = 3;

impl Parts {
    /// Removes a snapshot that is unfinished, on disk and in the bucket, and its group with the last one; returns whether it
    /// was unfinished. In a bucket that is for its manifest there to say: the local copy of one may be lost (I1).
    pub(crate) async fn forget_unfinished(
        self,
        ns: Namespace,
        snapshot: SnapshotName,
    ) -> Result<bool, TreeError> {
        let cleared = if let Some(bucket) = &self.bucket {
            self.clear_one(bucket, &ns, &snapshot).await?
        } else {
            let (ns, snapshot) = (ns.clone(), snapshot.clone());
            self.blocking(move |tree| tree.clear_one(&ns, &snapshot, None)).await?
        };
        if cleared {
            let mut group = Cleared::default();
            group.note_group(self.remove_group_if_left(&ns, &snapshot.group).await);
            group.errors.pop().map_or(Ok(()), Err)?;
        }
        Ok(cleared)
    }

    /// Clears what is unfinished in a group, but for what somebody works on and what is still closed (R19); returns whether
    /// nothing is left in the bucket then but owner and notes.
    pub(super) async fn clear_group(
        &self,
        bucket: &Arc<BucketStore>,
        ns: &Namespace,
        group: &GroupName,
    ) -> Result<bool, TreeError> {
        let folder = self.tree.layout.key(&self.tree.layout.group(ns, group));
        let keys = list_folder(bucket, &folder).await?;
        for (ns, snapshot) in unfinished(keys.iter(), BTreeSet::new()) {
            match self.clear_one(bucket, &ns, &snapshot).await {
                Err(error) if error.is_in_use() => {}
                cleared => {
                    cleared?;
                }
            }
        }
        let is_group_file =
            |key: &ObjectKey| ContentKey::parse(key).is_some_and(|key| matches!(key.place, Place::Group(_)));
        // A manifest that is still on its way makes a whole snapshot, which has to have an owner. Asked before the listing: one
        // that arrives in between is in there.
        let is_free = bucket.is_path_free(folder.as_str());
        let left = list_folder(bucket, &folder).await?;
        Ok(is_free && left.iter().all(is_group_file))
    }

    /// Deletes the objects of snapshots without manifest, and owner and notes of groups that have no snapshots at all, which a
    /// removal left that did not end; until it is cancelled or the bucket seems to be down. `objects` is a complete listing of
    /// `.cnt/`.
    pub(crate) async fn clear_unfinished(
        &self,
        bucket: &Arc<BucketStore>,
        objects: Vec<ObjectInfo>,
        is_cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Cleared {
        // Of the disk only: what the bucket has of a group is no matter of a removal that the disk has not ended.
        let Hidden { mut cleared, unfinished: on_disk, empty_groups, .. } =
            self.clear_hidden(is_cancelled).await;
        let find = move |_: &Tree| {
            let keys = || objects.iter().map(|object| &object.key);
            Ok((unfinished(keys(), on_disk), without_snapshots(keys(), empty_groups)))
        };
        let (found, empty) = match self.blocking(find).await {
            Ok(found) => found,
            Err(error) => {
                cleared.errors.push(error);
                return cleared;
            }
        };
        if !(found.is_empty() && empty.is_empty()) {
            // The backend's date may say by now that all claims are known, and that nothing in a group is closed any more.
            let settled = bucket.settle_expired().await;
            cleared.errors.extend(settled.err().map(|error| PathError::from(error).into()));
        }
        if !bucket.knows_all_claims() {
            cleared.in_use += found.len() as u64;
            return cleared;
        }
        let mut failures_in_a_row = 0;
        for (ns, snapshot) in found {
            if is_cancelled() || failures_in_a_row == FAILURES_IN_A_ROW_MAX {
                break;
            }
            let failures = cleared.errors.len();
            let removed = self.clear_one(bucket, &ns, &snapshot).await;
            if cleared.note(removed) {
                cleared.note_group(self.remove_group_if_left(&ns, &snapshot.group).await);
            }
            failures_in_a_row = if cleared.errors.len() > failures { failures_in_a_row + 1 } else { 0 };
        }
        for (ns, group) in empty {
            if is_cancelled() || failures_in_a_row == FAILURES_IN_A_ROW_MAX {
                break;
            }
            let failures = cleared.errors.len();
            cleared.note_group(self.remove_group_if_left(&ns, &group).await);
            failures_in_a_row = if cleared.errors.len() > failures { failures_in_a_row + 1 } else { 0 };
        }
        cleared
    }

    /// Returns what [`Self::clear_unfinished`] would do now.
    pub(crate) async fn list_unfinished(
        &self,
        bucket: &Arc<BucketStore>,
        objects: Vec<ObjectInfo>,
    ) -> Result<Unfinished, TreeError> {
        let mut unsettled = None;
        if !bucket.knows_all_claims() {
            // A run goes on without that, too.
            unsettled = bucket.settle_expired().await.map_err(PathError::from).err();
        }
        let bucket = Arc::clone(bucket);
        self.blocking(move |tree| {
            let found = Leftovers::of(&tree.layout);
            let mut foreseen = Unfinished { errors: found.errors, ..Unfinished::default() };
            foreseen.errors.extend(unsettled.map(TreeError::from));
            for (ns, snapshot) in unfinished(objects.iter().map(|object| &object.key), found.unfinished) {
                let path = tree.layout.snapshot(&ns, &snapshot);
                let held = tree.lock_snapshot(&ns, &snapshot, Hold::Passing);
                let knows_it = bucket.knows_all_claims();
                if held.is_err() || !knows_it || !bucket.is_path_free(tree.layout.key(&path).as_str()) {
                    foreseen.in_use += 1;
                } else if !tree::is_finished(&tree.layout, &ns, &snapshot)? {
                    // One that is finished by now was committed since the listing.
                    foreseen.clearable.insert((ns, snapshot));
                }
            }
            Ok(foreseen)
        })
        .await
    }

    /// Clears a snapshot that has no manifest in the bucket, whatever the disk has of it; returns whether there was something
    /// to clear.
    async fn clear_one(
        &self,
        bucket: &Arc<BucketStore>,
        ns: &Namespace,
        snapshot: &SnapshotName,
    ) -> Result<bool, TreeError> {
        // Nobody makes it, and nobody reads what is left of it here.
        let held = self.tree.lock_snapshot(ns, snapshot, Hold::Passing)?;
        let path = self.tree.layout.snapshot(ns, snapshot);
        // Nobody has a claim and no request is on its way: what the bucket shows now stays as it is.
        let claim = self.claim(bucket, &path).await?;
        let clear = async {
            let keys = list_folder(bucket, &self.tree.layout.key(&path)).await?;
            if keys.iter().filter_map(ContentKey::parse).any(|key| key.keeps_snapshot()) {
                return Ok(false);
            }
            let is_in_bucket = !keys.is_empty();
            // The bucket says that it is none; the local copy is one if a removal got no further than its first step.
            let (ns, snapshot) = (ns.clone(), snapshot.clone());
            let was_on_disk = self
                .blocking(move |tree| {
                    if !is_in_bucket && !tree::is_unfinished(&tree.layout, &ns, &snapshot)? {
                        return Ok(false);
                    }
                    match tree::remove_snapshot(&tree.layout, &ns, &snapshot) {
                        Err(TreeError::NoSnapshot { .. }) => Ok(false),
                        removed => removed.map(|()| true),
                    }
                })
                .await?;
            delete_rest(bucket, &claim).await?;
            Ok(is_in_bucket || was_on_disk)
        };
        let cleared = clear.await;
        let cleared = release(claim, cleared).await;
        drop(held);
        cleared
    }
}

/// Lists the groups that have owner or notes, or are empty on disk, and have no object of any snapshot.
fn without_snapshots<'a>(
    keys: impl Iterator<Item = &'a ObjectKey>,
    on_disk: BTreeSet<(Namespace, GroupName)>,
) -> BTreeSet<(Namespace, GroupName)> {
    let (mut groups, mut used) = (on_disk, BTreeSet::new());
    for ContentKey { ns, place, .. } in keys.filter_map(ContentKey::parse) {
        match place {
            Place::Namespace => {}
            Place::Group(group) => drop(groups.insert((ns, group))),
            Place::Snapshot(snapshot) => drop(used.insert((ns, snapshot.group))),
        }
    }
    groups.retain(|group| !used.contains(group));
    groups
}

/// Lists the snapshots that have objects, or are unfinished on disk, but have neither manifest nor protection in the bucket.
fn unfinished<'a>(
    keys: impl Iterator<Item = &'a ObjectKey>,
    on_disk: BTreeSet<(Namespace, SnapshotName)>,
) -> BTreeSet<(Namespace, SnapshotName)> {
    let mut keep: BTreeMap<(Namespace, SnapshotName), bool> =
        on_disk.into_iter().map(|snapshot| (snapshot, false)).collect();
    for key in keys.filter_map(ContentKey::parse) {
        if let Some((ns, snapshot)) = key.snapshot() {
            let keeps = keep.entry((ns.clone(), snapshot.clone())).or_default();
            *keeps |= key.keeps_snapshot();
        }
    }
    keep.into_iter().filter(|(_, keeps)| !keeps).map(|(snapshot, _)| snapshot).collect()
}
