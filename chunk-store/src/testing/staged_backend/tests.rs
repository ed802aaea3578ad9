//! Tests of the staged backend.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::backend::{ObjectBackend, ObjectKey, Put, PutCondition, PutNew, PutOutcome, Validity};
use crate::testing::{ManualClock, check_object_backend};
use crate::time::StoreTime;

const MINUTE: Duration = Duration::from_mins(1);

struct Scene {
    clock: Arc<ManualClock>,
    bucket: StagedBackend,
}

fn scene() -> Scene {
    let clock = Arc::new(ManualClock::at(StoreTime::from_unix(1_700_000_000, 0)));
    Scene { bucket: StagedBackend::new(clock.clone()), clock }
}

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).unwrap()
}

fn put(name: &str, content: &'static str, validity: Option<Validity>) -> Put {
    let content = Bytes::from_static(content.as_bytes());
    Put { key: key(name), content, condition: PutCondition::Always, validity }
}

impl Scene {
    fn a_minute(&self) -> Validity {
        Validity { signed_at: self.clock.wall(), lasts: MINUTE }
    }

    /// Starts a put that lasts for a minute.
    fn spawn_put(&self, content: &'static str) -> Writing {
        let (bucket, put) = (self.bucket.clone(), put("k", content, Some(self.a_minute())));
        tokio::spawn(async move { bucket.put(put).await.map(|_| ()) })
    }

    fn held(&self) -> Option<Bytes> {
        self.bucket.inner().object("k")
    }
}

type Writing = tokio::task::JoinHandle<Result<(), crate::backend::BackendError>>;

/// Whether the write failed without an answer.
async fn is_unclear(writing: Writing) -> bool {
    let error = writing.await.unwrap().unwrap_err();
    error.is_unclear && error.fault == Fault::Unavailable && error.date.is_none()
}

#[tokio::test]
async fn conforms() {
    check_object_backend(&scene().bucket).await;
}

#[tokio::test]
async fn a_request_held_before_its_effect_has_none_until_it_is_released() {
    let scene = scene();
    let mut held = scene.bucket.hold_before(Which::next(RequestKind::Put).key("k"));
    let writing = scene.spawn_put("new");
    let stopped = held.arrived().await;
    assert_eq!(*stopped.request(), Request { kind: RequestKind::Put, keys: vec!["k".to_owned()] });
    assert_eq!(scene.held(), None);
    stopped.release();
    writing.await.unwrap().unwrap();
    assert_eq!(scene.held().unwrap(), "new");
}

#[tokio::test]
async fn a_request_held_after_its_effect_may_lose_its_reply() {
    let scene = scene();
    let mut held = scene.bucket.hold_after(Which::next(RequestKind::Put));
    let writing = scene.spawn_put("new");
    let stopped = held.arrived().await;
    assert_eq!(scene.held().unwrap(), "new");
    stopped.lose();
    assert!(is_unclear(writing).await);
}

#[tokio::test]
async fn a_request_lost_before_its_effect_never_has_one() {
    let scene = scene();
    let mut held = scene.bucket.hold_before(Which::next(RequestKind::Put));
    let writing = scene.spawn_put("new");
    held.arrived().await.lose();
    assert!(is_unclear(writing).await);
    assert_eq!(scene.held(), None);
}

#[tokio::test]
async fn a_lost_request_lands_later_unless_it_has_expired() {
    let scene = scene();
    let mut held = scene.bucket.hold_before(Which::next(RequestKind::Put).times(2));
    let (first, second) = (scene.spawn_put("first"), scene.spawn_put("second"));
    let early = held.arrived().await.lose_now_land_later();
    let late = held.arrived().await.lose_now_land_later();
    assert!(is_unclear(first).await && is_unclear(second).await);
    assert_eq!(scene.held(), None);
    scene.clock.advance(MINUTE);
    early.land().await.unwrap();
    assert!(scene.bucket.inner().remove("k"));
    scene.clock.advance(Duration::from_secs(1));
    assert_eq!(late.land().await.unwrap_err().fault, Fault::Expired);
    assert_eq!(scene.held(), None);
}

#[tokio::test]
async fn a_backend_that_enforces_nothing_takes_a_late_request_at_any_time() {
    let scene = scene();
    scene.bucket.ignore_expiry();
    let mut held = scene.bucket.hold_before(Which::every(RequestKind::Put));
    let writing = scene.spawn_put("new");
    let late = held.arrived().await.lose_now_land_later();
    assert!(is_unclear(writing).await);
    scene.clock.advance(10 * MINUTE);
    late.land().await.unwrap();
    assert_eq!(scene.held().unwrap(), "new");
    scene.bucket.delete(&[key("k")], Validity { signed_at: StoreTime::EPOCH, lasts: MINUTE }).await.unwrap();
    assert_eq!(scene.held(), None);
}

#[tokio::test]
async fn a_delete_that_was_repeated_is_unclear_and_lands_twice() {
    let scene = scene();
    scene.bucket.inner().place("k", "old");
    let mut held = scene.bucket.hold_before(Which::next(RequestKind::Delete).key("k"));
    let (bucket, validity) = (scene.bucket.clone(), scene.a_minute());
    let deleting = tokio::spawn(async move { bucket.delete(&[key("other"), key("k")], validity).await });
    let late = held.arrived().await.repeat_now_land_later();
    let deletion = deleting.await.unwrap().unwrap().value;
    assert!(deletion.is_unclear && deletion.refused.is_empty());
    assert_eq!(scene.held(), None);
    scene.bucket.inner().place("k", "new");
    late.land().await.unwrap();
    assert_eq!(scene.held(), None);
}

