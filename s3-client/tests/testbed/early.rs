//! Answers that come before the request was read (spec `s3-servers.md` §3, point 1).

use coldkeep_s3_client::{ErrorCode, Outcome, PutObject};
use coldkeep_s3_testbed::{Answer, EarlyEnd, Fault};

use crate::scene::*;

/// Far more than the kernel buffers between two sockets of one machine.
const LARGE: usize = 32 << 20;
const ROUNDS: usize = 20;

/// Goal: a put refused before its body was read is an answer, not a network error: not repeated, and nothing was changed. Method: the
/// proxy answers and resets with unread data, so that writing fails while the answer waits; many rounds, because they race.
async fn refused_early(status: u16, code: &str, expected: ErrorCode) {
    let scene = Scene::new().await;
    let large = PutObject::new(key("k"), vec![7; LARGE]).if_absent();
    for round in 0..ROUNDS {
        let answer = Answer::error(status, code);
        scene.then([Fault::EarlyAnswer { answer, end: EarlyEnd::Reset }]);
        let error = scene.client.send(&large).await.unwrap_err();
        let refused = error.service_error().unwrap_or_else(|| panic!("round {round}: {error:?}"));
        assert_eq!((refused.status(), refused.code()), (status, &expected), "round {round}");
        assert_eq!((error.attempts(), error.outcome()), (1, Outcome::NONE), "round {round}");
        assert_eq!(scene.counts(), (round + 1, 0));
    }
    assert_eq!(scene.held("k"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_condition_that_fails_before_the_body_is_read_is_an_answer() {
    refused_early(412, "PreconditionFailed", ErrorCode::PreconditionFailed).await;
}

#[tokio::test]
async fn a_refusal_before_the_body_is_read_is_an_answer_on_one_thread_too() {
    refused_early(501, "NotImplemented", ErrorCode::NotImplemented).await;
}

#[tokio::test]
async fn an_early_answer_does_not_wait_for_a_body_that_nobody_reads() {
    let scene = Scene::new().await;
    let answer = Answer::error(412, "PreconditionFailed");
    scene.then([Fault::EarlyAnswer { answer, end: EarlyEnd::Stall }]);
    let error = scene.client.send(&PutObject::new(key("k"), vec![7; LARGE]).if_absent()).await.unwrap_err();
    assert!(error.is_precondition_failed(), "{error:?}");
    assert_eq!((error.attempts(), error.outcome()), (1, Outcome::NONE));
    // The half-used connection is not used again.
    scene.client.send(&put("k", "new")).await.unwrap();
    let connections: Vec<_> = scene.proxy.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 1]);
}

#[tokio::test]
async fn an_early_slow_down_is_repeated_and_leaves_no_doubt() {
    let scene = Scene::new().await;
    let answer = Answer::error(503, "SlowDown");
    scene.then([Fault::EarlyAnswer { answer, end: EarlyEnd::Reset }]);
    let reply = scene.client.send(&PutObject::new(key("k"), vec![b'7'; LARGE])).await.unwrap();
    assert_eq!((reply.attempts, reply.outcome), (2, Outcome::APPLIED));
    assert_eq!(scene.held("k").map(|content| content.len()), Some(LARGE));
}

#[tokio::test]
async fn interim_answers_are_passed_over() {
    let scene = Scene::new().await;
    scene.then([Fault::Continues(1), Fault::Continues(100), Fault::Continues(7)]);
    for content in ["one", "two"] {
        let reply = scene.client.send(&put("k", content)).await.unwrap();
        assert_eq!((reply.attempts, reply.outcome), (1, Outcome::APPLIED));
    }
    let reply = scene.client.send(&get("k")).await.unwrap();
    assert_eq!((reply.attempts, reply.value.content.as_ref()), (1, &b"two"[..]));
    assert_eq!(scene.proxy.connections(), 1);
}
