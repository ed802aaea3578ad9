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

/// Answers to HEAD have no code, and one server says `AccessDenied`.
#[tokio::test]
async fn a_refusal_by_a_clock_that_is_far_off_is_a_complaint_of_skew() {
    for complaint in [answer(403), answer(400), refusal(400, "AccessDenied")] {
        let scene = Scene::new([complaint.header("date", HOUR_AHEAD), answer(200)]);
        assert_eq!(scene.client.send(&put()).await.unwrap().attempts, 2);
        assert_eq!(scene.script.requests()[1].header("x-amz-date"), Some("20231114T231320Z"));
    }
}

#[tokio::test]
async fn a_refusal_by_a_clock_like_ours_is_a_refusal() {
    for date in ["Tue, 14 Nov 2023 22:18:20 GMT", "Tue, 14 Nov 2023 22:08:20 GMT"] {
        let scene = Scene::new([refusal(403, "AccessDenied").header("date", date)]);
        let error = scene.client.send(&put()).await.unwrap_err();
        assert!(error.is_access_denied() && error.attempts() == 1, "{error:?}");
    }
    // A request that is wrong in another way is not blamed on the clock.
    let scene = Scene::new([refusal(400, "InvalidArgument").header("date", HOUR_AHEAD)]);
    assert_eq!(scene.client.send(&put()).await.unwrap_err().attempts(), 1);
    // Once put right, the clock is no excuse any more.
    let scene = Scene::new([complaint(HOUR_AHEAD), refusal(403, "AccessDenied").header("date", HOUR_AHEAD)]);
    assert_eq!(scene.client.send(&put()).await.unwrap_err().attempts(), 2);
    scene.script.then([refusal(403, "AccessDenied").header("date", HOUR_AHEAD)]);
    assert_eq!(scene.client.send(&put()).await.unwrap_err().attempts(), 1);
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

#[tokio::test]
async fn a_date_that_does_not_help_leaves_other_requests_alone() {
    let later = "Tue, 14 Nov 2023 23:13:20 GMT";
    let refused = || refusal(403, "AccessDenied");
    let scene = Scene::new([refused().header("date", later), refused(), answer(200)]);
    assert!(scene.client.send(&put()).await.is_err());
    scene.client.send(&put()).await.unwrap();
    let dates: Vec<_> =
        scene.script.requests().iter().map(|seen| seen.header("x-amz-date").unwrap().to_owned()).collect();
    assert_eq!(dates, ["20231114T221320Z", "20231114T231320Z", "20231114T221320Z"]);
}
