//! The cache over restarts: its order, a lowered bound, and the scan after an unclean end.

use super::cache::{cached_len, load, open_small};
use super::{Scene, Store};
use crate::digest::Digest;
use crate::dir::{ChunkDir, MarkerDir, StateFile};
use crate::testing::{RequestKind, Room};

async fn filled(scene: &Scene, store: &Store) -> [Digest; 3] {
    let mut digests = [Digest::of(b""); 3];
    for (digest, data) in digests.iter_mut().zip([b"one", b"two", b"six"]) {
        *digest = scene.place_chunk(store, data).await;
        load(store, digest).await;
    }
    digests
}

fn order(store: &Store) -> Vec<Digest> {
    store.cache.all().into_iter().map(|(digest, _)| digest).collect()
}

#[tokio::test]
async fn the_order_is_kept_over_a_clean_end() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    let [one, two, six] = filled(&scene, &store).await;
    load(&store, &one).await;
    store.scan_cache().await.unwrap();
    let bytes = store.cache.counts().bytes;
    store.close().await.unwrap();
    let store = scene.open(&scene.dir).await;
    assert_eq!(order(&store), [two, six, one]);
    assert_eq!(store.cache.counts().bytes, bytes);
    assert!(!store.needs_cache_scan());
}

#[tokio::test]
async fn what_was_cached_before_an_unclean_end_is_served_and_adopted() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    let digests = filled(&scene, &store).await;
    let bytes = store.cache.counts().bytes;
    drop(store);
    let store = scene.open(&scene.dir).await;
    assert!(store.needs_cache_scan());
    assert!(order(&store).is_empty());
    let gets = scene.backend.requests(RequestKind::Get);
    load(&store, &digests[0]).await;
    assert_eq!(scene.backend.requests(RequestKind::Get), gets);
    store.scan_cache().await.unwrap();
    let (mut found, mut expected) = (order(&store), digests.to_vec());
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(store.cache.counts().bytes, bytes);
    assert!(!store.needs_cache_scan());
}

#[tokio::test]
async fn a_scan_adopts_as_least_recent_and_forgets_what_has_no_content() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    let [one, two, six] = filled(&scene, &store).await;
    store.cache.remove(&six);
    let held = store.locks.lock(&one).await;
    store.dir.empty_marker(&held, one).await.unwrap();
    drop(held);
    store.cache.record(&Digest::of(b"gone"), 5, super::super::lru::End::Newest);
    store.scan_cache().await.unwrap();
    assert_eq!(order(&store), [six, two]);
}

#[tokio::test]
async fn an_open_that_was_never_ended_needs_a_scan_even_after_a_clean_one() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    store.scan_cache().await.unwrap();
    store.close().await.unwrap();
    let store = scene.open(&scene.dir).await;
    assert!(!store.needs_cache_scan());
    drop(store);
    assert!(scene.open(&scene.dir).await.needs_cache_scan());
}

#[tokio::test]
async fn a_lowered_bound_is_kept_from_the_open_on_or_from_the_scan_on() {
    for is_clean in [true, false] {
        let scene = Scene::new();
        let store = scene.open(&scene.dir).await;
        let digests = filled(&scene, &store).await;
        let len = cached_len(&store, &digests[2]).await;
        if is_clean {
            store.scan_cache().await.unwrap();
            store.close().await.unwrap();
        }
        drop(store);
        let store = open_small(&scene, len).await;
        if !is_clean {
            store.scan_cache().await.unwrap();
        }
        let mut sum = 0;
        for digest in &digests {
            sum += cached_len(&store, digest).await;
        }
        assert_eq!((sum, store.cache.counts().bytes), (len, len));
    }
}

#[tokio::test]
async fn a_damaged_order_costs_a_scan() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    let digests = filled(&scene, &store).await;
    store.close().await.unwrap();
    scene.dir.save_state(StateFile::Recency, (&b"nonsense"[..]).into()).await.unwrap();
    let store = scene.open(&scene.dir).await;
    assert!(store.needs_cache_scan());
    store.scan_cache().await.unwrap();
    assert_eq!(order(&store).len(), digests.len());
}

#[tokio::test]
async fn the_order_is_saved_only_if_it_changed() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    filled(&scene, &store).await;
    store.save_recency().await.unwrap();
    scene.dir.fail(&["save_state"]);
    store.save_recency().await.unwrap();
    let digest = order(&store)[0];
    load(&store, &digest).await;
    store.save_recency().await.unwrap_err();
    scene.dir.fail(&[]);
    store.save_recency().await.unwrap();
}

#[tokio::test]
async fn what_an_insert_placed_is_noted_as_the_disk_has_it() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    let [one, ..] = filled(&scene, &store).await;
    let bytes = store.cache.counts().bytes;
    store.cache.remove(&one);
    store.note_cached(&one, 1).await;
    assert_eq!(order(&store).last(), Some(&one));
    assert_eq!(store.cache.counts().bytes, bytes, "its real length counts");
    let empty = scene.place_chunk(&store, b"new").await;
    store.note_cached(&empty, 1).await;
    assert_eq!(store.cache.len_of(&empty), None, "the disk had no room for it");
    assert_eq!(order(&store).len(), 2, "so that something old went");
}

#[tokio::test]
async fn a_rebuild_forgets_what_was_cached() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    let digest = scene.place_chunk(&store, b"one").await;
    load(&store, &digest).await;
    store.scan_cache().await.unwrap();
    store.close().await.unwrap();
    let store = scene.try_open(&scene.dir, "one", |options| options.rebuild = true).await.unwrap();
    store.finish_rebuild().await.unwrap();
    assert_eq!(cached_len(&store, &digest).await, 0);
    assert_eq!((store.status().cache_bytes, store.needs_cache_scan()), (0, false));
    // Else what counts as cached would not be fetched ahead.
    store.prefetch(&digest).await.unwrap();
    assert!(cached_len(&store, &digest).await > 0);
}

/// Goal: the order, a hint, does not keep a store from opening or from ending when the disk is full (hazard H14).
/// Method: an order that is larger than what a directory holds back for state.
#[tokio::test]
async fn h14_an_order_that_the_disk_has_no_room_for_is_given_up() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    store.scan_cache().await.unwrap();
    for number in 0..2_000_u16 {
        store.cache.record(&Digest::of(&number.to_le_bytes()), 1, super::super::lru::End::Newest);
    }
    store.close().await.unwrap();
    scene.dir.leave_room(Room::Nothing);
    let store = scene.open(&scene.dir).await;
    assert_eq!(order(&store).len(), 2_000);
    drop(store);
    let store = scene.open(&scene.dir).await;
    assert!(store.needs_cache_scan(), "an order from before an unclean end counts");
    for number in 0..2_000_u16 {
        store.cache.record(&Digest::of(&number.to_le_bytes()), 1, super::super::lru::End::Newest);
    }
    store.tick().await.unwrap();
    store.close().await.unwrap();
    assert_eq!(scene.in_use(), None);
    assert!(scene.open(&scene.dir).await.needs_cache_scan());
}
