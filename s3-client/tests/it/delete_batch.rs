//! Deletes of many objects, with and without multi-delete.

use coldkeep_s3_client::ops::DeleteTarget;
use coldkeep_s3_client::{CallOptions, Effect, ErrorCode, ObjectKey, Pending, Quirk, Quirks, Signing};
use http::Method;

use crate::scripted::*;

fn targets(keys: &[&str]) -> Vec<DeleteTarget> {
    keys.iter().map(|key| DeleteTarget::new(ObjectKey::new(*key).unwrap())).collect()
}

fn presigned() -> CallOptions {
    CallOptions::new().with_signing(Signing::Presigned { signed_at: start(), expires_in: 60 * SECOND })
}

fn keys<'a>(targets: impl IntoIterator<Item = &'a DeleteTarget>) -> Vec<&'a str> {
    targets.into_iter().map(|target| target.key.as_str()).collect()
}

#[tokio::test]
async fn one_request_deletes_many_and_reports_on_each() {
    let report = "<DeleteResult><Deleted><Key>a</Key></Deleted>\
        <Error><Key>b</Key><Code>AccessDenied</Code><Message>no</Message></Error></DeleteResult>";
    let scene = Scene::new([answer(200).body(report)]);
    let reply = scene.client.delete_batch(&targets(&["a", "b", "c"]), &CallOptions::new()).await.unwrap();
    let report = &reply.value;
    assert_eq!(keys(report.deleted.iter().map(|deleted| &deleted.target)), ["a"]);
    assert_eq!(keys(report.failed.iter().map(|failed| &failed.target)), ["b"]);
    assert_eq!(*report.failed[0].error.code(), ErrorCode::AccessDenied);
    assert_eq!(keys(&report.unreported), ["c"], "an object without a word is not a deleted one");
    let requests = scene.script.requests();
    assert_eq!((requests.len(), &requests[0].method), (1, &Method::POST));
    assert!(requests[0].header("content-md5").is_some());
}

#[tokio::test]
async fn without_multi_delete_single_ones_take_its_place_with_the_same_expiry() {
    let quirks = Quirks::from([Quirk::NoMultiDelete]);
    let scene = Scene::with(config().with_quirks(quirks), [answer(204), refusal(403, "AccessDenied")]);
    let reply = scene.client.delete_batch(&targets(&["a", "b"]), &presigned()).await.unwrap();
    assert_eq!((reply.value.deleted.len(), reply.value.failed.len(), reply.attempts), (1, 1, 2));
    for request in scene.script.requests() {
        assert_eq!(request.method, Method::DELETE);
        assert!(request.uri.contains("X-Amz-Expires=60&"), "{}", request.uri);
    }
}

#[tokio::test]
async fn a_multi_delete_that_the_server_cannot_do_falls_back_and_stays_unclear() {
    let failing = || refusal(500, "InternalError");
    let scene =
        Scene::with(config().with_retry(retries(2)), [failing(), failing(), answer(204), answer(204)]);
    let reply = scene.client.delete_batch(&targets(&["a", "b"]), &presigned()).await.unwrap();
    assert_eq!((reply.value.deleted.len(), reply.attempts), (2, 4));
    assert_eq!(
        reply.outcome.pending(),
        Pending::Until(start() + 60 * SECOND),
        "a 500 may be carried out yet"
    );
}

#[tokio::test]
async fn a_batch_without_an_answer_is_an_error_and_unclear() {
    let scene = Scene::with(config().with_retry(retries(2)), [Step::Broken, Step::Broken]);
    let error = scene.client.delete_batch(&targets(&["a"]), &presigned()).await.unwrap_err();
    assert_eq!((error.attempts(), error.outcome().effect()), (2, Effect::Unknown));
    assert_eq!(scene.script.count(), 2, "single deletes would meet the same silence");
}

