//! CopyObject.

use coldkeep_s3_client::ops::CopyObject;
use coldkeep_s3_client::{ETag, HeadObject, ObjectKey, PutObject};

use crate::env::Env;
use crate::sample;

fn copy(env: &Env, from: &ObjectKey, to: &ObjectKey) -> CopyObject {
    CopyObject::new(env.config().bucket().clone(), from.clone(), to.clone())
}

pub(crate) async fn a_copy_is_the_same_with_its_metadata(env: Env) {
    let [from, to] = [env.key("from"), env.key("to")];
    let content = sample::content(300_000, 1);
    let put = PutObject::new(from.clone(), content.clone()).with_content_type("text/x-coldkeep");
    env.client().send(&put.with_metadata("origin", "here")).await.unwrap();
    let copied = env.client().send(&copy(&env, &from, &to)).await.unwrap().into_value();
    assert!(env.content(&to).await == content, "the copy has other content");
    let head = env.client().send(&HeadObject::new(to)).await.unwrap().into_value();
    assert_eq!(head.content_type.as_deref(), Some("text/x-coldkeep"));
    assert_eq!(head.metadata.get("origin").map(String::as_str), Some("here"));
    if copied.etag.is_some() {
        assert_eq!(copied.etag, head.etag);
    }
    assert!(env.content(&from).await == content, "the source has changed");
}

pub(crate) async fn a_copy_can_have_metadata_of_its_own(env: Env) {
    let [from, to] = [env.key("from"), env.key("to")];
    let put =
        PutObject::new(from.clone(), "content").with_content_type("text/x-old").with_metadata("old", "1");
    env.client().send(&put).await.unwrap();
    let replace = copy(&env, &from, &to).replace_metadata("text/x-new", [("new", "2")]);
    env.client().send(&replace).await.unwrap();
    let head = env.client().send(&HeadObject::new(to.clone())).await.unwrap().into_value();
    assert_eq!(head.content_type.as_deref(), Some("text/x-new"));
    assert_eq!(head.metadata.get("new").map(String::as_str), Some("2"));
    if env.has("metadata-replace") {
        assert_eq!(head.metadata.len(), 1, "{:?}", head.metadata);
    }
    assert_eq!(env.content(&to).await, "content");
}

pub(crate) async fn a_copy_onto_itself_keeps_the_content(env: Env) {
    let key = env.put("object", "content").await;
    let again = copy(&env, &key, &key).replace_metadata("text/x-again", [("turn", "2")]);
    env.client().send(&again).await.unwrap();
    assert_eq!(env.content(&key).await, "content");
    let head = env.client().send(&HeadObject::new(key)).await.unwrap().into_value();
    assert_eq!(head.metadata.get("turn").map(String::as_str), Some("2"));
}

pub(crate) async fn a_missing_source_is_not_found(env: Env) {
    let to = env.key("to");
    let error = env.client().send(&copy(&env, &env.key("missing"), &to)).await.unwrap_err();
    assert!(error.is_not_found() && error.attempts() == 1, "{error:?}");
    assert!(!env.is_there(&to).await);
}

pub(crate) async fn a_source_that_changed_is_not_copied(env: Env) {
    let [from, to] = [env.put("from", "content").await, env.key("to")];
    let changed = copy(&env, &from, &to).if_source_matches(ETag::new("0123456789abcdef0123456789abcdef"));
    let error = env.client().send(&changed).await.unwrap_err();
    assert!(error.is_precondition_failed(), "{error:?}");
    assert!(!env.is_there(&to).await);
}
