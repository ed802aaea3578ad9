//! Servers that fail, forbid, or do not answer.

use std::future::Future;
use std::time::Duration;

use coldkeep_s3_client::probe::{ConditionClass, Found, KeyFault, MultiDelete, Verification, Warning};
use coldkeep_s3_client::{Client, ErrorCode, Operation, ProbeOptions};
use coldkeep_s3_testbed::{Answer, Fault, FaultProxy, Lack, Options, RequestHead};

use super::{BUCKET, client, clock, server};

/// Longer than what the clock skips, shorter than any deadline of a request.
const LIMIT: Duration = Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_permission_or_bucket_there_is_no_report() {
    let server = server(Options::default()).await;
    for (method, operation) in
        [("PUT", Operation::PutObject), ("GET", Operation::GetObject), ("DELETE", Operation::DeleteObject)]
    {
        let proxy = FaultProxy::start(server.address()).await;
        proxy.next_for(move |head| head.method == method, Fault::Answer(Answer::error(403, "AccessDenied")));
        let error = client(&proxy.endpoint(), clock()).probe(&ProbeOptions::new()).await.unwrap_err();
        assert_eq!((error.operation(), error.is_access_denied()), (operation, true));
        assert_eq!(server.keys(BUCKET), Vec::<String>::new(), "{method}");
    }
    let empty = coldkeep_s3_testbed::MemoryS3::start().await;
    empty.clock().set(super::start());
    let error = client(&empty.endpoint(), clock()).probe(&ProbeOptions::new()).await.unwrap_err();
    assert_eq!(error.service_error().unwrap().code(), &ErrorCode::NoSuchBucket);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permission_that_is_missing_later_is_a_finding() {
    let server = server(Options::default()).await;
    let proxy = FaultProxy::start(server.address()).await;
    let is_listing = |head: &RequestHead| head.target.contains("list-type=2");
    proxy.always(is_listing, Fault::Answer(Answer::error(403, "AccessDenied")));
    let report = client(&proxy.endpoint(), clock()).probe(&ProbeOptions::new()).await.unwrap();
    assert!(report.is_complete);
    assert_eq!((report.listing.exact, report.listing.paging), (Found::Unknown, Found::Unknown));
    assert!(report.odd_keys.iter().all(|odd| odd.fault == KeyFault::Unlisted));
    // What was written is remembered, so it is gone all the same.
    assert_eq!((&report.remains, server.keys(BUCKET)), (&Vec::new(), Vec::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passing_errors_are_no_findings() {
    let server = server(Options::default()).await;
    let proxy = FaultProxy::start(server.address()).await;
    let is_conditional = |head: &RequestHead| head.headers.iter().any(|(name, _)| name == "if-none-match");
    proxy.next_for(is_conditional, Fault::Answer(Answer::error(503, "SlowDown")));
    let is_odd = |head: &RequestHead| head.method == "PUT" && head.target.contains("/odd/");
    proxy.next_for(is_odd, Fault::Answer(Answer::error(503, "SlowDown")));
    let report = client(&proxy.endpoint(), clock()).probe(&ProbeOptions::new()).await.unwrap();
    assert_eq!(report.put_if_absent.class, ConditionClass::Unknown);
    assert_eq!(report.odd_keys, []);
    assert!(report.quirks().is_empty());
}

/// Goal: a passing error does not pass for a check. Method: a server that compares no checksum, too busy for the upload with a wrong one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_busy_has_compared_nothing() {
    let server = server(Options { lacks: vec![Lack::Checksums], ..Options::default() }).await;
    let proxy = FaultProxy::start(server.address()).await;
    let is_wrong = |head: &RequestHead| head.method == "PUT" && head.target.contains("/crc32c-wrong");
    proxy.next_for(is_wrong, Fault::Answer(Answer::error(503, "SlowDown")));
    let report = client(&proxy.endpoint(), clock()).probe(&ProbeOptions::new()).await.unwrap();
    assert_eq!(report.integrity.crc32c, Verification::Ignored);
}

/// Goal: what was not there proves no delete. Method: the objects to delete cannot be put.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletes_of_what_was_never_there_prove_nothing() {
    let server = server(Options::default()).await;
    let proxy = FaultProxy::start(server.address()).await;
    let is_put = |head: &RequestHead| head.method == "PUT" && head.target.contains("/delete/multi-");
    proxy.always(is_put, Fault::Answer(Answer::error(403, "AccessDenied")));
    let report = client(&proxy.endpoint(), clock()).probe(&ProbeOptions::new()).await.unwrap();
    assert_eq!(report.deletes.multi, MultiDelete::Unknown);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_removed_is_named() {
    let server = server(Options::default()).await;
    let proxy = FaultProxy::start(server.address()).await;
    let is_kept = |head: &RequestHead| head.method == "DELETE" && head.target.contains("/read/full");
    proxy.always(is_kept, Fault::Answer(Answer::error(403, "AccessDenied")));
    let is_multi = |head: &RequestHead| head.method == "POST";
    proxy.always(is_multi, Fault::Answer(Answer::error(501, "NotImplemented")));
    let report = client(&proxy.endpoint(), clock()).probe(&ProbeOptions::new()).await.unwrap();
    assert_eq!(report.remains, server.keys(BUCKET));
    assert!(matches!(&report.remains[..], [key] if key.ends_with("/read/full")), "{:?}", report.remains);
    assert!(report.warnings().contains(&Warning::Remains));
}

/// Goal: time bounds the probe, and what was found counts. Method: the server sits on the first listing until our clock has moved on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_whose_time_is_up_tidies_up() {
    let server = server(Options::default()).await;
    let clock = clock();
    let client = client(&server.endpoint(), clock.clone());
    let held = server.hold(|head| head.target.contains("max-keys=2"));
    let task = tokio::spawn(async move { client.probe(&ProbeOptions::new().with_time_max(LIMIT)).await });
    held.arrived().await;
    clock.advance(LIMIT);
    let report = task.await.unwrap().unwrap();
    assert!(!report.is_complete);
    assert_eq!(report.put_if_absent.class, ConditionClass::Atomic);
    assert_eq!((report.odd_keys_tried, report.listing.exact), (0, Found::Unknown));
    assert!(report.warnings().contains(&Warning::Incomplete));
    assert_eq!((&report.remains, server.keys(BUCKET)), (&Vec::new(), Vec::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_without_an_answer_may_still_appear() {
    let server = server(Options::default()).await;
    let clock = clock();
    let client = client(&server.endpoint(), clock.clone());
    let held = server.hold(|head| head.method == "PUT" && head.target.contains("/match/race-1"));
    let task = tokio::spawn(async move { client.probe(&ProbeOptions::new().with_time_max(LIMIT)).await });
    held.arrived().await;
    clock.advance(LIMIT);
    let report = task.await.unwrap().unwrap();
    assert!(matches!(&report.remains[..], [key] if key.ends_with("/match/race-1")), "{:?}", report.remains);
}

#[test]
fn a_probe_can_be_spawned() {
    fn is_send(_: impl Future + Send) {}
    let spawn = |client: &'static Client, options: &'static ProbeOptions| is_send(client.probe(options));
    let _ = spawn;
}
