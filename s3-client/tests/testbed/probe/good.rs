//! A server that does everything as S3 does.

use std::time::Duration;

use coldkeep_s3_client::probe::{
    BucketVersions, ConditionClass, Found, KeyEncoding, MultiDelete, Presigning, Ranges, RequestBound,
    SignatureWindow, TagForm, Verification, Warning,
};
use coldkeep_s3_client::{ProbeOptions, Quirks};
use coldkeep_s3_testbed::Options;

use super::{BUCKET, client, clock, probe, server};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_found_to_be_right() {
    let report = probe(Options::default()).await;
    assert_eq!(report.server.as_deref(), Some("testbed"));
    for condition in [&report.put_if_absent, &report.compare_and_swap] {
        assert_eq!((condition.class, condition.races, condition.writers), (ConditionClass::Atomic, 3, 16));
        assert!(!condition.losers_can_fail);
    }
    assert_eq!(report.tag_form, Some(TagForm::Quoted));
    assert_eq!(report.deletes.multi, MultiDelete::Works);
    let deletes = &report.deletes;
    let all = [deletes.missing_key_is_fine, deletes.multi_reports_all, deletes.quiet, deletes.needs_md5];
    assert_eq!(all, [Found::Yes; 4]);
    let integrity = &report.integrity;
    let all = [integrity.crc32c, integrity.sha256, integrity.payload_hash];
    assert_eq!(all, [Verification::Verified; 3]);
    assert_eq!([integrity.crc32c_returned, integrity.sha256_returned], [Found::Yes; 2]);
    let listing = &report.listing;
    assert_eq!(listing.encoding, KeyEncoding::Url);
    let all = [listing.exact, listing.ascending, listing.page_size, listing.paging, listing.prefix];
    assert_eq!(all, [Found::Yes; 5]);
    let all = [listing.delimiter, listing.start_after, listing.last_modified, listing.etag];
    assert_eq!(all, [Found::Yes; 4]);
    assert_eq!((report.odd_keys.as_slice(), report.odd_keys_tried), (&[][..], 16));
    let reading = &report.reading;
    let all = (reading.ranges, reading.empty_object, reading.head_length);
    assert_eq!(all, (Ranges::Partial, Found::Yes, Found::Yes));
    assert_eq!(report.bucket.versions, BucketVersions::Off);
    assert_eq!([report.bucket.expires_objects, report.bucket.object_lock], [Found::No; 2]);
    assert_eq!(report.quirks(), Quirks::default());
    assert_eq!(report.warnings(), Vec::<Warning>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signatures_are_found_to_end() {
    let report = probe(Options::default()).await;
    let minutes = Duration::from_mins;
    let window = SignatureWindow::Bounded { accepted: minutes(14), refused: minutes(16) };
    let signatures = &report.signatures;
    for age in [&signatures.read, &signatures.put, &signatures.delete, &signatures.multi_delete] {
        assert_eq!((age.behind, age.ahead), (window, window));
        assert_eq!(age.presigned, Presigning::Enforced { late: Duration::from_secs(5) });
    }
    let bound = RequestBound::Presigned { late: Duration::from_secs(5) };
    assert_eq!((report.delete_bound(), report.put_bound()), (bound, bound));
    assert_eq!(report.signature_window(), Some(minutes(16)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_bounded_and_stay_below_the_prefix() {
    let server = server(Options::default()).await;
    server.insert(BUCKET, "kept", "by others");
    let options = ProbeOptions::new().with_prefix("place/").unwrap();
    let report = client(&server.endpoint(), clock()).probe(&options).await.unwrap();
    assert_eq!(server.keys(BUCKET), ["kept"]);
    let log = server.log();
    assert!(log.len() < 600, "{} requests", log.len());
    let (below, bucket) = (format!("/{BUCKET}/place/coldkeep-probe-"), format!("/{BUCKET}"));
    for entry in &log {
        let is_ours = entry.path.starts_with(&below) || entry.path == bucket;
        assert!(is_ours, "{} {}", entry.method, entry.path);
    }
    // Two probes of one server agree, and do not share a prefix.
    let again = client(&server.endpoint(), clock()).probe(&options).await.unwrap();
    assert_eq!(again, report);
}
