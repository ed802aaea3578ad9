//! Objects come whole and right, or not at all.

use coldkeep_s3_client::ops::GetBucketLifecycleConfiguration;
use coldkeep_s3_client::{
    AnswerFlaw, ByteRange, CallOptions, Cause, Config, GetObject, Object, Quirk, Quirks, RequestError,
    RetryPolicy,
};

use crate::scripted::*;

const CONTENT: &str = "123456789";
/// Header and Base64 of the published check values for [`CONTENT`] (CRC catalogue; SHA-256 by FIPS 180-4).
const SUMS: [(&str, &str); 4] = [
    ("x-amz-checksum-crc32c", "4waSgw=="),
    ("x-amz-checksum-crc32", "y/Q5Jg=="),
    ("x-amz-checksum-crc64nvme", "rosUhgp5mIg="),
    ("x-amz-checksum-sha256", "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="),
];

async fn read(op: &GetObject, answer: Answer) -> Result<Object, RequestError> {
    let once = CallOptions::new().with_retry(RetryPolicy::never());
    let scene = Scene::new([answer]);
    scene.client.send_with(op, &once).await.map(|reply| reply.value)
}

async fn flaw(op: &GetObject, answer: Answer) -> String {
    match read(op, answer).await {
        Err(error) => match error.cause() {
            Cause::Malformed(flaw) => format!("{flaw:?}"),
            other => panic!("{other:?}"),
        },
        Ok(object) => panic!("{object:?}"),
    }
}

fn whole() -> Answer {
    answer(200).body(CONTENT)
}

#[tokio::test]
async fn content_is_compared_with_each_kind_of_checksum() {
    for (header, sum) in SUMS {
        let object = read(&get(), whole().header(header, sum)).await.unwrap();
        assert_eq!(object.content, CONTENT, "{header}");
        let flaw = flaw(&get(), answer(200).body("123456780").header(header, sum)).await;
        assert!(flaw.starts_with("WrongChecksum"), "{header}: {flaw}");
        let chunked = answer(200).chunks(&["1234", "56789"]).header(header, sum);
        assert_eq!(read(&get(), chunked).await.unwrap().content, CONTENT);
    }
}

#[tokio::test]
async fn checksums_are_asked_for_unless_a_quirk_or_a_range_forbids() {
    let mode = async |config: Config, op: GetObject| {
        let scene = Scene::with(config, [whole()]);
        let _ = scene.client.send(&op).await;
        scene.script.requests()[0].header("x-amz-checksum-mode").map(str::to_owned)
    };
    assert_eq!(mode(config(), get()).await.as_deref(), Some("ENABLED"));
    assert_eq!(mode(config().with_quirks(Quirks::from([Quirk::NoChecksums])), get()).await, None);
    let range = get().with_range(ByteRange::From(0));
    assert_eq!(mode(config().with_retry(RetryPolicy::never()), range).await, None);
}

#[tokio::test]
async fn a_checksum_of_parts_is_not_taken_for_one_of_the_content() {
    let composite = whole().header("x-amz-checksum-crc32c", "AAAAAA==-2");
    assert_eq!(read(&get(), composite).await.unwrap().content, CONTENT);
    let typed =
        whole().header("x-amz-checksum-crc32c", "AAAAAA==").header("x-amz-checksum-type", "COMPOSITE");
    assert_eq!(read(&get(), typed).await.unwrap().content, CONTENT);
}

