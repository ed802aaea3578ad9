//! Conditional puts and gets.

use coldkeep_s3_client::{
    CallOptions, Cause, Client, ETag, Effect, GetObject, InvalidRequest, ObjectKey, Outcome, PutCondition,
    PutNew, PutObject, Quirk, Quirks, RequestError, RetryPolicy,
};
use futures_util::future::join_all;

use crate::env::{Env, connect};
use crate::sample;

const WRITERS: usize = 32;

const RACES: usize = 8;

pub(crate) async fn a_put_if_absent_creates_once(env: Env) {
    let key = env.key("object");
    let put = |content: &'static str| PutObject::new(key.clone(), content).if_absent();
    env.client().send(&put("first")).await.unwrap();
    let error = env.client().send(&put("second")).await.unwrap_err();
    assert!(error.is_precondition_failed(), "{error:?}");
    assert_eq!((error.attempts(), error.outcome()), (1, Outcome::NONE));
    assert_eq!(env.content(&key).await, "first");
}

/// A server that refuses before it has read the body may close the connection (spec `s3-servers.md` §3, point 1).
pub(crate) async fn a_refused_put_of_a_large_body_is_no_network_error(env: Env) {
    let key = env.put("object", "small").await;
    for seed in 0..4 {
        let large = sample::content(8 << 20, seed);
        let put = PutObject::new(key.clone(), large).if_absent();
        let error = env.client().send(&put).await.unwrap_err();
        assert!(error.is_precondition_failed() && error.attempts() == 1, "{error:?}");
    }
    assert_eq!(env.content(&key).await, "small");
}

pub(crate) async fn put_new_says_what_it_did(env: Env) {
    let key = env.key("object");
    let put = PutObject::new(key.clone(), "content");
    let options = CallOptions::new();
    let first = env.client().put_new_or_overwrite(&put, &options).await.unwrap();
    let second = env.client().put_new_or_overwrite(&put, &options).await.unwrap();
    if env.has("conditional-put") {
        assert!(matches!(first.value, PutNew::Created(_)), "{first:?}");
        assert!(matches!(second.value, PutNew::AlreadyThere), "{second:?}");
    } else {
        assert!(matches!(first.value, PutNew::Overwritten(_)), "{first:?}");
        assert!(matches!(second.value, PutNew::Overwritten(_)), "{second:?}");
    }
    assert_eq!(env.content(&key).await, "content");
}

pub(crate) async fn a_race_of_puts_if_absent_has_one_winner(env: Env) {
    for race in 0..RACES {
        let key = env.key(&format!("race-{race}"));
        let puts = (0..WRITERS).map(|writer| {
            let (client, key) = (env.client().clone(), key.clone());
            let put = PutObject::new(key, format!("writer {writer}")).if_absent();
            // A task each, so that they run on all cores.
            async move { tokio::spawn(async move { client.send(&put).await }).await.unwrap() }
        });
        let results = join_all(puts).await;
        let winners: Vec<_> = (0..WRITERS).filter(|writer| results[*writer].is_ok()).collect();
        assert_eq!(winners.len(), 1, "race {race}: {results:?}");
        for error in results.iter().filter_map(|result| result.as_ref().err()) {
            assert!(error.is_precondition_failed(), "race {race}: {error:?}");
        }
        assert_eq!(env.content(&key).await, format!("writer {}", winners[0]));
    }
}

pub(crate) async fn a_put_if_match_replaces_what_it_knows(env: Env) {
    let key = env.put("object", "first").await;
    swap(env.client(), &key, etag(&env, &key).await, "second").await.unwrap();
    assert_eq!(env.content(&key).await, "second");
    let error = swap(env.client(), &key, ETag::new("0123456789abcdef0123456789abcdef"), "third").await;
    let error = error.unwrap_err();
    assert!(error.is_precondition_failed(), "{error:?}");
    assert_eq!((error.attempts(), error.outcome()), (1, Outcome::NONE));
    assert_eq!(env.content(&key).await, "second");
    // Neither does it create anything. Servers answer 404 or 412.
    let missing = env.key("missing");
    let error = swap(env.client(), &missing, etag(&env, &key).await, "new").await.unwrap_err();
    assert!(error.is_not_found() || error.is_precondition_failed(), "{error:?}");
    assert!(!env.is_there(&missing).await);
}

