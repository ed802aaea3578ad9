//! The end of a session: commit, abort, or a writer that was dropped.

use std::sync::Arc;

use coldkeep_chunk_store::blob::Blob;
use coldkeep_chunk_store::{Session, SessionFailed, blocking, durable};

use super::{BackupError, BackupWriter, Inner, Phase, shutting_down};
use crate::file::{FILE_MODE, Found, look, read_if_there, remove_if_there};
use crate::manifest::{ChunkUploadStats, Manifest};
use crate::store::run_blocking;
use crate::tree::TreeError;

impl BackupWriter {
    /// Commits the snapshot: when this returns, it is whole on disk and survives power loss (as far as the sync level
    /// of the chunk store goes).
    ///
    /// In this order (DESIGN "Filesystem stores", I4): indexes were synced when they were closed, blobs when they were
    /// uploaded; now the chunks and the folders, then the manifest by rename and sync of the folder. Only then, if no
    /// chunk that the session relies on was lost meanwhile (I3), is the commit acknowledged and the locks given free.
    ///
    /// In a bucket, indexes and blobs are there since they were closed and uploaded; now the token is read, the manifest put
    /// and the token read again (R10), and then the manifest is written on disk. If the bucket did not answer, a later call
    /// of the same session tries again; it is refused while the unanswered request may still take effect (R19).
    ///
    /// # Errors
    /// [`BackupError::StillOpen`], [`BackupError::NoFiles`], [`BackupError::NoManifest`], [`BackupError::Manifest`],
    /// [`BackupError::PreviousGone`], [`BackupError::Benchmark`], and what the disk refuses: the session goes on.
    /// [`BackupError::Failed`] and [`BackupError::Over`]: it has ended, without a snapshot.
    ///
    /// # Cancel safety
    /// Dropping the future gives the snapshot up; it is removed with the writer.
    pub async fn finish(&self) -> Result<(), BackupError> {
        let (manifest, stats, session) = {
            let mut state = self.inner.open_state()?;
            if self.inner.request.benchmark {
                return Err(BackupError::Benchmark);
            }
            let open = state.indexes.len() + state.busy;
            if open > 0 {
                return Err(BackupError::StillOpen { open });
            }
            if state.completed_files == 0 {
                return Err(BackupError::NoFiles);
            }
            let manifest = state.manifest.clone().ok_or(BackupError::NoManifest)?;
            state.phase = Phase::Finishing;
            (manifest, state.stats, state.session()?)
        };
        if let Err(error) = self.commit(manifest, stats).await {
            if matches!(error, BackupError::Failed(_)) {
                self.abort().await?;
                return Err(error);
            }
            let mut state = self.inner.state();
            if state.phase == Phase::Finishing {
                state.phase = Phase::Open;
            }
            return Err(error);
        }
        // Last, after the manifest is durable: whoever sets a chunk aside from here on finds a committed snapshot.
        if let Err(failed) = session.check_alive() {
            // First and by itself: whatever keeps the rest from being removed, nobody may take it for a snapshot.
            let retracted = self.retract().await;
            // In the bucket too; superseded, there is nothing that we may change there.
            let aborted = self.abort().await;
            if failed != SessionFailed::Superseded {
                retracted?;
                aborted?;
            }
            return Err(failed.into());
        }
        drop(session);
        let inner = Arc::clone(&self.inner);
        let keep = move || {
            let kept = inner.footprint.keep();
            let mut state = inner.state();
            if kept {
                state.phase = Phase::Finished;
                state.session = None;
            }
            kept
        };
        // Here it is decided, for an abort that comes at the same time and for the bucket too.
        match run_blocking(keep).await {
            Some(true) => {}
            Some(false) => return Err(BackupError::Over { how: "was aborted" }),
            None => return Err(BackupError::Tree(TreeError::ShuttingDown)),
        }
        if let Some(paths) = self.inner.paths.get() {
            paths.end().await;
            // An estimate, saved now and then.
            let _ = self.inner.store.save_stored_bytes().await;
        }
        Ok(())
    }

    /// Gives the snapshot up: removes its folder, and its group if it was made for it, and gives the locks free.
    /// Does nothing after [`Self::finish`].
    ///
    /// # Errors
    /// [`TreeError::File`] if the folder cannot be removed; it has no manifest, and a later collection removes it.
    ///
    /// # Cancel safety
    /// The removal goes on if the future is dropped.
    pub async fn abort(&self) -> Result<(), TreeError> {
        {
            let mut state = self.inner.state();
            if matches!(state.phase, Phase::Open | Phase::Finishing) {
                state.phase = Phase::Aborted;
            }
        }
        self.inner.give_up().await
    }

