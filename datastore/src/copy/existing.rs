//! A snapshot that is here already: what of it differs, and putting that right.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use coldkeep_chunk_store::blob::Blob;

use super::{CopyError, GroupCopy, blocking};
use crate::file::read_if_there;
use crate::lock::LockGuard;
use crate::manifest::{FileInfo, Manifest, ManifestError, VerifyResult, VerifyState};
use crate::name::{ArchiveName, Namespace, SnapshotName};
use crate::store::Tree;
use crate::tree::{self, Change, TreeError, checked_blob};
use crate::verify;

/// A finished snapshot that is compared with its original; it is not removed meanwhile.
#[derive(Debug)]
pub struct LocalCopy {
    group: Arc<GroupCopy>,
    snapshot: SnapshotName,
    /// As it is stored.
    encoded_manifest: Bytes,
    /// None if it is damaged.
    manifest: Option<Manifest>,
    /// Whether a file was replaced.
    has_replaced: AtomicBool,
    _lock: LockGuard,
}

impl GroupCopy {
    /// Opens a finished snapshot of the group; none if there is none of that time.
    ///
    /// # Errors
    /// [`TreeError::SnapshotInUse`], [`TreeError::File`].
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn open_local(
        self: &Arc<Self>,
        snapshot: &SnapshotName,
    ) -> Result<Option<LocalCopy>, TreeError> {
        let lock = self.store.share_snapshot(&self.request.ns, snapshot).await?;
        let (group, snapshot) = (Arc::clone(self), snapshot.clone());
        let open = move |tree: &Tree| {
            let ns = &group.request.ns;
            let Some(content) = read_if_there(&tree.layout.manifest(ns, &snapshot))? else { return Ok(None) };
            let encoded_manifest = Bytes::from(content);
            let decoded =
                Blob::parse(encoded_manifest.clone()).ok().and_then(|blob| Manifest::from_blob(&blob).ok());
            Ok(Some(LocalCopy {
                group,
                snapshot,
                encoded_manifest,
                manifest: decoded,
                has_replaced: AtomicBool::new(false),
                _lock: lock,
            }))
        };
        self.store.parts().blocking(open).await
    }
}

impl LocalCopy {
    /// Returns the manifest as it is stored.
    pub const fn encoded_manifest(&self) -> &Bytes {
        &self.encoded_manifest
    }

    /// Returns the manifest; none if it is damaged.
    pub const fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    /// Tells whether the snapshot is known to be damaged: its last verification failed, or its manifest cannot be read (spec
    /// `pull.md` §4).
    pub fn is_corrupt(&self) -> bool {
        let state = self.manifest.as_ref().map(Manifest::verify_state);
        state.is_none_or(|state| state.is_some_and(|state| state.state == VerifyResult::Failed))
    }

    /// Tells whether there is a log of the client.
    ///
    /// # Errors
    /// [`TreeError::File`].
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn has_client_log(&self) -> Result<bool, TreeError> {
        let (ns, snapshot) = self.place();
        let look = move |tree: &Tree| {
            let path = tree.layout.file(&ns, &snapshot, &ArchiveName::client_log());
            Ok(crate::file::look(&path)? != crate::file::Found::Nothing)
        };
        self.group.store.parts().blocking(look).await
    }

    /// Tells whether a file is here and is the one described; the chunks of an index are not looked at.
    ///
    /// # Errors
    /// [`TreeError::File`].
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn has_file(&self, expected: &FileInfo) -> Result<bool, CopyError> {
        let ((ns, snapshot), expected) = (self.place(), expected.clone());
        let path = self.group.store.tree().layout.file(&ns, &snapshot, &expected.filename);
        blocking(move || Ok(verify::check_file(&path, &expected)?.is_none())).await
    }

    /// Adds or replaces an index, byte for byte, whose chunks this copy holds.
    ///
    /// # Errors
    /// Those of [`super::SnapshotCopy::put_index`].
    ///
    /// # Cancel safety
    /// The snapshot has the old or the new file if the future is dropped.
    pub async fn replace_index(&self, name: &ArchiveName, content: Bytes) -> Result<(), CopyError> {
        let (group, checked_name, checked) = (Arc::clone(&self.group), name.clone(), content.clone());
        blocking(move || group.check_index(&checked_name, &checked)).await?;
        self.check_chunks().await?;
        self.replace(name, Some(content)).await
    }

    /// Adds or replaces a blob or the client's log, byte for byte.
    ///
    /// # Errors
    /// [`CopyError::Tree`]: shape, length or CRC are wrong, or the disk or bucket refuses.
    ///
    /// # Cancel safety
    /// The snapshot has the old or the new file if the future is dropped.
    pub async fn replace_blob(&self, name: &ArchiveName, content: Bytes) -> Result<(), CopyError> {
        let checked_name = name.clone();
        let blob = blocking(move || Ok(checked_blob(&checked_name, content)?)).await?;
        self.replace(name, Some(blob.into_bytes())).await
    }

