//! One backup: from the locks it takes to the manifest that commits it.
//!
//! Possession (R17): an index may name only chunks that this session uploaded, or that an index of the same group
//! names which was fetched in this session or pre-filled by a checksum. Reference (R5): every appended chunk is
//! refreshed in this session, and the snapshot that the session builds on cannot be removed meanwhile.
//!
//! Locks, in order: an index's own async lock (keeps its appends in the order of their arrival), then lock(d) inside
//! the chunk store. The session's state is under a `std` mutex that is never held across an await. Blocking work in the
//! snapshot's folder holds the folder's lock shared, its removal holds it alone.

mod begin;
mod commit;
mod error;
mod footprint;
mod indexes;
mod known;
mod paths;
mod previous;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use coldkeep_chunk_store::blob::{Blob, ChunkClass};
use coldkeep_chunk_store::{CheckedChunk, Digest, Inserted, Session, durable};

pub use begin::{BackupRequest, BeginError};
pub use error::BackupError;
use footprint::Footprint;
use indexes::OpenIndex;
pub(crate) use known::KnownChunks;
use paths::SessionPaths;
use tokio::sync::Mutex as AsyncMutex;

use crate::file::FILE_MODE;
use crate::index::{FIXED_CHUNK_BYTES, IndexKind};
use crate::manifest::ChunkUploadStats;
use crate::name::{ArchiveKind, ArchiveName, BackupTime, SnapshotName};
use crate::store::{Datastore, run_blocking};
use crate::tree::{TreeError, checked_blob};

/// Most writers of one session (spec `backup-protocol.md` §6).
pub const WRITERS_MAX: u32 = 256;

/// An open backup: takes chunks, indexes and blobs, and makes them a snapshot with [`Self::finish`].
///
/// All methods take `&self` and may run at once. Dropping it before `finish` has returned removes the snapshot's folder
/// and gives its locks free; [`Self::abort`] does so and waits for it.
#[derive(Debug)]
pub struct BackupWriter {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Arc<Datastore>,
    request: BackupRequest,
    /// Whether the snapshot is one of another store, which is stored as it is there.
    is_copy: bool,
    /// The snapshot that this one builds on; locked against removal (R5).
    base: Option<SnapshotName>,
    footprint: Arc<Footprint>,
    state: Mutex<State>,
    /// Blobs take turns: two of one name would share a temporary file, and could end differently here and in the bucket.
    blob_turn: AsyncMutex<()>,
    /// Set once the session has begun, if the datastore is in a bucket and this is no benchmark.
    paths: OnceLock<SessionPaths>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Ends with the session, so that the cutoff of collections moves on (R13).
    session: Option<Arc<Session>>,
    known: KnownChunks,
    indexes: BTreeMap<u32, Arc<OpenIndex>>,
    /// Names of indexes that are open or complete.
    index_names: BTreeSet<ArchiveName>,
    writers_opened: u32,
    /// Work in the folder that `finish` must not overtake.
    busy: usize,
    completed_files: u64,
    stats: ChunkUploadStats,
    /// Held back until `finish`: only a finished snapshot has a manifest in its folder.
    manifest: Option<Blob>,
    task: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    Finishing,
    Finished,
    Failed(Digest),
    Aborted,
}

/// Work in the folder that `finish` waits for by refusing; ends with the value.
#[derive(Debug)]
struct Busy(Arc<Inner>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.state().busy -= 1;
    }
}

impl BackupWriter {
    /// Returns the snapshot that is being made.
    pub fn snapshot(&self) -> &SnapshotName {
        &self.inner.request.snapshot
    }

    /// Returns the time of the snapshot that this one may build on.
    pub fn previous_time(&self) -> Option<BackupTime> {
        self.inner.base.as_ref().map(|base| base.time)
    }

    /// Names the task that runs this backup; it goes into the record if the previous snapshot turns out to be broken.
    pub fn set_task(&self, upid: &str) {
        self.inner.state().task = Some(upid.to_owned());
    }

    /// Stores a chunk for the index of `wid`, or refreshes it if the store has it, and makes it known to the session.
    ///
    /// # Errors
    /// [`BackupError::UnknownWriter`], [`BackupError::WrongKind`], [`BackupError::ChunkTooLong`] and
    /// [`BackupError::SecondShortChunk`] for fixed indexes, [`BackupError::Insert`], [`BackupError::Over`].
    ///
    /// # Cancel safety
    /// Dropping the future may leave the chunk stored but not known; nobody was told.
    pub async fn upload_chunk(
        &self,
        wid: u32,
        kind: IndexKind,
        chunk: CheckedChunk,
    ) -> Result<Inserted, BackupError> {
        let (digest, plain_len) = (chunk.digest(), chunk.plain_len());
        let session = {
            let state = self.inner.open_state()?;
            let index = state.index(wid, kind)?;
            if kind == IndexKind::Fixed {
                if plain_len > FIXED_CHUNK_BYTES {
                    return Err(BackupError::ChunkTooLong { digest, plain_len });
                }
                if plain_len < FIXED_CHUNK_BYTES {
                    index.note_short_chunk(digest)?;
                }
            }
            if chunk.blob().class() == ChunkClass::Encrypted {
                // Nobody but the client can check it, so it must at least not contradict itself.
                state.known.check_length(&digest, plain_len)?;
            }
            state.session()?
        };
        let inserted = self.inner.store.chunks().insert(&session, chunk).await?;
        let mut state = self.inner.state();
        state.known.add_told(digest, plain_len);
        state.stats.count += 1;
        state.stats.size += plain_len;
        match inserted {
            Inserted::New { encoded_bytes } => {
                state.stats.compressed_size += encoded_bytes;
                self.inner.store.note_stored(encoded_bytes);
            }
            Inserted::Known => state.stats.duplicates += 1,
        }
        Ok(inserted)
    }

