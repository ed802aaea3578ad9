//! Every index file there is, for the collector (I6, hazard H15).

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use coldkeep_chunk_store::backend::ObjectKey;
use coldkeep_chunk_store::dir::DirError;

use super::{Layout, TreeError, groups, namespaces, snapshots};
use crate::file::{Context as _, Found, list_all, look};
use crate::index::IndexKind;
use crate::name::{ArchiveName, Namespace, SnapshotName};

/// What a check of a filesystem keeps at its root for what it finds without a name; as a rule only root may look into it.
const LOST_AND_FOUND: &str = "lost+found";

/// Links of a folder without folders in it: its name, and its own `.`; each folder in it has one more to it.
const LINKS_WITHOUT_FOLDERS: u64 = 2;

/// An index file that refers to chunks, whether its snapshot is finished or not. Two are equal if they are the same object, or
/// without a bucket the same file.
#[derive(Debug, Clone)]
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

impl PartialEq for IndexFile {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for IndexFile {}

impl PartialOrd for IndexFile {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for IndexFile {
    fn cmp(&self, other: &Self) -> Ordering {
        // Where a file with its content lies depends on the version that was listed.
        self.shown().cmp(other.shown())
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
/// is not followed. The one exception is an empty `lost+found`, which see [`tolerate_lost_and_found`].
pub(crate) fn index_files(layout: &Layout) -> Result<Vec<IndexFile>, TreeError> {
    let mut found: BTreeMap<PathBuf, (IndexKind, IndexPlace)> =
        of_snapshots(layout)?.into_iter().map(|index| (index.path, (index.kind, index.place))).collect();
    let mut open = vec![layout.base().to_owned()];
    while let Some(folder) = open.pop() {
        let listed = list_all(&folder);
        let listed = tolerate_lost_and_found(layout.base(), &folder, listed, || links(&folder))?;
        for (name, entry) in listed.unwrap_or_default() {
            let path = folder.join(&name);
            match (kind_of(name.as_ref()), entry) {
                (_, Found::Folder) if name.as_encoded_bytes().starts_with(b".") => {}
                (_, Found::Folder) => open.push(path),
                (Some(kind), entry) => {
                    if entry == Found::Other {
                        // It has the name of an index, so it must lead to one.
                        std::fs::metadata(&path).context("follow the link", &path)?;
                    }
                    found.entry(path).or_insert((kind, IndexPlace::Unexpected));
                }
                (None, Found::Other) => check_link(&path)?,
                (None, _) => {}
            }
        }
    }
    Ok(found.into_iter().map(|(path, (kind, place))| IndexFile { path, kind, place, key: None }).collect())
}

/// Lists the indexes of finished snapshots by the keys that they have in a bucket.
pub(crate) fn finished_indexes(layout: &Layout) -> Result<BTreeMap<ObjectKey, IndexFile>, TreeError> {
    let mut finished = BTreeMap::new();
    for index in of_snapshots(layout)? {
        let IndexPlace::Snapshot(ns, snapshot) = &index.place else { continue };
        let name = index.path.file_name().and_then(OsStr::to_str).map(str::parse::<ArchiveName>);
        // Another name was never put into a bucket.
        let Some(Ok(name)) = name else { continue };
        if look(&layout.manifest(ns, snapshot))? != Found::Nothing {
            finished.insert(layout.key(&layout.file(ns, snapshot, &name)), index);
        }
    }
    Ok(finished)
}

/// Lists the indexes in the folders of snapshots.
fn of_snapshots(layout: &Layout) -> Result<Vec<IndexFile>, TreeError> {
    let mut found = Vec::new();
    for ns in namespaces(layout, &Namespace::root(), Namespace::DEPTH_MAX)? {
        for group in tolerate_gone(groups(layout, &ns))? {
            for snapshot in tolerate_gone(snapshots(layout, &ns, &group))? {
                let folder = layout.snapshot(&ns, &snapshot);
                for (name, _) in list_all(&folder)?.unwrap_or_default() {
                    if let Some(kind) = kind_of(name.as_ref()) {
                        let place = IndexPlace::Snapshot(ns.clone(), snapshot.clone());
                        found.push(IndexFile { path: folder.join(name), kind, place, key: None });
                    }
                }
            }
        }
    }
    Ok(found)
}

type Listed = Option<Vec<(OsString, Found)>>;

/// Passes over the `lost+found` at the top of the datastore, where that is the root of a filesystem, if only root may list it
/// and there is no folder in it.
///
/// I6: then no index is behind it. A check of the filesystem puts there what it found without a name, and calls it after the
/// number of its inode: a file in it has no index's suffix. A snapshot that came to lie there would be a folder, and the
/// links of `lost+found`, which everybody may count, tell that there is one: then it is an error as anywhere else. So is a
/// folder whose filesystem does not count links that way.
fn tolerate_lost_and_found(
    base: &Path,
    folder: &Path,
    listed: Result<Listed, DirError>,
    links: impl FnOnce() -> Option<u64>,
) -> Result<Listed, DirError> {
    match listed {
        Err(error)
            if error.source.kind() == ErrorKind::PermissionDenied
                && folder.strip_prefix(base) == Ok(Path::new(LOST_AND_FOUND))
                && links() == Some(LINKS_WITHOUT_FOLDERS) =>
        {
            Ok(None)
        }
        listed => listed,
    }
}

/// Returns how many links lead to a folder; `None` if it cannot be told.
fn links(folder: &Path) -> Option<u64> {
    std::fs::symlink_metadata(folder).ok().map(|metadata| metadata.nlink())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &str, kind: ErrorKind) -> Result<Listed, DirError> {
        Err(DirError::new("list", Path::new(path), kind.into()))
    }

    #[test]
    fn only_an_empty_lost_and_found_at_the_top_may_refuse_to_be_listed() {
        let look = |path: &str, kind, links| {
            tolerate_lost_and_found(Path::new("/s"), Path::new(path), refused(path, kind), || links)
        };
        assert_eq!(look("/s/lost+found", ErrorKind::PermissionDenied, Some(2)).unwrap(), None);
        for (path, kind, links) in [
            // Something that was a folder, perhaps of a snapshot, is in it, or nobody can tell.
            ("/s/lost+found", ErrorKind::PermissionDenied, Some(3)),
            ("/s/lost+found", ErrorKind::PermissionDenied, Some(1)),
            ("/s/lost+found", ErrorKind::PermissionDenied, None),
            ("/s/lost+found", ErrorKind::Other, Some(2)),
            ("/s/host/lost+found", ErrorKind::PermissionDenied, Some(2)),
            ("/s/attic", ErrorKind::PermissionDenied, Some(2)),
            ("/s", ErrorKind::PermissionDenied, Some(2)),
        ] {
            look(path, kind, links).unwrap_err();
        }
    }

    #[test]
    fn a_lost_and_found_that_may_be_listed_is_walked() {
        let listed = Ok(Some(vec![("old.didx".into(), Found::File)]));
        let base = Path::new("/s");
        let passed = tolerate_lost_and_found(base, &base.join(LOST_AND_FOUND), listed, || Some(2)).unwrap();
        assert_eq!(passed.unwrap().len(), 1);
    }
}
