//! The one place that makes paths of names (spec `formats.md` §10).

use std::path::{Path, PathBuf};

use coldkeep_chunk_store::backend::ObjectKey;
use coldkeep_chunk_store::durable::sync_folder;

use super::TreeError;
use crate::file::{Found, look};
use crate::name::{ArchiveName, BackupTime, BackupType, GroupName, Namespace, SnapshotName};

/// Where things are in a datastore's folder.
///
/// All parts of a path come from validated types, so no path leads out of the folder.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    base: PathBuf,
}

impl Layout {
    /// Folder that holds namespaces inside a namespace.
    pub(crate) const NAMESPACES: &str = "ns";
    pub(crate) const OWNER: &str = "owner";
    pub(crate) const NOTES: &str = "notes";
    pub(crate) const PROTECTED: &str = ".protected";
    pub(crate) const NAMESPACE: &str = ".namespace";
    const REMOVING: &str = ".removing-";
    /// What keys of snapshot objects start with (spec `s3-backend.md` §2).
    pub(crate) const CONTENT: &str = ".cnt/";
    /// Folders that hold everything that is mirrored in a bucket.
    pub(crate) const TOPS: [&str; 4] = ["ct", "host", "vm", Self::NAMESPACES];

    pub(crate) const fn new(base: PathBuf) -> Self {
        Self { base }
    }

    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    pub(crate) fn chunks(&self) -> PathBuf {
        self.base.join(".chunks")
    }

    /// Where the datastore keeps its own state, hidden from walks.
    pub(crate) fn state(&self) -> PathBuf {
        self.base.join(".coldkeep")
    }

    /// What the chunk store of a bucket knows of the bucket's generation; on a filesystem there is none.
    pub(crate) fn generation(&self) -> PathBuf {
        self.state().join("generation")
    }

    /// Returns the key of the object that a file of the tree mirrors, or what the keys of a folder's objects start
    /// with: the one place that maps paths to keys.
    pub(crate) fn key(&self, path: &Path) -> ObjectKey {
        let inside = path.strip_prefix(&self.base).unwrap_or(path).display();
        ObjectKey::new(format!("{}{inside}", Self::CONTENT))
            .expect("invariant: paths of the tree are made of validated names, less than 1 KiB in all")
    }

    pub(crate) fn namespace(&self, ns: &Namespace) -> PathBuf {
        ns.components().fold(self.base.clone(), |path, component| path.join(Self::NAMESPACES).join(component))
    }

    pub(crate) fn child_namespaces(&self, ns: &Namespace) -> PathBuf {
        self.namespace(ns).join(Self::NAMESPACES)
    }

    pub(crate) fn backup_type(&self, ns: &Namespace, ty: BackupType) -> PathBuf {
        self.namespace(ns).join(ty.as_str())
    }

    pub(crate) fn group(&self, ns: &Namespace, group: &GroupName) -> PathBuf {
        self.backup_type(ns, group.ty).join(group.id.as_str())
    }

    pub(crate) fn owner(&self, ns: &Namespace, group: &GroupName) -> PathBuf {
        self.group(ns, group).join(Self::OWNER)
    }

    pub(crate) fn group_notes(&self, ns: &Namespace, group: &GroupName) -> PathBuf {
        self.group(ns, group).join(Self::NOTES)
    }

    pub(crate) fn snapshot(&self, ns: &Namespace, snapshot: &SnapshotName) -> PathBuf {
        self.group(ns, &snapshot.group).join(snapshot.time.to_string())
    }

    /// Where a snapshot's folder goes while it is being removed: hidden, so that it is in no listing.
    pub(super) fn removing(&self, ns: &Namespace, snapshot: &SnapshotName) -> PathBuf {
        self.group(ns, &snapshot.group).join(format!("{}{}", Self::REMOVING, snapshot.time))
    }

    /// Returns the time of the snapshot of which a name in a group's folder is [`Self::removing`].
    pub(super) fn removed_time(name: &str) -> Option<BackupTime> {
        name.strip_prefix(Self::REMOVING)?.parse().ok()
    }

    /// Tells whether a name in a group's folder is one of the small files that go with the group.
    pub(super) fn is_group_file(name: &str) -> bool {
        [Self::OWNER, Self::NOTES].contains(&name.strip_suffix(".tmp").unwrap_or(name))
    }

    pub(crate) fn file(&self, ns: &Namespace, snapshot: &SnapshotName, file: &ArchiveName) -> PathBuf {
        self.snapshot(ns, snapshot).join(file.as_str())
    }

    pub(crate) fn manifest(&self, ns: &Namespace, snapshot: &SnapshotName) -> PathBuf {
        self.snapshot(ns, snapshot).join(ArchiveName::MANIFEST)
    }

    pub(crate) fn protected(&self, ns: &Namespace, snapshot: &SnapshotName) -> PathBuf {
        self.snapshot(ns, snapshot).join(Self::PROTECTED)
    }

    /// Makes the names in `path` and in every folder above it durable, up to the datastore's own.
    ///
    /// Whoever made one of them may have been killed before it was durable.
    pub(crate) fn sync_folders_to(&self, path: &Path) -> Result<(), TreeError> {
        let inside = path.ancestors().take_while(|ancestor| ancestor.starts_with(&self.base));
        for folder in inside {
            sync_folder(folder)?;
        }
        Ok(())
    }

    /// Checks that every folder from the datastore's down to `path` is a real folder, so that nothing outside the
    /// datastore is removed through a symbolic link.
    pub(crate) fn check_folders_to(&self, path: &Path) -> Result<(), TreeError> {
        let inside = path.ancestors().take_while(|ancestor| *ancestor != self.base);
        for folder in inside {
            if look(folder)? != Found::Folder {
                return Err(TreeError::NotAFolder { path: folder.to_owned() });
            }
        }
        Ok(())
    }
}