    /// Stores a blob in the snapshot; replaces one of the same name. The manifest is held back until `finish`.
    ///
    /// # Errors
    /// [`BackupError::Suffix`] if the name is not that of a blob, [`BackupError::Tree`] if shape, length or CRC are
    /// wrong or the disk refuses, [`BackupError::Over`].
    ///
    /// # Cancel safety
    /// The blob may or may not be stored if the future is dropped.
    pub async fn upload_blob(&self, name: &ArchiveName, body: Bytes) -> Result<(), BackupError> {
        if name.kind() != ArchiveKind::Blob {
            return Err(BackupError::Suffix { name: name.clone(), expected: "blob" });
        }
        let (busy, name) = (Arc::new(self.inner.begin_work()?), name.clone());
        let _turn = self.inner.blob_turn.lock().await;
        let (checking, checked_name) = (Arc::clone(&busy), name.clone());
        let check = move || {
            let blob = checked_blob(&checked_name, body)?;
            drop(checking.0.footprint.enter()?);
            Ok::<_, BackupError>(blob)
        };
        let blob = run_blocking(check).await.unwrap_or_else(shutting_down)?;
        if name.is_manifest() {
            let mut state = self.inner.state();
            state.check_open()?;
            state.manifest = Some(blob);
            state.completed_files += 1;
            return Ok(());
        }
        self.store_file(busy, name, blob.into_bytes()).await
    }

    /// Stores a file whose content was checked: in the bucket first, if there is one.
    async fn store_file(
        &self,
        busy: Arc<Busy>,
        name: ArchiveName,
        content: Bytes,
    ) -> Result<(), BackupError> {
        if let Some(paths) = self.inner.paths.get() {
            paths.put(&self.inner.request, &name, content.clone()).await?;
        }
        let write = move || {
            let inner = &busy.0;
            let folder = inner.footprint.enter()?;
            let path = folder.layout().file(&inner.request.ns, &inner.request.snapshot, &name);
            durable::replace_file(&path, &content, FILE_MODE).map_err(TreeError::from)?;
            inner.state().completed_files += 1;
            Ok(())
        };
        run_blocking(write).await.unwrap_or_else(shutting_down)
    }

    /// Stores an index as it is in another store, for a copy; the caller checked it, and holds each of its chunks in the session
    /// (R5, R17).
    pub(crate) async fn store_index(&self, name: &ArchiveName, content: Bytes) -> Result<(), BackupError> {
        let busy = Arc::new(self.inner.begin_work()?);
        if !self.inner.state().index_names.insert(name.clone()) {
            return Err(BackupError::NameInUse { name: name.clone() });
        }
        // As with blobs: one file at a time.
        let _turn = self.inner.blob_turn.lock().await;
        self.store_file(busy, name.clone(), content).await
    }
}

fn shutting_down<T>() -> Result<T, BackupError> {
    Err(BackupError::Tree(TreeError::ShuttingDown))
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the state of a session that still takes data.
    fn open_state(&self) -> Result<MutexGuard<'_, State>, BackupError> {
        let state = self.state();
        state.check_open()?;
        Ok(state)
    }

    fn begin_work(self: &Arc<Self>) -> Result<Busy, BackupError> {
        self.open_state()?.busy += 1;
        Ok(Busy(Arc::clone(self)))
    }
}

impl State {
    fn check_open(&self) -> Result<(), BackupError> {
        match self.phase {
            Phase::Open => Ok(()),
            Phase::Finishing => Err(BackupError::Over { how: "is being finished" }),
            Phase::Finished => Err(BackupError::Over { how: "is finished" }),
            Phase::Aborted => Err(BackupError::Over { how: "was aborted" }),
            Phase::Failed(digest) => Err(BackupError::ChunkLost { digest }),
        }
    }

    fn session(&self) -> Result<Arc<Session>, BackupError> {
        self.session.clone().ok_or(BackupError::Over { how: "has ended" })
    }

    fn index(&self, wid: u32, kind: IndexKind) -> Result<Arc<OpenIndex>, BackupError> {
        let index = self.indexes.get(&wid).ok_or(BackupError::UnknownWriter { wid })?;
        if index.kind() == kind { Ok(Arc::clone(index)) } else { Err(BackupError::WrongKind { wid, kind }) }
    }
}
