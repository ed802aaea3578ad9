//! Rebuilding the local state from the bucket (R10, I6).

use std::pin::Pin;
use std::task::Poll;

use super::*;
use crate::backend::{Fault, ObjectBackend, ObjectKey, Validity};
use crate::bucket::{BucketOpenError, Closed, RebuildPhase, RebuildProgress, RequestLifetimes, Takeover};
use crate::dir::{EntryName, MarkerDir};
use crate::session::CacheUse;
use crate::store::StoreError;
use crate::testing::{CallGate, RequestKind, Which};
use crate::time::Clock;

const PREFIXES: usize = 256;

#[tokio::test]
async fn h11_markers_of_a_restored_disk_count_for_nothing() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    let (swept, kept) = (scene.place_chunk(&store, b"swept").await, scene.place_chunk(&store, b"kept").await);
    let image = scene.dir.snapshot();
    // A batch of a run.
    store.advance(store.next_token()).await.unwrap();
    scene.remove_chunk(&store, &swept).await;
    store.close().await.unwrap();

    let store = scene.open(&image).await;
    assert!(!has_marker(&store, &swept).await, "a later backup would dedup against nothing");
    assert!(has_marker(&store, &kept).await);
}

#[tokio::test]
async fn h11_another_server_has_had_the_bucket_since() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    let swept = scene.place_chunk(&store, b"swept").await;
    store.close().await.unwrap();
    let other = scene.try_open(&MemoryDir::new(), "two", |_| {}).await.unwrap();
    other.finish_rebuild().await.unwrap();
    scene.remove_chunk(&other, &swept).await;
    other.close().await.unwrap();

    let store = scene.open(&scene.dir).await;
    assert!(!has_marker(&store, &swept).await);
}

#[tokio::test]
async fn h23_a_disk_copied_in_the_middle_of_a_run_belongs_to_no_generation() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    let (first, second) =
        (scene.place_chunk(&store, b"first batch").await, scene.place_chunk(&store, b"second").await);
    let token = store.next_token();
    scene.journal(&store, &[first], &token).await;
    let image = scene.dir.snapshot();
    // The run goes on, with another batch, and ends.
    store.advance(token).await.unwrap();
    scene.remove_chunk(&store, &first).await;
    store.journal.discard();
    store.save_journal().await.unwrap();
    store.advance(store.next_token()).await.unwrap();
    scene.remove_chunk(&store, &second).await;
    store.close().await.unwrap();

    let copy = scene.open(&image).await;
    assert!(!has_marker(&copy, &first).await && !has_marker(&copy, &second).await);
    assert_eq!(copy.status().journal, JournalCounts::default(), "the old journal is discarded");
}

#[tokio::test]
async fn h23_a_disk_copied_between_proposal_and_swap_forgets_what_was_journalled() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    let (deleted, kept) =
        (scene.place_chunk(&store, b"deleted").await, scene.place_chunk(&store, b"kept").await);
    let token = store.next_token();
    scene.journal(&store, &[deleted], &token).await;
    let mut held = scene.backend.hold_before(Which::next(RequestKind::Put).key(".generation"));
    let advancing = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.advance(token).await }
    });
    let stopped = held.arrived().await;
    let image = scene.dir.snapshot();
    stopped.release();
    advancing.await.unwrap().unwrap();
    scene.remove_chunk(&store, &deleted).await;
    drop(store);

    let copy = scene.try_open(&image, "one", |_| {}).await.unwrap();
    assert!(!copy.is_rebuilding(), "the token is the one that it proposed");
    assert!(!has_marker(&copy, &deleted).await);
    assert!(has_marker(&copy, &kept).await);
}

#[tokio::test]
async fn h24_a_rebuild_waits_until_deletes_of_the_predecessor_have_expired() {
    let scene = Scene::new();
    let first = scene.open(&scene.dir).await;
    let digest = scene.place_chunk(&first, b"deleted late").await;
    let mut held = scene.backend.hold_before(Which::next(RequestKind::Delete));
    let deleting = tokio::spawn({
        let (backend, signed_at) = (scene.backend.clone(), scene.clock.wall());
        let keys = [ObjectKey::of_entry(EntryName::chunk(digest))];
        async move { backend.delete(&keys, Validity { signed_at, lasts: MINUTE }).await }
    });
    let late = held.arrived().await.lose_now_land_later();
    deleting.await.unwrap().unwrap_err();

    let second = scene.take_over(&MemoryDir::new()).await;
    assert!(has_marker(&second, &digest).await);
    assert_eq!(late.land().await.map_err(|error| error.fault), Err(Fault::Expired));
    assert!(scene.has_object(&digest), "a marker without object");
}

