//! Hazards of DESIGN §5 on the real store; each of these fails when its rule is switched off.

use std::time::Duration;

use coldkeep_chunk_store::StoreTime;
use coldkeep_gc::testing::{MemoryReferences, ReadFault};
use coldkeep_gc::{CollectError, Control, collect};

use crate::fixture::{Fixture, HOUR, Meddle, Moment, OnDisk, START, digest, options};

/// H2 (R2, R7): the sweep decides, then a session dedups against the chunk, then the removal would land.
#[tokio::test]
async fn h02_a_chunk_used_between_decision_and_removal_stays() {
    for known_by_upload in [true, false] {
        let fixture = OnDisk::new().await;
        fixture.fill(1).await;
        fixture.advance(2 * HOUR);
        let session = tokio::sync::OnceCell::new();
        let target = Meddle::new(&*fixture.store, |moment, _| {
            let (fixture, session) = (&fixture, &session);
            async move {
                if moment == Moment::Remove {
                    let session =
                        session.get_or_init(async || fixture.store.begin_session().await.unwrap()).await;
                    if known_by_upload {
                        fixture.insert(session, 0).await;
                    } else {
                        fixture.store.touch(session, &[digest(0)]).await.unwrap();
                    }
                }
                true
            }
        });
        let report = collect(&target, &MemoryReferences::new(), &options(), &Control::new()).await.unwrap();
        assert!(session.get().is_some(), "the chunk was condemned");
        assert!(fixture.holds(&digest(0)).await, "the session was told that it is stored (I3)");
        assert_eq!((report.removed.count, report.pending.count), (0, 1));
    }
}

/// H2 with a known chunk only: the refresh of R2 is all that protects it, there is no second step.
#[tokio::test]
async fn h02_a_known_chunk_is_refreshed_before_the_session_is_told() {
    let fixture = OnDisk::new().await;
    fixture.fill(1).await;
    fixture.advance(2 * HOUR);
    let session = fixture.store.begin_session().await.unwrap();
    fixture.insert(&session, 0).await;
    fixture.advance(2 * HOUR);
    collect(&*fixture.store, &MemoryReferences::new(), &options(), &Control::new()).await.unwrap();
    assert!(fixture.holds(&digest(0)).await);
}

/// H7 (R5, R13): a chunk reused from an earlier snapshot, which is pruned and swept before the commit.
#[tokio::test]
async fn h07_a_reused_chunk_outlives_the_snapshot_it_came_from() {
    let fixture = OnDisk::new().await;
    fixture.fill(2).await;
    let references = MemoryReferences::new();
    references.add("host/a/1/root.didx", (0..2).map(digest));
    fixture.advance(100 * HOUR);
    let session = fixture.store.begin_session().await.unwrap();
    fixture.advance(HOUR);
    fixture.store.touch(&session, &[digest(0)]).await.unwrap();
    references.forget("host/a/1/root.didx");
    // The session takes far longer than the grace.
    fixture.advance(100 * HOUR);
    let report = collect(&*fixture.store, &references, &options(), &Control::new()).await.unwrap();
    assert_eq!(report.oldest_session_at, Some(session.started_at().unix_seconds()));
    assert!(fixture.holds(&digest(0)).await && !fixture.holds(&digest(1)).await);
    // The session ends without a commit: now it is garbage.
    drop(session);
    collect(&*fixture.store, &references, &options(), &Control::new()).await.unwrap();
    assert!(!fixture.holds(&digest(0)).await);
}

/// R13: the cutoff is no later than the start of the oldest session, whatever grace and margin say.
#[tokio::test]
async fn h07_the_cutoff_is_no_later_than_the_oldest_session() {
    for (grace, margin) in [(Duration::ZERO, Duration::ZERO), (HOUR, Duration::ZERO), (Duration::ZERO, HOUR)]
    {
        let fixture = OnDisk::new().await;
        let session = fixture.store.begin_session().await.unwrap();
        fixture.insert(&session, 0).await;
        fixture.advance(50 * HOUR);
        let options = options().with_grace(grace).with_margin(margin);
        let report =
            collect(&*fixture.store, &MemoryReferences::new(), &options, &Control::new()).await.unwrap();
        assert!(report.cutoff <= session.started_at().unix_seconds(), "grace {grace:?}, margin {margin:?}");
        assert!(fixture.holds(&digest(0)).await, "grace {grace:?}, margin {margin:?}");
    }
}

/// H13 (R12): the wall clock steps back while a session is open.
#[tokio::test]
async fn h13_a_clock_that_steps_back_during_a_session_loses_nothing() {
    let fixture = OnDisk::new().await;
    let session = fixture.store.begin_session().await.unwrap();
    fixture.clock.step_wall(START.minus(10 * HOUR));
    fixture.insert(&session, 0).await;
    fixture.clock.step_wall(START.plus(2 * HOUR));
    collect(&*fixture.store, &MemoryReferences::new(), &options(), &Control::new()).await.unwrap();
    assert!(fixture.holds(&digest(0)).await);
}

