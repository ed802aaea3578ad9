//! The cache counts what is on the disk, whatever became of those who brought it there (I5, hazard H14).

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use super::cache::{cached_len, load};
use super::*;
use crate::checked::CheckedChunk;
use crate::dir::FsChunkDir;
use crate::session::CacheUse;
use crate::testing::MemoryBackend;

/// More times than an insert or a load waits for file work. Work that is done at once is not waited for, so each place is
/// tried several times.
const WAITS_MAX: usize = 8;

/// Drops a future once it waits after it has waited so many times.
async fn give_up_after(waits: usize, future: impl Future) {
    let (mut future, mut waited) = (pin!(future), 0);
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(_) => Poll::Ready(()),
        Poll::Pending if waited == waits => Poll::Ready(()),
        Poll::Pending => {
            waited += 1;
            Poll::Pending
        }
    })
    .await;
}

type OnDisk = BucketStore<FsChunkDir, MemoryBackend>;

/// Waits for file work that nobody waits for any more, and compares the cache with the disk.
async fn assert_counted(store: &OnDisk, digest: &Digest, waits: usize) {
    let held = store.locks.lock_every().await;
    let marks = store.dir.marks(&held, vec![*digest]).await.unwrap();
    let on_disk = marks[0].marker.map_or(0, |marker| marker.len);
    assert_eq!(store.cache.len_of(digest).unwrap_or(0), on_disk, "given up at wait {waits}");
}

async fn open_on_disk(folder: &std::path::Path) -> OnDisk {
    let clock = clock();
    let (dir, backend) = (FsChunkDir::create(folder).unwrap(), MemoryBackend::new(Arc::clone(&clock) as _));
    let store = BucketStore::open(dir, backend, options("one", &clock), None).await.unwrap();
    store.finish_rebuild().await.unwrap();
    store
}

#[tokio::test]
async fn content_counts_wherever_its_insert_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_on_disk(folder.path()).await;
    let session = store.begin_session(CacheUse::Keep).await.unwrap();
    for round in 0..20 * WAITS_MAX {
        let data = round.to_string();
        let digest = Digest::of(data.as_bytes());
        let blob = Blob::encode(data.as_bytes(), Compression::None).unwrap();
        let chunk = CheckedChunk::check(digest, data.len() as u64, blob.into_bytes()).unwrap();
        give_up_after(round % WAITS_MAX, store.insert(&session, chunk)).await;
        assert_counted(&store, &digest, round % WAITS_MAX).await;
    }
}

#[tokio::test]
async fn content_counts_wherever_its_load_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_on_disk(folder.path()).await;
    for round in 0..20 * WAITS_MAX {
        let data = round.to_string();
        let digest = Digest::of(data.as_bytes());
        let blob = Blob::encode(data.as_bytes(), Compression::None).unwrap();
        store.backend.place(key_of(&digest).as_str(), blob.into_bytes());
        let held = store.locks.lock(&digest).await;
        let marker = NewMarker { digest, content: None, class: None, at: store.clock.now() };
        store.dir.place_marker(&held, marker).await.unwrap();
        drop(held);
        give_up_after(round % WAITS_MAX, store.load(&digest)).await;
        assert_counted(&store, &digest, round % WAITS_MAX).await;
    }
}

#[tokio::test]
async fn what_the_disk_refuses_does_not_count() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    let digest = scene.place_chunk(&store, b"one").await;
    scene.dir.fail(&["fill_marker"]);
    load(&store, &digest).await;
    assert_eq!(store.cache.counts().bytes, 0);
    scene.dir.fail(&["place_marker"]);
    let blob = Blob::encode(b"two", Compression::None).unwrap();
    let chunk = CheckedChunk::check(Digest::of(b"two"), 3, blob.into_bytes()).unwrap();
    let session = store.begin_session(CacheUse::Keep).await.unwrap();
    store.insert(&session, chunk).await.unwrap_err();
    assert_eq!(store.cache.counts().bytes, 0);
}

#[tokio::test]
async fn nothing_is_cached_or_evicted_any_more_once_the_store_has_ended() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    let (old, late) = (scene.place_chunk(&store, b"old").await, scene.place_chunk(&store, b"late").await);
    load(&store, &old).await;
    store.scan_cache().await.unwrap();
    store.close().await.unwrap();
    load(&store, &late).await;
    store.evict_some(1).await;
    // The order that was saved as complete is.
    assert_eq!(cached_len(&store, &late).await, 0);
    assert!(cached_len(&store, &old).await > 0);
}
