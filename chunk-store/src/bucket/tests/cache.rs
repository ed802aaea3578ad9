//! Hazards of the local cache: H6, H14, H19, and wrong bodies from the backend.

use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::{MINUTE, Scene, Store, has_marker, key_of, open_with, options};
use crate::backend::Fault;
use crate::blob::Blob;
use crate::bucket::BucketOptions;
use crate::digest::Digest;
use crate::dir::{ChunkDir, Durability, EntryName, Marker, MarkerDir, NewEntry};
use crate::store::LoadError;
use crate::testing::{Request, RequestKind, Room, Which};

/// Opens a store whose cache has room for so many bytes.
pub(super) async fn open_small(scene: &Scene, cache_bytes: u64) -> Arc<Store> {
    let options = BucketOptions { cache_bytes, ..options("one", &scene.clock) };
    open_with(scene.dir.clone(), scene.backend.clone(), options).await
}

pub(super) async fn marker_of(store: &Store, digest: &Digest) -> Option<Marker> {
    let held = store.locks.lock(digest).await;
    store.dir.marks(&held, vec![*digest]).await.unwrap()[0].marker
}

/// Returns the length of a chunk's content in the cache, 0 if there is none.
pub(super) async fn cached_len(store: &Store, digest: &Digest) -> u64 {
    marker_of(store, digest).await.map_or(0, |marker| marker.len)
}

/// Returns how many downloads of chunks there were.
fn gets(scene: &Scene) -> usize {
    let is_download = |request: &Request| {
        request.kind == RequestKind::Get && request.keys.iter().all(|key| key.starts_with(".chunks/"))
    };
    scene.backend.log().iter().filter(|request| is_download(request)).count()
}

pub(super) async fn load(store: &Store, digest: &Digest) -> Vec<u8> {
    store.load(digest).await.unwrap().decode(1 << 20).unwrap().to_vec()
}

fn spawn_load(store: &Arc<Store>, digest: Digest) -> JoinHandle<Result<Blob, LoadError>> {
    let store = Arc::clone(store);
    tokio::spawn(async move { store.load(&digest).await })
}

/// Lets every task go on until it waits for something.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Damages a cached file as a crash does that tears it: the header is good.
async fn tear(store: &Store, digest: &Digest) {
    let name = EntryName::chunk(*digest);
    let mut content = store.dir.read(name).await.unwrap().unwrap().to_vec();
    *content.last_mut().unwrap() ^= 1;
    let held = store.locks.lock(digest).await;
    let entry = NewEntry { name, content: content.into(), at: store.clock.now() };
    store.dir.put(&held, entry, Durability::Deferred).await.unwrap();
}

#[tokio::test]
async fn h06_a_download_that_ends_after_the_marker_went_makes_none() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    let digest = scene.place_chunk(&store, b"one").await;
    let mut held = scene.backend.hold_after(Which::next(RequestKind::Get));
    let reader = spawn_load(&store, digest);
    let answer = held.arrived().await;
    scene.remove_chunk(&store, &digest).await;
    answer.release();
    assert_eq!(&reader.await.unwrap().unwrap().decode(9).unwrap()[..], b"one");
    assert!(!has_marker(&store, &digest).await, "a read never makes a marker");
}

#[tokio::test]
async fn h06_what_is_journalled_is_not_cached() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    let digest = scene.place_chunk(&store, b"one").await;
    scene.journal(&store, &[digest], "token").await;
    assert_eq!(load(&store, &digest).await, b"one");
    store.prefetch(&digest).await.unwrap();
    assert_eq!((cached_len(&store, &digest).await, gets(&scene)), (0, 1));
}