#[tokio::test]
async fn h24_a_rebuild_waits_as_long_as_the_predecessors_requests_last_not_its_own() {
    let scene = Scene::new();
    let long = RequestLifetimes::all(15 * MINUTE, MINUTE);
    let first = scene.try_open(&scene.dir, "one", |options| options.lifetimes = long).await.unwrap();
    first.finish_rebuild().await.unwrap();
    // The second one gives up in the middle; whoever comes after it does not know the first.
    let mut held = scene.backend.hold_before(Which::next(RequestKind::List));
    let takes_over = |options: &mut BucketOptions| options.takeover = Takeover::Force;
    let before = scene.clock.wall();
    let second_dir = MemoryDir::new();
    let mut opening = Box::pin(scene.try_open(&second_dir, "two", takes_over));
    let stopped = tokio::select! {
        _ = &mut opening => panic!("the rebuild lists nothing"),
        stopped = held.arrived() => stopped,
    };
    assert!(scene.clock.wall() > before.plus(16 * MINUTE), "listed while requests were good");
    drop(opening);
    stopped.lose();
    let before = scene.clock.wall();
    scene.try_open(&MemoryDir::new(), "three", takes_over).await.unwrap();
    assert!(scene.clock.wall() > before.plus(16 * MINUTE), "forgot whom the second one waited for");
}

#[tokio::test]
async fn a_crash_between_swap_and_rebuild_does_not_make_the_old_state_count() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    let swept = scene.place_chunk(&store, b"swept").await;
    let image = scene.dir.snapshot();
    store.advance(store.next_token()).await.unwrap();
    scene.remove_chunk(&store, &swept).await;
    drop(store);

    let mut held = scene.backend.hold_after(Which::next(RequestKind::Put).key(".generation"));
    let opening = scene.spawn_open(&image);
    let stopped = held.arrived().await;
    opening.abort();
    stopped.lose();
    let store = scene.open(&image).await;
    assert!(!has_marker(&store, &swept).await);
}

#[tokio::test]
async fn a_listing_that_fails_ends_the_rebuild_and_the_next_one_goes_on() {
    let scene = Scene::new();
    let digests = scene.place_objects(300);
    scene.backend.fail(Which::next(RequestKind::List).key(".chunks/00"), Fault::Denied, false);
    let failed = scene.try_open(&scene.dir, "one", |_| {}).await.unwrap_err();
    assert!(matches!(failed, BucketOpenError::Backend(error) if error.fault == Fault::Denied));
    assert!(marked(&scene.dir).await.is_empty(), "markers of an incomplete listing");

    let before = scene.backend.log().len();
    let store = scene.try_open(&scene.dir, "one", |_| {}).await.unwrap();
    let again = scene.listed_since(before);
    assert!(again <= 64, "{again} prefixes were listed again");
    assert!(store.is_rebuilding());
    assert_eq!(marked(&scene.dir).await, digests);
}

/// Holds the first save of a state file after the listing has begun.
struct SlowSave(std::sync::Mutex<(bool, Option<tokio::sync::oneshot::Receiver<()>>)>);

impl CallGate for SlowSave {
    fn pass(&self, method: &'static str) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        let mut state = self.0.lock().unwrap();
        state.0 |= method == "begin_fresh";
        if !state.0 || method != "save_state" {
            return None;
        }
        let released = state.1.take()?;
        Some(Box::pin(async move {
            let _ = released.await;
        }))
    }
}

// The clock is saved before markers bear its times. Goal: that does not hold up whoever it waits for. One of the prefixes that are
// listed first has a chunk, and its save is slow, while others are listed.
#[tokio::test]
async fn a_slow_save_of_the_clock_does_not_hold_up_the_rebuild_for_ever() {
    let scene = Scene::new();
    let data =
        (0..u32::MAX).map(u32::to_le_bytes).find(|data| Digest::of(data).as_bytes()[0] == 0xff).unwrap();
    let digest = scene.place_object(&data);
    let (release, released) = tokio::sync::oneshot::channel();
    scene.dir.set_gate(Some(Arc::new(SlowSave(std::sync::Mutex::new((false, Some(released)))))));
    let mut opening = Box::pin(scene.try_open(&scene.dir, "one", |_| {}));
    let mut goes_on = async || {
        for _ in 0..10_000 {
            if let Poll::Ready(opened) = futures_util::poll!(&mut opening) {
                return Some(opened);
            }
            tokio::task::yield_now().await;
        }
        None
    };
    assert!(goes_on().await.is_none(), "it was saved without a save");
    release.send(()).unwrap();
    goes_on().await.expect("the rebuild waits for ever").unwrap();
    assert_eq!(marked(&scene.dir).await, [digest]);
}

