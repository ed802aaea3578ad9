//! A snapshot that is new here.

use std::sync::Arc;

use bytes::Bytes;

use super::{CopyError, GroupCopy, blocking};
use crate::backup::{BackupRequest, BackupWriter, BeginError};
use crate::name::{ArchiveName, SnapshotName};
use crate::tree::TreeError;

/// A snapshot that is being copied: files first, then its manifest, which makes it a snapshot.
///
/// Dropping it before [`Self::finish`] has returned removes what there is of it.
#[derive(Debug)]
pub struct SnapshotCopy {
    group: Arc<GroupCopy>,
    writer: BackupWriter,
}

impl GroupCopy {
    /// Starts a snapshot that the group does not have; one that was left unfinished there is removed first. It may be older than
    /// others.
    ///
    /// # Errors
    /// [`BeginError::Exists`], [`BeginError::Tree`], and what [`crate::Datastore::begin_backup`] lists; nothing is left behind.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing that a collection would not remove.
    pub async fn begin_snapshot(
        self: &Arc<Self>,
        snapshot: &SnapshotName,
    ) -> Result<SnapshotCopy, BeginError> {
        if snapshot.group != self.request.group {
            let (ns, snapshot) = (self.request.ns.clone(), snapshot.clone());
            return Err(BeginError::Tree(TreeError::NoSnapshot { ns, snapshot }));
        }
        let begun = self.begin_writer(snapshot).await;
        let writer = match begun {
            Err(BeginError::Exists { .. }) if self.forget_leftover(snapshot).await? => {
                self.begin_writer(snapshot).await?
            }
            writer => writer?,
        };
        Ok(SnapshotCopy { group: Arc::clone(self), writer })
    }

    /// Removes what an earlier copy left that was cut short; if it is a snapshot, this changes nothing. Returns whether nothing
    /// is there now.
    async fn forget_leftover(&self, snapshot: &SnapshotName) -> Result<bool, TreeError> {
        let (ns, until) = (&self.request.ns, self.store.passed_by());
        loop {
            match self.store.forget_unfinished(ns, snapshot).await {
                // A collection may be at it.
                Err(error) if self.store.has_passed(ns, &error, until).await => {}
                Ok(false) => return Ok(!self.store.has_snapshot_folder(ns, snapshot).await?),
                forgotten => return forgotten,
            }
        }
    }

    async fn begin_writer(&self, snapshot: &SnapshotName) -> Result<BackupWriter, BeginError> {
        let request = BackupRequest {
            ns: self.request.ns.clone(),
            snapshot: snapshot.clone(),
            caller: self.request.owner.clone(),
            benchmark: false,
            no_cache: false,
        };
        let (session, lock) = (Arc::clone(&self.session), Some(Arc::clone(&self.lock)));
        self.store.begin_session(request, session, lock, self.store.passed_by()).await
    }
}

impl SnapshotCopy {
    /// Returns the snapshot.
    pub fn snapshot(&self) -> &SnapshotName {
        self.writer.snapshot()
    }

    /// Stores an index, byte for byte, whose chunks this copy holds.
    ///
    /// # Errors
    /// [`CopyError::UnknownChunk`], [`CopyError::LengthConflict`], [`CopyError::Index`], [`CopyError::IndexChecksum`],
    /// [`CopyError::NoIndex`], [`CopyError::Backup`]; the copy may go on.
    ///
    /// # Cancel safety
    /// The index is there whole or not at all.
    pub async fn put_index(&self, name: &ArchiveName, content: Bytes) -> Result<(), CopyError> {
        let (group, checked_name, checked) = (Arc::clone(&self.group), name.clone(), content.clone());
        blocking(move || group.check_index(&checked_name, &checked)).await?;
        Ok(self.writer.store_index(name, content).await?)
    }

    /// Stores a blob, or the client's log, byte for byte.
    ///
    /// # Errors
    /// [`CopyError::Backup`]: shape, length or CRC are wrong, or the disk or bucket refuses.
    ///
    /// # Cancel safety
    /// The blob is there whole or not at all.
    pub async fn put_blob(&self, name: &ArchiveName, content: Bytes) -> Result<(), CopyError> {
        Ok(self.writer.upload_blob(name, content).await?)
    }

    /// Commits the snapshot with this encoded manifest, byte for byte, as [`BackupWriter::finish`] does.
    ///
    /// # Errors
    /// [`CopyError::Backup`]; nothing is left of the snapshot.
    ///
    /// # Cancel safety
    /// Dropping the future gives the snapshot up; it is removed.
    pub async fn finish(self, manifest: Bytes) -> Result<(), CopyError> {
        let commit = async {
            self.writer.upload_blob(&ArchiveName::manifest(), manifest).await?;
            self.writer.finish().await
        };
        let committed = commit.await;
        if committed.is_err() {
            // The first error says more than one of this clean-up would.
            let _ = self.writer.abort().await;
        }
        Ok(committed?)
    }

    /// Gives the snapshot up and removes what there is of it.
    ///
    /// # Errors
    /// [`TreeError::File`], [`TreeError::Bucket`]: a collection removes what is left.
    ///
    /// # Cancel safety
    /// The removal goes on if the future is dropped.
    pub async fn abort(self) -> Result<(), TreeError> {
        self.writer.abort().await
    }
}
