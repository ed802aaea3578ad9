//! Removals that keep to a rate, and what a run waits for.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use coldkeep_chunk_store::StoreTime;
use coldkeep_chunk_store::dir::EntryName;
use coldkeep_gc::testing::{MemoryReferences, MemoryStore};
use coldkeep_gc::{Control, End, References, Sink, Tidied, collect};

use crate::fixture::{HOUR, Meddle, Moment, START, digest, options};

fn store_of(garbage: u32) -> MemoryStore {
    let store = MemoryStore::at(START);
    for number in 0..garbage {
        store.put(EntryName::chunk(digest(number)), 100);
    }
    store.advance(2 * HOUR);
    store
}

#[tokio::test]
async fn no_more_is_removed_a_second_than_was_asked_for() {
    let store = store_of(20);
    let before = store.now();
    let options = options().with_delete_rate_max(Some(4));
    let report = collect(&store, &MemoryReferences::new(), &options, &Control::new()).await.unwrap();
    assert_eq!(report.removed.count, 20);
    // Five batches of a second's worth: the first goes at once.
    assert_eq!(store.now().since(before), Duration::from_secs(4));
    // A rate that is not reached costs no time, and neither does any in a dry run.
    for options in [options.clone().with_delete_rate_max(Some(1000)), options.with_dry_run(true)] {
        let (store, before) = (store_of(20), START.plus(2 * HOUR));
        collect(&store, &MemoryReferences::new(), &options, &Control::new()).await.unwrap();
        assert_eq!(store.now(), before);
    }
}

#[tokio::test]
async fn a_run_that_waits_for_its_rate_can_be_cancelled() {
    let store = store_of(20);
    let control = Control::new();
    let removals = AtomicUsize::new(0);
    let target = Meddle::new(&store, |moment, _| {
        if moment == Moment::Remove && removals.fetch_add(1, Ordering::Relaxed) == 1 {
            control.cancel();
        }
        async { true }
    });
    let options = options().with_delete_rate_max(Some(1));
    let report = collect(&target, &MemoryReferences::new(), &options, &control).await.unwrap();
    assert_eq!((report.end, report.removed.count, report.pending.count), (End::Cancelled, 1, 19));
}

/// References with an index in an odd place and something to tidy.
struct Untidy(MemoryReferences);

impl References for Untidy {
    type Index = String;
    type Error = <MemoryReferences as References>::Error;

    async fn list(&self) -> Result<Vec<String>, Self::Error> {
        self.0.list().await
    }

    fn is_unexpected(&self, index: &String) -> bool {
        index.starts_with("odd")
    }

    async fn tidy(&self, cutoff: StoreTime, dry_run: bool, control: &Control) -> Tidied {
        assert_eq!(cutoff, START.plus(HOUR), "that of the run");
        assert!(!control.is_cancelled());
        if !dry_run {
            self.0.forget("host/unfinished/root.didx");
        }
        let failures = vec!["one could not be removed".to_owned()];
        Tidied { removed: 1, in_use: 2, failures, failures_unnamed: 0 }
    }

    async fn read(&self, index: &String, sink: Sink) -> Result<coldkeep_gc::Outcome, Self::Error> {
        self.0.read(index, sink).await
    }
}

#[tokio::test]
async fn unexpected_indexes_count_and_are_named_and_unfinished_ones_go_before_the_mark() {
    let store = store_of(6);
    let references = MemoryReferences::new();
    references.add("odd/place/root.didx", [digest(0), digest(1)]);
    references.add("host/a/1/root.didx", [digest(2)]);
    references.add("host/unfinished/root.didx", [digest(3)]);
    let report = collect(&store, &Untidy(references), &options(), &Control::new()).await.unwrap();
    assert_eq!((report.indexes, report.kept.count, report.removed.count), (2, 3, 3));
    assert_eq!(report.unexpected_indexes, ["odd/place/root.didx"]);
    assert_eq!((report.unfinished.removed, report.unfinished.in_use), (1, 2));
    let text = report.to_string();
    for line in ["none is expected, and counts: odd/place", "unfinished snapshots: removed 1, in use 2"] {
        assert!(text.contains(line), "{text}");
    }
}