    /// Replaces the manifest by that of the original, after everything that it names, and removes files that it does not name. In
    /// the place of the original's last verification comes the one here, also one that has ended since the snapshot was opened;
    /// what was `repaired` loses the result that it had then, unless neither a file of it was replaced nor this copy has stored any
    /// chunk: one that is here and cannot be read stays as it is. Apart from that it is stored byte for byte. If a chunk that the copy relies on was lost meanwhile,
    /// the snapshot is marked as failed.
    ///
    /// # Errors
    /// [`CopyError::Failed`], [`CopyError::Tree`].
    ///
    /// # Cancel safety
    /// The snapshot has the old or the new manifest if the future is dropped.
    pub async fn finish(self, manifest: Bytes, repaired: bool) -> Result<(), CopyError> {
        self.check_chunks().await?;
        let blob = blocking(move || Ok(checked_blob(&ArchiveName::manifest(), manifest)?)).await?;
        let decoded = Manifest::from_blob(&blob).map_err(crate::backup::BackupError::from)?;
        self.replace_manifest(decoded.clone(), blob.into_bytes(), repaired).await?;
        // Whoever sets a chunk aside from here on finds a snapshot that is committed (I3).
        self.check_chunks().await?;
        for file in self.others(decoded).await? {
            self.replace(&file, None).await?;
        }
        Ok(())
    }

    async fn replace_manifest(
        &self,
        original: Manifest,
        encoded: Bytes,
        repaired: bool,
    ) -> Result<(), TreeError> {
        let (ns, snapshot) = self.place();
        let was_mended = self.manifest.is_none()
            || self.has_replaced.load(Ordering::Relaxed)
            || self.group.has_stored.load(Ordering::Relaxed);
        let repaired =
            (repaired && was_mended).then(|| self.manifest.as_ref().and_then(Manifest::verify_state));
        let prepare = move |tree: &Tree, ns: &Namespace, snapshot: &SnapshotName| {
            let here = match (tree::load_manifest(&tree.layout, ns, snapshot), repaired) {
                (here, None) => here?.verify_state(),
                // Of the state that was repaired it says nothing more.
                (Ok(here), Some(before)) => {
                    here.verify_state().filter(|state| Some(state) != before.as_ref())
                }
                (Err(_), Some(_)) => None,
            };
            let content = with_verification(&original, encoded, here)
                .map_err(|source| TreeError::Manifest { snapshot: snapshot.clone(), source })?;
            Ok(Change { path: tree.layout.manifest(ns, snapshot), content: Some(content) })
        };
        self.group.store.change_snapshot(&ns, &snapshot, prepare).await
    }

    /// Makes the chunks of the copy durable, so that what names them may be. If one was lost, the snapshot is marked as failed: a
    /// file that was replaced before may name it.
    async fn check_chunks(&self) -> Result<(), CopyError> {
        self.group.store.chunks().sync().await.map_err(crate::backup::BackupError::from)?;
        if let Err(failed) = self.group.session.check_alive() {
            self.distrust().await?;
            return Err(failed.into());
        }
        Ok(())
    }

    /// Lists the files that the manifest does not name.
    async fn others(&self, manifest: Manifest) -> Result<Vec<ArchiveName>, TreeError> {
        let (ns, snapshot) = self.place();
        let list = move |tree: &Tree| {
            let entries = tree::file_entries(&tree.layout, &ns, &snapshot)?;
            let names = entries.into_iter().map(|entry| entry.filename);
            let is_named = |name: &ArchiveName| {
                name.is_manifest()
                    || name.as_str() == ArchiveName::CLIENT_LOG
                    || manifest.file(name).is_some()
            };
            Ok(names.filter(|name| !is_named(name)).collect())
        };
        self.group.store.parts().blocking(list).await
    }

    async fn replace(&self, name: &ArchiveName, content: Option<Bytes>) -> Result<(), CopyError> {
        let (ns, snapshot) = self.place();
        // A log that was missing repairs nothing.
        let is_log = name.as_str() == ArchiveName::CLIENT_LOG;
        let name = name.clone();
        let prepare = move |tree: &Tree, ns: &Namespace, snapshot: &SnapshotName| {
            Ok(Change { path: tree.layout.file(ns, snapshot, &name), content })
        };
        if !is_log {
            self.has_replaced.store(true, Ordering::Relaxed);
        }
        Ok(self.group.store.change_snapshot(&ns, &snapshot, prepare).await?)
    }

    async fn distrust(&self) -> Result<(), TreeError> {
        let (ns, snapshot) = self.place();
        let upid = self.group.store.made_up_task(&self.group.request.owner);
        let prepare = move |tree: &Tree, ns: &Namespace, snapshot: &SnapshotName| {
            Change::of_manifest(&tree.layout, (ns, snapshot), |manifest| {
                manifest.set_verify_state(&VerifyState { state: VerifyResult::Failed, upid });
            })
        };
        self.group.store.change_snapshot(&ns, &snapshot, prepare).await
    }

    fn place(&self) -> (Namespace, SnapshotName) {
        (self.group.request.ns.clone(), self.snapshot.clone())
    }
}

/// Encodes a manifest with this result of the last verification in place of its own: that of another store says nothing about
/// the chunks of this one.
fn with_verification(
    original: &Manifest,
    encoded: Bytes,
    here: Option<VerifyState>,
) -> Result<Bytes, ManifestError> {
    let mut manifest = original.clone();
    match here {
        Some(state) => manifest.set_verify_state(&state),
        None => manifest.clear_verify_state(),
    }
    if manifest == *original {
        return Ok(encoded);
    }
    Ok(manifest.to_blob()?.into_bytes())
}
