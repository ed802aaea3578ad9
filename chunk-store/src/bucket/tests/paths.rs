use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::backend::{Fault, ObjectKey, Put, PutCondition};
use crate::bucket::journal::Journal;
use crate::bucket::{Closed, PathError};
use crate::dir::ChunkDir;
use crate::testing::{Held, RequestKind, StagedBackend, Which};

type Store = Arc<BucketStore<MemoryDir, StagedBackend>>;

const SNAPSHOT: &str = ".cnt/vm/100/2025-07-14T14:20:02Z";

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(format!("{SNAPSHOT}/{name}")).unwrap()
}

async fn opened() -> (Arc<ManualClock>, StagedBackend, Store) {
    let clock = clock();
    let backend = StagedBackend::new(Arc::clone(&clock) as _);
    let store = open_store(MemoryDir::new(), backend.clone(), &clock).await;
    (clock, backend, store)
}

/// Looks into the bucket, past every rule.
async fn content(backend: &StagedBackend, key: &ObjectKey) -> Option<Bytes> {
    backend.inner().get(key).await.unwrap().value.map(|(_, content)| content)
}

/// Has another server take the bucket over.
async fn take_over(backend: &StagedBackend) {
    let (key, content) = (
        ObjectKey::new(".generation").unwrap(),
        Bytes::from_static(b"{\"token\":\"theirs\",\"host\":\"two\"}"),
    );
    backend.inner().put(Put { key, content, condition: PutCondition::Always, validity: None }).await.unwrap();
}

/// Lets requests be lost; returns their effects, which may still come.
async fn lose_all(mut held: Held, count: usize) -> Vec<crate::testing::Late> {
    let mut late = Vec::new();
    for _ in 0..count {
        late.push(held.arrived().await.lose_now_land_later());
    }
    late
}

#[tokio::test]
async fn a_commit_reads_the_token_before_and_after_the_manifest() {
    let (_, backend, store) = opened().await;
    let claim = store.claim(SNAPSHOT).await.unwrap();
    claim.put_new(&key("drive.img.fidx"), Bytes::from_static(b"index")).await.unwrap();
    let before = backend.log().len();
    claim.commit(&key("index.json.blob"), Bytes::from_static(b"manifest")).await.unwrap();
    let log = backend.log();
    let keys: Vec<_> = log[before..].iter().map(|request| (request.kind, request.keys[0].as_str())).collect();
    let manifest = key("index.json.blob");
    let token = (RequestKind::Get, ".generation");
    assert_eq!(keys, [token, (RequestKind::Put, manifest.as_str()), token]);
    claim.release().await.unwrap();
    store.claim(SNAPSHOT).await.unwrap();
}

#[tokio::test]
async fn h12_a_bucket_taken_over_during_a_commit_is_not_acknowledged() {
    let (_, backend, store) = opened().await;
    let claim = store.claim(SNAPSHOT).await.unwrap();
    let mut held = backend.hold_before(Which::next(RequestKind::Put).key(key("index.json.blob")));
    let commit =
        tokio::spawn(async move { claim.commit(&key("index.json.blob"), Bytes::from_static(b"m")).await });
    let manifest = held.arrived().await;
    take_over(&backend).await;
    manifest.release();
    assert!(matches!(commit.await.unwrap(), Err(PathError::Closed(Closed::Superseded))));
    assert!(matches!(store.claim(SNAPSHOT).await, Err(PathError::Closed(Closed::Superseded))));
}

