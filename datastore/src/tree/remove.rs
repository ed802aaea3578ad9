//! Removal of snapshots, groups and namespaces; the caller holds the locks of what goes.
//!
//! The manifest goes first, durably; then the folder is renamed to a hidden name, so that a snapshot leaves every
//! listing in one step; then its files go. A crash in between leaves an unfinished snapshot or a hidden folder, both of
//! which [`remove_leftovers`] removes when the store is next opened.

use std::fs;
use std::io;
use std::path::Path;

use coldkeep_chunk_store::durable::sync_folder;

use super::meta::{check_snapshot, is_protected, read_owner};
use super::{Layout, TreeError, groups, is_finished, namespaces, snapshots};
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

/// Removes what sessions and removals that did not end left behind; called once, when the store is opened.
///
/// Nobody can own it then: the process owns the store (R11) and has no session yet. What goes: hidden folders of
/// unfinished removals, and folders that are called like a snapshot, have no manifest, are not protected and lie in a
/// group with a readable owner. When in doubt data is kept: anything else stays, and so does what cannot be looked at
/// or removed; the errors are returned, for it is no reason to keep the store closed.
pub(crate) fn remove_leftovers(layout: &Layout) -> Vec<TreeError> {
    let mut errors = Vec::new();
    remove_leftovers_of_namespace(layout, &Namespace::root(), &mut errors);
    errors
}

fn remove_leftovers_of_namespace(layout: &Layout, ns: &Namespace, errors: &mut Vec<TreeError>) {
    match groups(layout, ns) {
        Ok(groups) => {
            for group in groups {
                if read_owner(layout, ns, &group).is_ok() {
                    let cleared = remove_leftovers_of_group(layout, ns, &group, errors);
                    errors.extend(cleared.err());
                }
            }
        }
        Err(error) => errors.push(error),
    }
    match namespaces(layout, ns, 1) {
        // The first is `ns` itself.
        Ok(found) => {
            found[1..].iter().for_each(|child| remove_leftovers_of_namespace(layout, child, errors));
        }
        Err(error) => errors.push(error),
    }
}

fn remove_leftovers_of_group(
    layout: &Layout,
    ns: &Namespace,
    group: &GroupName,
    errors: &mut Vec<TreeError>,
) -> Result<(), TreeError> {
    let folder = layout.group(ns, group);
    for (name, found) in list(&folder)?.unwrap_or_default() {
        if found == Found::Folder && Layout::is_removing(&name) {
            errors.extend(remove_folder(&folder.join(name)).err());
        }
    }
    let mut has_removed = false;
    for snapshot in snapshots(layout, ns, group)? {
        match remove_if_unfinished(layout, ns, &snapshot) {
            Ok(removed) => has_removed |= removed,
            Err(error) => errors.push(error),
        }
    }
    if has_removed {
        remove_group_if_empty(layout, ns, group)?;
    }
    Ok(())
}

/// Removes what a session that did not end left; returns whether it did.
fn remove_if_unfinished(layout: &Layout, ns: &Namespace, snapshot: &SnapshotName) -> Result<bool, TreeError> {
    // Anything under the manifest's name, be it a link, is a reason to keep the folder.
    let unfinished = look(&layout.manifest(ns, snapshot))? == Found::Nothing;
    let removable = unfinished && !is_protected(layout, ns, snapshot)?;
    if removable {
        remove_snapshot(layout, ns, snapshot)?;
    }
    Ok(removable)
}
