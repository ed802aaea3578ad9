//! What a run keeps, removes, counts and reports.

use std::time::Duration;

use coldkeep_gc::testing::{MEMORY_CHUNK_BYTES, MemoryReferences, ReadFault};
use coldkeep_gc::{
    CollectError, Control, End, Options, Outcome, Phase, References, Report, Sink, SweepTarget, collect,
    collect_into,
};

use crate::fixture::{Fixture, HOUR, Meddle, Moment, OnDisk, digest, on_each, options, side_files};

on_each![
    garbage_goes_and_what_an_index_names_stays,
    a_second_run_finds_nothing_to_do,
    young_chunks_are_pending_until_the_grace_is_over,
    grace_and_margin_of_zero_remove_garbage_at_once,
    a_dry_run_removes_nothing_and_says_what_would_go,
    bad_copies_stay_while_an_index_refers_to_the_digest,
    temporary_files_go_once_they_are_old,
    an_empty_store_is_collected,
    a_cancelled_mark_removes_nothing,
    a_cancelled_sweep_reports_what_it_did,
    a_failed_sweep_says_what_was_removed_and_the_next_run_goes_on,
    one_run_at_a_time,
    dropping_a_run_ends_it,
];

async fn collect_all<F: Fixture>(fixture: &F, references: &MemoryReferences, options: &Options) -> Report {
    collect(fixture.target(), references, options, &Control::new()).await.unwrap()
}

/// A store of 20 chunks, two hours old; an index names the first 8 of them, some more than once.
async fn filled<F: Fixture>() -> (F, MemoryReferences) {
    let fixture = F::new().await;
    fixture.fill(20).await;
    fixture.advance(2 * HOUR);
    let references = MemoryReferences::new();
    references.add("host/a/1/root.didx", (0..8).map(digest));
    references.add("host/a/2/root.didx", (2..6).map(digest));
    (fixture, references)
}

async fn garbage_goes_and_what_an_index_names_stays<F: Fixture>() {
    let (fixture, references) = filled::<F>().await;
    let report = collect_all(&fixture, &references, &options()).await;
    for number in 0..20 {
        assert_eq!(fixture.holds(&digest(number)).await, number < 8, "chunk {number}");
    }
    assert_eq!(report.end, End::Completed);
    assert_eq!((report.indexes, report.references, report.distinct_chunks), (2, 12, 8));
    assert_eq!((report.listed.count, report.kept.count, report.removed.count), (20, 8, 12));
    assert_eq!(report.listed.bytes, report.kept.bytes + report.removed.bytes);
    assert_eq!((report.pending.count, report.missing.chunks), (0, 0));
    assert_eq!(report.index_data_bytes, 12 * MEMORY_CHUNK_BYTES);
    let factor = report.index_data_bytes as f64 / report.kept.bytes as f64;
    assert!((report.dedup_factor - factor).abs() < 1e-9);
}

async fn a_second_run_finds_nothing_to_do<F: Fixture>() {
    let (fixture, references) = filled::<F>().await;
    collect_all(&fixture, &references, &options()).await;
    let report = collect_all(&fixture, &references, &options()).await;
    assert_eq!((report.listed.count, report.kept.count, report.removed.count), (8, 8, 0));
}

async fn young_chunks_are_pending_until_the_grace_is_over<F: Fixture>() {
    let (fixture, references) = filled::<F>().await;
    let long = options().with_grace(3 * HOUR);
    let report = collect_all(&fixture, &references, &long).await;
    assert_eq!((report.kept.count, report.pending.count, report.removed.count), (8, 12, 0));
    fixture.advance(2 * HOUR);
    let report = collect_all(&fixture, &references, &long).await;
    assert_eq!((report.pending.count, report.removed.count), (0, 12));
}

