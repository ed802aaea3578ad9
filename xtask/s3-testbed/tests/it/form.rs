//! What is refused: signatures without form, old ones, bodies that do not match their hashes.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use coldkeep_s3_testbed::{Lack, Options};
use sha2::{Digest, Sha256};

use crate::client::{Client, DATE, date, origin, origin_with, signed};

#[tokio::test]
async fn an_unsigned_request_is_denied() {
    let origin = origin().await;
    let plain = b"PUT /b/k HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n";
    let answer = Client::once(origin.address(), plain).await;
    assert!(answer.status == 403 && answer.has("<Code>AccessDenied</Code>"));
    assert!(origin.keys("b").is_empty());
}

#[tokio::test]
async fn every_amz_header_must_be_signed() {
    let origin = origin().await;
    let request = String::from_utf8(signed("PUT", "/b/k", &[("x-amz-meta-a", "1")], b"")).unwrap();
    let request = request.replace(";x-amz-meta-a", "");
    let answer = Client::once(origin.address(), request.as_bytes()).await;
    assert!(answer.status == 403 && answer.has("<HeadersNotSigned>x-amz-meta-a</HeadersNotSigned>"));
}

#[tokio::test]
async fn a_malformed_authorization_is_refused() {
    let origin = origin().await;
    let good = String::from_utf8(signed("GET", "/b/k", &[], b"")).unwrap();
    for (part, instead) in [
        ("AWS4-HMAC-SHA256 ", "AWS "),
        ("Signature=0", "Signature="),
        ("/s3/", "/ec2/"),
        ("AK/20130524", "AK/20130523"),
        ("SignedHeaders=host;", "SignedHeaders="),
    ] {
        assert!(good.contains(part));
        let status = Client::once(origin.address(), good.replace(part, instead).as_bytes()).await.status;
        assert!([400, 403].contains(&status), "{instead:?} gives {status}");
    }
}

#[tokio::test]
async fn a_signature_is_accepted_for_15_minutes_either_way() {
    let origin = origin().await;
    origin.insert("b", "k", "x");
    let get = signed("GET", "/b/k", &[], b"");
    let window = Duration::from_mins(15);
    for (now, status) in [
        (date() + window, 200),
        (date() + window + Duration::from_secs(1), 403),
        (date() - window, 200),
        (date() - window - Duration::from_secs(1), 403),
    ] {
        origin.clock().set(now);
        let answer = Client::once(origin.address(), &get).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.has("<Code>RequestTimeTooSkewed</Code>"), status == 403);
    }
}

/// A delete of `/b/k` that is presigned in form and lives for so many seconds.
fn presigned_delete(expires: u32) -> Vec<u8> {
    let signature = "a".repeat(64);
    let request = format!(
        "DELETE /b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AK%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
         &X-Amz-Date={DATE}&X-Amz-Expires={expires}&X-Amz-SignedHeaders=host&X-Amz-Signature={signature} HTTP/1.1\r\n\
         host: localhost\r\n\r\n"
    );
    request.into_bytes()
}

#[tokio::test]
async fn a_presigned_request_expires() {
    let origin = origin().await;
    origin.clock().set(date() + Duration::from_secs(2));
    assert_eq!(Client::once(origin.address(), &presigned_delete(2)).await.status, 204);
    origin.insert("b", "k", "x");
    origin.clock().advance(Duration::from_secs(1));
    let answer = Client::once(origin.address(), &presigned_delete(2)).await;
    assert!(answer.status == 403 && answer.has("Request has expired"));
    assert_eq!(origin.keys("b"), ["k"]);
    assert_eq!(Client::once(origin.address(), &presigned_delete(604_801)).await.status, 400);
}

#[tokio::test]
async fn expiry_and_dates_need_not_be_enforced() {
    let options = Options { skew_max: None, enforces_expiry: false, ..Options::default() };
    let origin = origin_with(options).await;
    origin.insert("b", "k", "x");
    origin.clock().advance(Duration::from_hours(48));
    assert_eq!(Client::once(origin.address(), &signed("GET", "/b/k", &[], b"")).await.status, 200);
    assert_eq!(Client::once(origin.address(), &presigned_delete(2)).await.status, 204);
}

#[tokio::test]
async fn another_region_is_named() {
    let origin = origin_with(Options { region: Some("eu-west-3".to_owned()), ..Options::default() }).await;
    let answer = Client::once(origin.address(), &signed("GET", "/b/k", &[], b"")).await;
    assert_eq!(answer.status, 400);
    assert!(
        answer.has("<Code>AuthorizationHeaderMalformed</Code>") && answer.has("<Region>eu-west-3</Region>")
    );
}

#[tokio::test]
async fn a_body_must_match_its_hashes() {
    let origin = origin().await;
    // FIPS 180-4, "abc".
    let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let sha256 = BASE64_STANDARD.encode(Sha256::digest(b"abc"));
    let good = [("x-amz-content-sha256", hex), ("x-amz-checksum-sha256", &sha256)];
    for (name, value) in good {
        let answer = Client::once(origin.address(), &signed("PUT", "/b/k", &[(name, value)], b"abc")).await;
        assert_eq!(answer.status, 200, "{name}");
        let wrong =
            Client::once(origin.address(), &signed("PUT", "/b/wrong", &[(name, value)], b"abd")).await;
        assert_eq!(wrong.status, 400, "{name}");
    }
    let md5 = signed("PUT", "/b/wrong", &[("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")], b"abc");
    assert!(Client::once(origin.address(), &md5).await.has("<Code>BadDigest</Code>"));
    assert_eq!(origin.keys("b"), ["k"]);

    let get = signed("GET", "/b/k", &[("x-amz-checksum-mode", "ENABLED")], b"");
    assert_eq!(
        Client::once(origin.address(), &get).await.header("x-amz-checksum-sha256"),
        Some(sha256.as_str())
    );
}

#[tokio::test]
async fn a_server_may_know_no_checksums() {
    let origin = origin_with(Options { lacks: vec![Lack::Checksums], ..Options::default() }).await;
    let put = signed("PUT", "/b/k", &[("x-amz-checksum-crc32", "AAAAAA==")], b"abc");
    let answer = Client::once(origin.address(), &put).await;
    assert_eq!((answer.status, answer.header("x-amz-checksum-crc32")), (200, None));
}
