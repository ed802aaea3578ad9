//! Signatures in headers: who signs wrongly, or too early or late, gets nothing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coldkeep_s3_client::{
    CallOptions, Client, Clock, Config, Credentials, DeleteObject, Effect, ErrorCode, GetObject, HeadObject,
    Payload, PutObject, RequestBody, RequestError, Signing, SystemClock,
};
use http::header::HOST;
use http::{HeaderMap, Request};

use crate::between::{WrongClock, exchange};
use crate::env::{Env, connect, transport};

/// Beyond what any server with a window was seen to accept: two took signatures one hour old (spec `s3-servers.md` §3, point 16).
const LONG: Duration = Duration::from_hours(24);

/// The same endpoint and bucket with other credentials, and all the rest.
fn with_credentials(env: &Env, access_key: &str, secret_key: &str) -> Client {
    let config = env.config();
    let credentials = Credentials::new(access_key, secret_key).unwrap();
    let other =
        Config::new(config.endpoint().clone(), config.region().clone(), config.bucket().clone(), credentials);
    connect(other.unwrap().with_addressing(config.addressing()).unwrap())
}

pub(crate) async fn a_wrong_secret_is_access_denied(env: Env) {
    let key = env.put("object", "content").await;
    let access_key = env.config().credentials().access_key().to_owned();
    let client = with_credentials(&env, &access_key, "not the secret");
    let get = client.send(&GetObject::new(key.clone())).await.map(drop);
    let head = client.send(&HeadObject::new(key.clone())).await.map(drop);
    let put = client.send(&PutObject::new(key.clone(), "other")).await.map(drop);
    let delete = client.send(&DeleteObject::new(key.clone())).await.map(drop);
    for result in [get, head, put, delete] {
        assert_denied(&result.expect_err("the signature is wrong"));
    }
    assert_eq!(env.content(&key).await, "content");
}

pub(crate) async fn an_unknown_key_is_access_denied(env: Env) {
    let key = env.put("object", "content").await;
    let client = with_credentials(&env, "AKNOBODYHASTHISONE", "some secret");
    assert_denied(&client.send(&GetObject::new(key.clone())).await.unwrap_err());
    assert_denied(&client.send(&PutObject::new(key.clone(), "other")).await.unwrap_err());
    assert_eq!(env.content(&key).await, "content");
}

fn assert_denied(error: &RequestError) {
    assert!(error.is_access_denied(), "{error:?}");
    assert_eq!((error.attempts(), error.outcome().effect()), (1, Effect::None), "{error:?}");
}

/// What the suite's other tests of signatures and links prove, they prove only if objects are not public.
pub(crate) async fn nothing_goes_without_a_signature(env: Env) {
    let key = env.put("object", "content").await;
    let link = env.client().presign(&GetObject::new(key), SystemClock::new().now(), LONG).await.unwrap();
    let url = link.url.split('?').next().unwrap();
    let mut request = Request::get(url).body(RequestBody::from(Payload::from(Bytes::new()))).unwrap();
    *request.headers_mut() = HeaderMap::from_iter([(HOST, link.headers[HOST].clone())]);
    let got = exchange(&env.config(), request).await;
    assert!(got.status.is_client_error(), "{got:?}");
    assert_ne!(got.body, b"content");
}

pub(crate) async fn another_region_is_refused(env: Env) {
    let key = env.put("object", "content").await;
    let config = env.config();
    let elsewhere = Config::new(
        config.endpoint().clone(),
        "ap-nowhere-9".parse().unwrap(),
        config.bucket().clone(),
        config.credentials().clone(),
    );
    let client = connect(elsewhere.unwrap().with_addressing(config.addressing()).unwrap());
    let error = client.send(&GetObject::new(key)).await.unwrap_err();
    let refused = error.service_error().expect("the server refuses");
    assert!(matches!(refused.code(), ErrorCode::WrongRegion | ErrorCode::AccessDenied), "{error:?}");
}

pub(crate) async fn an_old_signature_is_refused(env: Env) {
    let key = env.put("object", "content").await;
    let signing = Signing::FixedHeaders { signed_at: SystemClock::new().now() - LONG };
    let options = CallOptions::new().with_signing(signing);
    let delete = env.client().send_with(&DeleteObject::new(key.clone()), &options).await;
    let error = delete.expect_err("it was signed a day ago");
    // The time is the caller's, so the client does not put it right.
    assert_eq!((error.attempts(), error.outcome().effect()), (1, Effect::None), "{error:?}");
    assert_eq!(env.content(&key).await, "content");
}

/// Goal: a clock that is off does not keep a client from its work.
/// Method: clients that are a day slow and a day fast; their first request is refused, and signed again by the server's date.
pub(crate) async fn a_wrong_clock_is_put_right(env: Env) {
    let key = env.put("object", "content").await;
    for clock in [WrongClock::slow_by(LONG), WrongClock::fast_by(LONG)] {
        let clock: Arc<dyn Clock> = Arc::new(clock);
        let client = || {
            let builder = Client::builder(env.config()).with_clock(Arc::clone(&clock));
            builder.build_with(transport(&env.config()))
        };
        let get = client();
        let first = get.send(&GetObject::new(key.clone())).await.unwrap();
        assert_eq!((first.value.content, first.attempts), (Bytes::from("content"), 2));
        let second = get.send(&HeadObject::new(key.clone())).await.unwrap();
        assert_eq!(second.attempts, 1, "the difference is remembered");
        // An answer to HEAD has no body that could name the reason.
        let head = client().send(&HeadObject::new(key.clone())).await.unwrap();
        assert_eq!((head.value.size, head.attempts), (Some(7), 2));
    }
}
