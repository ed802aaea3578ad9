//! What lists show of groups and snapshots (spec `rest-api.md` §4.3 and §4.4); serialized as the API shows it.

use serde::Serialize;

use super::meta::{group_notes, is_protected, read_owner};
use super::{Layout, TreeError, is_finished, load_manifest, snapshots};
use crate::file::{Found, list};
use crate::manifest::{CryptMode, Manifest, VerifyState};
use crate::name::{ArchiveName, GroupName, Namespace, Owner, SnapshotName};

/// A group as lists show it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct GroupInfo {
    /// The group.
    #[serde(flatten)]
    pub name: GroupName,
    /// Time of the newest finished snapshot, or of the only one; 0 if there is none.
    pub last_backup: i64,
    /// Number of snapshots, finished or not.
    pub backup_count: u64,
    /// Files of the snapshot of `last_backup`.
    pub files: Vec<ArchiveName>,
    /// Owner, if its file can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// First line of the group's notes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// A snapshot as lists show it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SnapshotInfo {
    /// The snapshot.
    #[serde(flatten)]
    pub name: SnapshotName,
    /// First line of the notes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Result of the last verification.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification: Option<VerifyState>,
    /// Fingerprint of the key that was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Its files.
    pub files: Vec<FileEntry>,
    /// Sum of the files' sizes; none for an unfinished snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Owner of the group, if its file can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// Whether it is protected from removal.
    pub protected: bool,
}

impl SnapshotInfo {
    /// Tells whether the backup was finished and its manifest can be read.
    pub const fn is_finished(&self) -> bool {
        self.size.is_some()
    }
}

/// A file as lists show it; size and mode are absent for files that the manifest does not name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct FileEntry {
    /// Name on the server.
    pub filename: ArchiveName,
    /// How its content is protected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crypt_mode: Option<CryptMode>,
    /// Size as the manifest states it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// Gathers what lists show of a group.
pub(crate) fn group_info(layout: &Layout, ns: &Namespace, group: &GroupName) -> Result<GroupInfo, TreeError> {
    let all = snapshots(layout, ns, group)?;
    let mut shown = None;
    for snapshot in all.iter().rev() {
        if is_finished(layout, ns, snapshot)? {
            shown = Some(snapshot);
            break;
        }
    }
    if let ([only], None) = (all.as_slice(), shown) {
        shown = Some(only);
    }
    let files = match shown {
        Some(snapshot) => file_names(layout, ns, snapshot)?,
        None => Vec::new(),
    };
    Ok(GroupInfo {
        name: group.clone(),
        last_backup: shown.map_or(0, |snapshot| snapshot.time.unix_seconds()),
        backup_count: all.len() as u64,
        files,
        owner: read_owner(layout, ns, group).ok(),
        comment: first_line(&group_notes(layout, ns, group)?),
    })
}

/// Gathers what lists show of a snapshot. `owner` is the group's.
pub(crate) fn snapshot_info(
    layout: &Layout,
    ns: &Namespace,
    snapshot: &SnapshotName,
    owner: Option<Owner>,
) -> Result<SnapshotInfo, TreeError> {
    let protected = is_protected(layout, ns, snapshot)?;
    let manifest = match load_manifest(layout, ns, snapshot) {
        Ok(manifest) => Some(manifest),
        // One whose manifest is damaged shows like an unfinished one: a list must not fail because of it.
        Err(TreeError::Unfinished { .. } | TreeError::Manifest { .. }) => None,
        Err(error) => return Err(error),
    };
    let files = entries(layout, ns, snapshot, manifest.as_ref())?;
    // The sizes are the client's word.
    let total = || files.iter().filter_map(|file| file.size).fold(0, u64::saturating_add);
    let size = manifest.as_ref().map(|_| total());
    let manifest = manifest.as_ref();
    Ok(SnapshotInfo {
        name: snapshot.clone(),
        comment: manifest.and_then(|manifest| first_line(manifest.notes())),
        verification: manifest.and_then(Manifest::verify_state),
        fingerprint: manifest.and_then(Manifest::key_fingerprint).map(str::to_owned),
        files,
        size,
        owner,
        protected,
    })
}

/// Lists the files of a finished snapshot: those of the manifest, the manifest, then what else there is.
pub(crate) fn file_entries(
    layout: &Layout,
    ns: &Namespace,
    snapshot: &SnapshotName,
) -> Result<Vec<FileEntry>, TreeError> {
    let manifest = load_manifest(layout, ns, snapshot)?;
    entries(layout, ns, snapshot, Some(&manifest))
}

fn entries(
    layout: &Layout,
    ns: &Namespace,
    snapshot: &SnapshotName,
    manifest: Option<&Manifest>,
) -> Result<Vec<FileEntry>, TreeError> {
    let mut entries = Vec::new();
    if let Some(manifest) = manifest {
        entries.extend(manifest.files().iter().map(|file| FileEntry {
            filename: file.filename.clone(),
            crypt_mode: Some(file.crypt_mode),
            size: Some(file.size),
        }));
        let signed = manifest.signature().is_some();
        let stored = std::fs::metadata(layout.manifest(ns, snapshot));
        entries.push(FileEntry {
            filename: ArchiveName::manifest(),
            crypt_mode: Some(if signed { CryptMode::SignOnly } else { CryptMode::None }),
            size: Some(stored.map_or(0, |metadata| metadata.len())),
        });
    }
    for filename in file_names(layout, ns, snapshot)? {
        if !entries.iter().any(|entry| entry.filename == filename) {
            entries.push(FileEntry { filename, crypt_mode: None, size: None });
        }
    }
    Ok(entries)
}

/// Names of the regular files with a known suffix in a snapshot's folder.
fn file_names(
    layout: &Layout,
    ns: &Namespace,
    snapshot: &SnapshotName,
) -> Result<Vec<ArchiveName>, TreeError> {
    let listed = list(&layout.snapshot(ns, snapshot))?.unwrap_or_default();
    let files = listed.into_iter().filter(|(_, found)| *found == Found::File);
    Ok(files.filter_map(|(name, _)| name.parse().ok()).collect())
}

fn first_line(notes: &str) -> Option<String> {
    notes.lines().next().filter(|line| !line.is_empty()).map(str::to_owned)
}
