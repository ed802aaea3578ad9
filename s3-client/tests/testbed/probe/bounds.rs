//! What bounds a request without an answer, and by which clock.

use std::time::Duration;

use coldkeep_s3_client::ProbeOptions;
use coldkeep_s3_client::probe::{Presigning, Refresh, RequestBound, SignatureWindow, Warning};
use coldkeep_s3_testbed::{Answer, Fault, FaultProxy, Options, RequestHead, TestClock};

use super::{client, clock, probe, server, start};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_enforced_bounds_nothing() {
    let report = probe(Options { skew_max: None, enforces_expiry: false, ..Options::default() }).await;
    assert_eq!(report.signatures.delete.behind, SignatureWindow::Unbounded);
    assert_eq!(report.signatures.delete.presigned, Presigning::NotEnforced);
    assert_eq!((report.delete_bound(), report.put_bound()), (RequestBound::None, RequestBound::None));
    assert_eq!(report.signature_window(), None);
    assert_eq!(report.warnings(), [Warning::UnboundedDeletes, Warning::UnboundedPuts]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn either_bound_may_stand_alone() {
    let presigned = probe(Options { skew_max: None, ..Options::default() }).await;
    assert_eq!(presigned.delete_bound(), RequestBound::Presigned { late: Duration::from_secs(5) });
    assert_eq!(presigned.signature_window(), None);
    let headers = probe(Options { enforces_expiry: false, ..Options::default() }).await;
    assert_eq!(headers.delete_bound(), RequestBound::SignedHeaders { window: Duration::from_mins(16) });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wider_window_is_measured_as_it_is() {
    let skew_max = Some(Duration::from_mins(45));
    let report = probe(Options { skew_max, ..Options::default() }).await;
    let window =
        SignatureWindow::Bounded { accepted: Duration::from_mins(30), refused: Duration::from_hours(1) };
    assert_eq!(report.signatures.put.behind, window);
    assert_eq!(report.signature_window(), Some(Duration::from_hours(1)));
}

/// Goal: a refusal that is none is seen through. Method: a server that takes expired requests, behind a proxy that says it does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_delete_that_is_refused_and_done_was_accepted() {
    let server = server(Options { enforces_expiry: false, ..Options::default() }).await;
    let proxy = FaultProxy::start(server.address()).await;
    let is_late = |head: &RequestHead| {
        head.method == "DELETE" && head.target.contains("-late-") && head.target.contains("X-Amz-Expires")
    };
    proxy.always(is_late, Fault::AnswerAfter(Answer::error(403, "AccessDenied")));
    let report = client(&proxy.endpoint(), clock()).probe(&ProbeOptions::new()).await.unwrap();
    assert_eq!(report.signatures.delete.presigned, Presigning::NotEnforced);
}

/// Goal: a refusal for another reason bounds nothing. Method: a server that takes expired requests, and none with a life of a few seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_life_too_short_for_the_server_does_not_pass_for_an_expired_one() {
    let server = server(Options { enforces_expiry: false, ..Options::default() }).await;
    let proxy = FaultProxy::start(server.address()).await;
    let is_short = |head: &RequestHead| {
        let life = head.target.split_once("X-Amz-Expires=").and_then(|(_, rest)| rest.split_once('&'));
        life.is_some_and(|(seconds, _)| seconds.len() < 2)
    };
    proxy.always(is_short, Fault::Answer(Answer::error(400, "AuthorizationQueryParametersError")));
    let report = client(&proxy.endpoint(), clock()).probe(&ProbeOptions::new()).await.unwrap();
    assert_eq!(report.signatures.delete.presigned, Presigning::NotEnforced);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_are_those_of_the_servers_clock() {
    let (late, early) = (Duration::from_mins(9), Duration::from_mins(14));
    for (theirs, ahead_millis) in [(start() + late, 540_000), (start() - early, -840_000)] {
        let options = Options { clock: TestClock::system(), ..Options::default() };
        let server = server(options).await;
        server.clock().set(theirs);
        let report = client(&server.endpoint(), clock()).probe(&ProbeOptions::new()).await.unwrap();
        let offset = report.dates.offset.unwrap();
        let error = (offset.ahead_millis - ahead_millis).unsigned_abs();
        assert!(error <= offset.uncertainty_millis && offset.uncertainty_millis <= 500, "{offset:?}");
        let minutes = Duration::from_mins;
        let window = SignatureWindow::Bounded { accepted: minutes(14), refused: minutes(16) };
        assert_eq!((report.signatures.delete.behind, report.signatures.put.ahead), (window, window));
        assert_eq!(report.warnings(), [Warning::ClockOffset]);
    }
}

/// Goal: without a difference of dates nothing is claimed. Method: a server whose clock stands still, so that no date is refreshed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dates_that_tell_nothing_are_unknown() {
    let report = probe(Options::default()).await;
    assert_eq!((report.dates.put_again, report.dates.copy_onto_itself), (Refresh::Unknown, Refresh::Unknown));
    assert_eq!(report.dates.modified_ahead, Some(Duration::ZERO));
}
