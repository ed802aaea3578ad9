//! A copy of a group from another store: a session of the chunk protocol for all of its snapshots.
//!
//! Possession (R17): only chunks that the group's last snapshot names, or that this copy has stored itself, may be used as they
//! are here; whoever copies fetches all others, even if the store has them, so that a crafted index cannot claim the chunks of
//! another tenant. Reference (R5): each chunk that an index of the copy names was stored or refreshed in its session, which
//! [`SnapshotCopy::put_index`] checks before the index is there.
//!
//! The last snapshot itself may be removed meanwhile: nothing is taken from it but names, and what is gone from the store is fetched.
//! Nobody else begins to write into the group: its lock is held until the copy ends.

mod error;
mod existing;
mod snapshot;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coldkeep_chunk_store::blob::ChunkClass;
use coldkeep_chunk_store::switch::is_off;
use coldkeep_chunk_store::{CacheUse, CheckedChunk, Digest, Inserted, Session, TouchError};

pub use error::CopyError;
pub use existing::LocalCopy;
pub use snapshot::SnapshotCopy;

use crate::backup::{BeginError, KnownChunks};
use crate::index::{ChunkSpan, DynamicIndex, FixedIndex, IndexKind, IndexReader, agrees_with_csum};
use crate::lock::LockGuard;
use crate::name::{ArchiveKind, ArchiveName, BackupTime, GroupName, Namespace, Owner};
use crate::store::{Datastore, Tree, run_blocking};
use crate::tree::{self, Newest, TreeError};

/// Chunks that are refreshed by one call.
const TOUCH_BATCH: usize = 1024;

/// Which group is copied, and for whom.
#[derive(Debug, Clone)]
pub struct CopyRequest {
    /// The namespace; it must exist.
    pub ns: Namespace,
    /// The group.
    pub group: GroupName,
    /// Becomes the owner of a new group, and must be that of one that is there.
    pub owner: Owner,
    /// Whether every chunk of the store may be used without being fetched: only for who may read the whole store, from a source
    /// that is trusted not to name what it does not have (R17).
    pub trusts_source: bool,
}

/// A group that is being copied; dropping it ends the session and gives the group free.
#[derive(Debug)]
pub struct GroupCopy {
    store: Arc<Datastore>,
    request: CopyRequest,
    last: Option<BackupTime>,
    session: Arc<Session>,
    lock: Arc<LockGuard>,
    known: Mutex<KnownChunks>,
    /// Whether a chunk was stored that the store did not have.
    has_stored: AtomicBool,
}

impl Datastore {
    /// Starts to copy a group: takes it for itself and opens a session. The chunks of its last finished snapshot may be used
    /// from then on, unless that failed its verification.
    ///
    /// # Errors
    /// [`BeginError::NotOwner`] if somebody else has the group: another token of the same user is somebody else here (spec
    /// `pull.md` §4). [`BeginError::Tree`]: no such namespace, the group is in use, an index of the last snapshot cannot be
    /// read. [`BeginError::Store`].
    ///
    /// # Cancel safety
    /// Dropping the future ends the session that it may have started, without a trace.
    pub async fn begin_copy(self: &Arc<Self>, request: CopyRequest) -> Result<GroupCopy, BeginError> {
        // Before anything is looked up: what the session finds must stay from here on (R13).
        let session = Arc::new(self.chunks().begin_session(CacheUse::Keep).await?);
        let lock = Arc::new(self.lock_group(&request.ns, &request.group).await?);
        let store = Arc::clone(self);
        let prepare = move || {
            let tree = store.tree();
            tree::check_namespace(&tree.layout, &request.ns)?;
            check_owner(tree, &request)?;
            let (last, known) = what_is_known(tree, &request)?;
            let known = Mutex::new(known);
            Ok(GroupCopy { store, request, last, session, lock, known, has_stored: AtomicBool::new(false) })
        };
        run_blocking(prepare).await.unwrap_or(Err(BeginError::Tree(TreeError::ShuttingDown)))
    }

