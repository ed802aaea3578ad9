//! Errors that the server, or something in front of it, answers: before the effect and after it.

use coldkeep_s3_client::{Cause, Effect, ErrorCode, Outcome, Pending, RetryPolicy, ServiceError};
use coldkeep_s3_testbed::{Answer, Fault};

use crate::scene::*;
use crate::writes::Write;

fn gateways() -> [Answer; 4] {
    [
        Answer::error(500, "InternalError"),
        Answer::error(503, "ServiceUnavailable"),
        Answer::new(502, "<html><body>Bad Gateway</body></html>").header("Content-Type", "text/html"),
        Answer::new(504, ""),
    ]
}

#[tokio::test]
async fn a_5xx_before_the_effect_is_repeated_and_unclear() {
    for write in Write::ALL {
        for answer in gateways() {
            let scene = Scene::new().await;
            let ended = scene.write(write, |scene| scene.then([Fault::Answer(answer.clone())])).await;
            assert_eq!(ended.facts(), (true, 2, applied_and_pending()), "{write:?} {answer:?}");
            assert_eq!(scene.attempts_of(write), (2, 1), "{write:?} {answer:?}");
            assert!(scene.has_effect(write), "{write:?} {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_5xx_after_the_effect_is_as_a_lost_reply() {
    for write in Write::ALL {
        for answer in gateways() {
            let scene = Scene::new().await;
            let ended = scene.write(write, |scene| scene.then([Fault::AnswerAfter(answer.clone())])).await;
            let meets_itself = matches!(write, Write::PutIfAbsent | Write::Complete);
            let outcome = if meets_itself { unknown_and_pending() } else { applied_and_pending() };
            assert_eq!(ended.facts(), (!meets_itself, 2, outcome), "{write:?} {answer:?}");
            assert_eq!(scene.attempts_of(write), (2, 2), "{write:?} {answer:?}");
            assert!(scene.has_effect(write), "{write:?} {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_server_that_stays_down_leaves_an_error_that_says_so() {
    for write in Write::ALL {
        let scene = Scene::new().await;
        let down = |scene: &Scene| scene.proxy.always(|_| true, answered(500, "InternalError"));
        let ended = scene.write_with(write, &tries(4), down).await;
        assert_eq!((ended.attempts, ended.outcome.effect()), (4, Effect::Unknown), "{write:?}");
        // The last attempt was signed last.
        assert!(ended.outcome.pending() >= Pending::Until(start() + WINDOW), "{write:?}");
        assert_eq!(scene.attempts_of(write), (4, 0), "{write:?}");
        assert!(!scene.has_effect(write), "{write:?}");
    }
}

#[tokio::test]
async fn slow_down_says_no_and_is_repeated_after_a_pause() {
    for write in Write::ALL {
        let scene = Scene::new().await;
        let ended = scene.write(write, |scene| scene.then([answered(503, "SlowDown")])).await;
        assert_eq!(ended.facts(), (true, 2, Outcome::APPLIED), "{write:?}");
        assert!(scene.has_effect(write), "{write:?}");
        let ceiling = RetryPolicy::default().backoff_ceiling(1);
        assert!(scene.clock.pauses().iter().all(|pause| *pause <= ceiling), "{:?}", scene.clock.pauses());
    }
}

#[tokio::test]
async fn retry_after_is_the_least_pause() {
    for (status, code, after) in [
        (503, "SlowDown", "7"),
        (429, "TooManyRequests", "Tue, 14 Nov 2023 22:13:27 GMT"),
        (503, "ServiceUnavailable", "7"),
    ] {
        let scene = Scene::new().await;
        scene.then([Fault::Answer(
            Answer::error(status, code)
                .header("Retry-After", after)
                .header("Date", "Tue, 14 Nov 2023 22:13:20 GMT"),
        )]);
        let reply = scene.client.send(&put("k", "new")).await.unwrap();
        assert_eq!((reply.attempts, scene.held("k").as_deref()), (2, Some("new")));
        let pauses = scene.clock.pauses();
        assert!(pauses.contains(&(7 * SECOND)), "{code}: {pauses:?}");
    }
}

#[tokio::test]
async fn a_conflict_says_that_nothing_was_written_and_is_repeated() {
    for write in Write::ALL {
        let scene = Scene::new().await;
        let faults = [answered(409, "ConditionalRequestConflict"), Fault::Answer(Answer::new(409, ""))];
        let ended = scene.write(write, |scene| scene.then(faults)).await;
        assert_eq!(ended.facts(), (true, 3, Outcome::APPLIED), "{write:?}");
        assert_eq!(scene.attempts_of(write), (3, 1), "{write:?}");
        assert!(scene.has_effect(write), "{write:?}");
    }
}

#[tokio::test]
async fn a_permanent_error_dressed_as_a_passing_one_costs_a_bounded_number_of_attempts() {
    for (status, code) in [(503, "ServiceUnavailable"), (500, "InternalError")] {
        let scene = Scene::new().await;
        scene.proxy.always(|_| true, answered(status, code));
        let error = scene.client.send(&put("k", "new")).await.unwrap_err();
        assert_eq!(error.attempts(), RetryPolicy::default().attempts_max());
        assert_eq!(error.service_error().map(ServiceError::status), Some(status));
        assert_eq!(scene.counts(), (6, 0));
    }
}

#[tokio::test]
async fn a_put_that_was_refused_and_stored_all_the_same_may_have_an_effect() {
    let scene = Scene::new().await;
    scene.then([Fault::AnswerAfter(Answer::error(400, "BadDigest"))]);
    let error = scene.client.send(&put("k", "new")).await.unwrap_err();
    assert_eq!(error.service_error().map(|error| error.code().clone()), Some(ErrorCode::BadDigest));
    assert_eq!((error.attempts(), error.outcome()), (1, Outcome::new(Effect::Unknown, Pending::No)));
    assert_eq!(scene.held("k").as_deref(), Some("new"));
}

#[tokio::test]
async fn an_error_in_a_good_status_is_an_error_that_may_have_an_effect() {
    for write in [Write::Complete, Write::MultiDelete, Write::Copy] {
        let scene = Scene::new().await;
        let lie = Fault::AnswerAfter(Answer::error(200, "AccessDenied"));
        let ended = scene.write(write, |scene| scene.then([lie])).await;
        assert_eq!(ended.facts(), (false, 1, Outcome::new(Effect::Unknown, Pending::No)), "{write:?}");
        let error = ended.error.unwrap();
        assert!(matches!(error.cause(), Cause::Refused(refused) if refused.status() == 200), "{error:?}");
        assert!(scene.has_effect(write), "{write:?}");
    }
}
