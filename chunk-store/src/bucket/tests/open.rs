//! Opening, owning and closing a store (R7, R10, R11).

use super::*;
use crate::backend::Fault;
use crate::bucket::journal::PathState;
use crate::bucket::{BucketOpenError, Closed, CommitError, Takeover};
use crate::dir::{ChunkDir, StateFile};
use crate::session::{CacheUse, SessionFailed};
use crate::store::StoreError;
use crate::testing::{RequestKind, Which};

const GENERATION: &str = ".generation";

#[tokio::test]
async fn h12_a_second_server_is_refused_and_told_who_has_the_bucket() {
    let scene = Scene::new();
    let first = scene.open(&scene.dir).await;
    let other = scene.try_open(&MemoryDir::new(), "two", |_| {}).await.unwrap_err();
    assert!(matches!(&other, BucketOpenError::InUse { holder } if holder.holder.host == "one"));
    assert!(other.to_string().contains("one (process 7)"), "{other}");
    first.check_token().await.unwrap();
    // The same server after a crash is no other.
    drop(first);
    scene.open(&scene.dir).await;
}

#[tokio::test]
async fn h12_a_forced_takeover_ends_the_first_server_and_the_second_one_goes_on() {
    let scene = Scene::new();
    let first = scene.open(&scene.dir).await;
    let session = first.begin_session(CacheUse::Keep).await.unwrap();
    let second = scene.take_over(&MemoryDir::new()).await;
    assert!(matches!(first.check_token().await, Err(CommitError::Closed(Closed::Superseded))));
    assert_eq!(session.check_alive(), Err(SessionFailed::Superseded));
    let refused = first.begin_session(CacheUse::Keep).await.unwrap_err();
    assert!(matches!(refused, StoreError::Closed(Closed::Superseded)));
    assert!(matches!(first.advance(first.next_token()).await, Err(StoreError::Closed(Closed::Superseded))));
    assert_eq!(first.status().closed, Some(Closed::Superseded));
    second.check_token().await.unwrap();
    // It leaves the other's in-use object alone.
    first.close().await.unwrap();
    assert!(scene.in_use().unwrap().contains("two"));
}

#[tokio::test]
async fn a_takeover_is_noticed_by_the_next_advance_and_by_the_next_tick() {
    for is_tick in [false, true] {
        let scene = Scene::new();
        let first = scene.open(&scene.dir).await;
        scene.take_over(&MemoryDir::new()).await;
        let result = if is_tick { first.tick().await } else { first.advance(first.next_token()).await };
        assert!(matches!(result, Err(StoreError::Closed(Closed::Superseded))), "{is_tick}: {result:?}");
    }
}

#[tokio::test]
async fn a_takeover_is_noticed_while_the_disk_takes_no_writes() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    scene.dir.fail(&["save_state"]);
    assert!(matches!(store.tick().await, Err(StoreError::Dir(_))));
    scene.take_over(&MemoryDir::new()).await;
    assert!(matches!(store.tick().await, Err(StoreError::Closed(Closed::Superseded))));
}

#[tokio::test]
async fn a_generation_that_is_gone_closes_the_store() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    scene.backend.inner().remove(GENERATION);
    assert!(matches!(store.check_token().await, Err(CommitError::Closed(Closed::Superseded))));
}

#[tokio::test]
async fn a_backend_that_does_not_answer_takes_nothing_over() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    scene.backend.down();
    assert!(
        matches!(store.check_token().await, Err(CommitError::Backend(error)) if error.fault == Fault::Unavailable)
    );
    assert!(matches!(store.advance(store.next_token()).await, Err(StoreError::Backend(_))));
    scene.backend.up();
    store.advance(store.next_token()).await.unwrap();
    store.check_token().await.unwrap();
}

/// What a body is whose length says that it ends here.
const CUT: &[u8] = br#"{"token":"0123"#;

