//! Requests signed in their query.

use std::time::Duration;

use coldkeep_s3_client::ops::{DeleteObjects, DeleteTarget, ListObjectsV2};
use coldkeep_s3_client::{CallOptions, Cause, HeadObject, Presigned, RequestError, S3Operation, Signing};
use http::Method;

use crate::scripted::*;

const LIFE: Duration = Duration::from_mins(1);

async fn link<O: S3Operation>(op: &O) -> Presigned {
    let nothing: [Answer; 0] = [];
    let scene = Scene::new(nothing);
    let link = scene.client.presign(op, start(), LIFE).await.unwrap();
    assert_eq!(scene.script.count(), 0);
    for part in [
        "X-Amz-Algorithm=AWS4-HMAC-SHA256",
        "X-Amz-Credential=AKIDEXAMPLE%2F20231114%2Fus-east-1%2Fs3%2Faws4_request",
        "X-Amz-Date=20231114T221320Z",
        "X-Amz-Expires=60",
    ] {
        assert!(link.url.contains(part), "{part} in {}", link.url);
    }
    let signature = link.url.rsplit_once("&X-Amz-Signature=").unwrap().1;
    assert!(signature.len() == 64 && signature.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert!(link.headers.contains_key("host") && !link.headers.contains_key("authorization"));
    link
}

#[tokio::test]
async fn any_operation_can_be_presigned() {
    assert_eq!(link(&get()).await.method, Method::GET);
    assert_eq!(link(&HeadObject::new(key())).await.method, Method::HEAD);
    assert_eq!(link(&delete()).await.method, Method::DELETE);
    assert!(link(&ListObjectsV2::new()).await.url.contains("?list-type=2&"));
    let put = link(&put()).await;
    assert_eq!(
        (put.method, put.headers["x-amz-checksum-crc32c"].to_str().unwrap()),
        (Method::PUT, "4waSgw==")
    );
    assert!(put.url.starts_with("http://s3.example.com/bucket/key?"), "{}", put.url);
    let deletes = link(&DeleteObjects::new([DeleteTarget::new(key())])).await;
    assert_eq!(deletes.method, Method::POST);
    assert!(deletes.headers.contains_key("content-md5"));
    assert!(deletes.url.contains("?delete&"), "{}", deletes.url);
    assert!(deletes.url.contains("content-md5"), "{}", deletes.url);
}

#[tokio::test]
async fn a_link_is_what_a_presigned_request_sends() {
    let scene = Scene::new([answer(200)]);
    let link = scene.client.presign(&put(), start(), LIFE).await.unwrap();
    let signing = Signing::Presigned { signed_at: start(), expires_in: LIFE };
    scene.client.send_with(&put(), &CallOptions::new().with_signing(signing)).await.unwrap();
    let seen = &scene.script.requests()[0];
    assert_eq!((&seen.uri, &seen.method), (&link.url, &link.method));
    for (name, value) in &link.headers {
        assert_eq!(seen.headers.get(name), Some(value), "{name}");
    }
    assert_eq!((seen.header("content-length"), seen.header("authorization")), (Some("9"), None));
    assert_eq!(seen.header("x-amz-date"), None);
}

#[tokio::test]
async fn a_life_out_of_bounds_is_refused_before_anything_is_sent() {
    let week = Duration::from_hours(7 * 24);
    let nothing: [Answer; 0] = [];
    let scene = Scene::new(nothing);
    let check = |error: RequestError| {
        assert!(matches!(error.cause(), Cause::Invalid(_)), "{error:?}");
        assert_eq!((error.attempts(), error.target()), (0, "bucket/key"));
    };
    for expires_in in [Duration::ZERO, Duration::from_millis(999), week + SECOND] {
        check(scene.client.presign(&get(), start(), expires_in).await.unwrap_err());
        let signing = Signing::Presigned { signed_at: start(), expires_in };
        check(scene.client.send_with(&get(), &CallOptions::new().with_signing(signing)).await.unwrap_err());
    }
    assert!(scene.client.presign(&get(), start(), week).await.is_ok());
}