#[tokio::test]
async fn h14_a_reader_that_meets_an_emptied_marker_goes_to_the_backend() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    let digest = scene.place_chunk(&store, b"one").await;
    load(&store, &digest).await;
    let used_at = marker_of(&store, &digest).await.unwrap().used_at;
    scene.clock.advance(MINUTE);
    assert!(store.evict_some(1).await > 0);
    let marker = marker_of(&store, &digest).await.unwrap();
    assert_eq!((marker.len, marker.used_at), (0, used_at), "eviction is no use");
    assert_eq!(store.cache.counts().bytes, 0);
    assert_eq!((load(&store, &digest).await, gets(&scene)), (b"one".to_vec(), 2));
    assert_eq!(marker_of(&store, &digest).await.unwrap().used_at, used_at, "nor is a fill");
}

#[tokio::test]
async fn h14_a_chunk_that_is_read_after_it_was_chosen_is_not_evicted() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    let one = scene.place_chunk(&store, b"one").await;
    let other = scene.place_chunk(&store, b"other").await;
    load(&store, &one).await;
    load(&store, &other).await;
    let held = store.locks.lock(&one).await;
    let evictor = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.evict_some(1).await }
    });
    settle().await;
    assert_eq!(store.cache.counts().chunks, 1, "one is chosen");
    load(&store, &one).await;
    drop(held);
    evictor.await.unwrap();
    assert!(cached_len(&store, &one).await > 0);
    assert_eq!(cached_len(&store, &other).await, 0);
    assert_eq!(gets(&scene), 2);
}

#[tokio::test]
async fn h14_an_eviction_that_is_given_up_is_made_up_for() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    let digest = scene.place_chunk(&store, b"one").await;
    load(&store, &digest).await;
    let held = store.locks.lock(&digest).await;
    let evictor = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.evict_some(1).await }
    });
    settle().await;
    evictor.abort();
    assert!(evictor.await.unwrap_err().is_cancelled());
    drop(held);
    assert_eq!(store.cache.counts().chunks, 1);
    assert!(store.evict_some(1).await > 0);
}

#[tokio::test]
async fn h14_a_full_cache_keeps_its_bound_and_fails_no_read() {
    let scene = Scene::new();
    let one = scene.place_object(b"0");
    let len = scene.backend.inner().object(key_of(&one).as_str()).unwrap().len() as u64;
    let store = open_small(&scene, 2 * len + 1).await;
    let mut digests = Vec::new();
    for number in 0..5 {
        digests.push(scene.place_chunk(&store, &[b'0' + number]).await);
    }
    for (number, digest) in digests.iter().enumerate() {
        assert_eq!(load(&store, digest).await, [b'0' + number as u8]);
        assert!(store.cache.counts().bytes <= 2 * len);
    }
    for (number, digest) in digests.iter().enumerate() {
        let marker = marker_of(&store, digest).await.expect("eviction leaves the marker");
        assert_eq!(marker.len > 0, number >= 3, "the latest two are there");
    }
}

#[tokio::test]
async fn h14_a_full_disk_fails_no_read_and_makes_room() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    let old = scene.place_chunk(&store, b"old").await;
    load(&store, &old).await;
    let digest = scene.place_chunk(&store, b"new").await;
    scene.dir.leave_room(Room::EmptyFiles);
    assert_eq!(load(&store, &digest).await, b"new");
    assert_eq!((cached_len(&store, &digest).await, store.cache.len_of(&digest)), (0, None));
    assert_eq!(cached_len(&store, &old).await, 0, "the old content made room");
    scene.dir.leave_room(Room::Plenty);
    assert_eq!(load(&store, &digest).await, b"new");
    assert!(cached_len(&store, &digest).await > 0);
}

#[tokio::test]
async fn h14_a_broken_disk_fails_no_read() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    let cached = scene.place_chunk(&store, b"cached").await;
    load(&store, &cached).await;
    let digest = scene.place_chunk(&store, b"one").await;
    for method in ["marks", "fill_marker", "read", "empty_marker"] {
        scene.dir.fail(&[method]);
        let before = store.cache.counts().failures;
        assert_eq!(load(&store, &digest).await, b"one", "{method}");
        let freed = store.evict_some(1).await;
        assert_eq!(freed == 0, method == "empty_marker", "{method}");
        assert!(store.cache.counts().failures > before, "{method}");
        scene.dir.fail(&[]);
        load(&store, &cached).await;
        store.evict_some(u64::MAX).await;
        load(&store, &cached).await;
    }
}

