//! PutObject, GetObject, HeadObject, DeleteObject: objects come back as they were put.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use coldkeep_s3_client::ops::{CopyObject, ListObjectsV2};
use coldkeep_s3_client::{
    Cause, DeleteObject, Effect, GetObject, HeadObject, Outcome, Payload, PutObject, UploadChecksum,
};
use futures_util::future::join_all;

use crate::env::{Env, connect};
use crate::sample;

/// How far `LastModified` may be from the `Date` of the put: one server rounds it up, others cut it (spec `s3-servers.md` §3, point 10).
const DATES_APART_MAX: Duration = Duration::from_secs(5);

pub(crate) async fn what_was_put_comes_back_with_its_facts(env: Env) {
    let key = env.key("object");
    let put = PutObject::new(key.clone(), "content").with_content_type("text/x-coldkeep");
    let put = env.client().send(&put).await.unwrap();
    assert_eq!((put.attempts, put.outcome), (1, Outcome::APPLIED));
    let got = env.client().send(&GetObject::new(key.clone())).await.unwrap();
    assert_eq!((got.attempts, got.outcome), (1, Outcome::NONE));
    assert_eq!(got.value.content, "content");
    assert_eq!(got.value.range, None);
    let meta = got.value.meta;
    assert_eq!(meta.size, Some(7));
    assert_eq!(meta.content_type.as_deref(), Some("text/x-coldkeep"));
    let put_at = put.date.expect("servers tell the date");
    assert!(apart(put_at, meta.last_modified.unwrap()) <= DATES_APART_MAX, "{put_at:?}: {meta:?}");
    if let Some(etag) = put.value.etag {
        assert_eq!(meta.etag, Some(etag));
    }
    let head = env.client().send(&HeadObject::new(key.clone())).await.unwrap().into_value();
    assert_eq!((head.size, &head.content_type), (meta.size, &meta.content_type));
    assert_eq!((head.etag, head.last_modified), (meta.etag, meta.last_modified));
}

fn apart(a: SystemTime, b: SystemTime) -> Duration {
    a.duration_since(b).unwrap_or_else(|error| error.duration())
}

