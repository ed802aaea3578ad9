//! Clocks that differ.

use coldkeep_s3_client::{CallOptions, Effect, ErrorCode, Outcome, Pending, RetryPolicy, Signing};

use crate::scripted::*;

const HOUR_AHEAD: &str = "Tue, 14 Nov 2023 23:13:20 GMT";
const HOUR_BEHIND: &str = "Tue, 14 Nov 2023 21:13:20 GMT";

fn complaint(date: &str) -> Answer {
    refusal(403, "RequestTimeTooSkewed").header("date", date)
}

#[tokio::test]
async fn a_skewed_clock_is_put_right_once_and_stays_right() {
    for (date, dates) in [
        (HOUR_AHEAD, ["20231114T221320Z", "20231114T231320Z", "20231114T231320Z"]),
        (HOUR_BEHIND, ["20231114T221320Z", "20231114T211320Z", "20231114T211320Z"]),
    ] {
        // Putting the clock right is no retry: it happens without any, too.
        let scene = Scene::with(config().with_retry(RetryPolicy::never()), [complaint(date), answer(200)]);
        let reply = scene.client.send(&put()).await.unwrap();
        assert_eq!((reply.attempts, reply.outcome), (2, Outcome::APPLIED));
        scene.script.then([answer(204)]);
        assert_eq!(scene.client.clone().send(&delete()).await.unwrap().attempts, 1);
        let requests = scene.script.requests();
        let seen: Vec<_> = requests.iter().map(|request| request.header("x-amz-date").unwrap()).collect();
        assert_eq!(seen, dates);
        assert!(scene.clock.skipped().is_empty());
    }
}

#[tokio::test]
async fn a_second_complaint_is_an_error() {
    let scene = Scene::new([complaint(HOUR_AHEAD), complaint(HOUR_BEHIND)]);
    let error = scene.client.send(&put()).await.unwrap_err();
    assert_eq!((error.attempts(), scene.script.count()), (2, 2));
    assert_eq!(error.service_error().unwrap().code(), &ErrorCode::RequestTimeTooSkewed);
    assert_eq!(error.outcome(), Outcome::NONE);
}

#[tokio::test]
async fn a_time_that_the_caller_fixed_is_never_adjusted() {
    for signing in [
        Signing::FixedHeaders { signed_at: start() },
        Signing::Presigned { signed_at: start(), expires_in: 60 * SECOND },
    ] {
        let scene = Scene::new([complaint(HOUR_AHEAD)]);
        let options = CallOptions::new().with_signing(signing);
        let error = scene.client.send_with(&delete(), &options).await.unwrap_err();
        assert_eq!((error.attempts(), scene.script.count()), (1, 1));
        // Nor do others learn from it.
        scene.script.then([answer(204)]);
        scene.client.send(&delete()).await.unwrap();
        assert_eq!(scene.script.requests()[1].header("x-amz-date"), Some("20231114T221320Z"));
    }
}

#[tokio::test]
async fn a_known_skew_leaves_fixed_times_alone() {
    let scene = Scene::new([complaint(HOUR_AHEAD), answer(204), answer(204)]);
    scene.client.send(&delete()).await.unwrap();
    let signing = Signing::FixedHeaders { signed_at: start() + 3590 * SECOND };
    scene.client.send_with(&delete(), &CallOptions::new().with_signing(signing)).await.unwrap();
    assert_eq!(scene.script.requests()[2].header("x-amz-date"), Some("20231114T231310Z"));
}

#[tokio::test]
async fn a_lost_attempt_is_pending_by_the_servers_clock() {
    let scene = Scene::new([complaint(HOUR_AHEAD).into(), Step::Broken, answer(204).into()]);
    let reply = scene.client.send(&delete()).await.unwrap();
    let expiry = start() + 3600 * SECOND + WINDOW;
    assert_eq!(reply.attempts, 3);
    assert_eq!(reply.outcome, Outcome::new(Effect::Applied, Pending::Until(expiry)));
}
