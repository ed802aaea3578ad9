//! Bodies that changed on their way are refused, by whichever hash the server looks at.

use std::time::Duration;

use coldkeep_s3_client::ops::{CreateMultipartUpload, UploadPart};
use coldkeep_s3_client::{
    CallOptions, Clock as _, Effect, PutObject, RequestError, Signing, SystemClock, UploadChecksum,
};

use crate::between::Flipping;
use crate::env::Env;
use crate::multipart;

/// A presigned body is not part of the signature, so that another hash has to notice.
fn presigned() -> CallOptions {
    let signed_at = SystemClock::new().now();
    CallOptions::new().with_signing(Signing::Presigned { signed_at, expires_in: Duration::from_mins(1) })
}

pub(crate) async fn a_body_that_is_not_what_was_signed_is_refused(env: Env) {
    let client = Flipping::client(env.config().with_upload_checksum(UploadChecksum::None));
    let new = env.key("new");
    let error = client.send(&PutObject::new(new.clone(), "content")).await.expect_err("the body changed");
    assert_refused(&error);
    let old = env.put("old", "old content").await;
    let error = client.send(&PutObject::new(old.clone(), "content")).await.expect_err("the body changed");
    assert_refused(&error);
    if env.has("refused-put-stores-nothing") {
        assert!(!env.is_there(&new).await);
        assert_eq!(env.content(&old).await, "old content");
    } else {
        // Then the outcome must not rule it out.
        assert_ne!(error.outcome().effect(), Effect::None, "{error:?}");
    }
}

pub(crate) async fn a_body_that_does_not_match_its_checksum_is_refused(env: Env) {
    for checksum in [UploadChecksum::Crc32c, UploadChecksum::Sha256] {
        let client = Flipping::client(env.config().with_upload_checksum(checksum));
        let key = env.key(&format!("{checksum:?}"));
        let put = PutObject::new(key.clone(), "content");
        let error = client.send_with(&put, &presigned()).await.expect_err("the body changed");
        assert_refused(&error);
        if env.has("refused-put-stores-nothing") {
            assert!(!env.is_there(&key).await);
        } else {
            assert_ne!(error.outcome().effect(), Effect::None, "{error:?}");
        }
    }
}

pub(crate) async fn a_part_that_does_not_match_its_md5_is_refused(env: Env) {
    let create = CreateMultipartUpload::new(env.key("object"));
    let upload = env.client().send(&create).await.unwrap().into_value();
    let part = UploadPart::new(upload.clone(), 1, "content");
    let client = Flipping::client(env.config());
    let error = client.send_with(&part, &presigned()).await.expect_err("the body changed");
    assert_refused(&error);
    multipart::give_up(&env, upload).await;
}

/// 400 with several codes; one server answers 500.
fn assert_refused(error: &RequestError) {
    let refused = error.service_error().unwrap_or_else(|| panic!("{error:?}"));
    assert!(matches!(refused.status(), 400..=500), "{error:?}");
    assert_ne!(error.outcome().effect(), Effect::Applied);
}