#[tokio::test]
async fn h19_a_torn_cached_file_is_not_served_and_is_replaced() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    let digest = scene.place_chunk(&store, b"one").await;
    load(&store, &digest).await;
    tear(&store, &digest).await;
    assert_eq!((load(&store, &digest).await, gets(&scene)), (b"one".to_vec(), 2));
    assert_eq!((load(&store, &digest).await, gets(&scene)), (b"one".to_vec(), 2), "replaced");
}

#[tokio::test]
async fn a_wrong_body_is_reported_and_neither_served_nor_cached() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    let digest = scene.place_chunk(&store, b"one").await;
    let other = scene.place_object(b"other");
    let wrong = scene.backend.inner().object(key_of(&other).as_str()).unwrap();
    for body in [wrong, Bytes::from_static(b"no blob"), Bytes::new()] {
        scene.backend.wrong_body(Which::every(RequestKind::Get), body);
        let before = gets(&scene);
        let error = store.load(&digest).await.unwrap_err();
        assert!(matches!(error, LoadError::Corrupt { digest: named, .. } if named == digest), "{error}");
        assert!(matches!(store.fetch(&digest).await, Err(LoadError::Corrupt { .. })));
        assert_eq!(gets(&scene) - before, 4, "each of them looks twice");
        assert_eq!(cached_len(&store, &digest).await, 0);
        scene.backend.clear_rules();
    }
    assert_eq!(store.cache.counts().wrong_bodies, 12);
    assert_eq!(load(&store, &digest).await, b"one");
}

#[tokio::test]
async fn one_wrong_body_is_made_up_for_by_a_good_one() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    let digest = scene.place_chunk(&store, b"one").await;
    scene.backend.wrong_body(Which::next(RequestKind::Get), &b"no blob"[..]);
    assert_eq!((load(&store, &digest).await, gets(&scene)), (b"one".to_vec(), 2));
    assert!(cached_len(&store, &digest).await > 0);
    assert_eq!(store.cache.counts().wrong_bodies, 1);
}

#[tokio::test]
async fn readers_of_one_chunk_share_one_download() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    let digest = scene.place_chunk(&store, b"one").await;
    let mut held = scene.backend.hold_before(Which::next(RequestKind::Get));
    let readers: Vec<_> = (0..8).map(|_| spawn_load(&store, digest)).collect();
    let request = held.arrived().await;
    settle().await;
    request.release();
    for reader in readers {
        assert_eq!(&reader.await.unwrap().unwrap().decode(9).unwrap()[..], b"one");
    }
    assert_eq!(gets(&scene), 1);
    assert!(!store.flights.is_under_way(&digest));
}

#[tokio::test]
async fn a_reader_that_leaves_does_not_strand_the_others() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    let digest = scene.place_chunk(&store, b"one").await;
    let mut held = scene.backend.hold_before(Which::every(RequestKind::Get));
    let first = spawn_load(&store, digest);
    let _unanswered = held.arrived().await;
    let others: Vec<_> = (0..3).map(|_| spawn_load(&store, digest)).collect();
    settle().await;
    others[2].abort();
    first.abort();
    held.arrived().await.release();
    for reader in others.into_iter().take(2) {
        assert_eq!(&reader.await.unwrap().unwrap().decode(9).unwrap()[..], b"one");
    }
    assert_eq!(gets(&scene), 2);
    assert!(!store.flights.is_under_way(&digest));
}

