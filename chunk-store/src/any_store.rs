//! A chunk store on a filesystem or in a bucket, whichever the operator chose.

use std::sync::Arc;

use crate::blob::Blob;
use crate::bucket::BucketStore;
use crate::checked::CheckedChunk;
use crate::digest::Digest;
use crate::session::{CacheUse, Session};
use crate::store::{ChunkStore, InsertError, Inserted, LoadError, Quarantined, StoreError, TouchError};
use crate::time::{StoreClock, StoreTime};

/// A chunk store on a filesystem or in a bucket. Each method is that of both, with their errors and cancel safety.
#[derive(Debug, Clone)]
pub enum AnyStore {
    /// On a filesystem.
    Folder(Arc<ChunkStore>),
    /// In a bucket.
    Bucket(Arc<BucketStore>),
}

impl AnyStore {
    /// Returns the store if it is on a filesystem.
    pub fn as_folder(&self) -> Option<&Arc<ChunkStore>> {
        match self {
            Self::Folder(store) => Some(store),
            Self::Bucket(_) => None,
        }
    }

    /// Returns the store if it is in a bucket.
    pub fn as_bucket(&self) -> Option<&Arc<BucketStore>> {
        match self {
            Self::Folder(_) => None,
            Self::Bucket(store) => Some(store),
        }
    }

    /// Returns the time of the store clock (R12).
    pub fn now(&self) -> StoreTime {
        self.clock().now()
    }

    /// Returns the store clock (R12).
    pub fn clock(&self) -> &StoreClock {
        match self {
            Self::Folder(store) => store.clock(),
            Self::Bucket(store) => store.clock(),
        }
    }

    /// Starts a session; see [`BucketStore::begin_session`]. A store on a filesystem has no cache to use.
    pub async fn begin_session(&self, cache: CacheUse) -> Result<Session, StoreError> {
        match self {
            Self::Folder(store) => store.begin_session().await,
            Self::Bucket(store) => store.begin_session(cache).await,
        }
    }

    /// Stores a chunk, or refreshes it; see [`ChunkStore::insert`] and [`BucketStore::insert`].
    pub async fn insert(&self, session: &Session, chunk: CheckedChunk) -> Result<Inserted, InsertError> {
        match self {
            Self::Folder(store) => store.insert(session, chunk).await,
            Self::Bucket(store) => store.insert(session, chunk).await,
        }
    }

    /// Refreshes chunks that an index names (R5); see [`ChunkStore::touch`] and [`BucketStore::touch`].
    pub async fn touch(&self, session: &Session, digests: &[Digest]) -> Result<(), TouchError> {
        match self {
            Self::Folder(store) => store.touch(session, digests).await,
            Self::Bucket(store) => store.touch(session, digests).await,
        }
    }

    /// Reads and checks a chunk; see [`ChunkStore::load`] and [`BucketStore::load`].
    pub async fn load(&self, digest: &Digest) -> Result<Blob, LoadError> {
        match self {
            Self::Folder(store) => store.load(digest).await,
            Self::Bucket(store) => store.load(digest).await,
        }
    }

    /// Reads a chunk for somebody who checks the digest himself; see [`ChunkStore::load_encoded`]. A store in a bucket checks it all the
    /// same: what its cache holds may be torn, and the backend has it whole (hazard H19).
    pub async fn load_encoded(&self, digest: &Digest) -> Result<Blob, LoadError> {
        match self {
            Self::Folder(store) => store.load_encoded(digest).await,
            Self::Bucket(store) => store.load(digest).await,
        }
    }

    /// Reads and checks what is stored for good: past the cache of a store in a bucket. For verification.
    pub async fn fetch(&self, digest: &Digest) -> Result<Blob, LoadError> {
        match self {
            Self::Folder(store) => store.load(digest).await,
            Self::Bucket(store) => store.fetch(digest).await,
        }
    }

    /// Returns the number of encoded bytes of a stored chunk.
    pub async fn stored_len(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        match self {
            Self::Folder(store) => store.stored_len(digest).await,
            Self::Bucket(store) => store.stored_len(digest).await,
        }
    }

    /// Sets a corrupt chunk aside (R15); see [`ChunkStore::quarantine`] and [`BucketStore::quarantine`].
    pub async fn quarantine(&self, digest: &Digest) -> Result<Quarantined, StoreError> {
        match self {
            Self::Folder(store) => store.quarantine(digest).await,
            Self::Bucket(store) => store.quarantine(digest).await,
        }
    }

    /// Makes everything that was inserted durable (I4); in a bucket it is with its acknowledgement.
    pub async fn sync(&self) -> Result<(), StoreError> {
        match self {
            Self::Folder(store) => store.sync().await,
            Self::Bucket(_) => Ok(()),
        }
    }

    /// Saves the clock; to be called at least once a minute while the store is open (R12).
    pub async fn save_clock(&self) -> Result<(), StoreError> {
        match self {
            Self::Folder(store) => store.save_clock().await,
            Self::Bucket(store) => store.save_clock().await,
        }
    }

    /// Ends the use of the store cleanly.
    pub async fn close(&self) -> Result<(), StoreError> {
        match self {
            Self::Folder(store) => store.close().await,
            Self::Bucket(store) => store.close().await,
        }
    }
}
