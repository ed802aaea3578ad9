//! Puts of objects that are named by their content (R3).

use coldkeep_s3_client::{
    CallOptions, Cause, Effect, Outcome, Pending, PutNew, Quirk, Quirks, RetryPolicy, Signing,
};

use crate::scripted::*;

fn conditions(scene: &Scene) -> Vec<bool> {
    scene.script.requests().iter().map(|request| request.header("if-none-match") == Some("*")).collect()
}

fn options(attempts: u32) -> CallOptions {
    CallOptions::new().with_retry(RetryPolicy::default().with_attempts_max(attempts).unwrap())
}

fn stored() -> Answer {
    answer(200).header("etag", "\"tag\"")
}

#[tokio::test]
async fn the_first_writer_creates_and_the_next_finds_it_there() {
    let scene = Scene::new([stored(), refusal(412, "PreconditionFailed")]);
    let first = scene.client.put_new_or_overwrite(&put(), &options(6)).await.unwrap();
    assert!(matches!(&first.value, PutNew::Created(stored) if stored.etag.is_some()));
    let second = scene.client.put_new_or_overwrite(&put(), &options(6)).await.unwrap();
    assert_eq!((second.value, second.attempts), (PutNew::AlreadyThere, 1));
    assert_eq!(second.outcome.effect(), Effect::None);
    assert_eq!(conditions(&scene), [true, true]);
}

#[tokio::test]
async fn h05_puts_that_keep_colliding_succeed_in_the_end() {
    let conflict = || refusal(409, "ConditionalRequestConflict");
    let scene = Scene::new([conflict(), conflict(), conflict()]);
    scene.script.then([stored()]);
    let reply = scene.client.put_new_or_overwrite(&put(), &options(4)).await.unwrap();
    assert!(matches!(reply.value, PutNew::Overwritten(_)));
    assert_eq!(reply.attempts, 4);
    assert!(!reply.outcome.is_unclear());
    // A condition on the last one could meet a fourth conflict.
    assert_eq!(conditions(&scene), [true, true, true, false]);
    assert!(scene.script.requests().windows(2).all(|pair| pair[1].at > pair[0].at), "each after a pause");
}

#[tokio::test]
async fn a_put_that_meets_its_own_lost_attempt_is_already_there_and_unclear() {
    let scene = Scene::new([Step::Broken, refusal(412, "PreconditionFailed").into()]);
    let reply = scene.client.put_new_or_overwrite(&put(), &options(6)).await.unwrap();
    assert_eq!((reply.value, reply.attempts), (PutNew::AlreadyThere, 2));
    assert_eq!(
        (reply.outcome.effect(), reply.outcome.pending()),
        (Effect::Unknown, Pending::Until(start() + WINDOW))
    );
}

#[tokio::test]
async fn what_is_no_conflict_and_does_not_pass_is_an_error_at_once() {
    for (status, code) in [(403, "AccessDenied"), (404, "NoSuchBucket"), (501, "NotImplemented")] {
        let scene = Scene::new([refusal(status, code)]);
        let error = scene.client.put_new_or_overwrite(&put(), &options(6)).await.unwrap_err();
        assert_eq!((error.attempts(), scene.script.count()), (1, 1), "{code}");
    }
}

#[tokio::test]
async fn if_the_last_attempt_fails_too_the_error_covers_all_of_them() {
    let scene = Scene::new([Step::Broken, Step::NotSent, Step::NotSent]);
    let error = scene.client.put_new_or_overwrite(&put(), &options(3)).await.unwrap_err();
    assert_eq!(error.attempts(), 3);
    assert!(error.outcome().is_unclear(), "the first attempt may still be accepted");
    assert_eq!(conditions(&scene), [true, true, false]);
}

#[tokio::test]
async fn without_conditional_puts_there_is_one_plain_put() {
    let quirks = Quirks::from([Quirk::NoIfNoneMatch]);
    let scene = Scene::with(config().with_quirks(quirks), [stored()]);
    let reply = scene.client.put_new_or_overwrite(&put(), &options(6)).await.unwrap();
    assert!(matches!(reply.value, PutNew::Overwritten(_)));
    assert_eq!(conditions(&scene), [false]);
}

#[tokio::test]
async fn the_last_attempt_waits_as_long_as_the_server_asks() {
    let busy = |pause| refusal(503, "SlowDown").header("retry-after", pause);
    let scene = Scene::new([busy("7"), stored()]);
    scene.client.put_new_or_overwrite(&put(), &options(2)).await.unwrap();
    let requests = scene.script.requests();
    assert!(requests[1].at >= requests[0].at + 7 * SECOND);
    // Longer than all attempts may take together.
    let scene = Scene::new([busy("301")]);
    let error = scene.client.put_new_or_overwrite(&put(), &options(2)).await.unwrap_err();
    assert_eq!((error.attempts(), error.retry_after()), (1, Some(301 * SECOND)));
}

#[tokio::test]
async fn the_last_attempt_is_not_sent_when_its_time_is_over() {
    let signed_at = start() - WINDOW + 10 * SECOND;
    let options = options(2).with_signing(Signing::FixedHeaders { signed_at });
    let scene = Scene::new([Step::Late(11 * SECOND, refusal(409, "ConditionalRequestConflict"))]);
    let error = scene.client.put_new_or_overwrite(&put(), &options).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::Expired), "{error:?}");
    assert_eq!((error.attempts(), error.outcome()), (1, Outcome::NONE));
}
