//! A request can be dropped at any point: the client goes on, its one place is free, and nothing more is sent.

use std::future::pending;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use coldkeep_s3_client::credentials::{CredentialsFuture, CredentialsProvider};
use coldkeep_s3_client::testing::TestClock;
use coldkeep_s3_client::{Credentials, GetObject, Limits, PutObject, Rate};

use crate::scripted::*;

/// Only answers from the second time on.
#[derive(Default)]
struct Hesitant(AtomicU32);

impl CredentialsProvider for Hesitant {
    fn credentials(&self) -> CredentialsFuture<'_> {
        Box::pin(async {
            if self.0.fetch_add(1, Ordering::Relaxed) == 0 {
                pending::<()>().await;
            }
            Ok(Credentials::new("AKID", "secret").unwrap())
        })
    }
}

/// One place, no time passes unless told.
fn scene(limits: Limits, steps: Vec<Step>) -> Scene {
    let limits = limits.with_requests_in_flight(1).unwrap();
    Scene::built(config().with_limits(limits), TestClock::new(), steps, |builder| builder)
}

/// Begins a put and drops it.
async fn drop_a_put(scene: &Scene, op: &PutObject) {
    let mut dropped = pin!(scene.client.send(op));
    assert!(poll_once(dropped.as_mut()).await.is_none());
}

/// The client still works: one more request is sent, and only one.
async fn check(scene: &Scene, sent: usize) {
    assert_eq!((scene.script.under_way(), scene.script.count()), (0, sent));
    scene.script.then([answer(204)]);
    assert_eq!(scene.client.send(&delete()).await.unwrap().attempts, 1);
    assert_eq!(scene.script.count(), sent + 1);
}

#[tokio::test]
async fn while_it_waits_for_its_answer() {
    let scene = scene(Limits::default(), vec![Step::Stall(Duration::ZERO)]);
    drop_a_put(&scene, &put()).await;
    check(&scene, 1).await;
}

#[tokio::test]
async fn while_it_sends_its_body() {
    let rate = Rate::per_second(64 << 10).unwrap();
    let scene = scene(Limits::default().with_upload(rate), vec![answer(200).into()]);
    drop_a_put(&scene, &PutObject::new(key(), vec![0; 128 << 10])).await;
    assert_eq!(scene.script.requests()[0].body.len(), 64 << 10);
    check(&scene, 1).await;
}

#[tokio::test]
async fn while_it_reads_the_body_of_its_answer() {
    let silent = answer(200).body("abc").header("content-length", "9").stalled(Duration::ZERO);
    let scene = scene(Limits::default(), vec![silent.into()]);
    {
        let op: GetObject = get();
        let mut dropped = pin!(scene.client.send(&op));
        assert!(poll_once(dropped.as_mut()).await.is_none());
    }
    check(&scene, 1).await;
}

#[tokio::test]
async fn while_it_pauses_between_attempts() {
    let scene = scene(Limits::default(), vec![refusal(503, "SlowDown").into()]);
    drop_a_put(&scene, &put()).await;
    scene.clock.advance(60 * SECOND);
    check(&scene, 1).await;
}

#[tokio::test]
async fn while_it_waits_for_its_place() {
    let scene = scene(Limits::default(), vec![Step::Stall(Duration::ZERO)]);
    let op = put();
    {
        let mut first = pin!(scene.client.send(&op));
        assert!(poll_once(first.as_mut()).await.is_none());
        drop_a_put(&scene, &op).await;
        assert_eq!(scene.script.count(), 1);
    }
    check(&scene, 1).await;
}

#[tokio::test]
async fn while_it_waits_for_its_turn_by_the_rate() {
    let rate = Rate::per_second(1).unwrap();
    let scene = scene(Limits::default().with_requests(rate), vec![answer(200).into()]);
    scene.client.send(&put()).await.unwrap();
    drop_a_put(&scene, &put()).await;
    scene.clock.advance(60 * SECOND);
    check(&scene, 1).await;
}

#[tokio::test]
async fn while_it_waits_for_credentials() {
    let limits = Limits::default().with_requests_in_flight(1).unwrap();
    let nothing: [Answer; 0] = [];
    let scene = Scene::built(config().with_limits(limits), TestClock::new(), nothing, |builder| {
        builder.with_credentials(Hesitant::default())
    });
    drop_a_put(&scene, &put()).await;
    check(&scene, 0).await;
}

#[tokio::test]
async fn a_stream_in_its_middle() {
    let silent = answer(200).body("abc").header("content-length", "9").stalled(Duration::ZERO);
    let scene = scene(Limits::default(), vec![silent.into()]);
    let mut stream = scene.client.stream(&get()).await.unwrap().into_value();
    assert_eq!(stream.next().await.unwrap().unwrap(), "abc");
    {
        let mut dropped = pin!(stream.next());
        assert!(poll_once(dropped.as_mut()).await.is_none());
    }
    drop(stream);
    check(&scene, 1).await;
}
