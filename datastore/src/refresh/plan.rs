//! What the tree should have, from a listing of the bucket.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use coldkeep_chunk_store::backend::{ObjectInfo, ObjectKey};

use crate::mirror::{ContentKey, Place};
use crate::name::{Namespace, SnapshotName};

/// Files and folders of the tree, by their paths inside the datastore's folder.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) files: BTreeMap<PathBuf, ObjectInfo>,
    /// Namespaces; an empty one is a folder and nothing else.
    pub(super) folders: BTreeSet<PathBuf>,
    pub(super) unfinished: u64,
    pub(super) skipped: Vec<ObjectKey>,
}

impl Plan {
    /// Plans the tree; `objects` is a complete listing of `.cnt/`.
    pub(super) fn of(objects: &[ObjectInfo]) -> Self {
        let mut plan = Self::default();
        let mut ours = Vec::new();
        let mut finished: BTreeSet<(Namespace, SnapshotName)> = BTreeSet::new();
        let mut all = BTreeSet::new();
        for object in objects {
            let Some(key) = ContentKey::parse(&object.key) else {
                plan.skipped.push(object.key.clone());
                continue;
            };
            if let Some((ns, snapshot)) = key.snapshot() {
                all.insert((ns.clone(), snapshot.clone()));
                if key.is_manifest() {
                    finished.insert((ns.clone(), snapshot.clone()));
                }
            }
            ours.push((key, object));
        }
        plan.unfinished = (all.len() - finished.len()) as u64;
        for (key, object) in ours {
            let path = key.path();
            match &key.place {
                Place::Namespace => {
                    plan.folders.extend(path.parent().map(Into::into));
                }
                // Only what has a manifest in the bucket is a snapshot.
                Place::Snapshot(snapshot) if !finished.contains(&(key.ns.clone(), snapshot.clone())) => {}
                Place::Group(_) | Place::Snapshot(_) => {
                    plan.files.insert(path, object.clone());
                }
            }
        }
        plan
    }
}
