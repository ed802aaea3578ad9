//! What goes with a body: lengths, hashes and checksums.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use coldkeep_s3_client::ops::{DeleteObjects, DeleteTarget};
use coldkeep_s3_client::{
    Config, Payload, PayloadSigning, PutObject, Quirk, Quirks, S3Operation, UploadChecksum,
};
use md5::{Digest as _, Md5};

use crate::scripted::*;

/// SHA-256 of "123456789".
const HASH: &str = "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225";
/// The same in Base64.
const HASH_BASE64: &str = "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=";
/// SHA-256 of nothing.
const EMPTY_HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// CRC-32C of "123456789" (check value of the CRC catalogue), in Base64.
const CRC32C: &str = "4waSgw==";

async fn sent<O: S3Operation>(config: Config, op: &O, success: Answer) -> Seen {
    let scene = Scene::with(config, [success]);
    let _ = scene.client.send(op).await;
    scene.script.requests().remove(0)
}

fn checksums(seen: &Seen) -> Vec<(String, String)> {
    let is_checksum = |name: &str| {
        (name.starts_with("x-amz-checksum-") && name != "x-amz-checksum-mode") || name == "content-md5"
    };
    let headers = seen.headers.iter().filter(|(name, _)| is_checksum(name.as_str()));
    headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
}

fn signed_headers(seen: &Seen) -> Vec<&str> {
    let authorization = seen.header("authorization").unwrap();
    let names = authorization.split("SignedHeaders=").nth(1).unwrap();
    names.split(',').next().unwrap().split(';').collect()
}

#[tokio::test]
async fn uploads_carry_the_checksum_of_the_configuration() {
    for (checksum, header) in [
        (UploadChecksum::None, None),
        (UploadChecksum::Crc32c, Some(("x-amz-checksum-crc32c", CRC32C))),
        (UploadChecksum::Sha256, Some(("x-amz-checksum-sha256", HASH_BASE64))),
    ] {
        let seen = sent(config().with_upload_checksum(checksum), &put(), answer(200)).await;
        let expected: Vec<_> =
            header.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(checksums(&seen), expected, "{checksum:?}");
        assert_eq!(seen.header("x-amz-content-sha256"), Some(HASH));
        assert_eq!(seen.header("content-length"), Some("9"));
        assert_eq!(seen.body, b"123456789");
        // Half of the servers refuse unsigned `x-amz-*` headers.
        let signed = signed_headers(&seen);
        for name in seen.headers.keys().filter(|name| name.as_str().starts_with("x-amz-")) {
            assert!(signed.contains(&name.as_str()), "{name}");
        }
    }
    let quirks = Quirks::from([Quirk::NoChecksums]);
    assert_eq!(checksums(&sent(config().with_quirks(quirks), &put(), answer(200)).await), []);
}

#[tokio::test]
async fn content_in_pieces_is_hashed_like_content_in_one() {
    let payload = Payload::from_pieces(["1234", "", "56789"].map(bytes::Bytes::from));
    let seen = sent(config(), &PutObject::new(key(), payload), answer(200)).await;
    assert_eq!((seen.header("x-amz-content-sha256"), seen.header("content-length")), (Some(HASH), Some("9")));
    assert_eq!(seen.header("x-amz-checksum-crc32c"), Some(CRC32C));
    assert_eq!(seen.body, b"123456789");
}

#[tokio::test]
async fn a_payload_goes_unsigned_only_under_tls_and_only_if_asked_for() {
    let (https, http) = ("https://s3.example.com", "http://s3.example.com");
    let open = PayloadSigning::UnsignedUnderTls;
    for (endpoint, signing, hash) in [
        (https, open, "UNSIGNED-PAYLOAD"),
        (http, open, HASH),
        (https, PayloadSigning::Signed, HASH),
        (http, PayloadSigning::Signed, HASH),
    ] {
        let seen = sent(config_of(endpoint).with_payload_signing(signing), &put(), answer(200)).await;
        assert_eq!(seen.header("x-amz-content-sha256"), Some(hash), "{endpoint} {signing:?}");
        // The checksum protects what the signature does not.
        assert_eq!(seen.header("x-amz-checksum-crc32c"), Some(CRC32C));
    }
    let config = config_of(https).with_payload_signing(open).with_upload_checksum(UploadChecksum::Sha256);
    let seen = sent(config, &put(), answer(200)).await;
    assert_eq!(seen.header("x-amz-checksum-sha256"), Some(HASH_BASE64));
}

#[tokio::test]
async fn a_multi_delete_carries_its_md5_and_no_other_checksum() {
    let op = DeleteObjects::new([DeleteTarget::new(key())]);
    for quirks in [Quirks::default(), Quirks::from([Quirk::NoChecksums])] {
        let seen = sent(config().with_quirks(quirks), &op, answer(200).body("<DeleteResult/>")).await;
        let md5 = BASE64.encode(Md5::digest(&seen.body));
        assert_eq!(checksums(&seen), [("content-md5".to_owned(), md5)]);
        assert!(signed_headers(&seen).contains(&"content-md5"));
        assert!(
            seen.uri.ends_with("/bucket?delete") || seen.uri.ends_with("/bucket/?delete"),
            "{}",
            seen.uri
        );
    }
}

#[tokio::test]
async fn an_empty_upload_has_a_length_and_the_hash_of_nothing() {
    let seen = sent(config(), &PutObject::new(key(), ""), answer(200)).await;
    assert_eq!(seen.header("content-length"), Some("0"));
    assert_eq!(seen.header("x-amz-content-sha256"), Some(EMPTY_HASH));
    assert_eq!(seen.header("x-amz-checksum-crc32c"), Some("AAAAAA=="));
    let config = config().with_upload_checksum(UploadChecksum::Sha256);
    let seen = sent(config, &PutObject::new(key(), ""), answer(200)).await;
    assert_eq!(seen.header("x-amz-checksum-sha256"), Some("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="));
}

#[tokio::test]
async fn requests_that_never_have_a_body_say_nothing_of_one() {
    for seen in [sent(config(), &get(), answer(200)).await, sent(config(), &delete(), answer(204)).await] {
        assert_eq!((seen.header("content-length"), seen.body.len()), (None, 0));
        assert_eq!(seen.header("x-amz-content-sha256"), Some(EMPTY_HASH));
        assert_eq!(checksums(&seen), []);
    }
}
