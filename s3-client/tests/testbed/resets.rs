//! Resets and lost replies: whatever is not known is said to be unclear, and stays so.

use std::net::TcpListener;

use coldkeep_s3_client::{Cause, Effect, ErrorCode, Outcome, RetryPolicy};
use coldkeep_s3_testbed::{End, Fault, Gate, Options};

use crate::scene::*;
use crate::writes::Write;

#[tokio::test]
async fn a_reset_before_the_effect_is_unclear_and_repeated() {
    for write in Write::ALL {
        for fault in [Fault::ResetAtHead, Fault::ResetInBody { after: 1 }, Fault::Garbage("x".into())] {
            let kind = fault.kind();
            let scene = Scene::new().await;
            let ended = scene.write(write, |scene| scene.then([fault])).await;
            assert_eq!(ended.facts(), (true, 2, applied_and_pending()), "{write:?} {kind:?}");
            assert_eq!(scene.attempts_of(write), (2, 1), "{write:?} {kind:?}");
            assert!(scene.has_effect(write), "{write:?} {kind:?}");
        }
    }
}

/// Goal: what an attempt without an answer did shows in the answer to the next one, and the client does not take it for another's doing.
#[tokio::test]
async fn after_a_lost_reply_the_effect_is_there_and_the_outcome_unclear() {
    for write in Write::ALL {
        for end in [End::Close, End::Reset] {
            let scene = Scene::new().await;
            let ended = scene.write(write, |scene| scene.then([Fault::LostReply(end)])).await;
            let code = ended.error.as_ref().map(|error| error.service_error().unwrap().code().clone());
            match write {
                // They meet their own first attempt.
                Write::PutIfAbsent => assert_eq!(code, Some(ErrorCode::PreconditionFailed)),
                Write::Complete => assert_eq!(code, Some(ErrorCode::NoSuchUpload)),
                Write::Put | Write::Delete | Write::MultiDelete | Write::Copy => assert_eq!(code, None),
            }
            let outcome = if code.is_none() { applied_and_pending() } else { unknown_and_pending() };
            assert_eq!((ended.attempts, ended.outcome), (2, outcome), "{write:?} {end:?}");
            assert_eq!(scene.attempts_of(write), (2, 2), "{write:?} {end:?}");
            assert!(scene.has_effect(write), "{write:?} {end:?}");
        }
    }
}

#[tokio::test]
async fn a_request_that_is_held_up_beyond_its_deadline_is_repeated_and_may_land_later() {
    for write in Write::ALL {
        let (scene, gate) = (Scene::new().await, Gate::closed());
        let until_stalled = async {
            scene.proxy.stalled(1).await;
            scene.clock.advance(TOO_LONG);
        };
        let faults = |scene: &Scene| scene.then([Fault::Delay(gate.clone())]);
        let (ended, ()) = tokio::join!(scene.write(write, faults), until_stalled);
        assert_eq!(ended.facts(), (true, 2, applied_and_pending()), "{write:?}");
        assert!(scene.has_effect(write), "{write:?}");
        assert_eq!(scene.attempts_of(write), (2, 1), "{write:?}");
        gate.open();
        let (seen, _) = scene.counts();
        scene.proxy.finished(seen).await;
        assert_eq!(scene.attempts_of(write), (2, 2), "{write:?}: it did land");
    }
}

#[tokio::test]
async fn a_short_delay_is_none_of_the_clients_business() {
    for write in Write::ALL {
        let (scene, gate) = (Scene::new().await, Gate::closed());
        let until_stalled = async {
            scene.proxy.stalled(1).await;
            scene.clock.advance(29 * SECOND);
            gate.open();
        };
        let faults = |scene: &Scene| scene.then([Fault::Delay(gate.clone())]);
        let (ended, ()) = tokio::join!(scene.write(write, faults), until_stalled);
        assert_eq!(ended.facts(), (true, 1, Outcome::APPLIED), "{write:?}");
        assert!(scene.has_effect(write), "{write:?}");
    }
}

#[tokio::test]
async fn an_upload_that_nobody_reads_ends_at_its_deadline_and_is_unclear() {
    let scene = Scene::with(Options::default(), |config| config.with_retry(RetryPolicy::never())).await;
    let large = coldkeep_s3_client::PutObject::new(key("k"), vec![7; 32 << 20]);
    scene.then([Fault::StallUpload { after: 100 }]);
    let time = async {
        scene.proxy.stalled(1).await;
        // The deadline grows with the payload: 32 MiB at 64 KiB/s.
        scene.clock.advance(TOO_LONG + 512 * SECOND);
    };
    let (result, ()) = tokio::join!(scene.client.send(&large), time);
    let error = result.unwrap_err();
    assert!(matches!(error.cause(), Cause::TimedOut { .. }), "{error:?}");
    assert_eq!((error.attempts(), error.outcome()), (1, unknown_and_pending()));
    assert_eq!(scene.held("k"), None);
}

#[tokio::test]
async fn a_refused_connection_is_not_sent_and_changes_nothing() {
    // A port that was free a moment ago; should somebody else take it, its answer would fail the test, not pass it.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = client(config_of(&format!("http://{address}")));
    let error = client.send_with(&put("k", "new"), &tries(3)).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::NotSent { .. }), "{error:?}");
    assert_eq!((error.attempts(), error.outcome()), (3, Outcome::NONE));
}

/// Goal: connections that are reset at once never lead to a claim that the effect is known. Method: the reset races with the first
/// bytes, so either verdict is right, as long as it fits what was done.
#[tokio::test]
async fn connections_that_are_reset_at_once_are_replaced() {
    for write in [Write::Put, Write::Delete] {
        let scene = Scene::new().await;
        let ended = scene.write(write, |scene| scene.proxy.refuse_connections(3)).await;
        assert!(ended.error.is_none(), "{ended:?}");
        assert_eq!((ended.attempts, ended.outcome.effect()), (4, Effect::Applied));
        assert!(scene.has_effect(write));
        assert_eq!(scene.counts(), (1, 1));
    }
}
