//! A bucket with everything in it that a run may meet.

use std::sync::Arc;
use std::time::Duration;

use coldkeep_chunk_store::backend::ObjectKey;
use coldkeep_chunk_store::bucket::{BucketOptions, BucketStore, Holder};
use coldkeep_chunk_store::dir::EntryName;
use coldkeep_chunk_store::testing::{ManualClock, MemoryDir, StagedBackend, TestRandom};
use coldkeep_chunk_store::{Digest, DigestGuard, DigestLocks};

use crate::fixture::START;

pub(crate) type Store = BucketStore<MemoryDir, StagedBackend>;

/// A bucket, a directory, and the clocks of both. Time stands still unless a test moves it.
pub(crate) struct Scene {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) backend_clock: Arc<ManualClock>,
    pub(crate) backend: StagedBackend,
    pub(crate) dir: MemoryDir,
    pub(crate) store: Arc<Store>,
}

impl Scene {
    pub(crate) async fn empty() -> Self {
        let clock = Arc::new(ManualClock::at(START));
        let backend_clock = Arc::new(ManualClock::at(START));
        let backend = StagedBackend::new(Arc::clone(&backend_clock) as _);
        let dir = MemoryDir::new();
        let store = BucketStore::open(dir.clone(), backend.clone(), options(&clock), None).await.unwrap();
        store.finish_rebuild().await.unwrap();
        Self { clock, backend_clock, backend, dir, store: Arc::new(store) }
    }

    pub(crate) fn advance(&self, duration: Duration) {
        self.backend_clock.advance(duration);
        self.clock.advance(duration);
    }
}

fn options(clock: &Arc<ManualClock>) -> BucketOptions {
    let holder = Holder { host: "one".to_owned(), process: 7, id: "id of one".to_owned() };
    BucketOptions::new(Arc::clone(clock) as _, Arc::new(TestRandom::new(1)), holder)
}

pub(crate) fn key(name: EntryName) -> String {
    ObjectKey::of_entry(name).to_string()
}

/// Makes a guard that a directory in memory takes as proof; it keeps nobody out.
pub(crate) async fn locked(digest: Digest) -> DigestGuard {
    DigestLocks::new().lock(&digest).await
}