/// Goal: a manifest that lands after its session failed never meets a path that is in use again.
/// Method: all its attempts get no answer, and land before and after their expiry.
#[tokio::test]
async fn h25_a_manifest_that_may_still_land_keeps_its_path_closed() {
    let (clock, backend, store) = opened().await;
    let manifest = key("index.json.blob");
    let claim = store.claim(SNAPSHOT).await.unwrap();
    let held = backend.hold_before(Which::every(RequestKind::Put).key(&manifest));
    let (commit, mut late) =
        tokio::join!(claim.commit(&manifest, Bytes::from_static(b"m")), lose_all(held, 3));
    assert!(matches!(commit, Err(PathError::Backend(error)) if error.is_unclear));
    claim.release().await.unwrap();

    // While one may land, nobody gets the path; a crash does not change that.
    assert!(matches!(store.claim(SNAPSHOT).await, Err(PathError::NotExpired { .. })));
    assert!(matches!(store.claim(".cnt/vm/100").await, Err(PathError::NotExpired { .. })));
    store.claim(".cnt/vm/101").await.unwrap();
    let saved = Journal::load(store.dir()).await.unwrap();
    saved.replay(START);
    assert!(saved.closed_until(SNAPSHOT).is_some_and(|(_, until)| until > START));
    late.remove(0).land().await.unwrap();
    assert!(content(&backend, &manifest).await.is_some());

    // Once somebody gets it, none lands any more.
    let lifetimes = store.options.lifetimes;
    clock.advance(lifetimes.object + lifetimes.margin + Duration::from_secs(2));
    let claim = store.claim(SNAPSHOT).await.unwrap();
    claim.delete(std::slice::from_ref(&manifest)).await.unwrap();
    for late in late {
        assert!(late.land().await.is_err());
    }
    assert_eq!(content(&backend, &manifest).await, None);
}

/// Claims a path as soon as that is allowed.
async fn claim_when_open(store: &Store) -> crate::bucket::PathClaim<MemoryDir, StagedBackend> {
    store.wait_until_open(SNAPSHOT).await.unwrap();
    store.claim(SNAPSHOT).await.unwrap()
}

#[tokio::test]
async fn h35_a_late_put_does_not_undo_a_later_one() {
    let (_, backend, store) = opened().await;
    let notes = key("notes");
    let claim = store.claim(SNAPSHOT).await.unwrap();
    let held = backend.hold_before(Which::next(RequestKind::Put).key(&notes));
    let (replaced, late) = tokio::join!(claim.replace(&notes, Bytes::from_static(b"one")), lose_all(held, 1));
    replaced.unwrap();
    claim.release().await.unwrap();
    let claim = claim_when_open(&store).await;
    claim.replace(&notes, Bytes::from_static(b"two")).await.unwrap();
    claim.release().await.unwrap();
    for late in late {
        let _ = late.land().await;
    }
    assert_eq!(content(&backend, &notes).await.unwrap(), "two");
}

#[tokio::test]
async fn h35_a_late_delete_does_not_hit_a_path_that_is_used_again() {
    let (_, backend, store) = opened().await;
    let index = key("drive.img.fidx");
    let claim = store.claim(SNAPSHOT).await.unwrap();
    claim.put_new(&index, Bytes::from_static(b"one")).await.unwrap();
    let mut held = backend.hold_before(Which::next(RequestKind::Delete));
    let keys = [index.clone()];
    // The backend client repeats it with success and says that an attempt is unclear.
    let (deleted, late) =
        tokio::join!(claim.delete(&keys), async { held.arrived().await.repeat_now_land_later() });
    deleted.unwrap();
    claim.release().await.unwrap();
    let claim = claim_when_open(&store).await;
    claim.put_new(&index, Bytes::from_static(b"two")).await.unwrap();
    let _ = late.land().await;
    assert_eq!(content(&backend, &index).await.unwrap(), "two");
}

#[tokio::test]
async fn h35_within_one_claim_too_a_late_request_does_not_undo_a_later_one() {
    let (_, backend, store) = opened().await;
    let notes = key("notes");
    let claim = store.claim(SNAPSHOT).await.unwrap();
    backend.fail(Which::next(RequestKind::Put).key(&notes), Fault::Unavailable, true);
    claim.replace(&notes, Bytes::from_static(b"one")).await.unwrap();
    let refused = claim.replace(&notes, Bytes::from_static(b"two")).await;
    assert!(matches!(refused, Err(PathError::NotExpired { .. })));
    assert!(matches!(claim.delete(std::slice::from_ref(&notes)).await, Err(PathError::NotExpired { .. })));
    claim.put_new(&key("other"), Bytes::from_static(b"two")).await.unwrap();
}

