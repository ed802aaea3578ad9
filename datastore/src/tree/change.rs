//! Files that change: manifest, owner, notes, protection, the client's log, and what a copy puts right in a snapshot that is
//! there. A change is a value, so that it can be carried out in the bucket first and on disk afterwards.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use coldkeep_chunk_store::backend::ObjectKey;
use coldkeep_chunk_store::durable;
use tokio::sync::{Mutex, MutexGuard};

use super::meta::{checked_blob, load_manifest};
use super::{Layout, TreeError};
use crate::file::{FILE_MODE, Found, look, remove_if_there};
use crate::manifest::Manifest;
use crate::name::{ArchiveName, GroupName, Namespace, Owner, SnapshotName};

/// Changes of different things that may be under way at once.
const TURNS: usize = 64;

/// A file that is to be replaced, or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) path: PathBuf,
    /// None removes the file.
    pub(crate) content: Option<Bytes>,
}

impl Change {
    /// Carries the change out on disk, durably.
    pub(crate) fn carry_out(&self) -> Result<(), TreeError> {
        if let Some(content) = &self.content {
            durable::replace_file(&self.path, content, FILE_MODE)?;
        } else {
            remove_if_there(&self.path)?;
            durable::sync_folder(self.path.parent().unwrap_or(Path::new("/")))?;
        }
        Ok(())
    }

    /// Changes a manifest. The caller holds the snapshot's lock: a rewrite would bring back the manifest of a snapshot
    /// that is being removed.
    pub(crate) fn of_manifest(
        layout: &Layout,
        (ns, snapshot): (&Namespace, &SnapshotName),
        change: impl FnOnce(&mut Manifest),
    ) -> Result<Self, TreeError> {
        let mut manifest = load_manifest(layout, ns, snapshot)?;
        change(&mut manifest);
        let damaged = |source| TreeError::Manifest { snapshot: snapshot.clone(), source };
        let blob = manifest.to_blob().map_err(damaged)?;
        Ok(Self { path: layout.manifest(ns, snapshot), content: Some(blob.into_bytes()) })
    }

    /// Replaces the owner of a group.
    pub(crate) fn of_owner(layout: &Layout, (ns, group): (&Namespace, &GroupName), owner: &Owner) -> Self {
        Self { path: layout.owner(ns, group), content: Some(format!("{owner}\n").into()) }
    }

    /// Replaces the notes of a group; empty ones are removed.
    pub(crate) fn of_group_notes(
        layout: &Layout,
        (ns, group): (&Namespace, &GroupName),
        notes: String,
    ) -> Self {
        let content = (!notes.is_empty()).then(|| notes.into());
        Self { path: layout.group_notes(ns, group), content }
    }

    /// Sets or removes the protection of a snapshot.
    pub(crate) fn of_protection(
        layout: &Layout,
        (ns, snapshot): (&Namespace, &SnapshotName),
        protected: bool,
    ) -> Self {
        Self { path: layout.protected(ns, snapshot), content: protected.then(Bytes::new) }
    }

    /// Adds a blob to a finished snapshot; refuses to replace one.
    pub(crate) fn of_new_blob(
        layout: &Layout,
        (ns, snapshot): (&Namespace, &SnapshotName),
        (file, body): (&ArchiveName, Bytes),
    ) -> Result<Self, TreeError> {
        let blob = checked_blob(file, body)?;
        let path = layout.file(ns, snapshot, file);
        if look(&path)? != Found::Nothing {
            return Err(TreeError::FileExists { snapshot: snapshot.clone(), file: file.clone() });
        }
        Ok(Self { path, content: Some(blob.into_bytes()) })
    }
}

/// Changes of one snapshot or group take turns, so that no update of a manifest is lost and no two writers share a
/// temporary name. A turn lasts for the requests of one change, which all have deadlines; turns are striped by path.
#[derive(Debug)]
pub(crate) struct Turns {
    stripes: [Mutex<()>; TURNS],
}

impl Default for Turns {
    fn default() -> Self {
        Self { stripes: std::array::from_fn(|_| Mutex::new(())) }
    }
}

impl Turns {
    /// Waits for the turn to change what lies at or below the place that a key names, wherever the folder is.
    pub(crate) async fn wait(&self, place: &ObjectKey) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        place.as_str().hash(&mut hasher);
        self.stripes[hasher.finish() as usize % TURNS].lock().await
    }
}