#[tokio::test]
async fn an_answer_that_ended_early_takes_nothing_over() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    let get = || Which::next(RequestKind::Get).key(GENERATION);
    scene.backend.wrong_body(get(), CUT);
    store.check_token().await.unwrap();
    scene.backend.wrong_body(get(), CUT);
    scene.backend.lose_replies(Which::next(RequestKind::Put).key(GENERATION));
    store.advance(store.next_token()).await.unwrap();
    // Neither at open, which would not know its own bucket again, nor be let in.
    drop(store);
    scene.backend.wrong_body(get(), CUT);
    scene.backend.wrong_body(Which::next(RequestKind::Get).key(".in-use"), CUT);
    let store = scene.open(&scene.dir).await;
    assert!(!store.is_rebuilding());
}

#[tokio::test]
async fn a_token_that_is_damaged_in_the_bucket_closes_the_store() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    scene.backend.inner().place(GENERATION, CUT);
    assert!(matches!(store.check_token().await, Err(CommitError::Closed(Closed::Superseded))));
}

#[tokio::test]
async fn closed_cleanly_the_bucket_is_given_back() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    store.close().await.unwrap();
    assert_eq!(scene.in_use(), None);
    let refused = store.begin_session(CacheUse::Keep).await.unwrap_err();
    assert!(matches!(refused, StoreError::Closed(Closed::Ended)));
    scene.try_open(&MemoryDir::new(), "two", |_| {}).await.unwrap();
}

/// What an advance meets on its way.
#[derive(Debug, Clone, Copy)]
enum Mishap {
    LostBefore,
    LostAfter,
    Repeated,
    ReadFails,
}

#[tokio::test]
async fn an_advance_succeeds_whatever_becomes_of_its_requests() {
    for mishap in [Mishap::LostBefore, Mishap::LostAfter, Mishap::Repeated, Mishap::ReadFails] {
        let scene = Scene::new();
        let store = scene.open(&scene.dir).await;
        let put = Which::next(RequestKind::Put).key(GENERATION);
        match mishap {
            Mishap::LostBefore => scene.backend.fail(put, Fault::Unavailable, true),
            Mishap::LostAfter => scene.backend.lose_replies(put),
            Mishap::Repeated => {
                // The first attempt takes effect after the second one did: its condition no longer holds.
                let mut held = scene.backend.hold_before(put);
                let advancing = spawn_advance(&store);
                let late = held.arrived().await.repeat_now_land_later();
                advancing.await.unwrap().unwrap();
                let _refused = late.land().await;
            }
            Mishap::ReadFails => {
                scene.backend.lose_replies(put);
                scene.backend.fail(Which::next(RequestKind::Get).times(3), Fault::Throttled, false);
            }
        }
        let token = store.next_token();
        store.advance(token.clone()).await.unwrap();
        assert!(scene.generation().contains(&token), "{mishap:?}");
        store.check_token().await.unwrap();
        store.advance(store.next_token()).await.unwrap();
    }
}

#[tokio::test]
async fn after_a_crash_at_any_step_of_an_advance_the_local_state_still_counts() {
    for has_effect in [false, true] {
        let scene = Scene::new();
        let store = scene.open(&scene.dir).await;
        let put = Which::next(RequestKind::Put).key(GENERATION);
        let mut held =
            if has_effect { scene.backend.hold_after(put) } else { scene.backend.hold_before(put) };
        let advancing = spawn_advance(&store);
        let stopped = held.arrived().await;
        advancing.abort();
        stopped.lose();
        drop(store);
        let lists = scene.backend.requests(RequestKind::List);
        let store = scene.try_open(&scene.dir, "one", |_| {}).await.unwrap();
        assert!(!store.is_rebuilding(), "{has_effect}");
        assert_eq!(scene.backend.requests(RequestKind::List), lists);
        // Crashed again before the token was swapped.
        store.check_token().await.unwrap();
    }
}

