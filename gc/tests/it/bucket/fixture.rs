//! A store in a bucket that the claims of all stores are shown on, and what is claimed of it alone.

use std::time::Duration;

use coldkeep_chunk_store::CacheUse;
use coldkeep_chunk_store::Digest;
use coldkeep_chunk_store::dir::{ChunkDir as _, EntryKind, EntryName};

use super::scene::{Scene, Store, key};
use crate::fixture::{Fixture, chunk};

/// A store in a bucket.
pub(crate) struct InBucket {
    scene: Scene,
}

impl Fixture for InBucket {
    type Target = Store;
    const AGE_MIN: Duration = Duration::from_secs(3);
    const KEEPS_YOUNG_TEMPORARIES: bool = false;
    const LISTS_FAIL_FROM: usize = 3;

    async fn new() -> Self {
        Self { scene: Scene::empty().await }
    }

    fn target(&self) -> &Store {
        &self.scene.store
    }

    async fn fill(&self, count: u32) {
        let session = self.scene.store.begin_session(CacheUse::Keep).await.unwrap();
        for number in 0..count {
            self.scene.store.insert(&session, chunk(number)).await.unwrap();
        }
    }

    async fn holds(&self, digest: &Digest) -> bool {
        // A cached chunk is not yet one that the bucket has.
        self.holds_file(EntryName::chunk(*digest)).await && self.scene.store.load(digest).await.is_ok()
    }

    /// Copies that were set aside are objects, everything else is a local file.
    async fn put_file(&self, name: EntryName) {
        if matches!(name.kind, EntryKind::Bad(_)) {
            self.scene.backend.inner().place(&key(name), "left over");
            return;
        }
        self.scene.put_file(name).await;
    }

    async fn holds_file(&self, name: EntryName) -> bool {
        if matches!(name.kind, EntryKind::Bad(_) | EntryKind::Chunk) {
            return self.scene.backend.inner().object(&key(name)).is_some();
        }
        self.scene.dir.stat(&self.scene.proof, name).await.unwrap().is_some()
    }

    async fn lose(&self, digest: &Digest) {
        assert!(self.scene.backend.inner().remove(&key(EntryName::chunk(*digest))));
    }

    fn advance(&self, duration: Duration) {
        self.scene.advance(duration);
    }
}