async fn grace_and_margin_of_zero_remove_garbage_at_once<F: Fixture>() {
    let fixture = F::new().await;
    fixture.fill(5).await;
    // In a bucket the age of the objects counts, too, and clocks may differ by 2 s (R7).
    fixture.advance(F::AGE_MIN);
    let references = MemoryReferences::new();
    references.add("host/a/1/root.didx", [digest(0)]);
    let report = collect_all(&fixture, &references, &options().with_grace(Duration::ZERO)).await;
    assert_eq!((report.kept.count, report.removed.count), (1, 4));
    assert!(fixture.holds(&digest(0)).await);
}

async fn a_dry_run_removes_nothing_and_says_what_would_go<F: Fixture>() {
    let (fixture, references) = filled::<F>().await;
    let dry = collect_all(&fixture, &references, &options().with_dry_run(true)).await;
    for number in 0..20 {
        assert!(fixture.holds(&digest(number)).await, "chunk {number}");
    }
    let wet = collect_all(&fixture, &references, &options()).await;
    assert!(dry.dry_run && !wet.dry_run);
    assert_eq!((dry.listed, dry.kept, dry.removed), (wet.listed, wet.kept, wet.removed));
}

async fn bad_copies_stay_while_an_index_refers_to_the_digest<F: Fixture>() {
    let (fixture, references) = filled::<F>().await;
    let (needed, unneeded) = (side_files(3).0, side_files(11).0);
    fixture.put_file(needed).await;
    fixture.put_file(unneeded).await;
    fixture.advance(2 * HOUR);
    let report = collect_all(&fixture, &references, &options()).await;
    assert!(fixture.holds_file(needed).await && !fixture.holds_file(unneeded).await);
    assert_eq!((report.bad_kept.count, report.bad_removed.count), (1, 1));
    assert_eq!(report.listed.count, 20, "bad copies are no chunks");
    references.forget("host/a/1/root.didx");
    references.forget("host/a/2/root.didx");
    let report = collect_all(&fixture, &references, &options()).await;
    assert!(!fixture.holds_file(needed).await);
    assert_eq!((report.bad_kept.count, report.bad_removed.count), (0, 1));
}

async fn temporary_files_go_once_they_are_old<F: Fixture>() {
    let (fixture, references) = filled::<F>().await;
    let (old, young) = (side_files(3).1, side_files(4).1);
    fixture.put_file(old).await;
    fixture.advance(2 * HOUR);
    fixture.put_file(young).await;
    let report = collect_all(&fixture, &references, &options()).await;
    assert!(!fixture.holds_file(old).await, "a referenced digest does not keep a left-over file");
    // Beside a bucket every writer holds lock(d) as long as there is such a file: what the sweep finds is nobody's.
    let young_kept = u64::from(F::KEEPS_YOUNG_TEMPORARIES);
    assert_eq!(fixture.holds_file(young).await, young_kept == 1);
    assert_eq!((report.temporary_removed.count, report.temporary_kept.count), (2 - young_kept, young_kept));
}

async fn an_empty_store_is_collected<F: Fixture>() {
    let report = collect_all(&F::new().await, &MemoryReferences::new(), &options()).await;
    assert_eq!((report.end, report.listed.count, report.indexes), (End::Completed, 0, 0));
    assert!((report.dedup_factor - 1.0).abs() < 1e-9);
}

async fn a_cancelled_mark_removes_nothing<F: Fixture>() {
    let (fixture, references) = filled::<F>().await;
    let control = Control::new();
    control.cancel();
    let report = collect(fixture.target(), &references, &options(), &control).await.unwrap();
    assert_eq!((report.end, report.removed.count, report.listed.count), (End::Cancelled, 0, 0));
    assert!(fixture.holds(&digest(19)).await);
    assert_eq!(control.progress().phase, Phase::Ended);
}

