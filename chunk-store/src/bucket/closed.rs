//! Why a store in a bucket takes no more work (R10).

use std::sync::atomic::{AtomicBool, Ordering};

use super::{BucketStore, Holder};
use crate::backend::{BackendError, ObjectBackend};
use crate::dir::MarkerDir;
use crate::session::SessionFailed;

/// Why a store takes no more work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Closed {
    /// A foreign token stands in the bucket: another server has opened it.
    #[error(
        "another server has taken over the bucket; this one no longer writes to it. \
         To take it back, stop the other one and open the datastore again"
    )]
    Superseded,
    /// The local state is being rebuilt from the bucket.
    #[error("the datastore is being rebuilt from its bucket; try again when that is done")]
    Rebuilding,
    /// The store was closed.
    #[error("the datastore is closed")]
    Ended,
}

/// A commit must not be acknowledged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The store takes no more work.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// A request failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// Whether the store was taken over or has ended.
#[derive(Debug, Default)]
pub(super) struct ClosedFlag {
    is_superseded: AtomicBool,
    has_ended: AtomicBool,
}

impl<D: MarkerDir, B: ObjectBackend> BucketStore<D, B> {
    /// Checks that the store takes work.
    pub(super) fn check_open(&self) -> Result<(), Closed> {
        self.check_owned()?;
        if self.is_rebuilding() { Err(Closed::Rebuilding) } else { Ok(()) }
    }

    /// Checks that the bucket is ours as far as we know, rebuilding or not.
    pub(super) fn check_owned(&self) -> Result<(), Closed> {
        if self.closed.is_superseded.load(Ordering::Acquire) {
            return Err(Closed::Superseded);
        }
        if self.has_ended() { Err(Closed::Ended) } else { Ok(()) }
    }

    /// Closes the store for good: a foreign token was seen. All sessions fail; the bucket is never taken back (R10).
    pub(super) fn supersede(&self) -> Closed {
        self.closed.is_superseded.store(true, Ordering::Release);
        self.registry.fail_all(SessionFailed::Superseded);
        Closed::Superseded
    }

    /// Returns whether the use of the store was ended. Whoever finds that it was not while holding a lock(d) is waited for
    /// by the end.
    pub(super) fn has_ended(&self) -> bool {
        self.closed.has_ended.load(Ordering::Acquire)
    }

    /// Ends the use of the store.
    pub(super) fn end(&self) {
        self.closed.has_ended.store(true, Ordering::Release);
    }

    /// Returns who this store's owner is.
    pub fn holder(&self) -> &Holder {
        &self.options.holder
    }
}