    /// Tells whether [`Self::begin_copy`] would refuse a group because somebody else has it; the namespace need not exist.
    ///
    /// # Errors
    /// [`BeginError::NotOwner`]; [`BeginError::Tree`] if it is not known whose the group is.
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn check_copy(self: &Arc<Self>, request: CopyRequest) -> Result<(), BeginError> {
        let store = Arc::clone(self);
        let check = run_blocking(move || check_owner(store.tree(), &request));
        check.await.unwrap_or(Err(BeginError::Tree(TreeError::ShuttingDown)))
    }
}

/// Refuses a group of somebody else. One without a readable owner and without snapshots is nobody's.
fn check_owner(
    tree: &Tree,
    CopyRequest { ns, group, owner: caller, .. }: &CopyRequest,
) -> Result<(), BeginError> {
    let owner = match tree::read_owner(&tree.layout, ns, group) {
        Err(TreeError::NoGroup { .. }) => return Ok(()),
        Err(TreeError::Owner { source: None, .. })
            if tree::snapshots(&tree.layout, ns, group)?.is_empty() =>
        {
            return Ok(());
        }
        owner => owner?,
    };
    if owner == *caller {
        return Ok(());
    }
    Err(BeginError::NotOwner { group: group.clone(), owner: owner.into(), caller: caller.clone().into() })
}

/// Returns the time of the group's last finished snapshot, and what its indexes name if it may be relied on (R17).
fn what_is_known(
    tree: &Tree,
    CopyRequest { ns, group, .. }: &CopyRequest,
) -> Result<(Option<BackupTime>, KnownChunks), BeginError> {
    let mut known = KnownChunks::default();
    let newest = match tree::newest_finished(&tree.layout, ns, group) {
        Err(TreeError::NoGroup { .. }) => Newest::None,
        newest => newest?,
    };
    let last = match newest {
        Newest::None => return Ok((None, known)),
        Newest::Failed(last) => return Ok((Some(last.time), known)),
        Newest::Usable(last) => last,
    };
    let manifest = tree::load_manifest(&tree.layout, ns, &last)?;
    for file in manifest.files() {
        let ArchiveKind::Index(kind) = file.filename.kind() else { continue };
        // What a damaged index names is fetched.
        if let Ok(index) = IndexReader::open(&tree.layout.file(ns, &last, &file.filename), kind) {
            let spans: Vec<ChunkSpan> = index.spans().map_while(Result::ok).collect();
            known.add_referenced(&spans);
        }
    }
    Ok((Some(last.time), known))
}

impl GroupCopy {
    /// Returns the group.
    pub const fn group(&self) -> &GroupName {
        &self.request.group
    }

    /// Returns the time of the newest finished snapshot that the group had when the copy began.
    pub const fn last(&self) -> Option<BackupTime> {
        self.last
    }

    /// Refreshes those of the chunks that may be used as the store has them (R5, R17), and returns the others, each once: they
    /// are to be fetched and given to [`Self::put_chunk`]. What this copy has stored or refreshed before is not looked up again.
    ///
    /// # Errors
    /// [`CopyError::Touch`]; some chunks may have been refreshed, and calling again is safe.
    ///
    /// # Cancel safety
    /// Dropping the future may leave some of the chunks refreshed.
    pub async fn missing_chunks(&self, spans: &[ChunkSpan]) -> Result<Vec<ChunkSpan>, CopyError> {
        let (mut missing, mut untold) = (Vec::new(), Vec::new());
        {
            let mut known = self.known();
            if self.request.trusts_source || is_off("r17") {
                known.add_referenced(spans);
            }
            let mut seen = HashSet::with_capacity(spans.len());
            for span in spans.iter().filter(|span| seen.insert(span.digest)) {
                match known.plain_len(&span.digest) {
                    None => missing.push(*span),
                    Some(_) if known.is_untold(&span.digest) => untold.push(*span),
                    Some(_) => {}
                }
            }
        }
        for batch in untold.chunks(TOUCH_BATCH) {
            self.touch(batch, &mut missing).await?;
        }
        Ok(missing)
    }

