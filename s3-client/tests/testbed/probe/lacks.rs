//! Servers that lack something.

use coldkeep_s3_client::probe::{BucketVersions, Found, KeyEncoding, MultiDelete, Verification, Warning};
use coldkeep_s3_client::{ProbeOptions, ProbeReport, Quirk, Quirks};
use coldkeep_s3_testbed::{Lack, Options};

use super::{BUCKET, client, clock, probe, server};

async fn without(lack: Lack) -> ProbeReport {
    probe(Options { lacks: vec![lack], ..Options::default() }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn multi_delete_and_its_quiet_mode_may_be_missing() {
    let report = without(Lack::MultiDelete).await;
    assert_eq!(report.deletes.multi, MultiDelete::Refused { status: 501 });
    assert_eq!(report.quirks(), Quirks::from([Quirk::NoMultiDelete]));
    assert_eq!(report.delete_bound(), report.put_bound());
    let report = without(Lack::QuietDelete).await;
    assert_eq!((report.deletes.multi, report.deletes.quiet), (MultiDelete::Works, Found::No));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checksums_may_be_ignored() {
    let report = without(Lack::Checksums).await;
    assert_eq!([report.integrity.crc32c, report.integrity.sha256], [Verification::Ignored; 2]);
    assert_eq!(report.integrity.crc32c_returned, Found::No);
    // Ignored checksums harm nobody, and payload hashes are still compared.
    assert!(report.quirks().is_empty());
    assert!(!report.warnings().contains(&Warning::UnverifiedUploads));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listings_may_ignore_encoding_or_lack_tokens() {
    let report = without(Lack::EncodingType).await;
    assert_eq!(report.listing.encoding, KeyEncoding::Plain);
    // This server writes them as character references, which we read; others do not.
    assert_eq!(report.odd_keys, []);
    let report = without(Lack::NextToken).await;
    assert_eq!((report.listing.exact, report.listing.paging), (Found::Yes, Found::No));
    assert_eq!(report.warnings(), [Warning::ListingUnreliable]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listings_may_claim_an_encoding_that_they_do_not_have() {
    let report = without(Lack::EncodedNames).await;
    assert_eq!(report.listing.encoding, KeyEncoding::Claimed);
    assert_eq!(report.quirks(), Quirks::from([Quirk::NoListEncoding]));
    assert_eq!(report.odd_keys, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_of_the_bucket_are_found() {
    let server = server(Options::default()).await;
    let versioning = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    server.set_document(BUCKET, "versioning", versioning);
    let rule = "<LifecycleConfiguration><Rule><Status>Enabled</Status><Filter/><Expiration><Days>30</Days></Expiration>\
                </Rule></LifecycleConfiguration>";
    server.set_document(BUCKET, "lifecycle", rule);
    let report = client(&server.endpoint(), clock()).probe(&ProbeOptions::new()).await.unwrap();
    assert_eq!(report.bucket.versions, BucketVersions::Kept);
    assert_eq!((report.bucket.expires_objects, report.bucket.moves_objects), (Found::Yes, Found::No));
    assert_eq!(report.warnings(), [Warning::KeepsVersions, Warning::ExpiresObjects]);
}
