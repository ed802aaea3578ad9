//! Connections that were kept and have gone stale.

use coldkeep_s3_client::{Effect, Outcome, Pending};
use coldkeep_s3_testbed::Fault;

use crate::scene::*;

const ROUNDS: usize = 50;

/// Goal: a reader notices nothing. Method: the server closes after each answer; whether the client sees that before it sends is a race.
#[tokio::test]
async fn reads_on_stale_connections_succeed() {
    let scene = Scene::new().await;
    scene.origin.insert(BUCKET, "k", "content");
    scene.proxy.always(|_| true, Fault::CloseAfter);
    for _ in 0..ROUNDS {
        let reply = scene.client.send(&get("k")).await.unwrap();
        assert_eq!((reply.value.content.as_ref(), reply.outcome), (&b"content"[..], Outcome::NONE));
        assert!(reply.attempts <= 2);
    }
    assert_eq!(scene.counts(), (ROUNDS, ROUNDS));
}

/// Goal: a writer is told the truth: one attempt and no doubt if the close was seen before a byte left; else two attempts, and the first
/// stays unclear.
#[tokio::test]
async fn writes_on_stale_connections_are_clear_only_if_nothing_left() {
    let scene = Scene::new().await;
    scene.proxy.always(|_| true, Fault::CloseAfter);
    for round in 0..ROUNDS {
        let content = format!("round {round}");
        let reply = scene.client.send(&put("k", &content)).await.unwrap();
        assert_eq!(scene.held("k"), Some(content));
        let is_pending = reply.outcome.pending() != Pending::No;
        assert_eq!((reply.outcome.effect(), reply.attempts == 2), (Effect::Applied, is_pending));
    }
    assert_eq!(scene.counts(), (ROUNDS, ROUNDS));
}

#[tokio::test]
async fn a_kept_connection_that_breaks_under_a_request_is_unclear_for_a_write() {
    let scene = Scene::new().await;
    scene.client.send(&put("k", "old")).await.unwrap();
    scene.then([Fault::ResetAtHead]);
    let reply = scene.client.send(&put("k", "new")).await.unwrap();
    assert_eq!((reply.attempts, reply.outcome), (2, applied_and_pending()));
    let connections: Vec<_> = scene.proxy.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 0, 1]);

    scene.then([Fault::ResetAtHead]);
    let reply = scene.client.send(&get("k")).await.unwrap();
    assert_eq!((reply.value.content.as_ref(), reply.attempts), (&b"new"[..], 2));
    assert_eq!(reply.outcome, Outcome::NONE);
}
