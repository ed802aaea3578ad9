//! Failures that an operator acts on.

use std::error::Error as _;

use bytes::Bytes;
use coldkeep_chunk_store::backend::{
    BackendError, Fault as Kind, ObjectBackend, PutCondition, RequestBound, S3Backend,
};
use coldkeep_s3_client::Config;
use coldkeep_s3_testbed::{Answer, Fault, Options};

use crate::scene::*;

/// Sends a request of every kind; returns the errors of those that failed, by action.
async fn failures(backend: &S3Backend) -> Vec<BackendError> {
    let copied = (key("k"), key("c"));
    [
        backend.put(put("k", "new", PutCondition::Always)).await.err(),
        backend.put_new(&key("k"), Bytes::from_static(b"new")).await.err(),
        backend.get(&key("k")).await.err(),
        backend.head(&key("k")).await.err(),
        backend.copy(&copied.0, &copied.1).await.err(),
        backend.delete(&[key("k")], a_minute()).await.err(),
        backend.list("", None).await.err(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

async fn all_fail_with(backend: &S3Backend, fault: Kind) {
    let failures = failures(backend).await;
    let faults: Vec<_> = failures.iter().map(|error| (error.action, error.fault)).collect();
    let actions = ["put", "put", "read", "look up", "copy", "delete", "list"];
    assert_eq!(faults, actions.map(|action| (action, fault)));
    assert!(failures.iter().all(|error| error.source().is_some()));
}

#[tokio::test]
async fn a_missing_bucket_is_no_missing_object() {
    let scene = Scene::new().await;
    let config = config(&scene.proxy.endpoint());
    assert!(scene.backend.get(&key("absent")).await.unwrap().value.is_none());
    assert!(scene.backend.head(&key("absent")).await.unwrap().value.is_none());
    assert!(!scene.backend.copy(&key("absent"), &key("c")).await.unwrap().value);
    let missing = Config::new(
        config.endpoint().clone(),
        config.region().clone(),
        "another-bucket".parse().unwrap(),
        config.credentials().clone(),
    );
    let missing = missing.unwrap().with_timeouts(config.timeouts().clone());
    all_fail_with(&backend(missing, STORE, RequestBound::Presigned), Kind::NoBucket).await;
}

#[tokio::test]
async fn a_wrong_region_is_named() {
    let options = Options { region: Some("eu-central-1".to_owned()), ..Options::default() };
    let scene = Scene::with(options, |config| config).await;
    for bound in [RequestBound::Presigned, RequestBound::SignedHeaders] {
        let backend = backend(config(&scene.proxy.endpoint()), STORE, bound);
        let error = backend.put(put("k", "new", PutCondition::Always)).await.unwrap_err();
        assert_eq!((error.fault, error.is_unclear), (Kind::WrongRegion, false), "{bound:?}");
        assert!(error.to_string().starts_with("could not put store/k; the bucket is in another region"));
    }
    let error = scene.backend.list("", None).await.unwrap_err();
    assert_eq!(error.fault, Kind::WrongRegion);
}

#[tokio::test]
async fn refusals_of_the_server_are_told_apart() {
    for (status, code, fault) in [
        (403, "InvalidAccessKeyId", Kind::Credentials),
        (403, "SignatureDoesNotMatch", Kind::Credentials),
        (400, "ExpiredToken", Kind::ExpiredToken),
        (403, "AccessDenied", Kind::Denied),
        (403, "QuotaExceeded", Kind::Full),
        (503, "SlowDown", Kind::Throttled),
        (503, "ServiceUnavailable", Kind::Unavailable),
    ] {
        let scene = Scene::new().await;
        scene.proxy.always(|_| true, answered(status, code));
        let is_unclear = fault == Kind::Unavailable;
        let error = scene.backend.put(put("k", "new", PutCondition::Always)).await.unwrap_err();
        assert_eq!((error.fault, error.is_unclear), (fault, is_unclear), "{code}");
        let error = scene.backend.get(&key("k")).await.unwrap_err();
        assert_eq!((error.fault, error.is_unclear), (fault, false), "{code}");
    }
}

#[tokio::test]
async fn a_put_without_condition_that_is_refused_as_if_it_had_one_is_an_error() {
    let scene = Scene::new().await;
    scene.proxy.always(|_| true, answered(412, "PreconditionFailed"));
    let error = scene.backend.put(put("k", "new", PutCondition::Always)).await.unwrap_err();
    assert_eq!((error.fault, error.is_unclear), (Kind::Other, false));
}

#[tokio::test]
async fn a_server_that_is_down_is_unavailable() {
    let scene = Scene::new().await;
    scene.proxy.always(|_| true, Fault::ResetAtHead);
    all_fail_with(&scene.backend, Kind::Unavailable).await;
}

#[tokio::test]
async fn a_page_of_a_gateway_is_no_answer() {
    let page = |status| Answer::new(status, "<html>no</html>").header("Content-Type", "text/html");
    for (status, fault) in [(502, Kind::Unavailable), (200, Kind::BadAnswer), (404, Kind::BadAnswer)] {
        let scene = Scene::new().await;
        scene.proxy.always(|_| true, Fault::Answer(page(status)));
        assert_eq!(scene.backend.get(&key("k")).await.unwrap_err().fault, fault, "{status}");
    }
}

#[tokio::test]
async fn an_answer_without_a_date_is_refused() {
    let scene = Scene::new().await;
    scene.proxy.always(|_| true, Fault::Answer(Answer::new(200, "").header("ETag", "\"x\"")));
    let error = scene.backend.put(put("k", "new", PutCondition::Always)).await.unwrap_err();
    assert_eq!((error.fault, error.is_unclear, error.date), (Kind::BadAnswer, true, None));
    let error = scene.backend.head(&key("k")).await.unwrap_err();
    assert_eq!((error.fault, error.is_unclear), (Kind::BadAnswer, false));
}
