//! Removal of snapshots, groups and namespaces; the caller holds the locks of what goes.
//!
//! The manifest goes first, durably; then the folder is renamed to a hidden name, so that a snapshot leaves every
//! listing in one step; then its files go. A crash in between leaves an unfinished snapshot or a hidden folder, both of
//! which the next open or collection removes ([`super::Leftovers`]).

use std::fs;
use std::io;
use std::path::Path;

use coldkeep_chunk_store::durable::sync_folder;

use super::meta::{check_snapshot, is_protected};
use super::{Layout, TreeError, is_finished};
use crate::file::{Context as _, Found, list, look, remove_if_there};
use crate::name::{GroupName, Namespace, SnapshotName};

/// Removes a snapshot. Protection is the caller's question: a failed session removes what it made.
pub(crate) fn remove_snapshot(
    layout: &Layout,
    ns: &Namespace,
    snapshot: &SnapshotName,
) -> Result<(), TreeError> {
    check_snapshot(layout, ns, snapshot)?;
    let folder = layout.snapshot(ns, snapshot);
    layout.check_folders_to(&folder)?;
    if is_finished(layout, ns, snapshot)? {
        remove_if_there(&layout.manifest(ns, snapshot))?;
        // Before any other file goes: after a power loss no manifest may name indexes that are gone.
        sync_folder(&folder)?;
    }
    let removing = layout.removing(ns, snapshot);
    // A crash may have left one of the same time.
    remove_folder(&removing)?;
    fs::rename(&folder, &removing).context("rename for its removal", &folder)?;
    remove_folder(&removing)?;
    sync_folder(&layout.group(ns, &snapshot.group))?;
    Ok(())
}

/// Removes a folder with all it holds; symbolic links in it are removed, not followed.
fn remove_folder(folder: &Path) -> Result<(), TreeError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => Ok(other.context("remove", folder)?),
    }
}

/// Tells whether a group has nothing but its own small files; files of others keep it.
pub(crate) fn is_group_empty(layout: &Layout, ns: &Namespace, group: &GroupName) -> Result<bool, TreeError> {
    let entries = list(&layout.group(ns, group))?.unwrap_or_default();
    Ok(entries.iter().all(|(name, found)| *found == Found::File && Layout::is_group_file(name)))
}

/// Removes a group that has no snapshots left; returns whether it is gone. Files of others keep it.
pub(crate) fn remove_group_if_empty(
    layout: &Layout,
    ns: &Namespace,
    group: &GroupName,
) -> Result<bool, TreeError> {
    let folder = layout.group(ns, group);
    let Some(entries) = list(&folder)? else { return Ok(true) };
    if !entries.iter().all(|(name, found)| *found == Found::File && Layout::is_group_file(name)) {
        return Ok(false);
    }
    layout.check_folders_to(&folder)?;
    for (name, _) in entries {
        remove_if_there(&folder.join(name))?;
    }
    fs::remove_dir(&folder).context("remove", &folder)?;
    sync_folder(&layout.backup_type(ns, group.ty))?;
    Ok(true)
}

/// Removes the folders of an empty namespace that has none in it; returns whether it is gone.
///
/// Only empty folders go, so a group made at the same moment is safe.
pub(crate) fn remove_namespace(layout: &Layout, ns: &Namespace) -> Result<bool, TreeError> {
    let folder = layout.namespace(ns);
    layout.check_folders_to(&folder)?;
    let types = crate::name::BackupType::ALL.map(|ty| layout.backup_type(ns, ty));
    for folder in types.iter().chain([&layout.child_namespaces(ns), &folder]) {
        if !remove_if_empty(folder)? {
            return Ok(false);
        }
    }
    if let Some(parent) = folder.parent() {
        sync_folder(parent)?;
    }
    Ok(true)
}

/// Removes an empty folder; `false` if it is not empty, `true` if it is gone.
fn remove_if_empty(folder: &Path) -> Result<bool, TreeError> {
    match fs::remove_dir(folder) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(false),
        Err(error) => Err(error).context("remove", folder).map_err(Into::into),
    }
}

/// Lists the snapshots of a group whose removal goes on or did not end.
pub(crate) fn hidden(
    layout: &Layout,
    ns: &Namespace,
    group: &GroupName,
) -> Result<Vec<SnapshotName>, TreeError> {
    let entries = list(&layout.group(ns, group))?.unwrap_or_default();
    let folders = entries.into_iter().filter(|(_, found)| *found == Found::Folder);
    let times = folders.filter_map(|(name, _)| Layout::removed_time(&name));
    Ok(times.map(|time| SnapshotName::new(group.clone(), time)).collect())
}

/// Ends a removal that did not end.
pub(crate) fn remove_hidden(
    layout: &Layout,
    ns: &Namespace,
    snapshot: &SnapshotName,
) -> Result<(), TreeError> {
    remove_folder(&layout.removing(ns, snapshot))
}

/// Tells whether a snapshot's folder is there without a manifest and without protection.
pub(crate) fn is_unfinished(
    layout: &Layout,
    ns: &Namespace,
    snapshot: &SnapshotName,
) -> Result<bool, TreeError> {
    let is_there = look(&layout.snapshot(ns, snapshot))? == Found::Folder;
    // Anything under the manifest's name, be it a link, is a reason to keep the folder.
    let has_manifest = look(&layout.manifest(ns, snapshot))? != Found::Nothing;
    Ok(is_there && !has_manifest && !is_protected(layout, ns, snapshot)?)
}
