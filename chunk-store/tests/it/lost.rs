//! Requests without an answer: what the store is told of them (R3, R9, R19).

use coldkeep_chunk_store::backend::{Fault as Kind, ObjectBackend, PutCondition, PutNew, PutOutcome};
use coldkeep_s3_testbed::{Answer, End, Fault, RequestHead};

use crate::scene::*;

fn lost() -> Fault {
    Fault::LostReply(End::Reset)
}

fn is_put(head: &RequestHead) -> bool {
    head.method == "PUT"
}

#[tokio::test]
async fn a_new_object_whose_reply_is_lost_is_already_there() {
    let scene = Scene::new().await;
    scene.then([lost()]);
    let answer = scene.backend.put_new(&key("k"), "new".into()).await.unwrap();
    assert_eq!((answer.value, answer.is_unclear), (PutNew::AlreadyThere, true));
    assert_eq!(scene.held("k").as_deref(), Some("new"));
}

#[tokio::test]
async fn after_a_new_object_without_any_answer_a_head_decides() {
    let scene = Scene::new().await;
    scene.proxy.always(is_put, lost());
    let answer = scene.backend.put_new(&key("k"), "new".into()).await.unwrap();
    assert_eq!((answer.value, answer.is_unclear), (PutNew::AlreadyThere, true));
    assert_eq!(answer.date, start());
    assert_eq!(scene.held("k").as_deref(), Some("new"));
    assert_eq!(scene.proxy.seen().last().unwrap().method, "HEAD");
}

#[tokio::test]
async fn a_new_object_that_never_arrives_is_an_unclear_error() {
    let scene = Scene::new().await;
    scene.proxy.always(is_put, Fault::ResetInBody { after: 1 });
    let error = scene.backend.put_new(&key("k"), "new".into()).await.unwrap_err();
    assert_eq!((error.fault, error.is_unclear), (Kind::Unavailable, true));
    assert_eq!(scene.held("k"), None);
}

#[tokio::test]
async fn a_put_that_took_two_attempts_says_that_the_first_may_still_come() {
    let scene = Scene::new().await;
    scene.then([Fault::ResetInBody { after: 1 }]);
    let answer = scene.backend.put(put("k", "new", PutCondition::Always)).await.unwrap();
    assert!(matches!(answer.value, PutOutcome::Stored(_)) && answer.is_unclear);
    // All attempts expire together (R19).
    let queries: Vec<_> = scene.proxy.seen().iter().map(|seen| seen.query.clone()).collect();
    assert!(queries[0].contains("X-Amz-Expires=60") && queries[0] == queries[1], "{queries:?}");
}

#[tokio::test]
async fn a_condition_that_fails_after_a_lost_reply_is_unclear() {
    let scene = Scene::new().await;
    scene.insert("k", "old");
    let old = scene.backend.tag_of(b"old").unwrap();
    scene.then([lost()]);
    let answer = scene.backend.put(put("k", "new", PutCondition::IfMatch(old.clone()))).await.unwrap();
    assert_eq!((answer.value, answer.is_unclear), (PutOutcome::ConditionFailed, true));
    assert_eq!(scene.held("k").as_deref(), Some("new"));
    let answer = scene.backend.put(put("k", "newer", PutCondition::IfMatch(old))).await.unwrap();
    assert_eq!((answer.value, answer.is_unclear), (PutOutcome::ConditionFailed, false));
}

#[tokio::test]
async fn h21_a_delete_that_took_two_attempts_is_unclear() {
    let scene = Scene::new().await;
    scene.insert("k", "old");
    scene.then([lost()]);
    let answer = scene.backend.delete(&[key("k"), key("absent")], a_minute()).await.unwrap();
    assert!(answer.value.is_unclear && answer.value.refused.is_empty());
    assert_eq!(scene.held("k"), None);
}

#[tokio::test]
async fn a_delete_without_any_answer_is_an_unclear_error() {
    let scene = Scene::new().await;
    scene.proxy.always(|_| true, lost());
    let error = scene.backend.delete(&[key("k")], a_minute()).await.unwrap_err();
    assert_eq!((error.fault, error.is_unclear, error.date), (Kind::Unavailable, true, None));
}

#[tokio::test]
async fn a_key_that_a_delete_passes_over_does_not_count_as_deleted() {
    let scene = Scene::new().await;
    let partial = "<DeleteResult><Deleted><Key>store/a</Key></Deleted></DeleteResult>";
    let answer = Answer::new(200, partial).header("Date", "Tue, 14 Nov 2023 22:13:20 GMT");
    scene.then([Fault::Answer(answer)]);
    let deletion = scene.backend.delete(&[key("a"), key("b")], a_minute()).await.unwrap().value;
    let refused: Vec<_> = deletion.refused.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!((refused, deletion.is_unclear), (vec!["b"], true));
}

#[tokio::test]
async fn h18_keys_that_are_refused_are_told_with_their_reason() {
    let scene = Scene::new().await;
    for name in ["a", "b"] {
        scene.insert(name, "x");
    }
    scene.origin.refuse_delete("store/b", "InternalError");
    let deletion = scene.backend.delete(&[key("a"), key("b")], a_minute()).await.unwrap().value;
    let [(refused, reason)] = &deletion.refused[..] else { panic!("{deletion:?}") };
    assert_eq!((refused.as_str(), deletion.is_unclear), ("b", false));
    assert!(!reason.is_empty() && scene.held("a").is_none() && scene.held("b").is_some());
}
