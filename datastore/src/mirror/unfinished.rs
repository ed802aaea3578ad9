//! What sessions that never committed left in the bucket (R10, I5).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use coldkeep_chunk_store::backend::ObjectInfo;
use coldkeep_chunk_store::bucket::{BucketStore, PathError};

use super::removal::{delete_rest, list_folder};
use super::{Cleared, ContentKey, Parts, Unfinished, release};
use crate::name::{Namespace, SnapshotName};
use crate::tree::{self, TreeError};

impl Parts {
    /// Deletes the objects of snapshots without manifest, until it is cancelled. `objects` is a complete listing of `.cnt/`.
    pub(crate) async fn clear_unfinished(
        &self,
        bucket: &Arc<BucketStore>,
        objects: Vec<ObjectInfo>,
        is_cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Cleared {
        // Of the disk only: what the bucket has of a group is no matter of a removal that the disk has not ended.
        let mut cleared = self.clear_hidden(is_cancelled).await.cleared;
        let found = match self.blocking(move |_| Ok(unfinished(&objects))).await {
            Ok(found) => found,
            Err(error) => {
                cleared.errors.push(error);
                return cleared;
            }
        };
        if !found.is_empty() && !bucket.knows_all_claims() {
            // The backend's date may say that it does by now.
            let settled = bucket.settle_expired().await;
            cleared.errors.extend(settled.err().map(|error| PathError::from(error).into()));
        }
        if !bucket.knows_all_claims() {
            cleared.in_use += found.len() as u64;
            return cleared;
        }
        for (ns, snapshot) in found {
            if is_cancelled() {
                break;
            }
            let removed = self.clear_one(bucket, &ns, &snapshot).await;
            if cleared.note(removed) {
                cleared.note_group(self.remove_group_if_cleared(bucket, &ns, &snapshot.group).await);
            }
        }
        cleared
    }

    /// Returns what [`Self::clear_unfinished`] would do now.
    pub(crate) async fn list_unfinished(
        &self,
        bucket: &Arc<BucketStore>,
        objects: Vec<ObjectInfo>,
    ) -> Result<Unfinished, TreeError> {
        if !bucket.knows_all_claims() {
            bucket.settle_expired().await.map_err(PathError::from)?;
        }
        let bucket = Arc::clone(bucket);
        self.blocking(move |tree| {
            let mut foreseen = Unfinished::default();
            for (ns, snapshot) in unfinished(&objects) {
                let path = tree.layout.snapshot(&ns, &snapshot);
                let held = tree.lock_snapshot(&ns, &snapshot);
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

    /// Returns whether there was something to clear.
    async fn clear_one(
        &self,
        bucket: &Arc<BucketStore>,
        ns: &Namespace,
        snapshot: &SnapshotName,
    ) -> Result<bool, TreeError> {
        // Nobody makes it, and nobody reads what is left of it here.
        let held = self.tree.lock_snapshot(ns, snapshot)?;
        let path = self.tree.layout.snapshot(ns, snapshot);
        // Nobody has a claim and no request is on its way: what the bucket shows now stays as it is.
        let claim = self.claim(bucket, &path).await?;
        let clear = async {
            let keys = list_folder(bucket, &self.tree.layout.key(&path)).await?;
            if keys.is_empty() || keys.iter().filter_map(ContentKey::parse).any(|key| key.keeps_snapshot()) {
                return Ok(false);
            }
            // The bucket says that it is none; the local copy is one if a removal got no further than its first step.
            let (ns, snapshot) = (ns.clone(), snapshot.clone());
            self.blocking(move |tree| match tree::remove_snapshot(&tree.layout, &ns, &snapshot) {
                Err(TreeError::NoSnapshot { .. }) => Ok(()),
                removed => removed,
            })
            .await?;
            delete_rest(bucket, &claim).await?;
            Ok(true)
        };
        let cleared = clear.await;
        let cleared = release(claim, cleared).await;
        drop(held);
        cleared
    }
}

/// Lists the snapshots that have objects, but no manifest and no protection.
fn unfinished(objects: &[ObjectInfo]) -> BTreeSet<(Namespace, SnapshotName)> {
    let mut keep: BTreeMap<(Namespace, SnapshotName), bool> = BTreeMap::new();
    for key in objects.iter().filter_map(|object| ContentKey::parse(&object.key)) {
        if let Some((ns, snapshot)) = key.snapshot() {
            let keeps = keep.entry((ns.clone(), snapshot.clone())).or_default();
            *keeps |= key.keeps_snapshot();
        }
    }
    keep.into_iter().filter(|(_, keeps)| !keeps).map(|(snapshot, _)| snapshot).collect()
}
