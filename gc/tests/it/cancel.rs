//! A run that is cancelled while it waits for something that never comes, or that then fails.

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};

use coldkeep_gc::testing::{MemoryReadError, MemoryReferences};
use coldkeep_gc::{Control, End, Outcome, References, Report, Sink, SweepTarget, collect};

use crate::fixture::{Fixture, HOUR, InMemory, Meddle, Moment, digest, options};

/// What becomes of the call during which the run is cancelled.
#[derive(Debug, Clone, Copy)]
enum Then {
    /// No answer, ever.
    Hangs,
    /// An error.
    Fails,
}

/// References that cancel the run at one of their calls.
struct Stuck<'a> {
    inner: &'a MemoryReferences,
    control: &'a Control,
    at: usize,
    then: Then,
    calls: AtomicUsize,
}

impl Stuck<'_> {
    async fn step(&self) -> Result<(), MemoryReadError> {
        if self.calls.fetch_add(1, Ordering::Relaxed) != self.at {
            return Ok(());
        }
        self.control.cancel();
        match self.then {
            Then::Hangs => pending().await,
            Then::Fails => Err(MemoryReadError),
        }
    }
}

impl References for Stuck<'_> {
    type Index = String;
    type Error = MemoryReadError;

    async fn list(&self) -> Result<Vec<String>, MemoryReadError> {
        self.step().await?;
        self.inner.list().await
    }

    async fn read(&self, index: &String, sink: Sink) -> Result<Outcome, MemoryReadError> {
        self.step().await?;
        self.inner.read(index, sink).await
    }
}

/// Two indexes of ten chunks each, one of the chunks missing, and ten that nobody refers to.
async fn filled() -> (InMemory, MemoryReferences) {
    let fixture = InMemory::new().await;
    fixture.fill(30).await;
    fixture.advance(2 * HOUR);
    let references = MemoryReferences::new();
    references.add("host/a/1/root.didx", (0..10).map(digest));
    references.add("host/b/1/root.didx", (10..20).map(digest));
    fixture.lose(&digest(3)).await;
    (fixture, references)
}

async fn ended(target: &impl SweepTarget, references: &impl References, control: &Control) -> Report {
    let report = collect(target, references, &options(), control).await.unwrap();
    assert_eq!(report.end, End::Cancelled);
    report
}

#[tokio::test]
async fn a_run_is_cancelled_whatever_the_references_do() {
    for then in [Then::Hangs, Then::Fails] {
        // A listing and two reads of the mark, the same to find the indexes that are broken.
        for at in 0..6 {
            let (fixture, inner) = filled().await;
            let control = Control::new();
            let references = Stuck { inner: &inner, control: &control, at, then, calls: AtomicUsize::new(0) };
            let report = ended(fixture.target(), &references, &control).await;
            assert!(control.is_cancelled(), "call {at}");
            assert_eq!(report.removed.count, if at < 3 { 0 } else { 10 }, "call {at}, {then:?}");
            if at >= 3 {
                assert!(report.missing.failure.is_some(), "nobody looked for the rest: {report}");
            }
        }
    }
}

#[tokio::test]
async fn a_run_is_cancelled_whatever_the_store_does() {
    for then in [Then::Hangs, Then::Fails] {
        for at in [Moment::Shards, Moment::List, Moment::Look] {
            let (fixture, references) = filled().await;
            let control = Control::new();
            let target = Meddle::new(fixture.target(), |moment, _| {
                let control = &control;
                async move {
                    if moment != at {
                        return true;
                    }
                    control.cancel();
                    match then {
                        Then::Hangs => pending().await,
                        Then::Fails => false,
                    }
                }
            });
            ended(&target, &references, &control).await;
            assert!(control.is_cancelled(), "{at:?}");
        }
    }
}