#[tokio::test]
async fn a_request_nobody_watches_goes_on() {
    let scene = scene();
    drop(scene.bucket.hold_before(Which::next(RequestKind::Put)));
    scene.spawn_put("first").await.unwrap().unwrap();
    let mut held = scene.bucket.hold_before(Which::next(RequestKind::Put));
    let writing = scene.spawn_put("second");
    drop(held.arrived().await);
    writing.await.unwrap().unwrap();
    assert_eq!(scene.held().unwrap(), "second");
}

#[tokio::test]
async fn rules_meet_the_requests_they_name_and_no_others() {
    let scene = scene();
    let bucket = &scene.bucket;
    bucket.fail(Which::next(RequestKind::Put).about(|key| key.starts_with("a/")), Fault::Full, false);
    bucket.lose_replies(Which::next(RequestKind::Put).key("b").times(2));
    bucket.put(put("k", "x", None)).await.unwrap();
    let full = bucket.put(put("a/1", "x", None)).await.unwrap_err();
    assert_eq!((full.fault, full.is_unclear, full.date), (Fault::Full, false, Some(scene.clock.wall())));
    bucket.put(put("a/1", "x", None)).await.unwrap();
    for _ in 0..2 {
        assert!(bucket.put(put("b", "x", None)).await.unwrap_err().is_unclear);
    }
    bucket.put(put("b", "x", None)).await.unwrap();
    assert_eq!(bucket.inner().keys(), ["a/1", "b", "k"]);
    assert_eq!((bucket.requests(RequestKind::Put), bucket.requests(RequestKind::Get)), (6, 0));
    bucket.requested(RequestKind::Put, 6).await;
    bucket.fail(Which::every(RequestKind::Head), Fault::Denied, false);
    bucket.clear_rules();
    assert!(bucket.head(&key("b")).await.unwrap().value.is_some());
}

#[tokio::test]
async fn while_it_is_down_every_request_fails_and_writes_are_unclear() {
    let scene = scene();
    scene.bucket.down();
    assert!(is_unclear(scene.spawn_put("new")).await);
    let error = scene.bucket.get(&key("k")).await.unwrap_err();
    assert_eq!((error.fault, error.is_unclear), (Fault::Unavailable, false));
    scene.bucket.up();
    assert!(scene.bucket.get(&key("k")).await.unwrap().value.is_none());
}

#[tokio::test]
async fn bodies_can_be_wrong_for_one_get_or_in_the_bucket() {
    let scene = scene();
    scene.bucket.inner().place("k", "good");
    scene.bucket.wrong_body(Which::next(RequestKind::Get), "bad");
    let read = async || scene.bucket.get(&key("k")).await.unwrap().value.unwrap();
    let (info, content) = read().await;
    assert_eq!((info.len, &content[..]), (3, &b"bad"[..]));
    assert_eq!(read().await.1, "good");
    scene.bucket.inner().corrupt("k");
    assert_eq!(read().await.1, "gooe");
}

#[tokio::test]
async fn single_keys_of_a_batch_are_refused() {
    let scene = scene();
    scene.bucket.refuse_deletes(|key| key == "b", "InternalError");
    for name in ["a", "b"] {
        scene.bucket.inner().place(name, "x");
    }
    let deletion = scene.bucket.delete(&[key("a"), key("b")], scene.a_minute()).await.unwrap().value;
    assert_eq!(deletion.refused, [(key("b"), "InternalError".to_owned())]);
    assert_eq!(scene.bucket.inner().keys(), ["b"]);
}

#[tokio::test]
async fn a_backend_without_conditions_overwrites_and_one_may_hide_its_tags() {
    let scene = scene();
    let bucket = &scene.bucket;
    assert!(matches!(
        bucket.put_new(&key("k"), "one".into()).await.unwrap().value,
        PutNew::Written(tag) if Some(&tag) == bucket.tag_of(b"one").as_ref()
    ));
    assert_eq!(bucket.put_new(&key("k"), "two".into()).await.unwrap().value, PutNew::AlreadyThere);
    bucket.ignore_conditions();
    assert!(matches!(bucket.put_new(&key("k"), "two".into()).await.unwrap().value, PutNew::Written(_)));
    let if_absent = Put { condition: PutCondition::IfAbsent, ..put("k", "three", None) };
    assert!(matches!(bucket.put(if_absent).await.unwrap().value, PutOutcome::Stored(_)));
    assert_eq!(scene.held().unwrap(), "three");
    bucket.hide_tags();
    assert_eq!(bucket.tag_of(b"one"), None);
}

#[tokio::test]
async fn the_third_request_of_any_kind_is_held() {
    let scene = scene();
    let mut held = scene.bucket.hold_before(Which::any().after(2));
    scene.bucket.head(&key("k")).await.unwrap();
    scene.bucket.list("", None).await.unwrap();
    let writing = scene.spawn_put("new");
    let stopped = held.arrived().await;
    assert_eq!(stopped.request().kind, RequestKind::Put);
    // The rule was for one request.
    scene.bucket.head(&key("k")).await.unwrap();
    stopped.release();
    writing.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_cut_listing_ends_early_and_does_not_say_so() {
    let scene = scene();
    for name in ["a", "b", "c", "d"] {
        scene.bucket.put(put(name, "x", None)).await.unwrap();
    }
    scene.bucket.cut_listings(Which::next(RequestKind::List), 1);
    let page = scene.bucket.list("", None).await.unwrap().value;
    assert_eq!((page.objects.len(), page.next), (1, None));
    let page = scene.bucket.list("", None).await.unwrap().value;
    assert!(page.objects.len() > 1 && page.next.is_some());
}