#[tokio::test]
async fn h35_a_request_given_up_in_mid_air_closes_the_path() {
    let (_, backend, store) = opened().await;
    let mut held = backend.hold_before(Which::next(RequestKind::Put).key(key("notes")));
    let claim = store.claim(SNAPSHOT).await.unwrap();
    let task = tokio::spawn(async move { claim.replace(&key("notes"), Bytes::from_static(b"one")).await });
    let stopped = held.arrived().await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert!(matches!(store.claim(SNAPSHOT).await, Err(PathError::NotExpired { .. })));
    drop(stopped);
}

/// Goal: dates from before the backend's clock was set back open no path (H30).
/// Method: the clock is an hour ahead at first; the put of an index is lost, and lands after the claim has ended.
#[tokio::test]
async fn h30_a_clock_that_was_set_back_opens_no_path_early() {
    let server = Arc::new(ManualClock::skipping(START.plus(60 * MINUTE)));
    let backend = StagedBackend::new(Arc::clone(&server) as _);
    let store = open_store(MemoryDir::new(), backend.clone(), &clock()).await;
    server.step_wall(START);
    store.tick().await.unwrap();
    let (index, claim) = (key("disk.fidx"), store.claim(SNAPSHOT).await.unwrap());
    let held = backend.hold_before(Which::every(RequestKind::Put).key(&index));
    let (put, late) = tokio::join!(claim.replace(&index, Bytes::from_static(b"old")), lose_all(held, 3));
    assert!(put.is_err());
    claim.release().await.unwrap();
    assert!(matches!(store.claim(SNAPSHOT).await, Err(PathError::NotExpired { .. })));
    for late in late {
        late.land().await.unwrap();
    }
}

#[tokio::test]
async fn h35_a_claim_closes_its_path_after_a_crash() {
    let (_, _, store) = opened().await;
    let claim = store.claim(SNAPSHOT).await.unwrap();
    let saved = Journal::load(store.dir()).await.unwrap();
    saved.replay(START.plus(store.options.lifetimes.longest()));
    assert!(saved.closed_until(SNAPSHOT).is_some());
    drop(claim);
    store.claim(SNAPSHOT).await.unwrap();
}

#[tokio::test]
async fn h36_a_superseded_server_neither_deletes_nor_rewrites() {
    let (_, backend, store) = opened().await;
    let (index, notes) = (key("drive.img.fidx"), key("notes"));
    let claim = store.claim(SNAPSHOT).await.unwrap();
    claim.put_new(&index, Bytes::from_static(b"index")).await.unwrap();
    claim.put_new(&notes, Bytes::from_static(b"one")).await.unwrap();
    take_over(&backend).await;
    assert!(matches!(
        claim.delete(std::slice::from_ref(&index)).await,
        Err(PathError::Closed(Closed::Superseded))
    ));
    assert!(matches!(claim.replace(&notes, Bytes::from_static(b"two")).await, Err(PathError::Closed(_))));
    assert!(content(&backend, &index).await.is_some());
    assert_eq!(content(&backend, &notes).await.unwrap(), "one");
}

#[tokio::test]
async fn h36_what_is_there_is_not_rewritten_as_new_by_a_superseded_server() {
    for heeds_conditions in [true, false] {
        let clock = clock();
        let backend = StagedBackend::new(Arc::clone(&clock) as _);
        if !heeds_conditions {
            backend.ignore_conditions();
        }
        let mut options = options("one", &clock);
        options.swaps_atomically = heeds_conditions;
        let store = open_with(MemoryDir::new(), backend.clone(), options).await;
        let claim = store.claim(SNAPSHOT).await.unwrap();
        take_over(&backend).await;
        let theirs = Put {
            key: key("notes"),
            content: Bytes::from_static(b"theirs"),
            condition: PutCondition::Always,
            validity: None,
        };
        backend.inner().put(theirs).await.unwrap();
        let put = claim.put_new(&key("notes"), Bytes::from_static(b"ours")).await;
        assert!(matches!(put, Err(PathError::Closed(_))), "{heeds_conditions}: {put:?}");
        assert_eq!(content(&backend, &key("notes")).await.unwrap(), "theirs");
    }
}

