//! Chunks that an index refers to and the store does not have.

use coldkeep_gc::testing::{MemoryReferences, ReadFault};
use coldkeep_gc::{Control, End, MISSING_SAMPLE_MAX, Phase, collect};

use crate::fixture::{Fixture, HOUR, Meddle, Moment, OnDisk, digest, on_each, options};

on_each![missing_chunks_are_named_with_the_indexes_they_break, a_whole_store_is_not_read_twice];

async fn filled<F: Fixture>() -> (F, MemoryReferences) {
    let fixture = F::new().await;
    fixture.fill(20).await;
    fixture.advance(2 * HOUR);
    let references = MemoryReferences::new();
    references.add("host/a/1/root.didx", (0..10).map(digest));
    references.add("host/b/1/root.didx", (5..15).chain(5..7).map(digest));
    references.add("host/c/1/root.didx", (15..20).map(digest));
    (fixture, references)
}

async fn missing_chunks_are_named_with_the_indexes_they_break<F: Fixture>() {
    let (fixture, references) = filled::<F>().await;
    for number in [0, 6] {
        fixture.lose(&digest(number)).await;
    }
    let report = collect(fixture.target(), &references, &options(), &Control::new()).await.unwrap();
    assert_eq!(report.end, End::Completed);
    assert_eq!((report.kept.count, report.distinct_chunks, report.missing.chunks), (18, 20, 2));
    let mut expected = [digest(0), digest(6)];
    expected.sort_unstable();
    assert_eq!(report.missing.sample, expected);
    let broken: Vec<_> =
        report.missing.broken_indexes.iter().map(|b| (b.index.as_str(), b.missing_references)).collect();
    assert_eq!(broken, [("host/a/1/root.didx", 2), ("host/b/1/root.didx", 2)]);
    assert!(report.to_string().contains("MISSING 2 referenced chunks; broken: 2 indexes"), "{report}");
}

async fn a_whole_store_is_not_read_twice<F: Fixture>() {
    let (fixture, references) = filled::<F>().await;
    let report = collect(fixture.target(), &references, &options(), &Control::new()).await.unwrap();
    assert!(report.phases.iter().all(|time| time.phase != Phase::FindMissing));
    assert_eq!(report.missing.chunks, 0);
}

#[tokio::test]
async fn a_chunk_that_the_listing_overlooked_is_not_reported() {
    // Goal: no false alarm. Method: a chunk is away while its shard is listed, as during a replacement, and there after.
    let (fixture, references) = filled::<OnDisk>().await;
    fixture.lose(&digest(3)).await;
    fixture.lose(&digest(12)).await;
    let target = Meddle::new(&*fixture.store, |moment, _| {
        let fixture = &fixture;
        async move {
            if moment == Moment::Look && !fixture.holds(&digest(3)).await {
                let session = fixture.store.begin_session().await.unwrap();
                fixture.insert(&session, 3).await;
            }
            true
        }
    });
    let report = collect(&target, &references, &options(), &Control::new()).await.unwrap();
    assert_eq!((report.missing.chunks, &report.missing.sample[..]), (1, &[digest(12)][..]));
    let broken: Vec<_> = report.missing.broken_indexes.iter().map(|broken| broken.index.as_str()).collect();
    assert_eq!(broken, ["host/b/1/root.didx"]);
}

/// Goal: a file that is too short to be a chunk is none (DESIGN "Filesystem stores"), for the audit too.
#[tokio::test]
async fn a_torn_chunk_is_missing() {
    let (fixture, references) = filled::<OnDisk>().await;
    fixture.tear(&digest(6));
    fixture.tear(&digest(12));
    fixture.tear(&digest(15));
    let report = collect(fixture.target(), &references, &options(), &Control::new()).await.unwrap();
    assert_eq!((report.listed.count, report.kept.count, report.missing.chunks), (17, 17, 3));
    assert_eq!(report.missing.broken_indexes.len(), 3);
    // What nothing refers to goes, torn or not.
    let report =
        collect(fixture.target(), &MemoryReferences::new(), &options(), &Control::new()).await.unwrap();
    assert_eq!((report.missing.chunks, report.removed.count), (0, 17));
    assert!(!fixture.holds(&digest(6)).await);
}

#[tokio::test]
async fn many_missing_chunks_are_counted_and_some_named() {
    let fixture = OnDisk::new().await;
    let references = MemoryReferences::new();
    references.add("host/a/1/root.didx", (0..3000).map(digest));
    let report = collect(&*fixture.store, &references, &options(), &Control::new()).await.unwrap();
    assert_eq!(report.missing.chunks, 3000);
    assert_eq!(report.missing.sample.len(), MISSING_SAMPLE_MAX);
    assert!(report.missing.sample.is_sorted());
    assert_eq!(report.missing.broken_indexes[0].missing_references, 3000);
}

#[tokio::test]
async fn an_index_that_turns_unreadable_after_the_mark_is_counted() {
    let (fixture, references) = filled::<OnDisk>().await;
    fixture.lose(&digest(0)).await;
    let target = Meddle::new(&*fixture.store, |_, _| {
        references.set_fault("host/a/1/root.didx", ReadFault::Unreadable);
        async { true }
    });
    let report = collect(&target, &references, &options(), &Control::new()).await.unwrap();
    assert_eq!((report.missing.chunks, report.missing.unread_indexes), (1, 1));
}

#[tokio::test]
async fn a_failed_second_look_is_told_and_the_run_stands() {
    let (fixture, references) = filled::<OnDisk>().await;
    fixture.lose(&digest(0)).await;
    let target = Meddle::new(&*fixture.store, |moment, _| async move { moment != Moment::Look });
    let report = collect(&target, &references, &options(), &Control::new()).await.unwrap();
    assert_eq!((report.end, report.missing.chunks), (End::Completed, 1));
    assert_eq!(report.missing.failure.as_deref(), Some("input/output error"));

    let target = Meddle::new(&*fixture.store, |_, _| {
        references.set_list_fails(true);
        async { true }
    });
    let report = collect(&target, &references, &options(), &Control::new()).await.unwrap();
    assert_eq!((report.end, report.missing.chunks), (End::Completed, 1));
    assert_eq!(report.missing.failure.as_deref(), Some("input/output error"));
}
