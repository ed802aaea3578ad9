//! The store: insert, touch, load and set aside under lock(d), and what a collection run needs.

mod collect;
mod error;
mod insert;
pub(crate) mod state;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
pub use collect::{ListedEntry, RunError};
pub use error::{InsertError, LoadError, OpenError, StoreError, TouchError};
pub use insert::Inserted;
pub(crate) use insert::{Existing, TOUCH_BATCH, compare};
use state::Suspects;

use crate::blob::Blob;
use crate::blocking;
use crate::checked::{CheckError, check_encoded, check_read};
use crate::digest::Digest;
use crate::dir::{BAD_COPIES_MAX, ChunkDir, DirError, Durability, EntryKind, EntryName, FsChunkDir};
use crate::locks::DigestLocks;
use crate::owner::OwnerLock;
use crate::session::{CacheUse, Registry, Session};
use crate::switch::is_off;
use crate::time::{Clock, StoreClock, StoreTime};

/// When writes reach the disk for good (DESIGN "Filesystem stores").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SyncLevel {
    /// Never by our doing: gives up I1 under power loss.
    None,
    /// The whole filesystem once before each commit.
    #[default]
    Filesystem,
    /// Every chunk when it is written.
    File,
}

/// How a store is opened.
#[derive(Clone)]
#[non_exhaustive]
pub struct StoreOptions {
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// When writes reach the disk for good.
    pub sync_level: SyncLevel,
    /// A random number unknown to clients: keeps their choice of digests from slowing down sets of digests.
    pub set_key: u64,
}

impl StoreOptions {
    /// Takes the default sync level and no set key.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, sync_level: SyncLevel::default(), set_key: 0 }
    }

    /// Sets when writes reach the disk for good.
    #[must_use]
    pub fn with_sync_level(mut self, sync_level: SyncLevel) -> Self {
        self.sync_level = sync_level;
        self
    }

    /// Sets the key of the store's digest sets.
    #[must_use]
    pub fn with_set_key(mut self, set_key: u64) -> Self {
        self.set_key = set_key;
        self
    }
}

impl std::fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreOptions").field("sync_level", &self.sync_level).finish_non_exhaustive()
    }
}

/// A chunk store on a filesystem: chunk file, marker and object are one file.
///
/// All methods take `&self`; share it in an `Arc`. Dropping it without [`ChunkStore::close`] counts as an unclean end:
/// nothing is lost, but the chunks written since the last sync are read and checked when they are next needed.
#[derive(Debug)]
pub struct ChunkStore<D: ChunkDir = FsChunkDir> {
    dir: D,
    clock: StoreClock,
    locks: DigestLocks,
    registry: Arc<Registry>,
    suspects: Suspects,
    sync_level: SyncLevel,
    set_key: u64,
    _owner: Option<OwnerLock>,
}

impl ChunkStore<FsChunkDir> {
    /// Opens the store at `folder`, making what is missing of it.
    ///
    /// # Errors
    /// [`OpenError::Owner`] while another process has it open, [`OpenError::Dir`], [`OpenError::State`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves the store closed; files made so far stay.
    pub async fn open(folder: &Path, options: StoreOptions) -> Result<Arc<Self>, OpenError> {
        let folder = folder.to_owned();
        let take = move || {
            let dir = FsChunkDir::create(&folder)?;
            let owner = OwnerLock::take(&folder)?;
            Ok::<_, OpenError>((dir, owner))
        };
        let (dir, owner) = blocking::run(take).await.unwrap_or(Err(OpenError::ShuttingDown))?;
        Ok(Arc::new(Self::open_owned(dir, options, Some(owner)).await?))
    }
}

impl<D: ChunkDir> ChunkStore<D> {
    /// Opens a store on a directory that nobody else uses.
    ///
    /// # Errors
    /// [`OpenError::Dir`], [`OpenError::State`].
    pub async fn open_dir(dir: D, options: StoreOptions) -> Result<Self, OpenError> {
        Self::open_owned(dir, options, None).await
    }

    async fn open_owned(dir: D, options: StoreOptions, owner: Option<OwnerLock>) -> Result<Self, OpenError> {
        let (clock, suspects) = state::open(&dir, Arc::clone(&options.clock)).await?;
        Ok(Self {
            dir,
            clock,
            locks: DigestLocks::new(),
            registry: Arc::default(),
            suspects,
            sync_level: options.sync_level,
            set_key: options.set_key,
            _owner: owner,
        })
    }

    /// Returns the time of the store clock (R12).
    pub fn now(&self) -> StoreTime {
        self.clock.now()
    }

    /// Returns the store clock (R12).
    pub fn clock(&self) -> &StoreClock {
        &self.clock
    }

    /// Returns the directory.
    pub fn dir(&self) -> &D {
        &self.dir
    }

    /// Starts a session: from now on nothing that it is told of is collected (R13, I3).
    ///
    /// # Errors
    /// [`StoreError`] if the clock could not be saved.
    ///
    /// # Cancel safety
    /// Dropping the future starts nothing.
    pub async fn begin_session(&self) -> Result<Session, StoreError> {
        let session = self.registry.begin_session(&self.clock, self.set_key, CacheUse::Keep);
        self.save_clock().await?;
        Ok(session)
    }

    /// Reads a chunk and checks its CRC and, where the server can, its digest.
    ///
    /// # Errors
    /// [`LoadError::Missing`], [`LoadError::Corrupt`] (see [`Self::quarantine`]), [`LoadError::Dir`].
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn load(&self, digest: &Digest) -> Result<Blob, LoadError> {
        let content = self.dir.read(EntryName::chunk(*digest)).await?;
        let content = content.ok_or(LoadError::Missing { digest: *digest })?;
        let checked = self.check_read(*digest, content).await?;
        checked.map_err(|source| LoadError::Corrupt { digest: *digest, source })
    }

