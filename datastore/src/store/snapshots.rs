//! Snapshots: lists, files, notes, protection, removal.

use bytes::Bytes;

use super::{Datastore, Tree};
use crate::manifest::Manifest;
use crate::mirror::detached;
use crate::name::{ArchiveName, BackupId, BackupType, Namespace, SnapshotName};
use crate::tree::{self, Change, FileEntry, SnapshotInfo, TreeError};

impl Datastore {
    /// Lists snapshots, finished or not, by group and time; of one type, one id or both if given.
    ///
    /// # Errors
    /// [`TreeError::NoNamespace`], [`TreeError::File`]. An unknown group gives an empty list.
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn snapshots(
        &self,
        ns: &Namespace,
        ty: Option<BackupType>,
        id: Option<&BackupId>,
    ) -> Result<Vec<SnapshotInfo>, TreeError> {
        let (ns, id) = (ns.clone(), id.cloned());
        self.blocking(move |tree| {
            let mut groups = tree::groups(&tree.layout, &ns)?;
            groups.retain(|group| {
                ty.is_none_or(|ty| group.ty == ty) && id.as_ref().is_none_or(|id| group.id == *id)
            });
            #[expect(
                clippy::disallowed_methods,
                reason = "it is compared with times that the kernel gave files"
            )]
            let now = std::time::SystemTime::now();
            let mut infos = Vec::new();
            for group in groups {
                match tree.kept_infos.of_group(&tree.layout, (&ns, &group), now) {
                    // Removed since the folder was listed.
                    Err(error) if error.is_not_found() => {}
                    found => infos.extend(found?),
                }
            }
            Ok(infos)
        })
        .await
    }

    /// Lists the files of a finished snapshot.
    ///
    /// # Errors
    /// [`TreeError::NoSnapshot`], [`TreeError::SnapshotInUse`] while it is being made, [`TreeError::Unfinished`],
    /// [`TreeError::Manifest`].
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn files(&self, ns: &Namespace, snapshot: &SnapshotName) -> Result<Vec<FileEntry>, TreeError> {
        self.shared(ns, snapshot, |tree, ns, snapshot| tree::file_entries(&tree.layout, ns, snapshot)).await
    }

    /// Returns the manifest of a finished snapshot.
    ///
    /// # Errors
    /// As [`Self::files`].
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn manifest(&self, ns: &Namespace, snapshot: &SnapshotName) -> Result<Manifest, TreeError> {
        self.shared(ns, snapshot, |tree, ns, snapshot| tree::load_manifest(&tree.layout, ns, snapshot)).await
    }

    /// Removes a snapshot, and its group with the last one.
    ///
    /// # Errors
    /// [`TreeError::NoSnapshot`], [`TreeError::SnapshotInUse`] while it is made, read, verified or built on (R5),
    /// [`TreeError::Protected`], [`TreeError::File`], [`TreeError::Bucket`]: calling again goes on where this ended, unless
    /// the snapshot is gone from the lists by then.
    ///
    /// # Cancel safety
    /// The removal goes on if the future is dropped.
    pub async fn forget(&self, ns: &Namespace, snapshot: &SnapshotName) -> Result<(), TreeError> {
        let until = self.passed_by();
        loop {
            match detached(self.parts().forget(ns.clone(), snapshot.clone())).await {
                // A collection may be looking at it.
                Err(error) if self.has_passed(ns, &error, until).await => {}
                forgotten => return forgotten,
            }
        }
    }

    /// Removes a snapshot that was never finished and is not protected, and its group with the last one; returns whether it
    /// was. In a bucket the manifest there says so: one whose local copy is damaged stays (I1).
    ///
    /// # Errors
    /// [`TreeError::SnapshotInUse`] while it is made, [`TreeError::File`], [`TreeError::Bucket`].
    ///
    /// # Cancel safety
    /// The removal goes on if the future is dropped.
    pub async fn forget_unfinished(
        &self,
        ns: &Namespace,
        snapshot: &SnapshotName,
    ) -> Result<bool, TreeError> {
        let (ns, snapshot) = (ns.clone(), snapshot.clone());
        detached(self.parts().forget_unfinished(ns, snapshot)).await
    }

    /// Returns the notes of a snapshot; empty if there are none.
    ///
    /// # Errors
    /// As [`Self::files`].
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn notes(&self, ns: &Namespace, snapshot: &SnapshotName) -> Result<String, TreeError> {
        Ok(self.manifest(ns, snapshot).await?.notes().to_owned())
    }

    /// Replaces the notes of a snapshot; everything else in its manifest stays as it is.
    ///
    /// # Errors
    /// As [`Self::files`].
    ///
    /// # Cancel safety
    /// The snapshot has the old or the new notes if the future is dropped.
    pub async fn set_notes(
        &self,
        ns: &Namespace,
        snapshot: &SnapshotName,
        notes: &str,
    ) -> Result<(), TreeError> {
        let notes = notes.to_owned();
        let prepare = move |tree: &Tree, ns: &Namespace, snapshot: &SnapshotName| {
            Change::of_manifest(&tree.layout, (ns, snapshot), |manifest| manifest.set_notes(&notes))
        };
        self.change_snapshot(ns, snapshot, prepare).await
    }

    /// Tells whether a snapshot is protected from removal.
    ///
    /// # Errors
    /// [`TreeError::NoSnapshot`], [`TreeError::File`].
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn is_protected(&self, ns: &Namespace, snapshot: &SnapshotName) -> Result<bool, TreeError> {
        let (ns, snapshot) = (ns.clone(), snapshot.clone());
        self.blocking(move |tree| {
            tree::check_snapshot(&tree.layout, &ns, &snapshot)?;
            tree::is_protected(&tree.layout, &ns, &snapshot)
        })
        .await
    }

    /// Protects a snapshot from removal, or no longer.
    ///
    /// # Errors
    /// [`TreeError::NoSnapshot`], [`TreeError::SnapshotInUse`] while it is made or removed, [`TreeError::File`],
    /// [`TreeError::Bucket`].
    ///
    /// # Cancel safety
    /// The protection is set or not if the future is dropped.
    pub async fn set_protected(
        &self,
        ns: &Namespace,
        snapshot: &SnapshotName,
        protected: bool,
    ) -> Result<(), TreeError> {
        let prepare = move |tree: &Tree, ns: &Namespace, snapshot: &SnapshotName| {
            Ok(Change::of_protection(&tree.layout, (ns, snapshot), protected))
        };
        self.change_snapshot(ns, snapshot, prepare).await
    }

    /// Adds the client's log, an encoded blob, to a snapshot that has none.
    ///
    /// # Errors
    /// [`TreeError::Blob`] if shape or CRC are wrong, [`TreeError::FileExists`], [`TreeError::NoSnapshot`],
    /// [`TreeError::SnapshotInUse`].
    ///
    /// # Cancel safety
    /// The log is there whole or not at all if the future is dropped.
    pub async fn upload_log(
        &self,
        ns: &Namespace,
        snapshot: &SnapshotName,
        body: Bytes,
    ) -> Result<(), TreeError> {
        let prepare = move |tree: &Tree, ns: &Namespace, snapshot: &SnapshotName| {
            Change::of_new_blob(&tree.layout, (ns, snapshot), (&ArchiveName::client_log(), body))
        };
        self.change_snapshot(ns, snapshot, prepare).await
    }

    /// Tells whether there is anything at a snapshot's path.
    pub(crate) async fn has_snapshot_folder(
        &self,
        ns: &Namespace,
        snapshot: &SnapshotName,
    ) -> Result<bool, TreeError> {
        let (ns, snapshot) = (ns.clone(), snapshot.clone());
        self.blocking(move |tree| match tree::check_snapshot(&tree.layout, &ns, &snapshot) {
            Err(error) if error.is_not_found() => Ok(false),
            checked => checked.map(|()| true),
        })
        .await
    }

    /// Changes a file of a snapshot that exists, under its shared lock.
    pub(crate) async fn change_snapshot(
        &self,
        ns: &Namespace,
        snapshot: &SnapshotName,
        prepare: impl FnOnce(&Tree, &Namespace, &SnapshotName) -> Result<Change, TreeError> + Send + 'static,
    ) -> Result<(), TreeError> {
        let held = self.share_snapshot(ns, snapshot).await?;
        self.parts().change_snapshot(held, (ns, snapshot), prepare).await
    }

    /// Runs blocking work on a snapshot that exists, under its shared lock.
    pub(crate) async fn shared<T: Send + 'static>(
        &self,
        ns: &Namespace,
        snapshot: &SnapshotName,
        work: impl FnOnce(&Tree, &Namespace, &SnapshotName) -> Result<T, TreeError> + Send + 'static,
    ) -> Result<T, TreeError> {
        let held = self.share_snapshot(ns, snapshot).await?;
        let (ns, snapshot) = (ns.clone(), snapshot.clone());
        self.blocking(move |tree| {
            let _held = held;
            tree::check_snapshot(&tree.layout, &ns, &snapshot)?;
            work(tree, &ns, &snapshot)
        })
        .await
    }
}
