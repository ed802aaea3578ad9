//! Multipart uploads.

use coldkeep_s3_client::ops::{
    AbortMultipartUpload, CompleteMultipartUpload, CreateMultipartUpload, MultipartUpload, UploadPart,
    UploadedPart,
};
use coldkeep_s3_client::{ETag, Effect, ErrorCode, HeadObject, ObjectKey, RequestError};

use crate::env::Env;
use crate::sample;

/// Least length of a part that is not the last (S3 user guide, "Amazon S3 multipart upload limits").
const PART_BYTES_MIN: usize = 5 << 20;

async fn begin(env: &Env, key: &ObjectKey) -> MultipartUpload {
    let create = CreateMultipartUpload::new(key.clone()).with_content_type("text/x-coldkeep");
    env.client().send(&create.with_metadata("origin", "parts")).await.unwrap().into_value()
}

pub(crate) async fn parts_become_one_object(env: Env) {
    let key = env.key("object");
    let upload = begin(&env, &key).await;
    assert_eq!(upload.key, key);
    let content = sample::content(PART_BYTES_MIN + 1000, 1);
    // The last part goes first: their numbers count.
    let second = UploadPart::new(upload.clone(), 2, content.slice(PART_BYTES_MIN..));
    let second = env.client().send(&second).await.unwrap().into_value();
    let first = UploadPart::new(upload.clone(), 1, content.slice(..PART_BYTES_MIN));
    let first = env.client().send(&first).await.unwrap().into_value();
    assert!(!env.is_there(&key).await, "nothing is there before the upload is complete");
    let complete = CompleteMultipartUpload::new(upload, [second, first]);
    let reply = env.client().send(&complete).await.unwrap();
    assert_eq!(reply.outcome.effect(), Effect::Applied);
    assert!(env.content(&key).await == content, "other content than was uploaded");
    let head = env.client().send(&HeadObject::new(key)).await.unwrap().into_value();
    assert_eq!(head.size, Some(content.len() as u64));
    assert_eq!(head.content_type.as_deref(), Some("text/x-coldkeep"));
    assert_eq!(head.metadata.get("origin").map(String::as_str), Some("parts"));
    if env.has("multipart-etag") {
        let etag = head.etag.expect("objects have tags");
        assert!(etag.as_str().ends_with("-2"), "{etag}");
        // One server leaves it empty in this answer.
        assert_eq!(reply.value.etag.unwrap_or_else(|| etag.clone()), etag);
    }
}

pub(crate) async fn a_part_replaces_the_one_before(env: Env) {
    let key = env.key("object");
    let upload = begin(&env, &key).await;
    let part = |content: &'static str| UploadPart::new(upload.clone(), 1, content);
    env.client().send(&part("first")).await.unwrap();
    let second = env.client().send(&part("second")).await.unwrap().into_value();
    env.client().send(&CompleteMultipartUpload::new(upload.clone(), [second])).await.unwrap();
    assert_eq!(env.content(&key).await, "second");
}

pub(crate) async fn an_aborted_upload_leaves_nothing(env: Env) {
    let key = env.key("object");
    let upload = begin(&env, &key).await;
    let part = env.client().send(&UploadPart::new(upload.clone(), 1, "part")).await.unwrap().into_value();
    env.client().send(&AbortMultipartUpload::new(upload.clone())).await.unwrap();
    assert!(!env.is_there(&key).await);
    let complete = CompleteMultipartUpload::new(upload.clone(), [part]);
    let error = env.client().send(&complete).await.expect_err("the upload is gone");
    assert_gone(&env, &error);
    assert!(!env.is_there(&key).await);
}

pub(crate) async fn a_wrong_tag_completes_nothing(env: Env) {
    let key = env.key("object");
    let upload = begin(&env, &key).await;
    env.client().send(&UploadPart::new(upload.clone(), 1, "part")).await.unwrap();
    let wrong = UploadedPart::new(1, ETag::new("0123456789abcdef0123456789abcdef"));
    let complete = CompleteMultipartUpload::new(upload.clone(), [wrong]);
    let error = env.client().send(&complete).await.expect_err("there is no such part");
    assert!(error.service_error().is_some(), "{error:?}");
    assert!(!env.is_there(&key).await);
    give_up(&env, upload).await;
}

pub(crate) async fn a_part_that_was_not_uploaded_completes_nothing(env: Env) {
    let key = env.key("object");
    let upload = begin(&env, &key).await;
    let part = env.client().send(&UploadPart::new(upload.clone(), 1, "part")).await.unwrap().into_value();
    let missing = UploadedPart::new(2, part.etag.clone());
    let complete = CompleteMultipartUpload::new(upload.clone(), [part, missing]);
    let error = env.client().send(&complete).await.expect_err("there is no such part");
    assert!(error.service_error().is_some(), "{error:?}");
    assert!(!env.is_there(&key).await);
    give_up(&env, upload).await;
}

pub(crate) async fn an_unknown_upload_is_no_such_upload(env: Env) {
    let upload = MultipartUpload::new(env.key("object"), begin(&env, &env.key("object")).await.id);
    env.client().send(&AbortMultipartUpload::new(upload.clone())).await.unwrap();
    let error = env.client().send(&UploadPart::new(upload, 1, "part")).await.unwrap_err();
    assert_gone(&env, &error);
}

fn assert_gone(env: &Env, error: &RequestError) {
    let refused = error.service_error().unwrap_or_else(|| panic!("{error:?}"));
    if env.has("no-such-upload") {
        assert_eq!(refused.code(), &ErrorCode::NoSuchUpload, "{error:?}");
    }
}

/// Gives up an upload after something went wrong with it; a server may have done so by itself.
pub(crate) async fn give_up(env: &Env, upload: MultipartUpload) {
    if let Err(error) = env.client().send(&AbortMultipartUpload::new(upload)).await {
        assert_gone(env, &error);
    }
}
