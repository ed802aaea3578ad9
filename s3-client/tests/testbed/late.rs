//! Effects that come after the client gave up on them (R9, hazards H10 and H21).

use std::time::{Duration, SystemTime};

use coldkeep_s3_client::ops::DeleteTarget;
use coldkeep_s3_client::{CallOptions, DeleteObject, Effect, Outcome, Pending, Signing};
use coldkeep_s3_testbed::{Answer, Fault, Gate};

use crate::scene::*;
use crate::writes::Write;

const LIFE: Duration = Duration::from_mins(1);

fn signing() -> Signing {
    Signing::Presigned { signed_at: start(), expires_in: LIFE }
}

fn presigned() -> CallOptions {
    CallOptions::new().with_signing(signing())
}

fn expiry() -> SystemTime {
    start() + LIFE
}

fn pending(effect: Effect) -> Outcome {
    Outcome::new(effect, Pending::Until(expiry()))
}

/// How a request gets lost on its way.
fn held_up() -> [(Gate, Fault); 2] {
    let reset = Gate::closed();
    let timeout = Gate::closed();
    let gave_up = Some(Answer::error(504, "GatewayTimeout"));
    [
        (reset.clone(), Fault::Late { answer: None, gate: reset }),
        (timeout.clone(), Fault::Late { answer: gave_up, gate: timeout }),
    ]
}

/// Puts the object again at `instant` and lets the delete that is held up arrive; returns whether the object survived it.
async fn survives(scene: &Scene, gate: &Gate, instant: SystemTime) -> bool {
    scene.clock.advance_to(instant);
    scene.client.send(&put("k", "again")).await.unwrap();
    let (seen, _) = scene.counts();
    gate.open();
    scene.proxy.finished(seen).await;
    scene.held("k").as_deref() == Some("again")
}

/// Goal: a delete without an answer is unclear although the retry was refused, and only its expiry ends that. Method: the first attempt
/// is held up in the proxy and arrives after the object was put again, in time or one second late.
#[tokio::test]
async fn h10_a_delete_without_an_answer_is_unclear_until_its_expiry() {
    for (is_in_time, instant) in [(true, expiry()), (false, expiry() + SECOND)] {
        for (gate, fault) in held_up() {
            let scene = Scene::new().await;
            scene.origin.insert(BUCKET, "k", "old");
            scene.then([fault, answered(503, "SlowDown")]);
            let options = tries(2).with_signing(signing());
            let delete = DeleteObject::new(key("k"));
            let error = scene.client.send_with(&delete, &options).await.unwrap_err();
            assert_eq!((error.attempts(), error.outcome()), (2, pending(Effect::Unknown)));
            assert_eq!(scene.held("k").as_deref(), Some("old"));
            assert_eq!(survives(&scene, &gate, instant).await, !is_in_time);
        }
    }
}

/// Goal: a delete whose first attempt got no answer is unclear although the retry deleted, and only its expiry ends that. Method: as H10.
#[tokio::test]
async fn h21_an_unanswered_attempt_stays_unclear_after_a_success() {
    for (is_in_time, instant) in [(true, expiry()), (false, expiry() + SECOND)] {
        for (gate, fault) in held_up() {
            let scene = Scene::new().await;
            scene.origin.insert(BUCKET, "k", "old");
            scene.then([fault]);
            let reply = scene.client.send_with(&DeleteObject::new(key("k")), &presigned()).await.unwrap();
            assert_eq!((reply.attempts, reply.outcome), (2, pending(Effect::Applied)));
            assert_eq!(scene.held("k"), None);
            assert_eq!(survives(&scene, &gate, instant).await, !is_in_time);
        }
    }
}

#[tokio::test]
async fn h21_a_multi_delete_stays_unclear_for_all_its_keys() {
    for (is_in_time, instant) in [(true, expiry()), (false, expiry() + SECOND)] {
        for (gate, fault) in held_up() {
            let scene = Scene::new().await;
            let names = ["k", "l"];
            for name in names {
                scene.origin.insert(BUCKET, name, "old");
            }
            scene.then([fault]);
            let targets = names.map(|name| DeleteTarget::new(key(name)));
            let reply = scene.client.delete_batch(&targets, &presigned()).await.unwrap();
            assert_eq!(reply.value.deleted.len(), 2);
            assert_eq!((reply.attempts, reply.outcome), (2, pending(Effect::Applied)));
            assert_eq!(scene.origin.keys(BUCKET), [""; 0]);
            assert_eq!(survives(&scene, &gate, instant).await, !is_in_time);
        }
    }
}

