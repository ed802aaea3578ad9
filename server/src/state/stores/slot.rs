//! A datastore on the list and how far it is from being used.

use std::sync::{Arc, Mutex, PoisonError};

use coldkeep_chunk_store::bucket::RebuildProgress;
use coldkeep_datastore::{Datastore, StoreName};
use tokio_util::sync::CancellationToken;

use super::{StoreConfig, StoresError};
use crate::bucket::{LiveBucket, describe_rebuild};

/// A datastore on the list.
#[derive(Clone)]
pub(super) struct Store {
    pub(super) config: StoreConfig,
    pub(super) slot: Slot,
}

/// How far a datastore is from being used.
#[derive(Clone)]
pub(super) enum Slot {
    /// It is open.
    Open(OpenStore),
    /// It lives in a bucket, and nobody asked for it yet.
    Idle,
    /// It is being opened or rebuilt.
    Opening(Arc<Opening>),
    /// It could not be opened.
    Failed {
        /// Why.
        reason: String,
        /// Whether to try again now and then.
        may_pass: bool,
    },
    /// It is being removed, perhaps with everything in it: nobody may open it again meanwhile.
    Leaving,
}

/// An open datastore.
#[derive(Clone)]
pub(crate) struct OpenStore {
    pub(crate) store: Arc<Datastore>,
    /// What goes with it if it lives in a bucket.
    pub(crate) bucket: Option<Arc<LiveBucket>>,
}

/// An open or rebuild under way.
#[derive(Default)]
pub(super) struct Opening {
    progress: Mutex<Option<RebuildProgress>>,
    done: CancellationToken,
}

impl Opening {
    /// Notes how far it is.
    pub(super) fn note(&self, progress: RebuildProgress) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = Some(progress);
    }

    /// Returns how far it is.
    pub(super) fn progress(&self) -> Option<RebuildProgress> {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that it has ended, however.
    pub(super) fn end(&self) {
        self.done.cancel();
    }

    /// Waits for its end.
    pub(super) async fn ended(&self) {
        self.done.cancelled().await;
    }
}

impl Slot {
    /// Returns the store if it is open, else why it is not.
    pub(super) fn open(&self, name: &StoreName) -> Result<OpenStore, StoresError> {
        match self {
            Self::Open(store) => Ok(store.clone()),
            Self::Idle => Err(opening(name, None)),
            Self::Opening(opening) => Err(self::opening(name, opening.progress())),
            Self::Failed { reason, .. } => {
                Err(StoresError::Unavailable { name: name.clone(), reason: reason.clone() })
            }
            Self::Leaving => Err(leaving(name)),
        }
    }

    /// Makes the slot of a store that could not be opened, and tells the log.
    pub(super) fn failed(name: &StoreName, error: &StoresError) -> Self {
        // Whoever reads the reason knows which store it is about.
        let cause: &dyn std::error::Error = match error {
            StoresError::Open { source, .. } => &**source,
            StoresError::Bucket { source, .. } => &**source,
            other => other,
        };
        let reason = crate::api::chain(cause);
        tracing::error!(store = %name, reason, "datastore is not available");
        Self::Failed { reason, may_pass: error.may_pass() }
    }
}

pub(super) fn leaving(name: &StoreName) -> StoresError {
    StoresError::Unavailable { name: name.clone(), reason: "it is being removed".to_owned() }
}

fn opening(name: &StoreName, progress: Option<RebuildProgress>) -> StoresError {
    StoresError::Opening { name: name.clone(), state: describe_rebuild(progress) }
}