#[tokio::test]
async fn a_rebuild_starts_over_if_another_server_came_in_between() {
    let scene = Scene::new();
    scene.place_objects(10);
    scene.backend.fail(Which::next(RequestKind::List).key(".chunks/00"), Fault::Denied, false);
    scene.try_open(&scene.dir, "one", |_| {}).await.unwrap_err();
    scene.take_over(&MemoryDir::new()).await.close().await.unwrap();
    let before = scene.backend.log().len();
    scene.open(&scene.dir).await;
    assert_eq!(scene.listed_since(before), PREFIXES);
}

#[tokio::test]
async fn a_crash_between_switch_and_record_keeps_the_fresh_markers() {
    let scene = Scene::new();
    let digests = scene.place_objects(5);
    scene.dir.fail(&["switch_to_fresh"]);
    scene.try_open(&scene.dir, "one", |_| {}).await.unwrap_err();
    scene.dir.fail(&[]);
    // The switch itself took place, and nothing after it.
    scene.dir.switch_to_fresh().await.unwrap();
    let before = scene.backend.log().len();
    scene.open(&scene.dir).await;
    assert_eq!(scene.listed_since(before), 0);
    assert_eq!(marked(&scene.dir).await, digests);
}

#[tokio::test]
async fn sessions_wait_until_the_caller_has_restored_its_part_also_over_a_restart() {
    let scene = Scene::new();
    scene.place_objects(1);
    for _ in 0..2 {
        let store = scene.try_open(&scene.dir, "one", |_| {}).await.unwrap();
        assert_eq!(store.status().rebuild.unwrap().phase, RebuildPhase::Metadata);
        let refused = store.begin_session(CacheUse::Keep).await.unwrap_err();
        assert!(matches!(refused, StoreError::Closed(Closed::Rebuilding)));
    }
    let store = scene.open(&scene.dir).await;
    store.begin_session(CacheUse::Keep).await.unwrap();
    assert_eq!((store.status().closed, store.status().rebuild), (None, None));
    drop(store);
    assert!(!scene.try_open(&scene.dir, "one", |_| {}).await.unwrap().is_rebuilding());
}

#[tokio::test]
async fn progress_is_told() {
    let scene = Scene::new();
    scene.place_objects(7);
    let told: Arc<std::sync::Mutex<Vec<RebuildProgress>>> = Arc::default();
    let tell = Arc::clone(&told);
    let store = scene
        .try_open(&scene.dir, "one", |options| {
            options.progress = Some(Arc::new(move |progress| tell.lock().unwrap().push(progress)));
        })
        .await
        .unwrap();
    let told = told.lock().unwrap();
    assert_eq!(told[0].phase, RebuildPhase::Waiting);
    let last = RebuildProgress { phase: RebuildPhase::Listing, done: 256, total: 256, chunks: 7 };
    assert!(told.contains(&last));
    assert_eq!(told.last().copied(), store.status().rebuild);
}

#[tokio::test]
async fn a_new_bucket_is_open_at_once() {
    let scene = Scene::new();
    scene.try_open(&scene.dir, "one", |_| {}).await.unwrap();
    assert!(scene.clock.wall() < START.plus(MINUTE));
    assert_eq!(scene.listed_since(0), 1);
}

#[tokio::test]
async fn a_bucket_of_a_stock_server_is_adopted_when_its_requests_have_expired() {
    let scene = Scene::new();
    let digests = scene.place_objects(4);
    scene.backend.inner().place(".chunks/0000/x.0.bad", "odd");
    scene.backend.inner().place(".in-use", r#"{"hostname":"pbs"}"#);
    let refused = scene.try_open(&scene.dir, "one", |_| {}).await.unwrap_err();
    assert!(matches!(&refused, BucketOpenError::InUse { holder } if holder.holder.is_stock()));
    assert!(refused.to_string().contains("pbs"), "{refused}");
    scene.try_open(&scene.dir, "one", |options| options.takeover = Takeover::Force).await.unwrap();
    assert!(scene.clock.wall() > START.plus(16 * MINUTE), "its headers are good for a quarter of an hour");
    assert_eq!(marked(&scene.dir).await, digests);
}

#[tokio::test]
async fn what_a_stock_server_did_since_is_seen_though_it_left_the_token() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    let swept = scene.place_chunk(&store, b"swept").await;
    store.close().await.unwrap();
    scene.backend.inner().place(".in-use", r#"{"hostname":"pbs"}"#);
    scene.backend.inner().remove(ObjectKey::of_entry(EntryName::chunk(swept)).as_str());
    let force = |options: &mut BucketOptions| options.takeover = Takeover::Force;
    // The first attempt dies right after it took the in-use object.
    scene.backend.fail(Which::next(RequestKind::Get).key(".generation"), Fault::Unavailable, false);
    scene.try_open(&scene.dir, "one", force).await.unwrap_err();
    let store = scene.open(&scene.dir).await;
    assert!(!has_marker(&store, &swept).await);
}