#[tokio::test]
async fn keys_that_xml_cannot_express_are_deleted_alone() {
    let report = "<DeleteResult><Deleted><Key>a</Key></Deleted></DeleteResult>";
    let scene = Scene::new([answer(200).body(report), answer(204)]);
    let reply = scene.client.delete_batch(&targets(&["a", "b\u{1}"]), &CallOptions::new()).await.unwrap();
    assert_eq!(reply.value.deleted.len(), 2);
    let methods: Vec<_> = scene.script.requests().into_iter().map(|request| request.method).collect();
    assert_eq!(methods, [Method::POST, Method::DELETE]);
}

#[tokio::test]
async fn an_unanswered_single_delete_is_not_reported_as_refused() {
    let quirks = Quirks::from([Quirk::NoMultiDelete]);
    let config = config().with_quirks(quirks).with_retry(retries(2));
    let scene = Scene::with(config, [Step::Broken, refusal(403, "AccessDenied").into()]);
    let reply = scene.client.delete_batch(&targets(&["a"]), &presigned()).await.unwrap();
    assert!(reply.value.failed.is_empty());
    assert_eq!(keys(&reply.value.unreported), ["a"]);
    assert!(reply.outcome.is_unclear());
}

#[tokio::test]
async fn a_batch_has_1_to_1000_objects() {
    for count in [0, 1001] {
        let many: Vec<_> = (0..count).map(|idx| idx.to_string()).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        let scene = Scene::new([] as [Answer; 0]);
        let error = scene.client.delete_batch(&targets(&many), &CallOptions::new()).await.unwrap_err();
        assert_eq!((error.attempts(), scene.script.count()), (0, 0));
    }
}

// Goal: a request that could not even be made hides nothing of those beside it. Method: an address too long for the first of two.
#[tokio::test]
async fn h21_a_single_delete_that_cannot_be_made_hides_no_unanswered_one() {
    let quirks = Quirks::from([Quirk::NoMultiDelete]);
    let scene = Scene::with(config().with_quirks(quirks).with_retry(retries(1)), [Step::Broken]);
    let mut batch = targets(&["a", "b"]);
    batch[0].version_id = Some("v".repeat(70_000));
    let reply = scene.client.delete_batch(&batch, &presigned()).await.unwrap();
    assert_eq!(reply.value.unreported, batch);
    assert_eq!(reply.outcome.pending(), Pending::Until(start() + 60 * SECOND));
    assert_eq!((reply.attempts, scene.script.count()), (1, 1));
}

#[tokio::test]
async fn single_deletes_stop_when_their_time_is_over() {
    let quirks = Quirks::from([Quirk::NoMultiDelete]);
    let late = || Step::Late(61 * SECOND, answer(204));
    let steps = (0..16).map(|idx| if idx == 15 { late() } else { answer(204).into() });
    let scene = Scene::with(config().with_quirks(quirks), steps);
    let names: Vec<_> = (0..20).map(|idx| idx.to_string()).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let reply = scene.client.delete_batch(&targets(&names), &presigned()).await.unwrap();
    assert_eq!(
        (reply.value.deleted.len(), keys(&reply.value.unreported)),
        (16, vec!["16", "17", "18", "19"])
    );
    assert!(!reply.outcome.is_unclear(), "what was not sent leaves no doubt");
}

// Google's interoperability API answers so, and so does whoever meets the effect of its own lost attempt there.
#[tokio::test]
async fn an_object_that_was_not_there_is_gone() {
    let quirks = Quirks::from([Quirk::NoMultiDelete]);
    let scene =
        Scene::with(config().with_quirks(quirks), [refusal(404, "NoSuchKey"), refusal(404, "NoSuchBucket")]);
    let report = scene.client.delete_batch(&targets(&["a", "b"]), &presigned()).await.unwrap().into_value();
    assert_eq!(keys(report.deleted.iter().map(|deleted| &deleted.target)), ["a"]);
    assert_eq!(keys(report.failed.iter().map(|failed| &failed.target)), ["b"]);
    let report = "<DeleteResult><Error><Key>a</Key><Code>NoSuchKey</Code></Error></DeleteResult>";
    let scene = Scene::new([answer(200).body(report)]);
    let report = scene.client.delete_batch(&targets(&["a"]), &presigned()).await.unwrap().into_value();
    assert_eq!(keys(report.deleted.iter().map(|deleted| &deleted.target)), ["a"]);
}
