//! Hazards of a store in a bucket, by number, on a directory in memory and a backend that stops where a test says.

mod accounting;
mod batch;
mod cache;
mod insert;
mod open;
mod paths;
mod rebuild;
mod recency;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::{BucketOpenError, BucketOptions, BucketStore, Holder, JournalCounts, Takeover};
use crate::backend::{ObjectBackend, ObjectKey};
use crate::blob::{Blob, ChunkClass, Compression};
use crate::digest::Digest;
use crate::dir::{ChunkDir, EntryName, MarkerDir, NewMarker};
use crate::store::StoreError;
use crate::testing::{ManualClock, MemoryDir, RequestKind, StagedBackend, TestRandom};
use crate::time::{Clock, StoreTime};

/// A day in the middle of nowhere.
const START: StoreTime = StoreTime::from_unix(1_700_000_000, 0);

/// Makes a clock on which every wait is over at once.
fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::skipping(START))
}

/// Returns the options of a server named `host`. Each one has random numbers of its own, also after a restart.
fn options(host: &str, clock: &Arc<ManualClock>) -> BucketOptions {
    static SEED: AtomicU64 = AtomicU64::new(1);
    let seed = SEED.fetch_add(1, Ordering::Relaxed);
    let holder = Holder { host: host.to_owned(), process: 7, id: format!("id of {host}") };
    BucketOptions::new(Arc::clone(clock) as _, Arc::new(TestRandom::new(seed)), holder)
}

/// Opens a store whose rebuild, if one was needed, is finished.
async fn open_store<B: ObjectBackend>(
    dir: MemoryDir,
    backend: B,
    clock: &Arc<ManualClock>,
) -> Arc<BucketStore<MemoryDir, B>> {
    open_with(dir, backend, options("one", clock)).await
}

/// The same with options of its own.
async fn open_with<B: ObjectBackend>(
    dir: MemoryDir,
    backend: B,
    options: BucketOptions,
) -> Arc<BucketStore<MemoryDir, B>> {
    let store = BucketStore::open(dir, backend, options, None).await.unwrap();
    if store.is_rebuilding() {
        store.finish_rebuild().await.unwrap();
    }
    Arc::new(store)
}

const MINUTE: Duration = Duration::from_mins(1);

/// A bucket, a directory, and a clock that both go by.
struct Scene {
    clock: Arc<ManualClock>,
    backend: StagedBackend,
    dir: MemoryDir,
}

type Store = BucketStore<MemoryDir, StagedBackend>;

impl Scene {
    fn new() -> Self {
        let clock = clock();
        Self { backend: StagedBackend::new(Arc::clone(&clock) as _), clock, dir: MemoryDir::new() }
    }

    /// Opens the store as the server that has it, and finishes the rebuild if there is one.
    async fn open(&self, dir: &MemoryDir) -> Arc<Store> {
        open_store(dir.clone(), self.backend.clone(), &self.clock).await
    }

    /// Opens it by force as another server.
    async fn take_over(&self, dir: &MemoryDir) -> Arc<Store> {
        let options = BucketOptions { takeover: Takeover::Force, ..options("two", &self.clock) };
        open_with(dir.clone(), self.backend.clone(), options).await
    }

    async fn try_open(
        &self,
        dir: &MemoryDir,
        host: &str,
        change: impl FnOnce(&mut BucketOptions),
    ) -> Result<Store, BucketOpenError> {
        let mut options = options(host, &self.clock);
        change(&mut options);
        BucketStore::open(dir.clone(), self.backend.clone(), options, None).await
    }

    fn spawn_open(&self, dir: &MemoryDir) -> JoinHandle<Result<Store, BucketOpenError>> {
        let options = options("one", &self.clock);
        tokio::spawn(BucketStore::open(dir.clone(), self.backend.clone(), options, None))
    }

    fn place_object(&self, data: &[u8]) -> Digest {
        let digest = Digest::of(data);
        let blob = Blob::encode(data, Compression::None).unwrap();
        self.backend.inner().place(key_of(&digest).as_str(), blob.into_bytes());
        digest
    }

    /// Places objects of chunks without markers; returns their digests, ascending.
    fn place_objects(&self, count: u16) -> Vec<Digest> {
        let mut digests: Vec<_> = (0..count).map(|number| self.place_object(&number.to_le_bytes())).collect();
        digests.sort_unstable();
        digests
    }

    /// Places the object of a chunk and its marker.
    async fn place_chunk(&self, store: &Store, data: &[u8]) -> Digest {
        let digest = self.place_object(data);
        let held = store.locks.lock(&digest).await;
        let at = store.clock.now();
        let marker = NewMarker { digest, content: None, class: Some(ChunkClass::Plain), at };
        store.dir.place_marker(&held, marker).await.unwrap();
        digest
    }

    /// Removes marker and object, as a run does.
    async fn remove_chunk(&self, store: &Store, digest: &Digest) {
        let held = store.locks.lock(digest).await;
        store.dir.remove_markers(&held, vec![*digest]).await.unwrap();
        self.backend.inner().remove(key_of(digest).as_str());
    }

    /// Makes an entry of the journal, as a batch does before anything else.
    async fn journal(&self, store: &Store, digests: &[Digest], token: &str) {
        assert!(digests.iter().all(|digest| store.journal.condemn(digest)));
        let expires_at = self.clock.wall().plus(MINUTE);
        store.journal.enter(digests, expires_at, token.to_owned()).unwrap();
        store.save_journal().await.unwrap();
    }

    fn has_object(&self, digest: &Digest) -> bool {
        self.backend.inner().object(key_of(digest).as_str()).is_some()
    }

    fn in_use(&self) -> Option<String> {
        self.text(".in-use")
    }

    fn generation(&self) -> String {
        self.text(".generation").unwrap()
    }

    fn text(&self, key: &str) -> Option<String> {
        self.backend.inner().object(key).map(|content| String::from_utf8(content.to_vec()).unwrap())
    }

    /// Returns how many prefixes were listed after the first `since` requests, each counted once.
    fn listed_since(&self, since: usize) -> usize {
        let log = self.backend.log();
        let lists = log[since..].iter().filter(|request| request.kind == RequestKind::List);
        lists.flat_map(|request| &request.keys).collect::<BTreeSet<_>>().len()
    }
}

fn spawn_advance(store: &Arc<Store>) -> JoinHandle<Result<(), StoreError>> {
    let store = Arc::clone(store);
    tokio::spawn(async move { store.advance(store.next_token()).await })
}

fn key_of(digest: &Digest) -> ObjectKey {
    ObjectKey::of_entry(EntryName::chunk(*digest))
}

async fn has_marker(store: &Store, digest: &Digest) -> bool {
    let held = store.locks.lock(digest).await;
    store.dir.marks(&held, vec![*digest]).await.unwrap()[0].marker.is_some()
}

/// Returns the digests that have markers, ascending.
async fn marked(dir: &MemoryDir) -> Vec<Digest> {
    let mut digests = Vec::new();
    let shards = dir.shards().await.unwrap();
    digests.extend(dir.list(shards).await.unwrap().iter().map(|entry| entry.name.digest));
    digests
}
