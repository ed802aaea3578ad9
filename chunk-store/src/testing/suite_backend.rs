//! What every object backend must do.

use std::time::Duration;

use bytes::Bytes;

use crate::backend::{
    Answer, BackendError, ETag, Fault, ObjectBackend, ObjectKey, Put, PutCondition, PutNew, PutOutcome,
    Validity,
};

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).expect("valid key")
}

fn put(name: &str, content: &'static [u8], condition: PutCondition) -> Put {
    Put { key: key(name), content: Bytes::from_static(content), condition, validity: None }
}

/// Checks an empty bucket prefix against the contract of [`ObjectBackend`].
///
/// # Panics
/// If something does not hold.
pub async fn check_object_backend<B: ObjectBackend>(backend: &B) {
    let tag = check_puts(backend).await;
    check_reads(backend, &tag).await;
    check_new_objects(backend).await;
    check_listing(backend).await;
    check_deletes(backend).await;
    check_dates(backend).await;
}

async fn check_puts<B: ObjectBackend>(backend: &B) -> ETag {
    let stored = |answer: Answer<PutOutcome>| match answer.value {
        PutOutcome::Stored(tag) => tag,
        PutOutcome::ConditionFailed => panic!("the put was refused"),
    };
    let first = stored(backend.put(put("a/1", b"one", PutCondition::IfAbsent)).await.expect("put"));
    let again = backend.put(put("a/1", b"two", PutCondition::IfAbsent)).await.expect("put");
    assert_eq!(again.value, PutOutcome::ConditionFailed, "a put if absent replaced an object");
    let second =
        stored(backend.put(put("a/1", b"two", PutCondition::IfMatch(first.clone()))).await.expect("put"));
    assert_ne!(first, second, "another content has the same tag");
    let stale = backend.put(put("a/1", b"three", PutCondition::IfMatch(first))).await.expect("put");
    assert_eq!(stale.value, PutOutcome::ConditionFailed, "a put replaced an object that had changed");
    stored(backend.put(put("a/1", b"four", PutCondition::Always)).await.expect("put"))
}

async fn check_reads<B: ObjectBackend>(backend: &B, tag: &ETag) {
    let answer = backend.get(&key("a/1")).await.expect("get");
    let (info, content) = answer.value.expect("the object that was put");
    assert_eq!((&content[..], info.len, &info.etag), (&b"four"[..], 4, tag));
    assert!(info.modified_at <= answer.date.plus(Duration::from_secs(1)), "an object from the future");
    let head = backend.head(&key("a/1")).await.expect("head").value.expect("the object that was put");
    assert_eq!((head.len, &head.etag), (4, tag));
    assert!(backend.get(&key("a/2")).await.expect("get").value.is_none(), "an object that was never put");
    assert!(backend.head(&key("a/2")).await.expect("head").value.is_none(), "an object that was never put");
    assert!(backend.copy(&key("a/1"), &key("a/2")).await.expect("copy").value);
    assert!(!backend.copy(&key("a/9"), &key("a/3")).await.expect("copy").value, "a copy of nothing");
    let copy = backend.get(&key("a/2")).await.expect("get").value.expect("the copy");
    assert_eq!(copy.1, &b"four"[..]);
}

async fn check_new_objects<B: ObjectBackend>(backend: &B) {
    let (one, two) = (Bytes::from_static(b"one"), Bytes::from_static(b"two"));
    let written = backend.put_new(&key("n/1"), one.clone()).await.expect("put").value;
    let PutNew::Written(tag) = written else { panic!("an object that was never put is already there") };
    let told = backend.tag_of(&one);
    assert!(told.is_none_or(|told| told == tag), "the tag of the content is another one than the backend's");
    let again = backend.put_new(&key("n/1"), two).await.expect("put").value;
    assert_eq!(again, PutNew::AlreadyThere, "a put of a new object replaced another");
    let (info, content) = backend.get(&key("n/1")).await.expect("get").value.expect("the object");
    assert_eq!((content, info.etag), (one, tag));
}

async fn keys_below<B: ObjectBackend>(backend: &B, prefix: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let mut after = None;
    loop {
        let page = backend.list(prefix, after.as_deref()).await.expect("list").value;
        keys.extend(page.objects.iter().map(|object| object.key.to_string()));
        after = page.next;
        if after.is_none() {
            return keys;
        }
    }
}

async fn check_listing<B: ObjectBackend>(backend: &B) {
    for name in ["b/1", "b/10", "b/2", "b/3", "b/4", "ba/1"] {
        backend.put(put(name, b"x", PutCondition::Always)).await.expect("put");
    }
    assert_eq!(keys_below(backend, "b/").await, ["b/1", "b/10", "b/2", "b/3", "b/4"]);
    assert_eq!(keys_below(backend, "c/").await, [""; 0]);
}

async fn check_deletes<B: ObjectBackend>(backend: &B) {
    let (expired, valid) = validities(backend).await;
    has_expired(backend.delete(&[key("a/1")], expired).await, "delete");
    assert!(backend.head(&key("a/1")).await.expect("head").value.is_some(), "an expired delete took effect");
    let deletion = backend.delete(&[key("a/1"), key("a/9"), key("a/2")], valid).await.expect("delete").value;
    assert_eq!(deletion.refused, [], "a delete of a missing key was refused");
    assert!(!deletion.is_unclear, "a delete that was answered is unclear");
    assert_eq!(keys_below(backend, "a/").await, [""; 0]);
}

async fn check_dates<B: ObjectBackend>(backend: &B) {
    let (expired, valid) = validities(backend).await;
    let with = |validity| Put { validity: Some(validity), ..put("d/1", b"x", PutCondition::Always) };
    has_expired(backend.put(with(expired)).await, "put");
    let absent = backend.head(&key("d/1")).await.expect("head");
    assert!(absent.value.is_none(), "an expired put took effect");
    let stored = backend.put(with(valid)).await.expect("put");
    assert!(!stored.is_unclear, "a put that was answered is unclear");
    let listed = backend.list("d/", None).await.expect("list");
    assert!(absent.date <= stored.date && stored.date <= listed.date, "dates of answers run backwards");
    let age = listed.date.since(listed.value.objects[0].modified_at);
    assert!(age < Duration::from_mins(1), "a new object is {age:?} old");
}

/// Returns a validity that is over and one that has begun, by the backend's clock.
async fn validities<B: ObjectBackend>(backend: &B) -> (Validity, Validity) {
    let date = backend.head(&key("a/1")).await.expect("head").date;
    let minute = Duration::from_mins(1);
    let since = |signed_at| Validity { signed_at, lasts: minute };
    (since(date.minus(10 * minute)), since(date))
}

fn has_expired<T>(result: Result<T, BackendError>, what: &str) {
    let Err(error) = result else { panic!("an expired {what} was taken") };
    assert_eq!((error.fault, error.is_unclear), (Fault::Expired, false), "an expired {what}");
    assert!(error.date.is_some(), "a refusal has no date");
}
