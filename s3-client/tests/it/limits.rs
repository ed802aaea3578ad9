//! Limits that clones share: requests at once, requests and bytes a second.

use std::pin::pin;
use std::time::Duration;

use coldkeep_s3_client::{CallOptions, Cause, Limits, Outcome, PutObject, Rate, RetryPolicy, Timeouts};

use crate::scripted::*;

fn scene(limits: Limits, steps: Vec<Step>) -> Scene {
    Scene::with(config().with_limits(limits), steps)
}

fn in_flight(count: usize) -> Limits {
    Limits::default().with_requests_in_flight(count).unwrap()
}

fn rate(per_second: u64) -> Rate {
    Rate::per_second(per_second).unwrap()
}

#[tokio::test]
async fn no_more_requests_are_under_way_than_allowed() {
    let scene = scene(in_flight(3), (0..10).map(|_| Step::Held(answer(200))).collect());
    let tasks: Vec<_> = (0..10)
        .map(|_| {
            let client = scene.client.clone();
            tokio::spawn(async move { client.send(&put()).await.unwrap() })
        })
        .collect();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!((scene.script.under_way(), scene.script.count()), (3, 3));
    scene.script.release(10);
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!((scene.script.most_under_way(), scene.script.count()), (3, 10));
}

#[tokio::test]
async fn a_request_that_pauses_leaves_its_place_to_others() {
    let limits = in_flight(1);
    let clock = coldkeep_s3_client::testing::TestClock::new();
    let steps = [refusal(503, "SlowDown"), answer(204), answer(200)];
    let scene = Scene::built(config().with_limits(limits), clock, steps, |builder| builder);
    let op = put();
    let mut pausing = pin!(scene.client.send(&op));
    assert!(poll_once(pausing.as_mut()).await.is_none());
    scene.client.send(&delete()).await.unwrap();
    scene.clock.advance(SECOND);
    assert_eq!(pausing.await.unwrap().attempts, 2);
}

#[tokio::test]
async fn a_retry_whose_time_is_over_before_its_turn_is_not_sent() {
    let clock = coldkeep_s3_client::testing::TestClock::new();
    let steps = [refusal(503, "SlowDown").into(), Step::Held(answer(204))];
    let scene = Scene::built(config().with_limits(in_flight(1)), clock, steps, |builder| builder);
    let (op, other) = (put(), delete());
    let timeouts = Timeouts::new(SECOND, 10 * SECOND, 20 * SECOND).unwrap();
    let options = CallOptions::new().with_timeouts(timeouts);
    let mut retried = pin!(scene.client.send_with(&op, &options));
    assert!(poll_once(retried.as_mut()).await.is_none());
    let mut other = pin!(scene.client.send(&other));
    assert!(poll_once(other.as_mut()).await.is_none());
    scene.clock.advance(20 * SECOND);
    assert!(poll_once(retried.as_mut()).await.is_none());
    scene.script.release(1);
    other.await.unwrap();
    let error = retried.await.unwrap_err();
    assert!(matches!(error.cause(), Cause::TimedOut { limit } if *limit == 20 * SECOND), "{error:?}");
    assert_eq!((error.attempts(), error.outcome(), scene.script.count()), (1, Outcome::NONE, 2));
}

#[tokio::test]
async fn a_dropped_request_gives_its_place_back() {
    let scene = scene(in_flight(1), vec![Step::Stall(Duration::ZERO), answer(200).into()]);
    {
        let op = put();
        let mut dropped = pin!(scene.client.send(&op));
        assert!(poll_once(dropped.as_mut()).await.is_none());
        assert_eq!(scene.script.under_way(), 1);
    }
    assert_eq!(scene.script.under_way(), 0);
    scene.client.send(&put()).await.unwrap();
}

#[tokio::test]
async fn requests_are_spaced_by_their_rate_retries_included() {
    let fail = || Step::from(refusal(503, "SlowDown"));
    let ok = || Step::from(answer(200));
    let limits = Limits::default().with_requests(rate(2).with_burst(1));
    let scene = scene(limits, vec![ok(), ok(), fail(), ok(), ok()]);
    for _ in 0..4 {
        scene.client.clone().send(&put()).await.unwrap();
    }
    let at: Vec<_> = scene.script.requests().iter().map(|seen| seen.at.as_millis()).collect();
    assert_eq!(at, [0, 500, 1000, 1500, 2000]);
}

#[tokio::test]
async fn uploads_keep_to_their_rate() {
    let scene =
        scene(Limits::default().with_upload(rate(64 << 10)), vec![answer(200).into(), answer(200).into()]);
    let content: Vec<u8> = (0..256 << 10).map(|idx| idx as u8).collect();
    let op = PutObject::new(key(), content.clone());
    scene.client.send(&op).await.unwrap();
    // The first second's worth goes at once, the other three one a second.
    assert_eq!(scene.clock.skipped(), [SECOND; 3]);
    assert_eq!(scene.script.requests()[0].body, content);
    scene.client.clone().send(&op).await.unwrap();
    assert_eq!(scene.clock.skipped(), [SECOND; 7]);
}

#[tokio::test]
async fn downloads_keep_to_their_rate() {
    let content = vec![7; 256 << 10];
    let ok = || answer(200).body(content.clone()).into();
    let scene = scene(Limits::default().with_download(rate(64 << 10)), vec![ok(), ok()]);
    assert_eq!(scene.client.send(&get()).await.unwrap().value.content, content);
    assert_eq!(scene.clock.skipped(), [SECOND; 3]);
    let mut stream = scene.client.stream(&get()).await.unwrap().into_value();
    let mut got = 0;
    while let Some(piece) = stream.next().await.unwrap() {
        got += piece.len();
    }
    assert_eq!((got, scene.clock.skipped().len()), (content.len(), 7));
}

#[tokio::test]
async fn a_limit_of_our_own_is_no_timeout_of_the_server() {
    // 256 KiB at 1 KiB/s take 255 s; an attempt has 34 s, none of which the server uses up.
    let limits =
        Limits::default().with_upload(rate(1 << 10).with_burst(1 << 10)).with_download(rate(1 << 10));
    let config = config().with_limits(limits).with_retry(RetryPolicy::never());
    let clock = coldkeep_s3_client::testing::TestClock::new();
    let content = vec![7; 256 << 10];
    let steps = [answer(200), answer(200).body(content.clone()), answer(200).body(content.clone())];
    let scene = Scene::built(config, clock, steps, |builder| builder);
    let op = PutObject::new(key(), content.clone());
    patiently(&scene, scene.client.send(&op)).await.unwrap();
    let object = patiently(&scene, scene.client.send(&get())).await.unwrap().into_value();
    assert_eq!(object.content, content);
    let mut stream = scene.client.stream(&get()).await.unwrap().into_value();
    let mut got = 0;
    while let Some(piece) = patiently(&scene, stream.next()).await.unwrap() {
        got += piece.len();
    }
    assert_eq!(got, content.len());
}

/// Waits for the work while time passes by the second.
async fn patiently<F: Future>(scene: &Scene, work: F) -> F::Output {
    let mut work = pin!(work);
    for _ in 0..1000 {
        if let Some(output) = poll_once(work.as_mut()).await {
            return output;
        }
        scene.clock.advance(SECOND);
    }
    panic!("the work does not end");
}
