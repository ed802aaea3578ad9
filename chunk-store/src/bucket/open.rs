//! Opening and closing a store in a bucket (R7, R10, R11).

use std::sync::Arc;

use super::journal::Journal;
use super::{BucketOptions, BucketStore, InUse, cache, gate, generation};
use crate::backend::{BackendError, ObjectBackend};
use crate::dir::{DirError, MarkerDir};
use crate::locks::DigestLocks;
use crate::owner::OwnerLock;
use crate::session::Registry;
use crate::store::state::Suspects;
use crate::store::{OpenError, StoreError};
use crate::time::StoreClock;

/// Why a store in a bucket could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BucketOpenError {
    /// Another server holds the bucket (R11, hazard H12).
    #[error("the bucket is in use by {} (process {}) since {}; stop it, or take the bucket over", holder.holder.host, holder.holder.process, holder.since)]
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
}

/// What a store is made of, as the local directory has it.
pub(super) struct Parts<D, B> {
    pub(super) dir: D,
    pub(super) backend: B,
    pub(super) options: BucketOptions,
    pub(super) clock: StoreClock,
    pub(super) state: Suspects,
    pub(super) journal: Journal,
    pub(super) generation: generation::Generation,
    pub(super) owner: Option<OwnerLock>,
}

impl<D: MarkerDir, B: ObjectBackend> BucketStore<D, B> {
    /// Opens a store on a directory that nobody else on this machine uses.
    pub async fn open(
        _dir: D,
        _backend: B,
        _options: BucketOptions,
        _owner: Option<OwnerLock>,
    ) -> Result<Self, BucketOpenError> {
        todo!()
    }

    /// Makes a store of its parts, without any request.
    pub(super) fn assemble(parts: Parts<D, B>) -> Self {
        let Parts { dir, backend, options, clock, state, journal, generation, owner } = parts;
        Self {
            cache: cache::Cache::new(options.cache_bytes, options.set_key),
            gate: gate::Gate::new(&options, &clock),
            flights: super::flights::Flights::default(),
            rebuild: super::rebuild::RebuildState::default(),
            locks: DigestLocks::new(),
            registry: Arc::new(Registry::default()),
            backend_clock: super::date::BackendClock::default(),
            closed: super::closed::ClosedFlag::default(),
            dir,
            backend,
            options,
            clock,
            state,
            journal,
            generation,
            _owner: owner,
        }
    }

    /// Ends the use of the store cleanly.
    pub async fn close(&self) -> Result<(), StoreError> {
        todo!()
    }
}
