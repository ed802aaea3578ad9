//! Opening and closing a store in a bucket (R7, R10, R11).

use std::sync::Arc;

use super::journal::{Journal, JournalLoadError};
use super::{BucketOptions, BucketStore, Closed, InUse, cache, gate, generation};
use crate::backend::{BackendError, DELETE_KEYS_MAX, ObjectBackend, ObjectKey, Validity};
use crate::digest::Digest;
use crate::dir::{DirError, EntryName, MarkerDir};
use crate::locks::DigestLocks;
use crate::owner::OwnerLock;
use crate::session::Registry;
use crate::store::state::{self, Suspects};
use crate::store::{OpenError, StoreError};
use crate::switch::is_off;
use crate::time::{StoreClock, StoreTime};

/// Why a store in a bucket could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BucketOpenError {
    /// Another server holds the bucket (R11, hazard H12).
    #[error("the bucket is in use by {}; stop that server, or take the bucket over", holder.holder)]
    InUse {
        /// Who holds it.
        holder: Box<InUse>,
    },
    /// The local directory could not be opened.
    #[error(transparent)]
    Local(#[from] OpenError),
    /// The journal is damaged.
    #[error(transparent)]
    Journal(#[from] super::JournalError),
    /// A request failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A file operation failed.
    #[error(transparent)]
    Dir(#[from] DirError),
    /// Another server took the bucket over meanwhile.
    #[error(transparent)]
    Closed(#[from] Closed),
}

impl From<StoreError> for BucketOpenError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Dir(error) => Self::Dir(error),
            StoreError::Backend(error) => Self::Backend(error),
            StoreError::Closed(error) => Self::Closed(error),
        }
    }
}

/// What a store is made of, as the local directory has it.
struct Parts<D, B> {
    dir: D,
    backend: B,
    options: BucketOptions,
    clock: StoreClock,
    state: Suspects,
    journal: Journal,
    generation: generation::Generation,
    owner: Option<OwnerLock>,
}

impl<D: MarkerDir, B: ObjectBackend> BucketStore<D, B> {
    /// Opens a store on a directory that nobody else on this machine uses.
    ///
    /// Takes the in-use object (R11) and advances the generation before anything local is trusted (R10). If the local state
    /// belongs to the bucket's generation, what an earlier process left under way is put in limbo (R7). If it does not, or
    /// there is none, the markers are rebuilt from the bucket: that waits until earlier requests have expired, and takes a
    /// listing; [`BucketOptions::progress`] is told. Afterwards [`Self::is_rebuilding`] holds until the caller has restored
    /// what it keeps beside the chunks and calls [`Self::finish_rebuild`].
    ///
    /// # Errors
    /// [`BucketOpenError::InUse`]: another server has the bucket; [`BucketOpenError::Closed`]: another server took it just
    /// now. Else a request or a file operation failed, and trying again is safe: a rebuild goes on where it was.
    ///
    /// # Cancel safety
    /// As after a crash: the next open finds out how far this one came.
    pub async fn open(
        dir: D,
        backend: B,
        options: BucketOptions,
        owner: Option<OwnerLock>,
    ) -> Result<Self, BucketOpenError> {
        let (clock, state) = state::open(&dir, Arc::clone(&options.clock)).await?;
        let generation = generation::Generation::load(&dir).await?;
        let journal = match Journal::load(&dir).await {
            Ok(journal) => journal,
            Err(JournalLoadError::Dir(error)) => return Err(error.into()),
            // A rebuild needs none: it waits until whatever stood there has expired.
            Err(JournalLoadError::Format(_)) if options.rebuild || generation.is_unknown() => {
                Journal::default()
            }
            Err(JournalLoadError::Format(error)) => return Err(error.into()),
        };
        let store = Self::assemble(Parts { dir, backend, options, clock, state, journal, generation, owner });
        store.take_in_use().await?;
        let was_rebuilding = store.generation.file().rebuild.is_some();
        match store.advance_at_open().await? {
            Some(record) => store.rebuild(record).await?,
            None => store.replay_journal().await?,
        }
        // A rebuild that this open began has waited for what was sent before.
        if was_rebuilding || !store.is_rebuilding() {
            store.close_earlier().await?;
        }
        store.load_recency().await?;
        Ok(store)
    }