pub(crate) async fn user_metadata_comes_back(env: Env) {
    let key = env.key("object");
    let put =
        PutObject::new(key.clone(), "x").with_metadata("Origin", "vm/100").with_metadata("note", "a b  c");
    env.client().send(&put).await.unwrap();
    for meta in [
        env.client().send(&GetObject::new(key.clone())).await.unwrap().into_value().meta,
        env.client().send(&HeadObject::new(key.clone())).await.unwrap().into_value(),
    ] {
        assert_eq!(meta.metadata["origin"], "vm/100");
        // A run of spaces is one in the canonical request, and one server or another stores it so.
        assert_eq!(meta.metadata["note"].split_whitespace().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(meta.metadata.len(), 2);
    }
}

pub(crate) async fn the_second_put_counts(env: Env) {
    let key = env.put("object", "first").await;
    env.put("object", "second, and longer").await;
    assert_eq!(env.content(&key).await, "second, and longer");
    env.put("object", "third").await;
    assert_eq!(env.content(&key).await, "third");
}

pub(crate) async fn an_empty_object_is_an_object(env: Env) {
    let key = env.put("empty", Bytes::new()).await;
    let got = env.client().send(&GetObject::new(key.clone())).await.unwrap().into_value();
    assert_eq!((got.content, got.meta.size), (Bytes::new(), Some(0)));
    let head = env.client().send(&HeadObject::new(key.clone())).await.unwrap().into_value();
    assert_eq!(head.size, Some(0));
    let mut stream = env.client().stream(&GetObject::new(key)).await.unwrap().into_value();
    assert_eq!(stream.next().await.unwrap(), None);
}

pub(crate) async fn twenty_mebibytes_come_back_whole_and_in_pieces(env: Env) {
    let content = sample::content(20 << 20, 20);
    // In memory it lies in pieces of several sizes.
    let pieces = [0..3, 3..(5 << 20), (5 << 20)..(20 << 20)].map(|range| content.slice(range));
    let key = env.put("large", Payload::from_pieces(pieces)).await;
    assert!(env.content(&key).await == content, "other content than was put");
    let mut stream = env.client().stream(&GetObject::new(key.clone())).await.unwrap().into_value();
    assert_eq!(stream.meta().size, Some(20 << 20));
    let mut streamed = Vec::new();
    while let Some(piece) = stream.next().await.unwrap() {
        streamed.extend_from_slice(&piece);
    }
    assert!(streamed == content, "other content in the stream than was put");
    let too_long = env.client().send(&GetObject::new(key).with_bytes_max(1 << 20)).await.unwrap_err();
    assert!(matches!(too_long.cause(), Cause::Malformed(_)), "{too_long:?}");
}

pub(crate) async fn a_deleted_object_is_gone(env: Env) {
    let key = env.put("object", "content").await;
    let deleted = env.client().send(&DeleteObject::new(key.clone())).await.unwrap();
    assert_eq!(deleted.outcome.effect(), Effect::Applied);
    let error = env.client().send(&GetObject::new(key.clone())).await.unwrap_err();
    assert!(error.is_not_found() && error.attempts() == 1, "{error:?}");
    let error = env.client().send(&HeadObject::new(key.clone())).await.unwrap_err();
    assert!(error.is_not_found() && error.attempts() == 1, "{error:?}");
    // Deleting what is not there is fine everywhere.
    env.client().send(&DeleteObject::new(key)).await.unwrap();
}

/// Goal: an object that was put, and not deleted, is there, whatever happens to its neighbours.
/// Method: writers that put, copy, read, list and delete below few prefixes at once, so that each prefix is empty now and then.
pub(crate) async fn deletes_do_no_harm_to_neighbours(env: Env) {
    const WRITERS: u64 = 16;
    const ROUNDS: u64 = 20;
    let tasks = (0..WRITERS).map(|writer| {
        let env = env.clone();
        tokio::spawn(async move {
            for round in 0..ROUNDS {
                let key = env
                    .put(&format!("{}/{writer:02}", (writer + round) % 5), format!("{writer} {round}"))
                    .await;
                let copy = env.key(&format!("{writer:02} copy"));
                let op = CopyObject::new(env.config().bucket().clone(), key.clone(), copy.clone());
                env.client().send(&op).await.unwrap();
                for key in [key, copy] {
                    assert_eq!(env.content(&key).await, format!("{writer} {round}"));
                    let list = ListObjectsV2::new().with_prefix(key.as_str());
                    let page = env.client().send(&list).await.unwrap().into_value();
                    assert!(page.objects.iter().any(|object| object.key == key), "{key}: {page:?}");
                    env.client().send(&DeleteObject::new(key)).await.unwrap();
                }
            }
        })
    });
    for result in join_all(tasks).await {
        result.unwrap();
    }
}

pub(crate) async fn checksums_come_back(env: Env) {
    let content = "checksums of the upload come back";
    let client = connect(env.config().with_upload_checksum(UploadChecksum::Sha256));
    let key = env.key("sha256");
    client.send(&PutObject::new(key.clone(), content)).await.unwrap();
    let got = client.send(&GetObject::new(key.clone())).await.unwrap().into_value();
    let sha256 = got.meta.checksums.sha256.expect("a server with checksums returns them");
    let head = client.send(&HeadObject::new(key).with_checksums()).await.unwrap().into_value();
    assert_eq!(head.checksums.sha256, Some(sha256));

    let client = connect(env.config().with_upload_checksum(UploadChecksum::Crc32c));
    let key = env.key("crc32c");
    client.send(&PutObject::new(key.clone(), content)).await.unwrap();
    let got = client.send(&GetObject::new(key)).await.unwrap().into_value();
    assert!(got.meta.checksums.crc32c.is_some(), "{:?}", got.meta.checksums);
}

pub(crate) async fn uploads_work_with_any_checksum(env: Env) {
    for checksum in [UploadChecksum::None, UploadChecksum::Crc32c, UploadChecksum::Sha256] {
        let client = connect(env.config().with_upload_checksum(checksum));
        let key = env.key(&format!("{checksum:?}"));
        client.send(&PutObject::new(key.clone(), "content")).await.unwrap();
        assert_eq!(env.content(&key).await, "content", "{checksum:?}");
    }
}
