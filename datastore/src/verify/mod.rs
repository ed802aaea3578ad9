//! Verification: is every file and chunk of a snapshot what the manifest and the indexes say (spec `rest-api.md` §4.8)?
//!
//! A chunk counts as corrupt only if complete bodies fail their check (R15): [`ChunkStore::quarantine`] reads it again,
//! twice, before it sets it aside. A read that fails says nothing about the chunk, which stays where it is (hazard H31);
//! nobody can restore it either, so it is a defect of its own and the snapshot has failed.
//!
//! [`ChunkStore::quarantine`]: coldkeep_chunk_store::ChunkStore::quarantine

mod chunks;
mod files;

use std::num::NonZeroU64;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use coldkeep_chunk_store::blob::BlobError;
use coldkeep_chunk_store::dir::DirError;
use coldkeep_chunk_store::{Digest, LoadError};
use futures_util::future::{self, Either};
use tokio::sync::Notify;

use chunks::VerifiedSet;
pub(crate) use files::check as check_file;

use crate::index::IndexError;
use crate::lock::LockGuard;
use crate::manifest::{CryptMode, Manifest, ManifestError, VerifyResult, VerifyState};
use crate::name::{ArchiveKind, ArchiveName, Namespace, SnapshotName};
use crate::store::{Datastore, Tree, run_blocking};
use crate::tree::{Change, TreeError};

/// Most defects that are reported for one snapshot; all are counted.
const DEFECTS_MAX: usize = 100;

/// What one verification task carries from snapshot to snapshot.
#[derive(Debug)]
pub struct VerifyTask {
    upid: String,
    control: Arc<VerifyControl>,
    verified: VerifiedSet,
    parallel: usize,
    pace: Option<Pace>,
}

impl VerifyTask {
    /// Chunks that are read and checked at once if nothing else is said.
    pub const PARALLEL_DEFAULT: usize = 4;

    /// Starts a task; `upid` is recorded in the manifests.
    pub fn new(upid: String, control: Arc<VerifyControl>) -> Self {
        let (verified, parallel) = (VerifiedSet::default(), Self::PARALLEL_DEFAULT);
        Self { upid, control, verified, parallel, pace: None }
    }

    /// Reads and checks so many chunks at once, at least one. Each may take twice its size in memory, 32 MiB at most.
    #[must_use]
    pub fn with_parallel(mut self, chunks: usize) -> Self {
        self.parallel = chunks.max(1);
        self
    }

    /// Reads so many encoded bytes of chunks a second at most, as an average from one chunk to the next.
    #[must_use]
    pub fn with_rate(mut self, bytes_per_second: NonZeroU64) -> Self {
        self.pace = Some(Pace { bytes_per_second, free_at: Duration::ZERO });
        self
    }
}

/// A bound on bytes a second.
#[derive(Debug)]
struct Pace {
    bytes_per_second: NonZeroU64,
    /// When everything that was read so far will have had its time, on the store's monotonic clock.
    free_at: Duration,
}

impl Pace {
    /// Returns how long to wait now that so many bytes more were read.
    fn wait(&mut self, bytes: u64, now: Duration) -> Duration {
        let takes = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second.get() as f64);
        self.free_at = self.free_at.max(now) + takes;
        self.free_at.saturating_sub(now)
    }
}

/// Progress of a verification task, and the way to stop it.
#[derive(Debug, Default)]
pub struct VerifyControl {
    cancelled: AtomicBool,
    /// Rung when it is cancelled.
    bell: Notify,
    chunks: AtomicU64,
    bytes: AtomicU64,
}