#[tokio::test]
async fn an_object_that_a_lost_session_left_is_replaced() {
    let (_, backend, store) = opened().await;
    let claim = store.claim(SNAPSHOT).await.unwrap();
    claim.put_new(&key("a"), Bytes::from_static(b"old")).await.unwrap();
    claim.put_new(&key("a"), Bytes::from_static(b"new")).await.unwrap();
    assert_eq!(content(&backend, &key("a")).await.unwrap(), "new");
    // One whose answer was lost is not written twice.
    backend.lose_replies(Which::next(RequestKind::Put).key(key("b")));
    let before = backend.requests(RequestKind::Put);
    claim.put_new(&key("b"), Bytes::from_static(b"once")).await.unwrap();
    assert_eq!(backend.requests(RequestKind::Put) - before, 2);
    assert_eq!(content(&backend, &key("b")).await.unwrap(), "once");
}

#[tokio::test]
async fn a_failure_that_will_not_pass_is_not_repeated_and_closes_nothing() {
    let (_, backend, store) = opened().await;
    let claim = store.claim(SNAPSHOT).await.unwrap();
    backend.fail(Which::every(RequestKind::Put).key(key("a")), Fault::Denied, false);
    let before = backend.requests(RequestKind::Put);
    let denied = claim.put_new(&key("a"), Bytes::from_static(b"x")).await;
    assert!(matches!(denied, Err(PathError::Backend(error)) if error.fault == Fault::Denied));
    assert_eq!(backend.requests(RequestKind::Put) - before, 1);
    claim.release().await.unwrap();
    store.claim(SNAPSHOT).await.unwrap();
}

#[tokio::test]
async fn keys_that_the_backend_refuses_to_delete_are_named() {
    let (_, backend, store) = opened().await;
    let claim = store.claim(SNAPSHOT).await.unwrap();
    for name in ["a", "b"] {
        claim.put_new(&key(name), Bytes::from_static(b"x")).await.unwrap();
    }
    backend.refuse_deletes(|key| key.ends_with("/b"), "locked");
    let error = claim.delete(&[key("a"), key("b")]).await.unwrap_err();
    assert!(error.to_string().contains("/b (locked)"), "{error}");
    assert!(matches!(error, PathError::Refused { refused } if refused == [(key("b"), "locked".to_owned())]));
    assert_eq!(content(&backend, &key("a")).await, None);
}

#[tokio::test]
async fn a_claimed_path_is_in_use_and_covers_only_what_is_inside() {
    let (_, _, store) = opened().await;
    let claim = store.claim(SNAPSHOT).await.unwrap();
    assert!(matches!(store.claim(".cnt/vm/100").await, Err(PathError::InUse { .. })));
    let outside = ObjectKey::new(".cnt/vm/100/owner").unwrap();
    assert!(matches!(claim.replace(&outside, Bytes::new()).await, Err(PathError::Outside { .. })));
    claim.release().await.unwrap();
    assert_eq!(store.claim(".cnt/vm/100").await.unwrap().path(), ".cnt/vm/100");
}

#[tokio::test]
async fn a_claim_that_cannot_be_saved_is_none() {
    let (_, _, store) = opened().await;
    store.dir().fail(&["save_state"]);
    assert!(matches!(store.claim(SNAPSHOT).await, Err(PathError::Dir(_))));
    store.dir().fail(&[]);
    store.claim(SNAPSHOT).await.unwrap();
}

#[tokio::test]
async fn a_listing_is_complete_or_an_error() {
    let (_, backend, store) = opened().await;
    let claim = store.claim(SNAPSHOT).await.unwrap();
    let names: Vec<String> = (0..8).map(|number| format!("file-{number}")).collect();
    for name in &names {
        claim.put_new(&key(name), Bytes::from_static(b"x")).await.unwrap();
    }
    let listed = store.list_objects(&format!("{SNAPSHOT}/")).await.unwrap();
    assert_eq!(
        listed.into_iter().map(|object| object.key).collect::<Vec<_>>(),
        names.iter().map(|name| key(name)).collect::<Vec<_>>()
    );
    let mut held = backend.hold_before(Which::every(RequestKind::List));
    let fails = async {
        held.arrived().await.release();
        held.arrived().await.lose();
    };
    let (listed, ()) = tokio::join!(store.list_objects(".cnt/"), fails);
    assert!(matches!(listed, Err(PathError::Backend(_))));
    assert_eq!(store.read_object(&key("file-0")).await.unwrap().unwrap().1, "x");
    assert_eq!(store.read_object(&key("none")).await.unwrap(), None);
    store.dir().check_synced().await.unwrap();
}

