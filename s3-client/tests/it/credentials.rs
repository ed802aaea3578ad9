//! Credentials that expire, fail to come, or do not come at all.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use coldkeep_s3_client::credentials::{CredentialsError, CredentialsFuture, CredentialsProvider};
use coldkeep_s3_client::testing::TestClock;
use coldkeep_s3_client::{
    CallOptions, Cause, Clock as _, Credentials, ErrorCode, Outcome, RetryPolicy, Signing,
};

use crate::scripted::*;

/// Numbers its tokens.
#[derive(Default)]
struct Tokens(AtomicU32);

impl CredentialsProvider for Tokens {
    fn credentials(&self) -> CredentialsFuture<'_> {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        let credentials = Credentials::new("AKID", "secret").unwrap();
        Box::pin(std::future::ready(Ok(credentials.with_session_token(&format!("token-{number}")).unwrap())))
    }
}

struct Broken(AtomicU32);

impl CredentialsProvider for Broken {
    fn credentials(&self) -> CredentialsFuture<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::ready(Err(CredentialsError::provider("no route to the vault"))))
    }
}

/// Never answers, while the deadline passes.
struct Silent(Arc<TestClock>);

impl CredentialsProvider for Silent {
    fn credentials(&self) -> CredentialsFuture<'_> {
        Box::pin(async {
            self.0.advance(31 * SECOND);
            pending().await
        })
    }
}

fn scene(provider: impl CredentialsProvider, steps: Vec<Answer>) -> Scene {
    let clock = TestClock::skipping(25 * SECOND);
    let config = config().with_retry(RetryPolicy::never());
    Scene::built(config, clock, steps, |builder| builder.with_credentials(provider))
}

fn expired() -> Answer {
    refusal(400, "ExpiredToken")
}

fn tokens(scene: &Scene) -> Vec<String> {
    let token = |seen: &Seen| seen.header("x-amz-security-token").unwrap().to_owned();
    scene.script.requests().iter().map(token).collect()
}

#[tokio::test]
async fn an_expired_token_is_renewed_once_a_request() {
    let scene = scene(Tokens::default(), vec![expired(), answer(200), answer(200)]);
    let reply = scene.client.send(&put()).await.unwrap();
    assert_eq!((reply.attempts, reply.outcome), (2, Outcome::APPLIED));
    scene.client.send(&put()).await.unwrap();
    assert_eq!(tokens(&scene), ["token-0", "token-1", "token-1"]);
}

#[tokio::test]
async fn a_second_expired_token_is_an_error() {
    let scene = scene(Tokens::default(), vec![expired(), expired()]);
    let error = scene.client.send(&put()).await.unwrap_err();
    assert_eq!((error.attempts(), scene.script.count()), (2, 2));
    assert_eq!(error.service_error().unwrap().code(), &ErrorCode::ExpiredToken);
    assert!(error.is_access_denied());
    // The next request starts over.
    scene.script.then([answer(200)]);
    scene.client.send(&put()).await.unwrap();
    assert_eq!(tokens(&scene), ["token-0", "token-1", "token-2"]);
}

#[tokio::test]
async fn a_new_token_does_not_change_a_fixed_signing_time() {
    let scene = scene(Tokens::default(), vec![expired(), answer(204)]);
    let signed_at = start() - SECOND;
    let options = CallOptions::new().with_signing(Signing::FixedHeaders { signed_at });
    scene.client.send_with(&delete(), &options).await.unwrap();
    let requests = scene.script.requests();
    assert!(requests.iter().all(|seen| seen.header("x-amz-date") == Some("20231114T221319Z")));
}

#[tokio::test]
async fn a_provider_that_fails_is_not_asked_again_and_nothing_is_sent() {
    let provider = Arc::new(Broken(AtomicU32::new(0)));
    let clock = TestClock::skipping(25 * SECOND);
    let nothing: [Answer; 0] = [];
    let scene = Scene::built(config(), clock, nothing, |builder| builder.with_credentials(provider.clone()));
    let error = scene.client.send(&put()).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::Credentials(_)), "{error:?}");
    assert_eq!((error.attempts(), error.outcome()), (0, Outcome::NONE));
    assert_eq!((scene.script.count(), provider.0.load(Ordering::Relaxed)), (0, 1));
    assert!(error.is_access_denied() && !error.is_retryable());
}

#[tokio::test]
async fn a_provider_that_never_answers_ends_with_the_attempt() {
    let clock = Arc::new(TestClock::skipping(25 * SECOND));
    let script = scene(Tokens::default(), vec![]).script;
    let client = coldkeep_s3_client::Client::builder(config())
        .with_clock(clock.clone())
        .with_credentials(Silent(clock.clone()))
        .build_with(script.clone());
    let error = client.send(&put()).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::Credentials(_)), "{error:?}");
    assert_eq!((error.attempts(), error.outcome(), script.count()), (0, Outcome::NONE, 0));
    assert_eq!(clock.monotonic(), 31 * SECOND);
}

// Goal: a provider that hangs fails no request while the credentials at hand are good. Method: it answers once, and then lets time pass.
#[tokio::test]
async fn good_credentials_outlive_a_provider_that_never_answers() {
    struct Once(Arc<TestClock>, AtomicU32);
    impl CredentialsProvider for Once {
        fn credentials(&self) -> CredentialsFuture<'_> {
            if self.1.fetch_add(1, Ordering::Relaxed) > 0 {
                self.0.advance(31 * SECOND);
                return Box::pin(pending());
            }
            let credentials = Credentials::new("AKID", "secret").unwrap();
            let credentials = credentials.with_expiry(self.0.now() + 3600 * SECOND);
            Box::pin(std::future::ready(Ok(credentials)))
        }
    }
    let clock = Arc::new(TestClock::skipping(25 * SECOND));
    let provider = Arc::new(Once(clock.clone(), AtomicU32::new(0)));
    let script = scene(Tokens::default(), vec![answer(200), answer(200), answer(200)]).script;
    let client = coldkeep_s3_client::Client::builder(config())
        .with_clock(clock.clone())
        .with_credentials(provider.clone())
        .build_with(script.clone());
    client.send(&put()).await.unwrap();
    clock.advance(3400 * SECOND);
    for _ in 0..2 {
        client.send(&put()).await.unwrap();
    }
    assert_eq!(provider.1.load(Ordering::Relaxed), 2, "one hung call, then a pause");
}