/// Goal: single deletes that take the place of a multi-delete keep its expiry. Method: the server has none, and one of the single
/// deletes is held up.
#[tokio::test]
async fn h21_single_deletes_in_place_of_a_batch_stay_unclear() {
    for (is_in_time, instant) in [(true, expiry()), (false, expiry() + SECOND)] {
        let lacks = vec![coldkeep_s3_testbed::Lack::MultiDelete];
        let options = coldkeep_s3_testbed::Options { lacks, ..Default::default() };
        let scene = Scene::with(options, |config| config).await;
        for name in ["k", "l"] {
            scene.origin.insert(BUCKET, name, "old");
        }
        let gate = Gate::closed();
        let fault = Fault::Late { answer: None, gate: gate.clone() };
        scene.proxy.next_for(|request| request.is("DELETE", "/k"), fault);
        let targets = ["k", "l"].map(|name| DeleteTarget::new(key(name)));
        let reply = scene.client.delete_batch(&targets, &presigned()).await.unwrap();
        assert_eq!((reply.value.deleted.len(), reply.outcome), (2, pending(Effect::Applied)));
        assert_eq!(scene.origin.keys(BUCKET), [""; 0]);
        assert_eq!(survives(&scene, &gate, instant).await, !is_in_time);
    }
}

/// Goal: what is held up *behind* the server's check is not bounded by the expiry, which is why [`Pending::Until`] asks for a margin.
#[tokio::test]
async fn a_delete_that_the_server_took_in_time_may_land_after_its_expiry() {
    let scene = Scene::new().await;
    scene.origin.insert(BUCKET, "k", "old");
    let held = scene.origin.hold(|request| request.is("DELETE", "/k"));
    let time = async {
        held.arrived().await;
        scene.clock.advance(TOO_LONG);
    };
    let delete = DeleteObject::new(key("k"));
    let options = presigned();
    let (reply, ()) = tokio::join!(scene.client.send_with(&delete, &options), time);
    assert_eq!(reply.unwrap().outcome, pending(Effect::Applied));
    scene.clock.advance_to(expiry() + SECOND);
    scene.client.send(&put("k", "again")).await.unwrap();
    held.release();
    held.applied().await;
    assert_eq!(scene.held("k"), None);
}

/// Goal: signatures in headers bound lateness too, by the server's window.
#[tokio::test]
async fn a_late_request_signed_in_its_headers_is_refused_after_the_window() {
    for (is_in_time, instant) in [(true, start() + WINDOW), (false, start() + WINDOW + SECOND)] {
        for write in Write::ALL {
            let (scene, gate) = (Scene::new().await, Gate::closed());
            let late = Fault::Late { answer: None, gate: gate.clone() };
            let ended = scene.write(write, |scene| scene.then([late])).await;
            assert_eq!(ended.facts(), (true, 2, applied_and_pending()), "{write:?}");
            scene.clock.advance_to(instant);
            let (seen, _) = scene.counts();
            gate.open();
            scene.proxy.finished(seen).await;
            let status = scene.origin.log().last().unwrap().status;
            assert_eq!(status == Some(403), !is_in_time, "{write:?}: {status:?}");
            assert!(scene.has_effect(write), "{write:?}");
        }
    }
}

/// Goal: no attempt is made that could only be refused, and none is hidden.
#[tokio::test]
async fn no_attempt_is_made_after_the_expiry() {
    let scene = Scene::new().await;
    scene.origin.insert(BUCKET, "k", "old");
    scene.proxy.always(|_| true, Fault::Delay(Gate::closed()));
    let delete = DeleteObject::new(key("k"));
    let options = presigned();
    let request = Box::pin(scene.client.send_with(&delete, &options));
    let error = scene.while_stalling(2, request).await.unwrap_err();
    assert_eq!((error.attempts(), error.outcome()), (2, pending(Effect::Unknown)));
    assert_eq!(scene.counts(), (2, 0));
}