#[tokio::test]
async fn a_path_that_was_given_free_is_free_after_a_clean_end() {
    let clock = clock();
    let backend = StagedBackend::new(Arc::clone(&clock) as _);
    let dir = MemoryDir::new();
    let store = open_store(dir.clone(), backend.clone(), &clock).await;
    let claim = store.claim(SNAPSHOT).await.unwrap();
    claim.put_new(&key("drive.img.fidx"), Bytes::from_static(b"index")).await.unwrap();
    claim.release().await.unwrap();
    store.close().await.unwrap();
    let date = clock.wall();
    let store = open_store(dir, backend, &clock).await;
    store.claim(SNAPSHOT).await.unwrap();
    assert!(clock.wall() < date.plus(Duration::from_secs(1)), "the claim waited for an expiry");
}

#[tokio::test]
async fn a_path_that_was_given_free_is_free_in_what_a_tick_saves() {
    let (_, _, store) = opened().await;
    let claim = store.claim(SNAPSHOT).await.unwrap();
    let closed_after_a_crash = async || {
        let saved = Journal::load(store.dir()).await.unwrap();
        saved.replay(START);
        saved.closed_until(SNAPSHOT).is_some()
    };
    assert!(closed_after_a_crash().await);
    claim.release().await.unwrap();
    store.tick().await.unwrap();
    assert!(!closed_after_a_crash().await);
}

/// Goal: a machine that is set back to an image from before a session, whose token is right all the same, uses no path that a
/// late put of that session may hit. Method: the image is from while the store was open, or from a rebuild that had waited for
/// its predecessors; all attempts of the put are lost, and land before and after somebody may use the path.
#[tokio::test]
async fn h35_a_disk_from_before_opens_no_path_that_a_late_put_may_hit() {
    for is_rebuilding in [false, true] {
        let scene = Scene::new();
        scene.place_object(b"abc");
        let store = Arc::new(scene.try_open(&scene.dir, "one", |_| {}).await.unwrap());
        let during_rebuild = scene.dir.snapshot();
        store.finish_rebuild().await.unwrap();
        let image = if is_rebuilding { during_rebuild } else { scene.dir.snapshot() };
        let (index, claim) = (key("disk.fidx"), store.claim(SNAPSHOT).await.unwrap());
        let held = scene.backend.hold_before(Which::every(RequestKind::Put).key(&index));
        let (put, mut late) =
            tokio::join!(claim.replace(&index, Bytes::from_static(b"old")), lose_all(held, 3));
        assert!(put.is_err());
        scene.backend.clear_rules();
        drop((claim, store));

        let store = scene.open(&image).await;
        assert!(!store.knows_all_claims() && !store.is_path_free(SNAPSHOT));
        for path in [SNAPSHOT, ".cnt/vm/101"] {
            let refused = store.claim(path).await;
            assert!(matches!(&refused, Err(PathError::NotExpired { path: of, .. }) if of == path));
        }
        late.remove(0).land().await.unwrap();
        let refused = store.wait_for_earlier(Duration::from_secs(100)).await;
        assert!(
            matches!(refused, Err(PathError::NotExpired { .. })),
            "whoever asks does not wait for so long"
        );
        store.wait_for_earlier(Duration::MAX).await.unwrap();
        let claim = store.claim(SNAPSHOT).await.unwrap();
        claim.replace(&index, Bytes::from_static(b"new")).await.unwrap();
        for late in late {
            assert!(late.land().await.is_err(), "{is_rebuilding}");
        }
        assert_eq!(content(&scene.backend, &index).await.unwrap(), "new");
    }
}