    /// Makes a store of its parts, without any request.
    fn assemble(parts: Parts<D, B>) -> Self {
        let Parts { dir, backend, options, clock, state, journal, generation, owner } = parts;
        Self {
            cache: cache::Cache::new(options.cache_bytes, options.set_key),
            gate: gate::Gate::new(&options),
            flights: super::flights::Flights::default(),
            vouched: super::load::Vouched::new(state.follows_clean_end(), options.set_key),
            rebuild: super::rebuild::RebuildState::default(),
            locks: DigestLocks::new(),
            registry: Arc::new(Registry::default()),
            backend_clock: super::date::BackendClock::default(),
            closed: super::closed::ClosedFlag::default(),
            dir,
            uploads: super::classes::UploadClasses::default(),
            backend: Arc::new(backend),
            options,
            clock,
            state,
            journal,
            generation,
            _owner: owner,
        }
    }

    /// Replays the journal: no deletes (hazard H28), but nothing counts as stored that one may have been sent for (R7).
    async fn replay_journal(&self) -> Result<(), StoreError> {
        let digests = self.journal.replay(self.sent_by_now_until());
        for batch in digests.chunks(DELETE_KEYS_MAX) {
            let held = self.locks.lock_all(batch).await;
            self.dir.remove_markers(&held, batch.to_vec()).await?;
            drop(held);
            if is_off("r7") {
                self.repeat_deletes(batch).await?;
            }
        }
        if !digests.is_empty() {
            // Durable before an entry can be settled: power loss must not bring a marker back after that (hazard H9).
            self.dir.sync().await?;
        }
        Ok(self.save_journal().await?)
    }

    /// After an end that was not clean, closes every path until what was sent before can take no effect any more: the disk
    /// may be one from before, since the token advances with opens and batches, not with what sessions send (R10, R19).
    async fn close_earlier(&self) -> Result<(), StoreError> {
        if self.state.follows_clean_end() || is_off("r19") {
            return Ok(());
        }
        self.journal.close_earlier(self.sent_by_now_until());
        Ok(self.save_journal().await?)
    }

    /// Returns until when requests may take effect that were sent until just now, as far as anybody knows.
    fn sent_by_now_until(&self) -> StoreTime {
        let lasts = self.options.lifetimes.longest().max(self.generation.earlier());
        self.backend_clock.estimate(&self.clock).plus(lasts)
    }

    /// What R7 forbids.
    async fn repeat_deletes(&self, digests: &[Digest]) -> Result<(), StoreError> {
        let keys: Vec<_> =
            digests.iter().map(|digest| ObjectKey::of_entry(EntryName::chunk(*digest))).collect();
        let signed_at = self.backend_clock.estimate(&self.clock);
        let validity = Validity { signed_at, lasts: self.options.lifetimes.delete };
        self.backend_clock.noted(self.backend.delete(&keys, validity).await, &self.clock)?;
        Ok(())
    }

    /// Does what is due once a minute while the store is open: saves clock and recency (R12), reads the token, so that a
    /// take-over is noticed while nobody commits (R10), and ends what has expired (R9, R19). One request.
    ///
    /// # Errors
    /// [`StoreError::Closed`] once another server has taken the bucket over; [`StoreError::Backend`],
    /// [`StoreError::Dir`]: the next call tries again.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the rest to the next call.
    pub async fn tick(&self) -> Result<(), StoreError> {
        let (clock, recency) = (self.save_clock().await, self.save_recency().await);
        // Whatever the disk says: a take-over must not stay unnoticed because it is full.
        self.settle_expired().await?;
        if self.journal.is_stale() {
            self.save_journal().await?;
        }
        clock?;
        Ok(recency?)
    }

    /// Ends the use of the store cleanly: no session begins any more, file work under way is waited for, recency and clock
    /// are saved, and the bucket is given back (R11). While a session is open, which may go on writing, the end does not
    /// count as clean.
    ///
    /// # Errors
    /// [`StoreError::Dir`]: the next open treats this end as unclean. [`StoreError::Backend`]: the bucket could not be given
    /// back; this server can open it all the same, another one only by taking it over.
    ///
    /// # Cancel safety
    /// The store takes no more work if the future was polled once; calling again goes on.
    pub async fn close(&self) -> Result<(), StoreError> {
        let is_ours = self.check_owned() != Err(Closed::Superseded);
        self.end();
        {
            let _nobody_writes = self.locks.lock_every().await;
            self.end_recency().await?;
            self.dir.sync().await?;
            if self.journal.is_stale() {
                // Else paths that were given free would be closed after the next open, until an expiry has passed.
                self.save_journal().await?;
            }
            self.state.save(&self.dir, &self.clock, self.registry.is_idle()).await?;
        }
        if is_ours {
            self.release_in_use().await?;
        }
        Ok(())
    }
}