#[tokio::test]
async fn readers_of_one_chunk_share_its_error() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    let digest = scene.place_chunk(&store, b"one").await;
    let mut held = scene.backend.hold_before(Which::next(RequestKind::Get));
    let readers: Vec<_> = (0..8).map(|_| spawn_load(&store, digest)).collect();
    let request = held.arrived().await;
    settle().await;
    request.lose();
    for reader in readers {
        let error = reader.await.unwrap().unwrap_err();
        assert!(matches!(error, LoadError::Backend(error) if error.fault == Fault::Unavailable));
    }
    assert_eq!(gets(&scene), 1);
    assert_eq!(load(&store, &digest).await, b"one", "the error is not kept");
}

#[tokio::test]
async fn downloads_are_bounded() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    let mut held = scene.backend.hold_before(Which::every(RequestKind::Get));
    let readers: Vec<_> =
        scene.place_objects(40).into_iter().map(|digest| spawn_load(&store, digest)).collect();
    settle().await;
    assert_eq!(gets(&scene), 32);
    for _ in 0..40 {
        held.arrived().await.release();
    }
    for reader in readers {
        reader.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn missing_chunks_are_missing() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    let digest = Digest::of(b"nowhere");
    assert!(matches!(store.load(&digest).await, Err(LoadError::Missing { .. })));
    assert!(matches!(store.fetch(&digest).await, Err(LoadError::Missing { .. })));
    assert_eq!(store.stored_len(&digest).await.unwrap(), None);
}

#[tokio::test]
async fn a_prefetch_downloads_what_can_be_cached_and_is_not() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    let unmarked = scene.place_object(b"unmarked");
    store.prefetch(&unmarked).await.unwrap();
    assert_eq!(gets(&scene), 0);
    let digest = scene.place_chunk(&store, b"one").await;
    let mut held = scene.backend.hold_before(Which::next(RequestKind::Get));
    let reader = spawn_load(&store, digest);
    let request = held.arrived().await;
    store.prefetch(&digest).await.unwrap();
    request.release();
    reader.await.unwrap().unwrap();
    store.prefetch(&digest).await.unwrap();
    assert_eq!(gets(&scene), 1);
    store.evict_some(1).await;
    store.prefetch(&digest).await.unwrap();
    assert_eq!(gets(&scene), 2);
    assert_eq!((load(&store, &digest).await, gets(&scene)), (b"one".to_vec(), 2));
}

#[tokio::test]
async fn a_store_without_cache_caches_nothing() {
    let scene = Scene::new();
    let store = open_small(&scene, 0).await;
    let digest = scene.place_chunk(&store, b"one").await;
    store.prefetch(&digest).await.unwrap();
    assert_eq!(gets(&scene), 0);
    assert_eq!(load(&store, &digest).await, b"one");
    assert_eq!(cached_len(&store, &digest).await, 0);
}

#[tokio::test]
async fn lengths_come_from_the_cache_or_from_the_backend() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    let digest = scene.place_chunk(&store, b"one").await;
    let len = scene.backend.inner().object(key_of(&digest).as_str()).unwrap().len() as u64;
    assert_eq!(store.stored_len(&digest).await.unwrap(), Some(len));
    load(&store, &digest).await;
    let heads = scene.backend.requests(RequestKind::Head);
    assert_eq!(store.stored_len(&digest).await.unwrap(), Some(len));
    assert_eq!(scene.backend.requests(RequestKind::Head), heads);
}

#[tokio::test]
async fn a_fetch_goes_past_the_cache() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    let digest = scene.place_chunk(&store, b"one").await;
    load(&store, &digest).await;
    scene.backend.inner().remove(key_of(&digest).as_str());
    assert!(matches!(store.fetch(&digest).await, Err(LoadError::Missing { .. })));
    let counts = store.cache.counts();
    assert_eq!(load(&store, &digest).await, b"one");
    assert_eq!(store.cache.counts().hits, counts.hits + 1);
}
