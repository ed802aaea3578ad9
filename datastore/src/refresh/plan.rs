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
        let mut groups = BTreeSet::new();
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
                    groups.insert((ns.clone(), snapshot.group.clone()));
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
                // A group without snapshots is what a removal or a failed session left; it would bring back its namespace, too.
                Place::Group(group) if !groups.contains(&(key.ns.clone(), group.clone())) => {}
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

#[cfg(test)]
mod tests {
    use coldkeep_chunk_store::StoreTime;
    use coldkeep_chunk_store::backend::ETag;

    use super::*;

    #[test]
    fn snapshots_are_planned_that_have_their_manifest() {
        let object = |key: &str| ObjectInfo {
            key: ObjectKey::new(format!(".cnt/{key}")).unwrap(),
            len: 0,
            etag: ETag(String::new()),
            modified_at: StoreTime::EPOCH,
        };
        let objects = [
            object("ns/a/.namespace"),
            object("vm/1/2026-01-01T00:00:00Z/.protected"),
            object("vm/1/2026-01-01T00:00:00Z/a.fidx"),
            object("vm/1/2026-01-02T00:00:00Z/a.fidx"),
            object("vm/1/2026-01-02T00:00:00Z/index.json.blob"),
            object("vm/1/else"),
            object("vm/1/owner"),
            object("ns/b/vm/1/owner"),
            object("vm/2/2026-01-02T00:00:00Z/a.fidx"),
            object("vm/2/notes"),
        ];
        let plan = Plan::of(&objects);
        let files: Vec<_> = plan.files.keys().map(|path| path.to_str().unwrap()).collect();
        let second = "vm/1/2026-01-02T00:00:00Z";
        let expected = [format!("{second}/a.fidx"), format!("{second}/index.json.blob"), "vm/1/owner".into()];
        assert_eq!(files, expected);
        assert_eq!(plan.folders, BTreeSet::from(["ns/a".into()]));
        assert_eq!((plan.unfinished, plan.skipped.len()), (2, 1));
    }
}
