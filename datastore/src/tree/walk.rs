//! Every index file there is, for the collector (I6, hazard H15).

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use coldkeep_chunk_store::backend::ObjectKey;

use super::{Layout, TreeError, groups, namespaces, snapshots};
use crate::file::{Context as _, Found, list_all};
use crate::index::IndexKind;
use crate::name::{Namespace, SnapshotName};

/// An index file that refers to chunks, whether its snapshot is finished or not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct IndexFile {
    pub(crate) path: PathBuf,
    pub(crate) kind: IndexKind,
    pub(crate) place: IndexPlace,
    /// The object whose content the file has, if the datastore is in a bucket.
    pub(crate) key: Option<ObjectKey>,
}

/// Where an index was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum IndexPlace {
    /// In the folder of a snapshot.
    Snapshot(Namespace, SnapshotName),
    /// Anywhere else in the datastore: it counts all the same, and the report should name it.
    Unexpected,
}

impl IndexFile {
    /// Returns the path of a file with its content.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns what an operator knows it by: the key of its object, if the datastore is in a bucket.
    pub(crate) fn shown(&self) -> &Path {
        self.key.as_ref().map_or(&self.path, |key| Path::new(key.as_str()))
    }

    /// Returns its kind, by its suffix.
    pub const fn kind(&self) -> IndexKind {
        self.kind
    }

    /// Returns where it was found.
    pub const fn place(&self) -> &IndexPlace {
        &self.place
    }
}

impl fmt::Display for IndexFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown().display().fmt(f)
    }
}

/// Lists the indexes of all snapshots, and all others that a walk of the folder finds outside hidden folders.
///
/// Any folder that cannot be read is an error: behind it could be references. So is a symbolic link to a folder, which
/// is not followed.
pub(crate) fn index_files(layout: &Layout) -> Result<Vec<IndexFile>, TreeError> {
    let mut found = BTreeMap::new();
    for ns in namespaces(layout, &Namespace::root(), Namespace::DEPTH_MAX)? {
        for group in tolerate_gone(groups(layout, &ns))? {
            for snapshot in tolerate_gone(snapshots(layout, &ns, &group))? {
                let folder = layout.snapshot(&ns, &snapshot);
                for (name, _) in list_all(&folder)?.unwrap_or_default() {
                    if let Some(kind) = kind_of(name.as_ref()) {
                        let place = IndexPlace::Snapshot(ns.clone(), snapshot.clone());
                        found.insert(folder.join(name), (kind, place));
                    }
                }
            }
        }
    }
    let mut open = vec![layout.base().to_owned()];
    while let Some(folder) = open.pop() {
        for (name, entry) in list_all(&folder)?.unwrap_or_default() {
            let path = folder.join(&name);
            match (kind_of(name.as_ref()), entry) {
                (_, Found::Folder) if name.as_encoded_bytes().starts_with(b".") => {}
                (_, Found::Folder) => open.push(path),
                (Some(kind), _) => {
                    found.entry(path).or_insert((kind, IndexPlace::Unexpected));
                }
                (None, Found::Other) => check_link(&path)?,
                (None, _) => {}
            }
        }
    }
    Ok(found.into_iter().map(|(path, (kind, place))| IndexFile { path, kind, place, key: None }).collect())
}

/// A namespace or group that went away since it was listed has nothing in it.
pub(super) fn tolerate_gone<T: Default>(listed: Result<T, TreeError>) -> Result<T, TreeError> {
    match listed {
        Err(TreeError::NoNamespace { .. } | TreeError::NoGroup { .. }) => Ok(T::default()),
        other => other,
    }
}

/// Refuses symbolic links to folders; links that lead nowhere and devices hide no index.
fn check_link(path: &Path) -> Result<(), TreeError> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err(TreeError::NotAFolder { path: path.to_owned() }),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).context("follow", path).map_err(Into::into),
    }
}

/// Tells by its suffix whether a file is an index, and of which kind.
pub(crate) fn kind_of(name: &Path) -> Option<IndexKind> {
    match name.extension()?.as_encoded_bytes() {
        b"fidx" => Some(IndexKind::Fixed),
        b"didx" => Some(IndexKind::Dynamic),
        _ => None,
    }
}
