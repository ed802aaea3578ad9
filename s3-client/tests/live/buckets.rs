//! Buckets and their settings.

use coldkeep_s3_client::ops::{
    CreateBucket, DeleteBucket, GetBucketLifecycleConfiguration, GetBucketVersioning,
    GetObjectLockConfiguration, HeadBucket, ListBuckets, ListObjectsV2, Versioning,
};
use coldkeep_s3_client::{
    Cause, Client, Config, DeleteObject, ErrorCode, GetObject, PutObject, RequestError, ServiceError,
};

use crate::bucket;
use crate::env::{Env, connect};

/// A client of another bucket.
fn elsewhere(env: &Env, suffix: &str) -> Client {
    let config = env.config();
    let bucket = format!("{}-{suffix}", config.bucket()).parse().unwrap();
    let other =
        Config::new(config.endpoint().clone(), config.region().clone(), bucket, config.credentials().clone());
    let other = other.unwrap().with_addressing(config.addressing()).unwrap();
    connect(other.with_quirks(config.quirks().clone()))
}

pub(crate) async fn a_bucket_comes_and_goes(env: Env) {
    let client = elsewhere(&env, "b");
    bucket::create(&client).await.unwrap();
    client.send(&HeadBucket::new()).await.unwrap();
    let listed = client.send(&ListBuckets::new()).await.unwrap().into_value();
    for name in [client.config().bucket().as_str(), env.config().bucket().as_str()] {
        assert!(listed.buckets.iter().any(|bucket| bucket.name == name), "{name}: {listed:?}");
    }
    let key = env.key("object");
    client.send(&PutObject::new(key.clone(), "content")).await.unwrap();
    assert!(!env.is_there(&key).await, "buckets are apart");
    client.send(&DeleteObject::new(key)).await.unwrap();
    client.send(&DeleteBucket::new()).await.unwrap();
    let error = client.send(&HeadBucket::new()).await.unwrap_err();
    assert_eq!(code(&error), Some(&ErrorCode::NoSuchBucket), "{error:?}");
}

pub(crate) async fn a_full_bucket_cannot_be_deleted(env: Env) {
    let client = elsewhere(&env, "full");
    bucket::create(&client).await.unwrap();
    let key = env.key("object");
    client.send(&PutObject::new(key.clone(), "content")).await.unwrap();
    let error = client.send(&DeleteBucket::new()).await.expect_err("it is not empty");
    assert!(error.service_error().is_some(), "{error:?}");
    assert_eq!(client.send(&GetObject::new(key.clone())).await.unwrap().value.content, "content");
    client.send(&DeleteObject::new(key)).await.unwrap();
    client.send(&DeleteBucket::new()).await.unwrap();
}

pub(crate) async fn what_is_in_a_missing_bucket_is_not_found(env: Env) {
    let client = elsewhere(&env, "missing");
    let key = env.key("object");
    for result in [
        client.send(&HeadBucket::new()).await.map(drop),
        client.send(&ListObjectsV2::new()).await.map(drop),
        client.send(&GetObject::new(key.clone())).await.map(drop),
        client.send(&PutObject::new(key.clone(), "content")).await.map(drop),
        client.send(&DeleteBucket::new()).await.map(drop),
    ] {
        let error = result.expect_err("there is no such bucket");
        assert_eq!(code(&error), Some(&ErrorCode::NoSuchBucket), "{error:?}");
        assert_eq!(error.attempts(), 1, "{error:?}");
    }
}

pub(crate) async fn the_bucket_is_there(env: Env) {
    env.client().send(&HeadBucket::new()).await.unwrap();
}

/// A second bucket of one name is an error, or the same bucket again for its owner; never an empty one in its place.
pub(crate) async fn making_a_bucket_again_leaves_what_is_in_it(env: Env) {
    let key = env.put("object", "content").await;
    match env.client().send(&CreateBucket::new()).await {
        Ok(_) => {}
        Err(error) => assert!(error.service_error().is_some() && !error.is_access_denied(), "{error:?}"),
    }
    assert_eq!(env.content(&key).await, "content");
}

pub(crate) async fn versioning_is_off_or_an_error(env: Env) {
    let result = env.client().send(&GetBucketVersioning::new()).await;
    match result {
        Ok(reply) => assert_eq!(reply.value, Versioning::Off),
        Err(error) if env.has("versioning") => panic!("{error:?}"),
        Err(error) => assert_unknown(Err(error)),
    }
}

pub(crate) async fn object_lock_is_off_or_an_error(env: Env) {
    let result = env.client().send(&GetObjectLockConfiguration::new()).await;
    if !env.has("object-lock") {
        return assert_unknown(result.map(drop));
    }
    match result {
        Ok(reply) => assert!(!reply.value.is_enabled, "{reply:?}"),
        Err(error) => {
            let missing = ErrorCode::Other("ObjectLockConfigurationNotFoundError".to_owned());
            assert_eq!(code(&error), Some(&missing), "{error:?}");
        }
    }
}

pub(crate) async fn a_lifecycle_is_empty_or_an_error(env: Env) {
    let result = env.client().send(&GetBucketLifecycleConfiguration::new()).await;
    if !env.has("lifecycle") {
        return assert_unknown(result.map(drop));
    }
    match result {
        Ok(reply) => assert!(reply.value.rules.is_empty(), "{reply:?}"),
        Err(error) => {
            let missing = ErrorCode::Other("NoSuchLifecycleConfiguration".to_owned());
            assert_eq!(code(&error), Some(&missing), "{error:?}");
        }
    }
}

/// What a server does not know, it refuses, or answers with something else, which must not be taken for a setting.
fn assert_unknown(result: Result<(), RequestError>) {
    let error = result.expect_err("the server has no such setting");
    assert!(matches!(error.cause(), Cause::Refused(_) | Cause::Malformed(_)), "{error:?}");
}

fn code(error: &RequestError) -> Option<&ErrorCode> {
    error.service_error().map(ServiceError::code)
}
