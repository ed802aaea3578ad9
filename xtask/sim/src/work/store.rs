//! Either store, under one roof.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coldkeep_chunk_store::blob::Blob;
use coldkeep_chunk_store::bucket::BucketStore;
use coldkeep_chunk_store::testing::MemoryDir;
use coldkeep_chunk_store::{
    CacheUse, CheckedChunk, ChunkStore, Digest, InsertError, LoadError, Quarantined, Session, StoreError,
    TouchError,
};

use crate::net::SimBackend;
use crate::rng::Rng;

/// A store in a bucket.
pub(crate) type InBucket = BucketStore<MemoryDir, SimBackend>;

/// The store under test.
#[derive(Clone)]
pub(crate) enum Store {
    Bucket(Arc<InBucket>),
    Folder(Arc<ChunkStore<MemoryDir>>, Arc<Catalog>),
}

impl Store {
    pub(crate) async fn begin_session(&self, cache: CacheUse) -> Result<Session, StoreError> {
        match self {
            Self::Bucket(store) => store.begin_session(cache).await,
            Self::Folder(store, _) => store.begin_session().await,
        }
    }

    pub(crate) async fn insert(&self, session: &Session, chunk: CheckedChunk) -> Result<(), InsertError> {
        match self {
            Self::Bucket(store) => store.insert(session, chunk).await.map(drop),
            Self::Folder(store, _) => store.insert(session, chunk).await.map(drop),
        }
    }

    pub(crate) async fn touch(&self, session: &Session, digest: Digest) -> Result<(), TouchError> {
        match self {
            Self::Bucket(store) => store.touch(session, &[digest]).await,
            Self::Folder(store, _) => store.touch(session, &[digest]).await,
        }
    }

    pub(crate) async fn load(&self, digest: &Digest) -> Result<Blob, LoadError> {
        match self {
            Self::Bucket(store) => store.load(digest).await,
            Self::Folder(store, _) => store.load(digest).await,
        }
    }

    pub(crate) async fn quarantine(&self, digest: &Digest) -> Result<Quarantined, StoreError> {
        match self {
            Self::Bucket(store) => store.quarantine(digest).await,
            Self::Folder(store, _) => store.quarantine(digest).await,
        }
    }

    /// Does what is due once a minute.
    pub(crate) async fn tick(&self) -> Result<(), StoreError> {
        match self {
            Self::Bucket(store) => store.tick().await,
            Self::Folder(store, _) => store.save_clock().await,
        }
    }

    pub(crate) async fn scan_cache(&self) -> Result<(), StoreError> {
        match self {
            Self::Bucket(store) => store.scan_cache().await,
            Self::Folder(..) => Ok(()),
        }
    }

    /// Ends the use of the store cleanly.
    pub(crate) async fn close(&self) -> Result<(), StoreError> {
        match self {
            Self::Bucket(store) => store.close().await,
            Self::Folder(store, _) => store.close().await,
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self, Self::Bucket(store) if store.status().closed.is_some())
    }
}

/// The snapshots beside a store on a filesystem: files of the datastore's, which are not under test here. A manifest is
/// durable as soon as it is there; power loss may take an index without one.
#[derive(Debug, Default)]
pub(crate) struct Catalog(Mutex<BTreeMap<String, Listed>>);

#[derive(Debug, Clone, Default)]
struct Listed {
    index: Option<Vec<usize>>,
    has_manifest: bool,
}

impl Catalog {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Listed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a path that nobody has; returns whether it was free.
    pub(super) fn claim(&self, path: &str) -> bool {
        let mut listed = self.lock();
        let is_free = !listed.contains_key(path);
        listed.entry(path.to_owned()).or_default();
        is_free
    }

    pub(super) fn put_index(&self, path: &str, numbers: &[usize]) {
        if let Some(listed) = self.lock().get_mut(path) {
            listed.index = Some(numbers.to_vec());
        }
    }

    pub(super) fn put_manifest(&self, path: &str) {
        if let Some(listed) = self.lock().get_mut(path) {
            listed.has_manifest = true;
        }
    }

    /// Removes everything at a path.
    pub(super) fn remove(&self, path: &str) {
        self.lock().remove(path);
    }

    /// Removes what is at a path unless it is a snapshot.
    pub(super) fn remove_unfinished(&self, path: &str) {
        let mut listed = self.lock();
        if listed.get(path).is_some_and(|listed| !listed.has_manifest) {
            listed.remove(path);
        }
    }

    pub(crate) fn index(&self, path: &str) -> Option<Vec<usize>> {
        self.lock().get(path)?.index.clone()
    }

    pub(crate) fn has_manifest(&self, path: &str) -> bool {
        self.lock().get(path).is_some_and(|listed| listed.has_manifest)
    }

    /// Returns the paths that have an index.
    pub(crate) fn indexes(&self) -> Vec<String> {
        self.lock()
            .iter()
            .filter(|(_, listed)| listed.index.is_some())
            .map(|(path, _)| path.clone())
            .collect()
    }

    /// Loses some of what has no manifest, and what was being made with it.
    pub(crate) fn lose_power(&self, rng: &mut Rng) {
        self.lock().retain(|_, listed| listed.has_manifest || (listed.index.is_some() && rng.percent(50)));
    }
}