#[tokio::test]
async fn a_body_of_another_length_is_an_error_never_a_short_result() {
    let short = whole().header("content-length", "10");
    assert_eq!(flaw(&get(), short).await, "WrongLength { expected: 10, got: 9 }");
    let long = whole().header("content-length", "8");
    assert_eq!(flaw(&get(), long).await, "WrongLength { expected: 8, got: 9 }");
    let empty = answer(200).header("content-length", "9");
    assert_eq!(flaw(&get(), empty).await, "WrongLength { expected: 9, got: 0 }");
    assert_eq!(flaw(&get(), answer(200).until_close(&[CONTENT])).await, "UnknownLength");
    // Framing that ends with the connection, too (RFC 9112 §6.3).
    let unframed = answer(200).until_close(&[CONTENT]).header("transfer-encoding", "identity");
    assert_eq!(flaw(&get(), unframed).await, "UnknownLength");
    let garbled = whole().header("content-length", "nine");
    assert!(flaw(&get(), garbled).await.starts_with("InvalidHeader"));
    for cut in [whole().header("content-length", "10").cut(), answer(200).chunks(&["1234"]).cut()] {
        let error = read(&get(), cut).await.unwrap_err();
        assert!(matches!(error.cause(), Cause::Connection { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn whole_bodies_are_taken_with_a_length_or_in_chunks() {
    assert_eq!(read(&get(), whole()).await.unwrap().content, CONTENT);
    assert_eq!(read(&get(), answer(200).chunks(&["1", "2345", "6789"])).await.unwrap().content, CONTENT);
    assert!(read(&get(), answer(200)).await.unwrap().content.is_empty());
}

#[tokio::test]
async fn no_more_is_taken_than_asked_for() {
    let bounded = get().with_bytes_max(9);
    assert_eq!(read(&bounded, whole()).await.unwrap().content, CONTENT);
    assert_eq!(flaw(&bounded, answer(200).body("1234567890")).await, "TooLong { limit: 9 }");
    let endless = answer(200).chunks(&["12345", "12345", "12345"]);
    assert_eq!(flaw(&bounded, endless).await, "TooLong { limit: 9 }");
    // It will be no shorter the next time.
    let scene = Scene::new([answer(200).body("1234567890")]);
    assert_eq!(scene.client.send(&bounded).await.unwrap_err().attempts(), 1);
}

#[tokio::test]
async fn a_spoilt_download_is_repeated() {
    let spoilt = || answer(200).body("123456780").header(SUMS[0].0, SUMS[0].1);
    let cut = || whole().header("content-length", "10").cut();
    let scene = Scene::new([spoilt(), cut(), whole()]);
    let reply = scene.client.send(&get()).await.unwrap();
    assert_eq!((reply.attempts, &reply.value.content[..]), (3, CONTENT.as_bytes()));
}

#[tokio::test]
async fn what_a_server_does_differently_is_not_asked_for_again() {
    let scene = Scene::new([answer(200).until_close(&["1"])]);
    assert_eq!(scene.client.send(&get()).await.unwrap_err().attempts(), 1);
    let scene = Scene::new([answer(200).body("<ListBucketResult></ListBucketResult>")]);
    let lifecycle = scene.client.send(&GetBucketLifecycleConfiguration::new()).await;
    assert_eq!(lifecycle.unwrap_err().attempts(), 1);
}

#[tokio::test]
async fn a_range_is_taken_only_if_it_is_the_one_asked_for() {
    let asked = get().with_range(ByteRange::Bounded { first: 2, last: 4 });
    let part = |range: &str, body: &'static str| answer(206).body(body).header("content-range", range);
    let object = read(&asked, part("bytes 2-4/9", "345")).await.unwrap();
    assert_eq!(
        (&object.content[..], object.range.unwrap().first, object.meta.size),
        (&b"345"[..], 2, Some(9))
    );
    let with_200 = answer(200).body("345").header("content-range", "bytes 2-4/9");
    assert_eq!(read(&asked, with_200).await.unwrap().content, "345");
    // The checksum of the whole says nothing of a part.
    let summed = part("bytes 2-4/9", "345").header(SUMS[0].0, SUMS[0].1);
    assert_eq!(read(&asked, summed).await.unwrap().content, "345");

    assert_eq!(read(&asked, part("bytes 2-4/*", "345")).await.unwrap().content, "345");
    // Whether there is more than `bytes 2-3/*` nobody knows.
    let cut = part("bytes 2-3/*", "34");
    for wrong in [whole(), part("bytes 3-5/9", "456"), part("bytes 2-3/9", "34"), cut] {
        assert!(flaw(&asked, wrong).await.starts_with("WrongRange"));
    }
    assert!(flaw(&asked, part("bytes 2-4/9", "34")).await.starts_with("WrongLength"));
    assert!(flaw(&asked, part("lines 2-4/9", "345")).await.starts_with("InvalidHeader"));
    let unasked = part("bytes 2-4/9", "345");
    assert!(flaw(&get(), unasked).await.starts_with("WrongRange"));
}

#[tokio::test]
async fn a_range_of_an_empty_object_is_refused_with_its_code() {
    let fail = refusal(416, "InvalidRange").header("content-range", "bytes */0");
    let error = read(&get().with_range(ByteRange::From(0)), fail).await.unwrap_err();
    assert_eq!(error.service_error().unwrap().status(), 416);
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn too_long_is_typed() {
    let error = read(&get().with_bytes_max(1), whole()).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::Malformed(AnswerFlaw::TooLong { limit: 1 })));
}
