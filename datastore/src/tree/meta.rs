//! Small facts beside the data: manifest, owner, notes, protection.

use std::fs::File;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use coldkeep_chunk_store::blob::{BLOB_ENCODED_BYTES_MAX, Blob, BlobError};
use coldkeep_chunk_store::durable;

use super::{Layout, TreeError};
use crate::file::{Context as _, FILE_MODE, Found, look, read_if_there, remove_if_there};
use crate::manifest::Manifest;
use crate::name::{ArchiveName, GroupName, Namespace, Owner, SnapshotName};

/// Serialises everything that rewrites small files of a datastore, so that no update of a manifest is lost and no two
/// writers share a temporary name. Held for the few milliseconds of a rewrite, only in blocking code.
#[derive(Debug, Default)]
pub(crate) struct Metadata {
    writing: Mutex<()>,
}

impl Metadata {
    fn lock(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes a manifest and rewrites it durably. The caller holds the snapshot's lock: a rewrite would bring back the
    /// manifest of a snapshot that is being removed.
    pub(crate) fn update_manifest(
        &self,
        layout: &Layout,
        (ns, snapshot): (&Namespace, &SnapshotName),
        change: impl FnOnce(&mut Manifest),
    ) -> Result<(), TreeError> {
        let _writing = self.lock();
        let mut manifest = load_manifest(layout, ns, snapshot)?;
        change(&mut manifest);
        let damaged = |source| TreeError::Manifest { snapshot: snapshot.clone(), source };
        let blob = manifest.to_blob().map_err(damaged)?;
        durable::replace_file(&layout.manifest(ns, snapshot), blob.as_bytes(), FILE_MODE)?;
        Ok(())
    }

    /// Replaces the owner of a group.
    pub(crate) fn write_owner(
        &self,
        layout: &Layout,
        (ns, group): (&Namespace, &GroupName),
        owner: &Owner,
    ) -> Result<(), TreeError> {
        let _writing = self.lock();
        durable::replace_file(&layout.owner(ns, group), format!("{owner}\n").as_bytes(), FILE_MODE)?;
        Ok(())
    }

    /// Replaces the notes of a group; empty ones are removed.
    pub(crate) fn write_group_notes(
        &self,
        layout: &Layout,
        (ns, group): (&Namespace, &GroupName),
        notes: &str,
    ) -> Result<(), TreeError> {
        let _writing = self.lock();
        let path = layout.group_notes(ns, group);
        if notes.is_empty() {
            remove_if_there(&path)?;
            durable::sync_folder(&layout.group(ns, group))?;
        } else {
            durable::replace_file(&path, notes.as_bytes(), FILE_MODE)?;
        }
        Ok(())
    }

    /// Sets or removes the protection of a snapshot.
    pub(crate) fn write_protection(
        &self,
        layout: &Layout,
        (ns, snapshot): (&Namespace, &SnapshotName),
        protected: bool,
    ) -> Result<(), TreeError> {
        let _writing = self.lock();
        let path = layout.protected(ns, snapshot);
        if protected {
            File::create(&path).context("create", &path)?;
        } else {
            remove_if_there(&path)?;
        }
        durable::sync_folder(&layout.snapshot(ns, snapshot))?;
        Ok(())
    }

    /// Adds a blob to a finished snapshot; refuses to replace one.
    pub(crate) fn add_blob(
        &self,
        layout: &Layout,
        (ns, snapshot): (&Namespace, &SnapshotName),
        (file, body): (&ArchiveName, Bytes),
    ) -> Result<(), TreeError> {
        let blob = checked_blob(file, body)?;
        let _writing = self.lock();
        let path = layout.file(ns, snapshot, file);
        if look(&path)? != Found::Nothing {
            return Err(TreeError::FileExists { snapshot: snapshot.clone(), file: file.clone() });
        }
        durable::replace_file(&path, blob.as_bytes(), FILE_MODE)?;
        Ok(())
    }
}

/// Checks shape, length and CRC of an uploaded blob.
pub(crate) fn checked_blob(file: &ArchiveName, body: Bytes) -> Result<Blob, TreeError> {
    let damaged = |source| TreeError::Blob { file: file.clone(), source };
    if body.len() > BLOB_ENCODED_BYTES_MAX {
        return Err(damaged(BlobError::TooLarge { max: BLOB_ENCODED_BYTES_MAX }));
    }
    let blob = Blob::parse(body).map_err(damaged)?;
    blob.check_crc().map_err(damaged)?;
    Ok(blob)
}

/// Reads and decodes the manifest of a snapshot.
pub(crate) fn load_manifest(
    layout: &Layout,
    ns: &Namespace,
    snapshot: &SnapshotName,
) -> Result<Manifest, TreeError> {
    let Some(content) = read_if_there(&layout.manifest(ns, snapshot))? else {
        check_snapshot(layout, ns, snapshot)?;
        return Err(TreeError::Unfinished { snapshot: snapshot.clone() });
    };
    let manifest =
        Blob::parse(content.into()).map_err(Into::into).and_then(|blob| Manifest::from_blob(&blob));
    manifest.map_err(|source| TreeError::Manifest { snapshot: snapshot.clone(), source })
}

/// Checks that a snapshot's folder exists.
pub(crate) fn check_snapshot(
    layout: &Layout,
    ns: &Namespace,
    snapshot: &SnapshotName,
) -> Result<(), TreeError> {
    match look(&layout.snapshot(ns, snapshot))? {
        Found::Folder => Ok(()),
        _ => Err(TreeError::NoSnapshot { ns: ns.clone(), snapshot: snapshot.clone() }),
    }
}

/// Checks that a group's folder exists.
pub(crate) fn check_group(layout: &Layout, ns: &Namespace, group: &GroupName) -> Result<(), TreeError> {
    match look(&layout.group(ns, group))? {
        Found::Folder => Ok(()),
        _ => Err(TreeError::NoGroup { ns: ns.clone(), group: group.clone() }),
    }
}

/// Reads the owner of a group.
pub(crate) fn read_owner(layout: &Layout, ns: &Namespace, group: &GroupName) -> Result<Owner, TreeError> {
    let unreadable = |source| TreeError::Owner { group: group.clone(), source };
    let Some(content) = read_if_there(&layout.owner(ns, group))? else {
        check_group(layout, ns, group)?;
        return Err(unreadable(None));
    };
    let text = String::from_utf8_lossy(&content);
    text.trim_end_matches('\n').parse().map_err(|source| unreadable(Some(source)))
}

/// Reads the notes of a group; empty if there are none.
pub(crate) fn group_notes(layout: &Layout, ns: &Namespace, group: &GroupName) -> Result<String, TreeError> {
    let content = read_if_there(&layout.group_notes(ns, group))?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&content).into_owned())
}

/// Tells whether a snapshot is protected from removal.
pub(crate) fn is_protected(
    layout: &Layout,
    ns: &Namespace,
    snapshot: &SnapshotName,
) -> Result<bool, TreeError> {
    Ok(look(&layout.protected(ns, snapshot))? != Found::Nothing)
}