/// H13 (R12): the date is wrong from the next start on, until just before a run.
#[tokio::test]
async fn h13_a_wrong_date_after_a_restart_loses_nothing() {
    let fixture = OnDisk::new().await;
    fixture.fill(1).await;
    fixture.store.close().await.unwrap();
    fixture.clock.step_wall(StoreTime::EPOCH);
    let fixture = fixture.reopen().await;
    let session = fixture.store.begin_session().await.unwrap();
    fixture.insert(&session, 1).await;
    // Committed: an index names it, and the session ends.
    let references = MemoryReferences::new();
    references.add("host/a/1/root.didx", [digest(1)]);
    drop(session);
    let young = fixture.store.begin_session().await.unwrap();
    fixture.insert(&young, 2).await;
    drop(young);
    fixture.clock.step_wall(START);
    collect(&*fixture.store, &references, &options(), &Control::new()).await.unwrap();
    assert!(fixture.holds(&digest(1)).await);
    assert!(fixture.holds(&digest(2)).await, "used within the grace, whatever the date was");
}

/// A store with an index that is needed, beside one that is whole.
async fn with_two_indexes() -> (OnDisk, MemoryReferences) {
    let fixture = OnDisk::new().await;
    fixture.fill(20).await;
    fixture.advance(2 * HOUR);
    let references = MemoryReferences::new();
    references.add("host/a/1/root.didx", (0..5).map(digest));
    references.add("host/b/1/root.didx", (5..10).map(digest));
    (fixture, references)
}

async fn all_there(fixture: &OnDisk) -> bool {
    for number in 0..20 {
        if !fixture.holds(&digest(number)).await {
            return false;
        }
    }
    true
}

/// H15 (I6): an index cannot be read.
#[tokio::test]
async fn h15_an_unreadable_index_stops_the_run_before_anything_goes() {
    let (fixture, references) = with_two_indexes().await;
    references.set_fault("host/b/1/root.didx", ReadFault::Unreadable);
    let result = collect(&*fixture.store, &references, &options(), &Control::new()).await;
    assert!(all_there(&fixture).await);
    let error = result.unwrap_err();
    assert!(
        matches!(&error, CollectError::ReadIndex { index, .. } if index == "host/b/1/root.didx"),
        "{error}"
    );
    assert!(error.to_string().contains("forget its snapshot"), "{error}");
}

/// H15 (I6): an index arrives in part, and nobody says so.
#[tokio::test]
async fn h15_an_index_that_is_cut_short_stops_the_run_before_anything_goes() {
    let (fixture, references) = with_two_indexes().await;
    references.set_fault("host/b/1/root.didx", ReadFault::CutShort);
    let result = collect(&*fixture.store, &references, &options(), &Control::new()).await;
    assert!(all_there(&fixture).await);
    let error = result.unwrap_err();
    assert!(matches!(error, CollectError::IndexCut { stated: 5, read: 2, .. }), "{error}");
}

/// H15 (I6): an index cannot be found although it is listed.
#[tokio::test]
async fn h15_an_index_that_is_listed_and_not_there_stops_the_run_before_anything_goes() {
    let (fixture, references) = with_two_indexes().await;
    references.set_fault("host/b/1/root.didx", ReadFault::Ghost);
    let result = collect(&*fixture.store, &references, &options(), &Control::new()).await;
    assert!(all_there(&fixture).await);
    assert!(matches!(result.unwrap_err(), CollectError::IndexUnstable { .. }));
}

/// H15 (I6): the listing of the indexes fails.
#[tokio::test]
async fn h15_a_failed_listing_stops_the_run_before_anything_goes() {
    let (fixture, references) = with_two_indexes().await;
    references.set_list_fails(true);
    let result = collect(&*fixture.store, &references, &options(), &Control::new()).await;
    assert!(all_there(&fixture).await);
    assert!(matches!(result.unwrap_err(), CollectError::ListIndexes(_)));
}

/// H15, the other side: once the cause is repaired, the next run is complete.
#[tokio::test]
async fn a_run_after_a_stopped_one_is_complete() {
    let (fixture, references) = with_two_indexes().await;
    references.set_fault("host/b/1/root.didx", ReadFault::Unreadable);
    assert!(collect(&*fixture.store, &references, &options(), &Control::new()).await.is_err());
    references.set_fault("host/b/1/root.didx", ReadFault::None);
    let report = collect(&*fixture.store, &references, &options(), &Control::new()).await.unwrap();
    assert_eq!((report.kept.count, report.removed.count), (10, 10));
}