async fn a_cancelled_sweep_reports_what_it_did<F: Fixture>() {
    // Goal: cancelling between two calls of the store leaves true counts. Method: cancel before each call in turn.
    for at in 0.. {
        let (fixture, references) = filled::<F>().await;
        let control = Control::new();
        let target = Meddle::new(fixture.target(), |_, call| {
            if call == at {
                control.cancel();
            }
            async { true }
        });
        let report = collect(&target, &references, &options(), &control).await.unwrap();
        if target.calls() <= at {
            assert!(at > 2 && report.end == End::Completed);
            break;
        }
        assert_eq!(report.end, End::Cancelled, "cancelled before call {at}");
        let mut stored = 0;
        for number in 0..20 {
            let holds = fixture.holds(&digest(number)).await;
            assert!(holds || number >= 8, "chunk {number}");
            stored += u64::from(holds);
        }
        assert_eq!(report.removed.count, 20 - stored, "cancelled before call {at}");
        let report = collect_all(&fixture, &references, &options()).await;
        assert_eq!((report.end, report.listed.count), (End::Completed, stored));
        assert!(!fixture.holds(&digest(8)).await);
    }
}

async fn a_failed_sweep_says_what_was_removed_and_the_next_run_goes_on<F: Fixture>() {
    for failing in [Moment::Shards, Moment::List, Moment::Remove] {
        let (fixture, references) = filled::<F>().await;
        // Late enough that something was removed before, where there are several calls of a kind.
        let first = if failing == Moment::List { F::LISTS_FAIL_FROM } else { 0 };
        let target =
            Meddle::new(
                fixture.target(),
                |moment, call| async move { !(moment == failing && call >= first) },
            );
        let mut so_far = Report::default();
        let both = (&target, &references);
        let error = collect_into(&mut so_far, both, &options(), &Control::new()).await.unwrap_err();
        let CollectError::Sweep { removed, .. } = error else { panic!("{error}") };
        assert_eq!((so_far.end, so_far.references, so_far.removed), (End::Failed, 12, removed));
        let mut stored = 0;
        for number in 0..20 {
            stored += u64::from(fixture.holds(&digest(number)).await);
        }
        assert_eq!(removed.count, 20 - stored);
        assert!(removed.count < 12);
        let report = collect_all(&fixture, &references, &options()).await;
        assert_eq!((report.kept.count, report.removed.count), (8, stored - 8));
    }
}

async fn one_run_at_a_time<F: Fixture>() {
    let (fixture, references) = filled::<F>().await;
    let run = fixture.target().begin_run(HOUR, Duration::ZERO).await.unwrap();
    let error = collect(fixture.target(), &references, &options(), &Control::new()).await.unwrap_err();
    assert!(matches!(error, CollectError::Begin(_)), "{error}");
    drop(run);
    collect_all(&fixture, &references, &options()).await;
}

async fn dropping_a_run_ends_it<F: Fixture>() {
    // Goal: dropping the future at any call loses nothing and lets the next run begin. Method: the store never answers.
    for at in 0.. {
        let (fixture, references) = filled::<F>().await;
        let target = Meddle::new(fixture.target(), |_, call| async move {
            if call >= at {
                std::future::pending::<()>().await;
            }
            true
        });
        let (options, control) = (options(), Control::new());
        let mut run = Box::pin(collect(&target, &references, &options, &control));
        // Until it hangs at that call; blocking work on other threads takes the time it takes.
        let mut is_over = false;
        while !is_over && target.calls() <= at {
            is_over = futures_util::poll!(&mut run).is_ready();
            tokio::task::yield_now().await;
        }
        drop(run);
        if is_over {
            assert!(at > 2 && target.calls() == at);
            break;
        }
        // Work that a dropped run left on another thread may go on for a moment.
        let report = collect_all(&fixture, &references, &options).await;
        assert_eq!((report.end, report.kept.count), (End::Completed, 8), "dropped at call {at}");
        assert!(!fixture.holds(&digest(8)).await);
    }
}