#[tokio::test]
async fn a_backend_that_heeds_no_condition_is_written_and_read_back() {
    let scene = Scene::new();
    scene.backend.ignore_conditions();
    let plain = |options: &mut BucketOptions| options.swaps_atomically = false;
    let first = scene.try_open(&scene.dir, "one", plain).await.unwrap();
    first.finish_rebuild().await.unwrap();
    scene.backend.lose_replies(Which::next(RequestKind::Put).key(GENERATION));
    first.advance(first.next_token()).await.unwrap();
    first.check_token().await.unwrap();
    let second = |options: &mut BucketOptions| {
        options.swaps_atomically = false;
        options.takeover = Takeover::Force;
    };
    let second = scene.try_open(&MemoryDir::new(), "two", second).await.unwrap();
    let refused = first.advance(first.next_token()).await.unwrap_err();
    assert!(matches!(refused, StoreError::Closed(Closed::Superseded)));
    second.check_token().await.unwrap();
}

#[tokio::test]
async fn h28_replay_of_the_journal_deletes_nothing_and_trusts_nothing() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    let digest = scene.place_chunk(&store, b"deleted").await;
    scene.journal(&store, &[digest], "token").await;
    store.journal.claim_path(".cnt/vm/100/a").unwrap();
    store.save_journal().await.unwrap();
    drop(store);

    let store = scene.open(&scene.dir).await;
    assert!(scene.has_object(&digest), "deleted by the replay");
    assert!(!has_marker(&store, &digest).await, "its delete may still take effect");
    assert!(store.journal.limbo_of(&digest).is_some());
    let claimed = store.journal.claim_path(".cnt/vm/100/a/file").unwrap_err();
    assert!(matches!(claimed.1, PathState::Closed(_)));

    // What the replay removed stays removed, whatever happens to the power.
    scene.dir.lose_power();
    assert!(!has_marker(&store, &digest).await);
    scene.clock.advance(4 * MINUTE);
    store.tick().await.unwrap();
    assert_eq!(store.status().journal, JournalCounts::default());
    store.journal.claim_path(".cnt/vm/100/a/file").unwrap();
    drop(store);
    let store = scene.open(&scene.dir).await;
    assert_eq!(store.status().journal, JournalCounts::default(), "not saved");
}

#[tokio::test]
async fn limbo_lasts_until_the_backends_date_says_so() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    let digest = scene.place_chunk(&store, b"deleted").await;
    scene.journal(&store, &[digest], "token").await;
    drop(store);
    let store = scene.open(&scene.dir).await;
    store.tick().await.unwrap();
    assert_eq!(store.status().journal.in_limbo, 1);
    scene.backend.down();
    scene.clock.advance(60 * MINUTE);
    assert!(matches!(store.tick().await, Err(StoreError::Backend(_))));
    assert_eq!(store.status().journal.in_limbo, 1, "a local clock ended it");
}

#[tokio::test]
async fn a_damaged_journal_is_an_error_unless_all_is_rebuilt() {
    let scene = Scene::new();
    scene.open(&scene.dir).await.close().await.unwrap();
    scene.dir.save_state(StateFile::Journal, "damaged".into()).await.unwrap();
    let damaged = scene.try_open(&scene.dir, "one", |_| {}).await.unwrap_err();
    assert!(matches!(damaged, BucketOpenError::Journal(_)));
    let store = scene.try_open(&scene.dir, "one", |options| options.rebuild = true).await.unwrap();
    store.finish_rebuild().await.unwrap();
    drop(store);
    scene.open(&scene.dir).await;
}

#[tokio::test]
async fn the_put_of_the_generation_expires() {
    let scene = Scene::new();
    let store = scene.open(&scene.dir).await;
    let mut held = scene.backend.hold_before(Which::next(RequestKind::Put).key(GENERATION));
    let advancing = spawn_advance(&store);
    let late = held.arrived().await.lose_now_land_later();
    advancing.await.unwrap().unwrap();
    scene.clock.advance(2 * MINUTE);
    assert_eq!(late.land().await.unwrap_err().fault, Fault::Expired);
}
