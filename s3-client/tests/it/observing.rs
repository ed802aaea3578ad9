//! The observer is told of each attempt, and the counters add up.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use coldkeep_s3_client::testing::TestClock;
use coldkeep_s3_client::{Attempt, Effect, Observer, Operation, Outcome, Pending};

use crate::scripted::*;

#[derive(Debug, PartialEq, Eq)]
struct Note {
    operation: Operation,
    target: String,
    number: u32,
    took: Duration,
    status: Option<u16>,
    failure: Option<String>,
    outcome: Outcome,
    retry_in: Option<Duration>,
}

#[derive(Default)]
struct Notes(Mutex<Vec<Note>>);

impl Observer for Notes {
    fn attempt(&self, attempt: &Attempt<'_>) {
        self.0.lock().unwrap().push(Note {
            operation: attempt.operation,
            target: attempt.target.to_owned(),
            number: attempt.number,
            took: attempt.took,
            status: attempt.status,
            failure: attempt.failure.map(ToString::to_string),
            outcome: attempt.outcome,
            retry_in: attempt.retry_in,
        });
    }
}

fn watched(steps: Vec<Step>) -> (Scene, Arc<Notes>) {
    let notes = Arc::new(Notes::default());
    let clock = TestClock::skipping(25 * SECOND);
    let scene = Scene::built(config(), clock, steps, |builder| builder.with_observer(notes.clone()));
    (scene, notes)
}

#[tokio::test]
async fn the_observer_is_told_of_each_attempt() {
    let (scene, notes) = watched(vec![
        Step::Stall(31 * SECOND),
        refusal(503, "SlowDown").header("retry-after", "4").into(),
        Step::Late(2 * SECOND, answer(200)),
    ]);
    scene.client.send(&put()).await.unwrap();
    let pauses = scene.clock.skipped();
    let note = |number, took, status, failure: Option<&str>, outcome, retry_in| Note {
        operation: Operation::PutObject,
        target: "bucket/key".to_owned(),
        number,
        took,
        status,
        failure: failure.map(str::to_owned),
        outcome,
        retry_in,
    };
    let unclear = Outcome::new(Effect::Unknown, Pending::Until(start() + WINDOW));
    let silence = "there was no complete answer within 30s";
    let slow_down = "the service answered: SlowDown (status 503): no, request R1";
    let expected = [
        note(1, 31 * SECOND, None, Some(silence), unclear, Some(pauses[0])),
        note(2, Duration::ZERO, Some(503), Some(slow_down), Outcome::NONE, Some(4 * SECOND)),
        note(3, 2 * SECOND, Some(200), None, Outcome::APPLIED, None),
    ];
    assert_eq!(*notes.0.lock().unwrap(), expected);
}

#[tokio::test]
async fn the_last_failure_has_no_next_attempt() {
    let (scene, notes) = watched(vec![refusal(403, "AccessDenied").into()]);
    scene.client.send(&get()).await.unwrap_err();
    let notes = notes.0.lock().unwrap();
    assert_eq!((notes.len(), notes[0].status, notes[0].retry_in), (1, Some(403), None));
    assert_eq!(notes[0].outcome, Outcome::NONE);
}

#[tokio::test]
async fn counters_add_up_over_clones() {
    let (scene, _) = watched(vec![
        Step::Broken,
        refusal(503, "SlowDown").into(),
        answer(200).into(),
        refusal(404, "NoSuchKey").into(),
        Step::Late(3 * SECOND, answer(200).body("abc")),
    ]);
    let clone = scene.client.clone();
    clone.send(&put()).await.unwrap();
    clone.send(&get()).await.unwrap_err();
    scene.client.send(&get()).await.unwrap();
    drop(clone);

    let stats = scene.client.stats();
    let put = &stats.operations[&Operation::PutObject];
    assert_eq!((put.requests, put.attempts, put.retries, put.failed), (1, 3, 2, 0));
    assert_eq!((put.bytes_sent, put.errors["connection"], put.errors["SlowDown"]), (27, 1, 1));
    let get = &stats.operations[&Operation::GetObject];
    assert_eq!((get.requests, get.attempts, get.retries, get.failed), (2, 2, 0, 1));
    assert_eq!((get.errors.len(), get.errors["NoSuchKey"]), (1, 1));
    // Three bytes of content, and the error document.
    assert!(get.bytes_received > 3);
    assert_eq!(get.latency.buckets().iter().sum::<u64>(), 1);
    assert!(get.latency.quantile(1.0).unwrap() >= 3 * SECOND);
    let total = stats.total();
    assert_eq!((total.requests, total.attempts, total.failed), (3, 5, 1));
}

#[tokio::test]
async fn a_request_that_cannot_be_made_is_counted_as_failed_and_sends_nothing() {
    let (scene, notes) = watched(vec![]);
    let op = put().with_metadata("a b", "c");
    let error = scene.client.send(&op).await.unwrap_err();
    assert_eq!((error.attempts(), error.outcome()), (0, Outcome::NONE));
    let stats = scene.client.stats().total();
    assert_eq!((stats.requests, stats.attempts, stats.failed), (1, 0, 1));
    assert!(notes.0.lock().unwrap().is_empty());
}
