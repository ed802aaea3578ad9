//! What sessions that never committed left in the bucket (R10, I5).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use coldkeep_chunk_store::backend::ObjectInfo;
use coldkeep_chunk_store::bucket::BucketStore;

use super::removal::{delete_rest, list_folder};
use super::{ContentKey, Parts, release};
use crate::name::{Namespace, SnapshotName};
use crate::store::Cleared;
use crate::tree::{self, TreeError};

impl Parts {
    /// Deletes the objects of snapshots without manifest, until it is cancelled. `objects` is a complete listing of `.cnt/`.
    pub(crate) async fn clear_unfinished(
        &self,
        bucket: &Arc<BucketStore>,
        objects: Vec<ObjectInfo>,
        is_cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Cleared {
        let mut cleared = Cleared::default();
        let found = match self.blocking(move |_| Ok(unfinished(&objects))).await {
            Ok(found) => found,
            Err(error) => {
                cleared.errors.push(error);
                return cleared;
            }
        };
        for (ns, snapshot) in found {
            if is_cancelled() {
                break;
            }
            match self.clear_one(bucket, &ns, &snapshot).await {
                Ok(true) => {
                    cleared.snapshots += 1;
                    match self.remove_group_if_cleared(bucket, &ns, &snapshot.group).await {
                        Err(error) if !error.is_in_use() => cleared.errors.push(error),
                        _ => {}
                    }
                }
                Ok(false) => {}
                Err(error) if error.is_in_use() => cleared.in_use += 1,
                Err(error) => cleared.errors.push(error),
            }
        }
        cleared
    }

    /// Returns those snapshots that [`Self::clear_unfinished`] would clear now, and how many others it would leave in use.
    pub(crate) async fn list_unfinished(
        &self,
        bucket: &BucketStore,
        objects: Vec<ObjectInfo>,
    ) -> Result<(BTreeSet<(Namespace, SnapshotName)>, u64), TreeError> {
        let mut found = self.blocking(move |_| Ok(unfinished(&objects))).await?;
        let all = found.len();
        found.retain(|(ns, snapshot)| {
            let path = self.tree.layout.snapshot(ns, snapshot);
            let is_free = bucket.is_path_free(self.tree.layout.key(&path).as_str());
            is_free && self.tree.lock_snapshot(ns, snapshot).is_ok()
        });
        let in_use = (all - found.len()) as u64;
        Ok((found, in_use))
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