impl VerifyControl {
    /// Asks the task to stop at the next chunk, or at once if it waits to record what it found.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        self.bell.notify_waiters();
    }

    /// Tells whether the task was asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// Waits until [`cancel`](Self::cancel) is called.
    async fn cancelled(&self) {
        // From here on the bell is heard.
        let rung = self.bell.notified();
        if !self.is_cancelled() {
            rung.await;
        }
    }

    /// Returns the number of chunks read so far.
    pub fn chunks(&self) -> u64 {
        self.chunks.load(Ordering::Relaxed)
    }

    /// Returns the encoded bytes of the chunks read so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// How the verification of a snapshot ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum VerifyOutcome {
    /// Everything is whole; recorded in the manifest.
    Whole,
    /// Something is missing or damaged; recorded in the manifest, if that can still be rewritten.
    Defective {
        /// Number of defects.
        count: u64,
        /// The first 100 of them.
        defects: Vec<Defect>,
    },
    /// The snapshot is being made or removed, is gone, or was never finished; nothing was checked.
    Skipped,
    /// The task was asked to stop; nothing was recorded.
    Cancelled,
}

/// One thing that is wrong with a snapshot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Defect {
    /// The manifest is damaged.
    #[error("the manifest is damaged")]
    Manifest(#[source] ManifestError),
    /// A file that the manifest names is not there.
    #[error("file {file} is missing")]
    FileMissing {
        /// The file.
        file: ArchiveName,
    },
    /// An index is malformed.
    #[error("index {file} is damaged")]
    Index {
        /// The file.
        file: ArchiveName,
        /// What is wrong with it.
        #[source]
        source: IndexError,
    },
    /// A blob is malformed.
    #[error("blob {file} is damaged")]
    Blob {
        /// The file.
        file: ArchiveName,
        /// What is wrong with it.
        #[source]
        source: BlobError,
    },
    /// Size or checksum of a file differ from the manifest.
    #[error("{file} has size {size} and checksum {csum}, the manifest says otherwise")]
    FileDiffers {
        /// The file.
        file: ArchiveName,
        /// Size found.
        size: u64,
        /// Checksum found.
        csum: Digest,
    },
    /// A chunk is not in the store.
    #[error("chunk {digest} of {file} is missing")]
    ChunkMissing {
        /// The index.
        file: ArchiveName,
        /// The chunk.
        digest: Digest,
    },
    /// A chunk was corrupt and was set aside.
    #[error("chunk {digest} of {file} is corrupt")]
    ChunkCorrupt {
        /// The index.
        file: ArchiveName,
        /// The chunk.
        digest: Digest,
    },
    /// A chunk could not be read, or not be set aside; it is where it was, and may be whole.
    #[error("chunk {digest} of {file} could not be checked")]
    ChunkUnreadable {
        /// The index.
        file: ArchiveName,
        /// The chunk.
        digest: Digest,
        /// What failed.
        #[source]
        source: LoadError,
    },
    /// A chunk is encrypted and should not be, or the other way round, or its length is not the index's.
    #[error("chunk {digest} of {file} is not of the length or encryption mode that the snapshot states")]
    ChunkDiffers {
        /// The index.
        file: ArchiveName,
        /// The chunk.
        digest: Digest,
    },
}

/// A verification that could not be carried through; it says nothing about the snapshot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// An index could not be read.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A file could not be read, or there is no such snapshot.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

impl From<DirError> for VerifyError {
    fn from(error: DirError) -> Self {
        Self::Tree(error.into())
    }
}

/// What was found so far.
#[derive(Debug, Default)]
struct Findings {
    count: u64,
    defects: Vec<Defect>,
}

impl Findings {
    fn add(&mut self, defect: Defect) {
        self.count += 1;
        if self.defects.len() < DEFECTS_MAX {
            self.defects.push(defect);
        }
    }
}

