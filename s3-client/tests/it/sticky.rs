//! Outcomes over several attempts (R9): nothing that an attempt may do is undone by the answer to another.

use coldkeep_s3_client::ops::{DeleteObjects, DeleteTarget};
use coldkeep_s3_client::{CallOptions, Effect, Outcome, Pending, Signing};

use crate::scripted::*;

fn lost() -> Step {
    Step::Stall(31 * SECOND)
}

fn applied(pending: Pending) -> Outcome {
    Outcome::new(Effect::Applied, pending)
}

#[tokio::test]
async fn h21_a_success_after_a_lost_attempt_is_still_unclear() {
    let scene = Scene::new([lost(), answer(204).into()]);
    let reply = scene.client.send(&delete()).await.unwrap();
    assert_eq!((reply.attempts, reply.outcome), (2, applied(Pending::Until(start() + WINDOW))));
    assert!(reply.outcome.is_unclear());
}

#[tokio::test]
async fn a_presigned_attempt_is_pending_until_its_expiry() {
    let (signed_at, expires_in) = (start() - 5 * SECOND, 60 * SECOND);
    let options = CallOptions::new().with_signing(Signing::Presigned { signed_at, expires_in });
    let deletes = DeleteObjects::new([DeleteTarget::new(key())]);
    let done = answer(200).body("<DeleteResult><Deleted><Key>key</Key></Deleted></DeleteResult>");
    let scene = Scene::new([lost(), done.into()]);
    let reply = scene.client.send_with(&deletes, &options).await.unwrap();
    assert_eq!(reply.outcome, applied(Pending::Until(signed_at + expires_in)));
}

#[tokio::test]
async fn a_fixed_signing_time_sets_the_end_of_the_window() {
    let signed_at = start() - 60 * SECOND;
    let options = CallOptions::new().with_signing(Signing::FixedHeaders { signed_at });
    let scene = Scene::new([lost(), answer(204).into()]);
    let reply = scene.client.send_with(&delete(), &options).await.unwrap();
    assert_eq!(reply.outcome, applied(Pending::Until(signed_at + WINDOW)));
}

#[tokio::test]
async fn without_a_window_a_lost_attempt_is_pending_for_ever() {
    let scene = Scene::with(config().with_signature_window(None), [lost(), answer(204).into()]);
    let reply = scene.client.send(&delete()).await.unwrap();
    assert_eq!(reply.outcome, applied(Pending::Unbounded));
    let signing = Signing::FixedHeaders { signed_at: start() };
    scene.script.then([Step::Broken, answer(204).into()]);
    let reply = scene.client.send_with(&delete(), &CallOptions::new().with_signing(signing)).await.unwrap();
    assert_eq!(reply.outcome, applied(Pending::Unbounded));
}

#[tokio::test]
async fn attempts_that_never_left_or_were_refused_leave_no_doubt() {
    let scene = Scene::new([Step::NotSent, refusal(503, "SlowDown").into(), answer(200).into()]);
    let reply = scene.client.send(&put()).await.unwrap();
    assert_eq!((reply.attempts, reply.outcome), (3, Outcome::APPLIED));
}

#[tokio::test]
async fn the_latest_signature_of_several_lost_attempts_counts() {
    let scene = Scene::new([lost(), lost(), refusal(503, "SlowDown").into(), answer(200).into()]);
    let reply = scene.client.send(&put()).await.unwrap();
    let second = scene.script.requests()[1].at;
    assert!(second >= 31 * SECOND);
    assert_eq!((reply.attempts, reply.outcome), (4, applied(Pending::Until(start() + second + WINDOW))));
}

#[tokio::test]
async fn a_refusal_after_a_lost_attempt_leaves_it_unclear() {
    // The conditional put that meets its own first attempt (spec `s3-servers.md` §3, point 2).
    let scene = Scene::new([Step::Broken, refusal(412, "PreconditionFailed").into()]);
    let error = scene.client.send(&put().if_absent()).await.unwrap_err();
    assert!(error.is_precondition_failed());
    assert_eq!(error.attempts(), 2);
    assert_eq!(error.outcome(), Outcome::new(Effect::Unknown, Pending::Until(start() + WINDOW)));
}

#[tokio::test]
async fn reads_are_never_unclear() {
    let scene = Scene::new([lost(), Step::Broken, answer(200).body("x").into()]);
    let reply = scene.client.send(&get()).await.unwrap();
    assert_eq!((reply.attempts, reply.outcome), (3, Outcome::NONE));
}

#[tokio::test]
async fn attempts_with_a_fixed_signing_time_are_the_same_to_the_byte() {
    for signing in [
        Signing::FixedHeaders { signed_at: start() - 3 * SECOND },
        Signing::Presigned { signed_at: start() - 3 * SECOND, expires_in: 300 * SECOND },
    ] {
        let scene = Scene::new([lost(), Step::Broken, answer(200).into()]);
        let options = CallOptions::new().with_signing(signing);
        scene.client.send_with(&put(), &options).await.unwrap();
        let requests = scene.script.requests();
        assert_eq!(requests.len(), 3);
        for request in &requests {
            assert_eq!((&request.uri, &request.headers), (&requests[0].uri, &requests[0].headers));
            assert_eq!(request.body, b"123456789");
        }
        let first = &requests[0];
        let is_presigned = matches!(signing, Signing::Presigned { .. });
        assert_eq!(first.uri.contains("X-Amz-Date=20231114T221317Z&X-Amz-Expires=300"), is_presigned);
        assert_eq!(first.header("x-amz-date"), (!is_presigned).then_some("20231114T221317Z"));
        assert_eq!(first.header("authorization").is_some(), !is_presigned);
    }
}

#[tokio::test]
async fn each_attempt_is_signed_afresh_by_default() {
    let scene = Scene::new([lost(), lost(), answer(200).into()]);
    scene.client.send(&put()).await.unwrap();
    let requests = scene.script.requests();
    let dates: Vec<_> = requests.iter().map(|request| request.header("x-amz-date").unwrap()).collect();
    assert_eq!(dates[..2], ["20231114T221320Z", "20231114T221351Z"]);
    assert!(dates[2] > dates[1], "{dates:?}");
    assert_ne!(requests[0].header("authorization"), requests[1].header("authorization"));
}

#[tokio::test]
async fn where_presigned_requests_do_not_expire_a_lost_one_is_pending_for_ever() {
    let signing = Signing::Presigned { signed_at: start(), expires_in: 60 * SECOND };
    let options = CallOptions::new().with_signing(signing);
    let scene = Scene::with(config().without_presigned_expiry(), [lost(), answer(204).into()]);
    let reply = scene.client.send_with(&delete(), &options).await.unwrap();
    assert_eq!(reply.outcome, applied(Pending::Unbounded));
}
