//! Why a datastore cannot be had, made, changed or removed.

use coldkeep_datastore::{OpenError, StoreName};

use super::STORES_MAX;
use crate::bucket::BucketError;
use crate::state::StateError;

/// A datastore cannot be had, made, changed or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoresError {
    /// There is no such store.
    #[error("no such datastore: {name}")]
    Unknown {
        /// The name asked for.
        name: StoreName,
    },
    /// The store is on the list, but could not be opened.
    #[error("datastore {name} is not available: {reason}")]
    Unavailable {
        /// The store.
        name: StoreName,
        /// Why it could not be opened.
        reason: String,
    },
    /// The store is being opened, or rebuilt from its bucket.
    #[error("datastore {name} is {state}; try again when that is done")]
    Opening {
        /// The store.
        name: StoreName,
        /// How far it is.
        state: String,
    },
    /// There is a store of that name already.
    #[error("datastore {name} exists already")]
    Exists {
        /// The name.
        name: StoreName,
    },
    /// Another store lives at that prefix.
    #[error("datastore {name} lives at that prefix of the bucket already; choose another one with --prefix")]
    PrefixTaken {
        /// The other store.
        name: StoreName,
    },
    /// There are too many.
    #[error("there are {STORES_MAX} datastores already")]
    TooMany,
    /// Only stores in buckets have this.
    #[error("datastore {name} lives in its folder, not in a bucket")]
    NotInBucket {
        /// The store.
        name: StoreName,
    },
    /// Something still goes on in the store.
    #[error("datastore {name} is in use")]
    InUse {
        /// The store.
        name: StoreName,
    },
    /// The store could not be created or opened.
    #[error("cannot open datastore {name}")]
    Open {
        /// The store.
        name: StoreName,
        /// Why.
        #[source]
        source: Box<OpenError>,
    },
    /// The bucket of the store cannot be used.
    #[error("cannot use the bucket of datastore {name}")]
    Bucket {
        /// The store.
        name: StoreName,
        /// Why.
        #[source]
        source: Box<BucketError>,
    },
    /// The folder of the store could not be removed.
    #[error("cannot remove the folder of datastore {name}")]
    Folder {
        /// The store.
        name: StoreName,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The work was stopped by request.
    #[error("stopped by request")]
    Stopped,
    /// The list could not be read or saved.
    #[error(transparent)]
    State(#[from] StateError),
}

impl StoresError {
    /// Tells whether the same attempt may succeed later without anybody changing anything.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Open { source, .. } => super::buckets::is_passing(source),
            Self::Bucket { source, .. } => {
                matches!(&**source, BucketError::Backend(error) if error.fault.is_transient())
            }
            _ => false,
        }
    }
}