pub(crate) async fn a_race_of_puts_if_match_has_one_winner_at_most(env: Env) {
    // One attempt each: one server answers losers with 500, and repeating them would blur who was first.
    let client = connect(env.config().with_retry(RetryPolicy::never()));
    for race in 0..RACES {
        let key = env.put(&format!("race-{race}"), "first").await;
        let tag = etag(&env, &key).await;
        let swaps = (0..WRITERS).map(|writer| {
            let (client, key, tag) = (client.clone(), key.clone(), tag.clone());
            async move {
                let swap = async move { swap(&client, &key, tag, &format!("writer {writer}")).await };
                tokio::spawn(swap).await.unwrap()
            }
        });
        let results = join_all(swaps).await;
        let winners: Vec<_> = (0..WRITERS).filter(|writer| results[*writer].is_ok()).collect();
        assert!(winners.len() <= 1, "race {race}: {winners:?} won");
        for error in results.iter().filter_map(|result| result.as_ref().err()) {
            // What got an error may have won all the same, unless the answer rules it out.
            let is_sure = error.is_precondition_failed() && error.outcome() == Outcome::NONE;
            assert!(is_sure || error.is_retryable(), "race {race}: {error:?}");
        }
        let content = env.content(&key).await;
        if let [winner] = winners[..] {
            assert_eq!(content, format!("writer {winner}"), "race {race}");
        }
    }
}

pub(crate) async fn if_match_takes_a_quoted_tag(env: Env) {
    let unquoted = Quirk::UnquotedIfMatch;
    let quirks: Quirks = env.config().quirks().iter().filter(|quirk| *quirk != unquoted).collect();
    let client = connect(env.config().with_quirks(quirks));
    let key = env.put("object", "first").await;
    swap(&client, &key, etag(&env, &key).await, "second").await.unwrap();
    assert_eq!(env.content(&key).await, "second");
}

pub(crate) async fn a_quirk_rules_a_condition_out_before_it_is_sent(env: Env) {
    let client = connect(env.config().with_quirks(Quirks::from([Quirk::NoIfMatch, Quirk::NoIfNoneMatch])));
    let key = env.put("object", "first").await;
    let error = swap(&client, &key, ETag::new("wrong"), "second").await.unwrap_err();
    let invalid = matches!(error.cause(), Cause::Invalid(InvalidRequest::Unsupported { .. }));
    assert!(invalid && error.attempts() == 0, "{error:?}");
    assert_eq!(error.outcome().effect(), Effect::None);
    assert_eq!(env.content(&key).await, "first");
    // The condition that is only a favour is left out instead.
    client.send(&PutObject::new(key.clone(), "second").if_absent()).await.unwrap();
    assert_eq!(env.content(&key).await, "second");
}

pub(crate) async fn a_get_if_match_is_refused_once_the_object_changed(env: Env) {
    let key = env.put("object", "first").await;
    let tag = etag(&env, &key).await;
    let get = GetObject::new(key.clone()).if_match(tag);
    assert_eq!(env.client().send(&get).await.unwrap().value.content, "first");
    env.put("object", "second").await;
    let error = env.client().send(&get).await.unwrap_err();
    assert!(error.is_precondition_failed(), "{error:?}");
}

async fn etag(env: &Env, key: &ObjectKey) -> ETag {
    let get = GetObject::new(key.clone());
    env.client().send(&get).await.unwrap().value.meta.etag.expect("objects have tags")
}

async fn swap(client: &Client, key: &ObjectKey, tag: ETag, content: &str) -> Result<(), RequestError> {
    let put = PutObject::new(key.clone(), content.to_owned()).with_condition(PutCondition::IfMatch(tag));
    client.send(&put).await.map(drop)
}
