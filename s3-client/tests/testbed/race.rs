//! Writers of one key (R3, hazard H5).

use std::sync::atomic::{AtomicUsize, Ordering};

use coldkeep_s3_client::{CallOptions, Outcome, PutNew, RetryPolicy};
use coldkeep_s3_testbed::{ConditionalPut, Fault, Options};

use crate::scene::*;

const WRITERS: usize = 16;
const KEYS: usize = 10;

fn quick(config: coldkeep_s3_client::Config) -> coldkeep_s3_client::Config {
    // The pauses of all writers move the one clock on: they must not add up to a deadline.
    let policy = RetryPolicy::default().with_backoff(SECOND / 1000, SECOND / 500).unwrap();
    config.with_retry(policy)
}

/// Lets `WRITERS` put each key at once; returns how many created it, key by key.
async fn race(scene: &Scene) -> Vec<usize> {
    let mut created = Vec::new();
    for number in 0..KEYS {
        let name = format!("key {number}");
        let op = put(&name, "named by its content");
        let options = CallOptions::default();
        let writers = (0..WRITERS).map(|_| scene.client.put_new_or_overwrite(&op, &options));
        let mut creators = 0;
        for result in futures_util::future::join_all(writers).await {
            let reply = result.unwrap_or_else(|error| panic!("{name}: {error:?}"));
            assert!(!reply.outcome.is_unclear(), "{reply:?}");
            creators += usize::from(matches!(reply.value, PutNew::Created(_)));
            match reply.value {
                PutNew::AlreadyThere => assert_eq!(reply.outcome, Outcome::NONE),
                _ => assert_eq!(reply.outcome, Outcome::APPLIED),
            }
        }
        assert_eq!(scene.held(&name).as_deref(), Some("named by its content"));
        created.push(creators);
    }
    created
}

#[tokio::test]
async fn h05_writers_of_one_key_all_succeed_and_one_creates_it() {
    let scene = Scene::with(Options::default(), quick).await;
    assert_eq!(race(&scene).await, [1; KEYS]);
}

#[tokio::test]
async fn h05_writers_that_keep_colliding_all_succeed() {
    let scene = Scene::with(Options::default(), quick).await;
    let count = AtomicUsize::new(0);
    let is_unlucky = move |request: &coldkeep_s3_testbed::RequestHead| {
        // Nine of ten, so that some run out of conditional attempts, and of the budget.
        request.header("if-none-match").is_some() && !count.fetch_add(1, Ordering::Relaxed).is_multiple_of(10)
    };
    scene.proxy.always(is_unlucky, answered(409, "ConditionalRequestConflict"));
    assert!(race(&scene).await.iter().all(|created| *created <= 1));
    let plain = scene.origin.log().iter().filter(|request| request.header("if-none-match").is_none()).count();
    assert!(plain > 0, "some had to overwrite");
}

#[tokio::test]
async fn h05_writers_succeed_where_every_conditional_put_collides() {
    let scene = Scene::with(Options::default(), quick).await;
    let conflict = answered(409, "ConditionalRequestConflict");
    scene.proxy.always(|request| request.header("if-none-match").is_some(), conflict);
    assert_eq!(race(&scene).await, [0; KEYS]);
}

#[tokio::test]
async fn writers_succeed_whatever_a_conditional_put_is_worth() {
    for kind in [ConditionalPut::NotAtomic, ConditionalPut::Ignored] {
        let options = Options { conditional_put: kind, ..Options::default() };
        let scene = Scene::with(options, quick).await;
        assert!(race(&scene).await.iter().all(|created| *created >= 1), "{kind:?}");
    }
}

/// Goal: a writer that meets its own lost attempt says that the object is there, and that it may be its own doing.
#[tokio::test]
async fn a_writer_that_lost_its_reply_is_unclear() {
    let scene = Scene::new().await;
    scene.then([Fault::LostReply(coldkeep_s3_testbed::End::Reset)]);
    let reply = scene.client.put_new_or_overwrite(&put("k", "new"), &CallOptions::default()).await.unwrap();
    assert_eq!((&reply.value, reply.attempts), (&PutNew::AlreadyThere, 2));
    assert_eq!(reply.outcome, unknown_and_pending());
    assert_eq!(scene.held("k").as_deref(), Some("new"));
}
