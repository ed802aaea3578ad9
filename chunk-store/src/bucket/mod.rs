//! A chunk store whose objects live in a bucket, with markers and a bounded cache in a local directory.

mod batch;
mod cache;
mod closed;
mod date;
mod gate;
mod generation;
mod heal;
mod in_use;
mod insert;
mod journal;
mod load;
mod open;
mod options;
mod paths;
mod quarantine;
mod rebuild;
mod status;

use std::sync::Arc;

pub use batch::{Batch, BatchOutcome, Candidate, Condemned};
pub use closed::{Closed, CommitError};
pub use generation::Holder;
pub use heal::Healed;
pub use in_use::InUse;
pub use journal::{JournalCounts, JournalError};
pub use open::BucketOpenError;
pub use options::{BucketOptions, RequestLifetimes, Takeover};
pub use paths::{PathClaim, PathError};
pub use rebuild::{RebuildPhase, RebuildProgress};
pub use status::BucketStatus;

use crate::backend::{AnyBackend, ObjectBackend};
use crate::dir::{DirError, FsChunkDir, MarkerDir};
use crate::locks::DigestLocks;
use crate::owner::OwnerLock;
use crate::session::{CacheUse, Registry, Session};
use crate::store::StoreError;
use crate::store::state::Suspects;
use crate::time::StoreClock;

/// A chunk store in a bucket: markers and upload markers in a local directory say what the bucket holds.
///
/// All methods take `&self`; share it in an `Arc`.
pub struct BucketStore<D: MarkerDir = FsChunkDir, B: ObjectBackend = AnyBackend> {
    dir: D,
    backend: B,
    options: BucketOptions,
    clock: StoreClock,
    /// Only what it does for the clock is used: markers are empty or checked when they are read.
    state: Suspects,
    locks: DigestLocks,
    registry: Arc<Registry>,
    journal: journal::Journal,
    generation: generation::Generation,
    backend_clock: date::BackendClock,
    closed: closed::ClosedFlag,
    cache: cache::Cache,
    flights: load::Flights,
    gate: gate::Gate,
    rebuild: rebuild::RebuildState,
    _owner: Option<OwnerLock>,
}

impl<D: MarkerDir, B: ObjectBackend> BucketStore<D, B> {
    /// Returns the store clock (R12).
    pub fn clock(&self) -> &StoreClock {
        &self.clock
    }

    /// Returns the local directory.
    pub fn dir(&self) -> &D {
        &self.dir
    }

    /// Returns the backend.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// Starts a session: from now on nothing that it is told of is collected (R13, I3).
    ///
    /// # Errors
    /// [`StoreError::Closed`] while the store is being rebuilt or after another server took the bucket over;
    /// [`StoreError::Dir`] if the clock could not be saved.
    ///
    /// # Cancel safety
    /// Dropping the future starts nothing.
    pub async fn begin_session(&self, cache: CacheUse) -> Result<Session, StoreError> {
        self.check_open()?;
        let session = self.registry.begin_session(&self.clock, self.options.set_key, cache);
        self.save_clock().await?;
        // Registered by now, so that it is failed if the store is closed from here on.
        self.check_open()?;
        Ok(session)
    }

    /// Saves the clock; to be called at least once a minute while the store is open (R12).
    ///
    /// # Errors
    /// [`StoreError::Dir`] if the state file could not be written.
    pub async fn save_clock(&self) -> Result<(), StoreError> {
        Ok(self.state.save(&self.dir, &self.clock, false).await?)
    }

    /// Saves the journal, synced.
    async fn save_journal(&self) -> Result<(), DirError> {
        self.journal.save(&self.dir).await
    }
}

impl<D: MarkerDir, B: ObjectBackend> std::fmt::Debug for BucketStore<D, B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BucketStore").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