#[tokio::test]
async fn a_spawned_task_collects_many_indexes_and_shards_in_parallel() {
    let fixture = OnDisk::new().await;
    fixture.fill(3000).await;
    fixture.advance(2 * HOUR);
    let references = MemoryReferences::new();
    for index in 0..10 {
        references.add(&format!("vm/{index}/1/disk.fidx"), (0..2500).map(digest));
    }
    let control = Control::new();
    let (store, watched) = (fixture.store.clone(), control.clone());
    let run = tokio::spawn(async move {
        collect(&*store, &references, &options().with_parallel(3, 3), &watched).await.unwrap()
    });
    let report = run.await.unwrap();
    assert_eq!((report.references, report.distinct_chunks), (25_000, 2500));
    assert_eq!((report.kept.count, report.removed.count), (2500, 500));
    let progress = control.progress();
    assert_eq!((progress.references, progress.listed, progress.removed.count), (25_000, 3000, 500));
}

#[tokio::test]
async fn the_report_is_json_with_stable_names() {
    let (fixture, references) = filled::<OnDisk>().await;
    let report = collect_all(&fixture, &references, &options()).await;
    let json = serde_json::to_value(&report).unwrap();
    let names = [
        "end",
        "dry_run",
        "started_at",
        "cutoff",
        "oldest_session_at",
        "indexes",
        "vanished_indexes",
        "references",
        "distinct_chunks",
        "failed",
        "failures",
        "healed",
        "in_limbo",
        "removed_per_second",
        "requests",
        "unexpected_indexes",
        "unexpected_indexes_unnamed",
        "unfinished",
        "uploads_kept",
        "uploads_removed",
        "index_data_bytes",
        "dedup_factor",
        "set_memory_bytes",
        "listed",
        "kept",
        "pending",
        "removed",
        "bad_kept",
        "bad_removed",
        "temporary_kept",
        "temporary_removed",
        "missing",
        "phases",
        "references_per_second",
        "listed_per_second",
    ];
    let mut found: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = names.to_vec();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(json["end"], "completed");
    assert_eq!(json["removed"]["count"], 12);
    assert_eq!(json["phases"][1]["phase"], "mark");
    let text = report.to_string();
    assert!(text.contains("removed 12 chunks") && !text.contains("MISSING"), "{text}");
}

#[tokio::test]
async fn a_snapshot_removed_during_the_mark_is_tolerated_and_its_chunks_wait_for_the_next_run() {
    let (fixture, references) = filled::<OnDisk>().await;
    references.set_fault("host/a/1/root.didx", ReadFault::Removed);
    let report = collect_all(&fixture, &references, &options()).await;
    assert_eq!((report.indexes, report.vanished_indexes), (1, 1));
    assert_eq!((report.kept.count, report.removed.count), (4, 16));
}

#[tokio::test]
async fn an_index_that_was_replaced_during_the_mark_is_read_again() {
    let (fixture, references) = filled::<OnDisk>().await;
    references.set_fault("host/a/1/root.didx", ReadFault::Replaced);
    let report = collect_all(&fixture, &references, &options()).await;
    assert_eq!((report.indexes, report.vanished_indexes, report.kept.count), (2, 0, 8));
}

/// Indexes whose stated sizes nobody checked, such as one that a bad disk changed.
struct MadeUpSizes;

impl References for MadeUpSizes {
    type Index = u8;
    type Error = std::convert::Infallible;

    async fn list(&self) -> Result<Vec<u8>, Self::Error> {
        Ok(vec![1, 2])
    }

    async fn read(&self, _index: &u8, _sink: Sink) -> Result<Outcome, Self::Error> {
        Ok(Outcome::Read { references: 0, data_bytes: u64::MAX })
    }
}

#[tokio::test]
async fn sizes_that_an_index_made_up_do_not_break_the_report() {
    let fixture = OnDisk::new().await;
    let report = collect(fixture.target(), &MadeUpSizes, &options(), &Control::new()).await.unwrap();
    assert_eq!(report.index_data_bytes, u64::MAX);
}
