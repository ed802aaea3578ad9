//! Presigned requests: links for others, and the client's own requests that end at a fixed instant (R9 of Coldkeep's design).

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use coldkeep_s3_client::ops::{DeleteObjects, ListObjectsV2};
use coldkeep_s3_client::{
    ByteRange, CallOptions, Clock as _, DeleteObject, Effect, GetObject, HeadObject, Pending, PutObject,
    S3Operation, ServiceError, Signing, SystemClock,
};
use http::header::{CONTENT_RANGE, HOST, RANGE};

use crate::between::fetch;
use crate::env::Env;
use crate::sample;

const A_MINUTE: Duration = Duration::from_mins(1);

/// The shortest life that is of use (spec `s3-servers.md` §3, point 16).
const SHORT: Duration = Duration::from_secs(2);

/// How long ago the expired requests were signed: they ended three seconds ago.
const AGO: Duration = Duration::from_secs(5);

fn now() -> SystemTime {
    SystemClock::new().now()
}

fn for_a_minute() -> CallOptions {
    CallOptions::new().with_signing(Signing::Presigned { signed_at: now(), expires_in: A_MINUTE })
}

pub(crate) async fn links_work_without_a_client(env: Env) {
    let (client, config) = (env.client(), env.config());
    let key = env.key("object");
    let link = client.presign(&PutObject::new(key.clone(), "content"), now(), A_MINUTE).await.unwrap();
    let put = fetch(&config, link, "content").await;
    assert_eq!(put.status, 200, "{put:?}");
    assert_eq!(env.content(&key).await, "content");

    let link = client.presign(&GetObject::new(key.clone()), now(), A_MINUTE).await.unwrap();
    let got = fetch(&config, link, Bytes::new()).await;
    assert_eq!((got.status.as_u16(), got.body), (200, b"content".to_vec()));

    let link = client.presign(&HeadObject::new(key.clone()), now(), A_MINUTE).await.unwrap();
    let head = fetch(&config, link, Bytes::new()).await;
    assert_eq!(head.status, 200, "{head:?}");
    assert_eq!(head.headers["content-length"], "7");

    let list = ListObjectsV2::new().with_prefix(&env.key_prefix());
    let link = client.presign(&list, now(), A_MINUTE).await.unwrap();
    let listed = fetch(&config, link, Bytes::new()).await;
    assert_eq!(listed.status, 200, "{listed:?}");
    assert!(String::from_utf8(listed.body).unwrap().contains("object</Key>"));

    let link = client.presign(&DeleteObject::new(key.clone()), now(), A_MINUTE).await.unwrap();
    let deleted = fetch(&config, link, Bytes::new()).await;
    assert_eq!(deleted.status, 204, "{deleted:?}");
    assert!(!env.is_there(&key).await);
}

pub(crate) async fn every_operation_can_be_sent_presigned(env: Env) {
    let client = env.client();
    let key = env.key("object");
    let options = for_a_minute();
    client.send_with(&PutObject::new(key.clone(), "content"), &options).await.unwrap();
    let got = client.send_with(&GetObject::new(key.clone()), &options).await.unwrap();
    assert_eq!(got.value.content, "content");
    let head = client.send_with(&HeadObject::new(key.clone()), &options).await.unwrap();
    assert_eq!(head.value.size, Some(7));
    let list = ListObjectsV2::new().with_prefix(&env.key_prefix());
    let page = client.send_with(&list, &options).await.unwrap();
    assert_eq!(page.value.objects.len(), 1);
    let deleted = client.send_with(&DeleteObject::new(key.clone()), &options).await.unwrap();
    assert_eq!((deleted.outcome.effect(), deleted.outcome.pending()), (Effect::Applied, Pending::No));
    assert!(!env.is_there(&key).await);
}

pub(crate) async fn a_multi_delete_can_be_sent_presigned(env: Env) {
    let keys = [env.put("a", "a").await, env.put("b", "b").await];
    let delete = DeleteObjects::new(keys.iter().cloned());
    let report = env.client().send_with(&delete, &for_a_minute()).await.unwrap().into_value();
    assert_eq!((report.deleted.len(), report.failed.len()), (2, 0), "{report:?}");
    for key in &keys {
        assert!(!env.is_there(key).await);
    }
}

pub(crate) async fn a_range_of_a_link_is_answered_with_206(env: Env) {
    let content = sample::content(1000, 1);
    let key = env.put("object", content.clone()).await;
    let get = GetObject::new(key).with_range(ByteRange::Bounded { first: 10, last: 19 });
    let mut link = env.client().presign(&get, now(), A_MINUTE).await.unwrap();
    link.headers.insert(RANGE, "bytes=10-19".parse().unwrap());
    let got = fetch(&env.config(), link, Bytes::new()).await;
    assert_eq!((got.status.as_u16(), &got.body[..]), (206, &content[10..20]), "{:?}", got.headers);
    assert_eq!(got.headers[CONTENT_RANGE], "bytes 10-19/1000");
}

/// Goal: a presigned delete that arrives after its expiry deletes nothing: what R9 stands on.
/// Method: nobody waits; the request was signed some seconds ago. The client leaves such a time for the server to judge.
pub(crate) async fn an_expired_delete_deletes_nothing(env: Env) {
    let key = env.put("object", "content").await;
    refused_late(&env, &DeleteObject::new(key.clone())).await;
    assert_eq!(env.content(&key).await, "content");
}

/// As above, for many objects: the body is not signed, its expiry is.
pub(crate) async fn an_expired_multi_delete_deletes_nothing(env: Env) {
    let keys = [env.put("a", "content").await, env.put("b", "content").await];
    refused_late(&env, &DeleteObjects::new(keys.iter().cloned())).await;
    for key in &keys {
        assert_eq!(env.content(key).await, "content");
    }
}

pub(crate) async fn an_expired_put_stores_nothing(env: Env) {
    let key = env.put("object", "old").await;
    refused_late(&env, &PutObject::new(key.clone(), "new")).await;
    assert_eq!(env.content(&key).await, "old");
}

async fn refused_late<O: S3Operation>(env: &Env, op: &O) {
    let signing = Signing::Presigned { signed_at: now() - AGO, expires_in: SHORT };
    let sent = env.client().send_with(op, &CallOptions::new().with_signing(signing)).await;
    let error = sent.map(drop).expect_err("it has expired");
    // 403, or 400 with various codes; it left, and was not repeated.
    let status = error.service_error().map(ServiceError::status);
    assert!(matches!(status, Some(400 | 401 | 403)), "{error:?}");
    assert_eq!((error.attempts(), error.outcome().effect()), (1, Effect::None), "{error:?}");
}

pub(crate) async fn a_link_for_one_object_is_no_link_for_another(env: Env) {
    let [one, other] = [env.put("one", "one").await, env.put("other", "other").await];
    let mut link = env.client().presign(&GetObject::new(one), now(), A_MINUTE).await.unwrap();
    assert!(link.headers.contains_key(HOST));
    link.url = link.url.replace("/one?", "/other?");
    let got = fetch(&env.config(), link, Bytes::new()).await;
    assert!(got.status.is_client_error(), "{got:?}");
    assert_eq!(env.content(&other).await, "other");
}
