//! Deadlines of attempts: they grow with the payload, and head and body have one each.

use std::time::Duration;

use coldkeep_s3_client::{CallOptions, Cause, PutObject, RequestError, RetryPolicy, Timeouts};

use crate::scripted::*;

fn once() -> CallOptions {
    CallOptions::new().with_retry(RetryPolicy::never())
}

/// 30 s and a second for each KiB.
fn slow() -> Timeouts {
    Timeouts::default().with_bytes_per_second_min(1024).unwrap()
}

fn limit(error: &RequestError) -> Duration {
    let Cause::TimedOut { limit } = error.cause() else { panic!("{error:?}") };
    *limit
}

#[tokio::test]
async fn the_deadline_of_an_attempt_grows_with_its_payload() {
    for (bytes, seconds) in [(0, 30), (10 << 10, 40), (100 << 10, 130)] {
        let op = PutObject::new(key(), vec![0; bytes]);
        let steps = [Step::Stall((seconds - 1) * SECOND), Step::Stall(seconds * SECOND)];
        let scene = Scene::with(config().with_timeouts(slow()), steps);
        let options = once();
        let mut early = std::pin::pin!(scene.client.send_with(&op, &options));
        assert!(poll_once(early.as_mut()).await.is_none(), "{bytes}");
        scene.clock.advance(SECOND);
        assert_eq!(limit(&early.await.unwrap_err()), seconds * SECOND);
        let late = scene.client.send_with(&op, &options).await.unwrap_err();
        assert_eq!(limit(&late), seconds * SECOND);
    }
}

#[tokio::test]
async fn one_request_can_have_timeouts_of_its_own() {
    let scene = Scene::new([Step::Stall(100 * SECOND)]);
    let timeouts = Timeouts::new(SECOND, 90 * SECOND, 90 * SECOND).unwrap();
    let error = scene.client.send_with(&get(), &once().with_timeouts(timeouts)).await.unwrap_err();
    assert_eq!(limit(&error), 90 * SECOND);
}

#[tokio::test]
async fn an_answer_just_in_time_counts() {
    let scene = Scene::new([Step::Late(29 * SECOND, answer(200))]);
    assert_eq!(scene.client.send(&put()).await.unwrap().attempts, 1);
}

#[tokio::test]
async fn the_body_has_time_of_its_own_that_grows_with_its_length() {
    let body = || answer(200).body(vec![b'x'; 10 << 10]);
    // 29 s for the head and 39 s for the body are fine.
    let slow_body = body().header("content-length", "10241").stalled(39 * SECOND);
    let scene = Scene::with(config().with_timeouts(slow()), [Step::Late(29 * SECOND, slow_body)]);
    let op = get();
    let options = once();
    let mut reading = std::pin::pin!(scene.client.send_with(&op, &options));
    assert!(poll_once(reading.as_mut()).await.is_none());
    scene.clock.advance(SECOND);
    assert_eq!(limit(&reading.await.unwrap_err()), 40 * SECOND);

    let scene = Scene::with(config().with_timeouts(slow()), [Step::Late(29 * SECOND, body())]);
    assert_eq!(scene.client.send(&get()).await.unwrap().value.content.len(), 10 << 10);
}

#[tokio::test]
async fn the_status_of_an_error_counts_though_its_body_never_comes() {
    let silent = answer(503).header("content-length", "100").stalled(31 * SECOND);
    let scene = Scene::new([silent, answer(200)]);
    assert_eq!(scene.client.send(&put()).await.unwrap().attempts, 2);
}

#[tokio::test]
async fn a_length_beyond_all_reason_is_bounded_not_a_panic() {
    let timeouts = Timeouts::default().with_bytes_per_second_min(1).unwrap();
    let endless = answer(200).body("x").header("content-length", "18446744073709551615");
    let scene = Scene::with(config().with_timeouts(timeouts), [endless]);
    let error = scene.client.send_with(&get().with_bytes_max(u64::MAX), &once()).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::Malformed(_)), "{error:?}");
}