    /// Reads a chunk for somebody who decodes it and checks the digest himself: shape and CRC are checked here, which finds what a
    /// disk or a crash does to a file.
    ///
    /// # Errors
    /// As for [`Self::load`].
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn load_encoded(&self, digest: &Digest) -> Result<Blob, LoadError> {
        let content = self.dir.read(EntryName::chunk(*digest)).await?;
        let content = content.ok_or(LoadError::Missing { digest: *digest })?;
        let digest = *digest;
        let checked = self.dir.compute(move || check_encoded(digest, content)).await?;
        checked.map_err(|source| LoadError::Corrupt { digest, source })
    }

    /// Returns the number of encoded bytes of a stored chunk.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn stored_len(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        let held = self.locks.lock(digest).await;
        Ok(self.dir.stat(&held, EntryName::chunk(*digest)).await?.map(|(stat, _)| stat.len))
    }

    /// Sets a corrupt chunk aside as `.N.bad`, if two complete reads find it corrupt (R15).
    ///
    /// A read that fails says nothing about the chunk (hazard H31) and is an error. Open sessions that were told of
    /// the chunk fail, so that they cannot commit a snapshot that nobody can restore.
    ///
    /// # Errors
    /// [`StoreError`]: nothing was set aside; sessions that rely on the chunk may have failed.
    ///
    /// # Cancel safety
    /// The chunk may be set aside if the future is dropped; sessions that rely on it have failed then.
    pub async fn quarantine(&self, digest: &Digest) -> Result<Quarantined, StoreError> {
        let held = self.locks.lock(digest).await;
        let name = EntryName::chunk(*digest);
        for _ in 0..2 {
            let Some(content) = self.dir.read(name).await? else { return Ok(Quarantined::Missing) };
            if self.check_read(*digest, content).await?.is_ok() {
                return Ok(Quarantined::Good);
            }
            if is_off("r15") {
                break;
            }
        }
        let mut number = 0;
        while number + 1 < BAD_COPIES_MAX {
            let taken = self.dir.stat(&held, EntryName::new(*digest, EntryKind::Bad(number))).await?;
            if taken.is_none() {
                break;
            }
            number += 1;
        }
        // First: the rename goes on if this future is dropped, and nothing after it would. Nobody can be told of the chunk
        // in between, since that takes lock(d).
        let failed_sessions = if is_off("r15") { 0 } else { self.registry.fail_told(digest) };
        self.dir.rename(&held, name, EntryName::new(*digest, EntryKind::Bad(number))).await?;
        Ok(Quarantined::SetAside { number, failed_sessions })
    }

    /// Makes everything that was inserted durable, as far as the sync level asks for it; part of every commit (I4).
    ///
    /// # Errors
    /// [`StoreError`]: the commit must not be acknowledged.
    pub async fn sync(&self) -> Result<(), StoreError> {
        match self.sync_level {
            SyncLevel::None => Ok(()),
            SyncLevel::Filesystem => self.sync_filesystem().await,
            SyncLevel::File => {
                // A chunk whose name could not be made durable is there all the same, and so counts as known.
                self.dir.check_synced().await?;
                self.suspects.synced(self.suspects.begin_sync(&self.clock));
                self.save_clock().await
            }
        }
    }

    async fn sync_filesystem(&self) -> Result<(), StoreError> {
        // Read first: what is being written, or is written from here on, may or may not be part of this sync.
        let synced_at = self.suspects.begin_sync(&self.clock);
        self.dir.sync().await?;
        self.suspects.synced(synced_at);
        self.save_clock().await
    }

    /// Saves the clock; to be called at least once a minute while the store is open (R12).
    ///
    /// # Errors
    /// [`StoreError`] if the state file could not be written.
    pub async fn save_clock(&self) -> Result<(), StoreError> {
        Ok(self.suspects.save(&self.dir, &self.clock, false).await?)
    }

    /// Ends the use of the store cleanly: waits for file work under way, syncs and saves the clock. While a session is
    /// open, which may go on writing, the end does not count as clean.
    ///
    /// # Errors
    /// [`StoreError`]: the next open treats this end as unclean.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the store open.
    pub async fn close(&self) -> Result<(), StoreError> {
        // A write whose caller gave up goes on under lock(d): it must not end after the sync.
        let _nobody_writes = self.locks.lock_every().await;
        self.sync_filesystem().await?;
        Ok(self.suspects.save(&self.dir, &self.clock, self.registry.is_idle()).await?)
    }

    /// Checks what was read of a chunk, where that holds up no other task.
    async fn check_read(&self, digest: Digest, content: Bytes) -> Result<Result<Blob, CheckError>, DirError> {
        self.dir.compute(move || check_read(digest, content)).await
    }

    fn durability(&self) -> Durability {
        if self.sync_level == SyncLevel::File { Durability::Immediate } else { Durability::Deferred }
    }
}

/// What became of a chunk that was reported corrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quarantined {
    /// It was renamed to `.<number>.bad`.
    SetAside {
        /// The number in its new name.
        number: u8,
        /// Open sessions that failed because they rely on it.
        failed_sessions: usize,
    },
    /// It is good: it was replaced meanwhile, or a read went wrong.
    Good,
    /// It is gone.
    Missing,
}

#[cfg(test)]
mod tests;
