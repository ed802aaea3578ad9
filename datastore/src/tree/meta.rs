//! Small facts beside the data: manifest, owner, notes, protection.

use bytes::Bytes;
use coldkeep_chunk_store::blob::{BLOB_ENCODED_BYTES_MAX, Blob, BlobError};

use super::{Layout, TreeError};
use crate::file::{Found, look, read_if_there};
use crate::manifest::Manifest;
use crate::name::{ArchiveName, GroupName, Namespace, Owner, SnapshotName};

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
    let Some(content) = read_if_there(&layout.owner(ns, group))? else {
        check_group(layout, ns, group)?;
        return Err(TreeError::Owner { group: group.clone(), source: None });
    };
    parse_owner(group, &content)
}

/// Parses what the file or object with the owner of a group says.
pub(crate) fn parse_owner(group: &GroupName, content: &[u8]) -> Result<Owner, TreeError> {
    let text = String::from_utf8_lossy(content);
    let owner = text.trim_end_matches('\n').parse();
    owner.map_err(|source| TreeError::Owner { group: group.clone(), source: Some(source) })
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