impl Datastore {
    /// Checks every file that the manifest names and every chunk that its indexes name, and records the result in the
    /// manifest. A chunk that the task has read is not read again. A chunk that cannot be
    /// read is a defect like others and does not keep the rest from being checked.
    ///
    /// # Errors
    /// [`VerifyError`]: manifest or indexes could not be read; nothing is recorded.
    ///
    /// # Cancel safety
    /// Nothing is recorded if the future is dropped; corrupt chunks found so far are set aside.
    pub async fn verify_snapshot(
        self: &Arc<Self>,
        ns: &Namespace,
        snapshot: &SnapshotName,
        task: &mut VerifyTask,
    ) -> Result<VerifyOutcome, VerifyError> {
        let share = pin!(self.share_snapshot(ns, snapshot));
        let _lock: LockGuard = match future::select(pin!(task.control.cancelled()), share).await {
            Either::Left(_) => return Ok(VerifyOutcome::Cancelled),
            Either::Right((Err(error), _)) if error.is_in_use() => return Ok(VerifyOutcome::Skipped),
            Either::Right((lock, _)) => lock?,
        };
        let manifest = match self.manifest(ns, snapshot).await {
            Ok(manifest) => manifest,
            // Removed since it was listed, or never finished.
            Err(TreeError::NoSnapshot { .. } | TreeError::Unfinished { .. }) => {
                return Ok(VerifyOutcome::Skipped);
            }
            Err(TreeError::Manifest { source, .. }) => {
                return Ok(VerifyOutcome::Defective { count: 1, defects: vec![Defect::Manifest(source)] });
            }
            Err(error) => return Err(error.into()),
        };
        let mut findings = Findings::default();
        if !self.verify_files(ns, &manifest, (snapshot, task, &mut findings)).await? {
            return Ok(VerifyOutcome::Cancelled);
        }
        let state = if findings.count == 0 { VerifyResult::Ok } else { VerifyResult::Failed };
        // After a crash one verifies: what was found must not be lost because the manifest cannot be changed yet.
        let open = pin!(self.wait_for_earlier(Duration::MAX));
        match future::select(pin!(task.control.cancelled()), open).await {
            Either::Left(_) => return Ok(VerifyOutcome::Cancelled),
            Either::Right((waited, _)) => waited?,
        }
        self.record(ns, snapshot, VerifyState { state, upid: task.upid.clone() }).await?;
        Ok(match findings {
            Findings { count: 0, .. } => VerifyOutcome::Whole,
            Findings { count, defects } => VerifyOutcome::Defective { count, defects },
        })
    }

    /// Checks all files; `false` if the task was cancelled.
    async fn verify_files(
        self: &Arc<Self>,
        ns: &Namespace,
        manifest: &Manifest,
        (snapshot, task, findings): (&SnapshotName, &mut VerifyTask, &mut Findings),
    ) -> Result<bool, VerifyError> {
        for expected in manifest.files() {
            let path = self.tree().layout.file(ns, snapshot, &expected.filename);
            let expected = expected.clone();
            let (path, expected, checked) = run_blocking(move || {
                let checked = files::check(&path, &expected);
                (path, expected, checked)
            })
            .await
            .ok_or(TreeError::ShuttingDown)?;
            if let Some(defect) = checked? {
                let chunks_can_be_listed = matches!(defect, Defect::FileDiffers { .. });
                findings.add(defect);
                if !chunks_can_be_listed {
                    continue;
                }
            }
            if let ArchiveKind::Index(kind) = expected.filename.kind() {
                let encrypted = expected.crypt_mode == CryptMode::Encrypt;
                let archive = chunks::Archive { path, kind, name: expected.filename, encrypted };
                if !self.verify_chunks(archive, task, findings).await? {
                    return Ok(false);
                }
            }
            if task.control.is_cancelled() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn record(
        &self,
        ns: &Namespace,
        snapshot: &SnapshotName,
        state: VerifyState,
    ) -> Result<(), TreeError> {
        let prepare = move |tree: &Tree, ns: &Namespace, snapshot: &SnapshotName| {
            Change::of_manifest(&tree.layout, (ns, snapshot), |manifest| manifest.set_verify_state(&state))
        };
        self.change_snapshot(ns, snapshot, prepare).await
    }
}