    /// Everything up to the durable manifest.
    async fn commit(&self, manifest: Blob, stats: ChunkUploadStats) -> Result<(), BackupError> {
        let inner = Arc::clone(&self.inner);
        let check = move || {
            let mut decoded = Manifest::from_blob(&manifest)?;
            if inner.is_copy {
                return Ok(manifest);
            }
            decoded.set_chunk_upload_stats(stats);
            // Only a verification says what it found; an upload that calls itself verified would never be looked at.
            decoded.clear_verify_state();
            let blob = decoded.to_blob()?;
            inner.check_base()?;
            Ok(blob)
        };
        let manifest = run_blocking(check).await.unwrap_or_else(shutting_down)?;
        self.inner.store.chunks().sync().await?;
        self.commit_in_bucket(&manifest).await?;
        let inner = Arc::clone(&self.inner);
        let place = move || {
            let folder = inner.footprint.enter()?;
            let (layout, ns, snapshot) = (folder.layout(), &inner.request.ns, &inner.request.snapshot);
            // The manifest names the indexes: their names must be durable before its own, and so must the folder's and
            // those above it.
            layout.sync_folders_to(&layout.snapshot(ns, snapshot))?;
            durable::replace_file(&layout.manifest(ns, snapshot), manifest.as_bytes(), FILE_MODE)?;
            Ok(())
        };
        run_blocking(place).await.unwrap_or_else(shutting_down)
    }

    /// The commit of a datastore in a bucket: what is on disk is only its copy (R10, I4).
    async fn commit_in_bucket(&self, manifest: &Blob) -> Result<(), BackupError> {
        let inner = &self.inner;
        let Some(paths) = inner.paths.get() else { return Ok(()) };
        // A session that failed has no business there.
        inner.open_session()?.check_alive()?;
        let owner = if paths.takes_owner() {
            let path = inner.store.tree().layout.owner(&inner.request.ns, &inner.request.snapshot.group);
            let read = move || Ok(read_if_there(&path)?);
            run_blocking(read).await.unwrap_or_else(shutting_down)?
        } else {
            None
        };
        Ok(paths.commit(&inner.request, owner.map(Into::into), manifest.clone().into_bytes()).await?)
    }

    /// Removes the manifest of a commit that is not acknowledged, durably; if that fails, dropping the writer tries
    /// again.
    async fn retract(&self) -> Result<(), BackupError> {
        let inner = Arc::clone(&self.inner);
        let remove = move || {
            // Else it was aborted meanwhile, which removes all of it.
            let Ok(folder) = inner.footprint.enter() else { return Ok(()) };
            let (layout, ns, snapshot) = (folder.layout(), &inner.request.ns, &inner.request.snapshot);
            remove_if_there(&layout.manifest(ns, snapshot))?;
            Ok(durable::sync_folder(&layout.snapshot(ns, snapshot))?)
        };
        run_blocking(remove).await.unwrap_or_else(shutting_down)
    }
}

impl Inner {
    /// The snapshot that this one builds on must still be there (spec `backup-protocol.md` §3.1).
    fn check_base(&self) -> Result<(), BackupError> {
        let Some(base) = &self.base else { return Ok(()) };
        match look(&self.store.tree().layout.snapshot(&self.request.ns, base))? {
            Found::Folder => Ok(()),
            _ => Err(BackupError::PreviousGone { snapshot: base.clone() }),
        }
    }

    /// Returns the chunk store's session while the snapshot is being finished.
    fn open_session(&self) -> Result<Arc<Session>, BackupError> {
        self.state().session()
    }

    /// Ends the session without a snapshot: its folder goes, its paths in the bucket are given free or closed (R19).
    pub(super) async fn give_up(self: &Arc<Self>) -> Result<(), TreeError> {
        let inner = Arc::clone(self);
        let remove = move || {
            inner.end();
            inner.footprint.remove()
        };
        let removed = run_blocking(remove).await.unwrap_or(Err(TreeError::ShuttingDown));
        if let Some(paths) = self.paths.get() {
            if self.footprint.is_kept() {
                paths.end().await;
                return removed;
            }
            paths.give_up(&self.request).await?;
        }
        removed
    }

    /// Lets go of the open indexes and of the chunk store's session; blocking.
    pub(super) fn end(&self) {
        let (indexes, session) = {
            let mut state = self.state();
            (std::mem::take(&mut state.indexes), state.session.take())
        };
        drop((indexes, session));
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let indexes = std::mem::take(&mut self.state().indexes);
        let footprint = Arc::clone(&self.footprint);
        let remove = move || {
            drop(indexes);
            // Nobody is left to tell; without a manifest the folder is no snapshot, and a collection removes it.
            let _ = footprint.remove();
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return remove() };
        let is_kept = self.footprint.is_kept();
        if let Some(paths) = self.paths.take().filter(|paths| !is_kept && paths.has_to_take_back()) {
            let request = self.request.clone();
            // Nobody is left to tell here either; if it fails, the next open shows the snapshot, which is whole.
            drop(runtime.spawn(async move { drop(paths.give_up(&request).await) }));
        }
        blocking::begin(remove);
    }
}