    /// Refreshes a batch; what the store lacks is added to `missing`.
    async fn touch(&self, batch: &[ChunkSpan], missing: &mut Vec<ChunkSpan>) -> Result<(), CopyError> {
        let digests: Vec<Digest> = batch.iter().map(|span| span.digest).collect();
        let chunks = self.store.chunks();
        if is_off("r5") {
            self.known().mark_told(&digests);
            return Ok(());
        }
        match chunks.touch(&self.session, &digests).await {
            Ok(()) => {
                self.known().mark_told(&digests);
                return Ok(());
            }
            Err(TouchError::Missing { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        // One is gone, maybe more: each for itself then.
        for span in batch {
            match chunks.touch(&self.session, &[span.digest]).await {
                Ok(()) => self.known().mark_told(&[span.digest]),
                Err(TouchError::Missing { .. }) => missing.push(*span),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Tells whether this copy has stored or refreshed a chunk, so that its indexes may name it.
    pub fn holds(&self, digest: &Digest) -> bool {
        !self.known().is_untold(digest)
    }

    /// Stores a chunk that was fetched, or refreshes it if the store has it.
    ///
    /// # Errors
    /// [`CopyError::Insert`]; [`CopyError::LengthConflict`] if the same encrypted chunk came with another length.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the chunk stored; no index can name it unless it is given again.
    pub async fn put_chunk(&self, chunk: CheckedChunk) -> Result<Inserted, CopyError> {
        let (digest, plain_len) = (chunk.digest(), chunk.plain_len());
        if chunk.blob().class() == ChunkClass::Encrypted
            && let Some(known) = self.known().plain_len(&digest).filter(|known| *known != plain_len)
        {
            // Nobody here can check it, so it must at least not contradict itself.
            return Err(CopyError::LengthConflict { digest, plain_len, known });
        }
        let inserted = self.store.chunks().insert(&self.session, chunk).await?;
        self.known().add_told(digest, plain_len);
        if let Inserted::New { encoded_bytes } = inserted {
            self.has_stored.store(true, Ordering::Relaxed);
            self.store.note_stored(encoded_bytes);
        }
        Ok(inserted)
    }

    /// Refuses an index that is malformed, or that names a chunk which this copy does not hold (R5, R17); blocking.
    fn check_index(&self, name: &ArchiveName, content: &[u8]) -> Result<(), CopyError> {
        let ArchiveKind::Index(kind) = name.kind() else {
            return Err(CopyError::NoIndex { name: name.clone() });
        };
        let failed = |source| CopyError::Index { name: name.clone(), source };
        if !agrees_with_csum(content) {
            return Err(CopyError::IndexChecksum { name: name.clone() });
        }
        match kind {
            IndexKind::Fixed => {
                let index = FixedIndex::parse(content).map_err(failed)?;
                self.check_spans(name, index.spans())
            }
            IndexKind::Dynamic => {
                let index = DynamicIndex::parse(content).map_err(failed)?;
                self.check_spans(name, index.spans().iter().copied())
            }
        }
    }

    fn check_spans(
        &self,
        name: &ArchiveName,
        spans: impl Iterator<Item = ChunkSpan>,
    ) -> Result<(), CopyError> {
        let known = self.known();
        for span in spans {
            let digest = span.digest;
            match known.plain_len(&digest) {
                Some(len) if !known.is_untold(&digest) => {
                    if len != span.plain_len() {
                        return Err(CopyError::LengthConflict {
                            digest,
                            plain_len: span.plain_len(),
                            known: len,
                        });
                    }
                }
                _ => return Err(CopyError::UnknownChunk { name: name.clone(), digest }),
            }
        }
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, KnownChunks> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs blocking work of a copy.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CopyError> + Send + 'static,
) -> Result<T, CopyError> {
    run_blocking(work).await.unwrap_or(Err(CopyError::Tree(TreeError::ShuttingDown)))
}
