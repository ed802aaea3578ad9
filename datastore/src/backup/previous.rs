//! Files of the snapshot that a session builds on.

use std::sync::Arc;

use super::{BackupError, BackupWriter, Inner};
use crate::file::is_missing;
use crate::index::{ChunkSpan, IndexReader};
use crate::manifest::{VerifyResult, VerifyState};
use crate::name::{ArchiveKind, ArchiveName, Namespace, SnapshotName};
use crate::store::{Tree, run_blocking};
use crate::stored_file::StoredFile;
use crate::tree::{Change, TreeError};

/// Entries that are made known under one lock of the session's state.
const BATCH: usize = 4096;

impl BackupWriter {
    /// Opens a file of the previous snapshot. The chunks of an index become known to this session.
    ///
    /// # Errors
    /// [`BackupError::NoPrevious`], [`BackupError::NoPreviousFile`], [`BackupError::Index`] for a damaged index,
    /// [`BackupError::Over`].
    ///
    /// # Cancel safety
    /// Chunks may or may not be known if the future is dropped; the session goes on.
    pub async fn previous_file(&self, name: &ArchiveName) -> Result<StoredFile, BackupError> {
        drop(self.inner.open_state()?);
        let (inner, name) = (Arc::clone(&self.inner), name.clone());
        let open = move || {
            let base = inner.base(&name)?;
            let path = inner.store.tree().layout.file(&inner.request.ns, base, &name);
            let file = StoredFile::open(&path).map_err(|error| {
                if is_missing(&error) {
                    BackupError::NoPreviousFile { snapshot: base.clone(), name: name.clone() }
                } else {
                    error.into()
                }
            })?;
            if let ArchiveKind::Index(kind) = name.kind() {
                let failed = |source| BackupError::Index { name: name.clone(), source };
                let index = IndexReader::open(&path, kind).map_err(failed)?;
                inner.learn(&index, &name)?;
            }
            Ok(file)
        };
        run_blocking(open).await.unwrap_or(Err(BackupError::Tree(TreeError::ShuttingDown)))
    }
}

impl Inner {
    pub(super) fn base(&self, wanted: &ArchiveName) -> Result<&SnapshotName, BackupError> {
        self.base.as_ref().ok_or_else(|| BackupError::NoPrevious { name: wanted.clone() })
    }

    /// Makes the chunks of an index of the base known (R17); blocking.
    pub(super) fn learn(&self, index: &IndexReader, name: &ArchiveName) -> Result<(), BackupError> {
        let mut batch: Vec<ChunkSpan> = Vec::with_capacity(BATCH);
        for span in index.spans() {
            batch.push(span.map_err(|source| BackupError::Index { name: name.clone(), source })?);
            if batch.len() == BATCH {
                self.state().known.add_referenced(&batch);
                batch.clear();
            }
        }
        self.state().known.add_referenced(&batch);
        Ok(())
    }

    /// Marks the snapshot that this session builds on as failed, so that the next backup does not build on it and
    /// uploads everything anew.
    pub(super) async fn distrust_base(&self) -> Result<(), TreeError> {
        let Some(base) = &self.base else { return Ok(()) };
        let upid = self.state().task.clone().unwrap_or_else(|| self.store.made_up_task(&self.request.caller));
        let prepare = move |tree: &Tree, ns: &Namespace, base: &SnapshotName| {
            Change::of_manifest(&tree.layout, (ns, base), |manifest| {
                manifest.set_verify_state(&VerifyState { state: VerifyResult::Failed, upid });
            })
        };
        self.store.change_snapshot(&self.request.ns, base, prepare).await
    }
}
