//! What every object backend must do.

use std::time::Duration;

use bytes::Bytes;

use crate::backend::{Answer, ETag, ObjectBackend, ObjectKey, Put, PutCondition, PutOutcome, Validity};

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
    check_listing(backend).await;
    check_deletes(backend).await;
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
    let date = backend.head(&key("a/1")).await.expect("head").date;
    let minute = Duration::from_mins(1);
    let expired = Validity { signed_at: date.minus(10 * minute), lasts: minute };
    let refused = backend.delete(&[key("a/1")], expired).await;
    assert!(refused.is_err_and(|error| !error.is_unclear), "an expired delete was taken");
    assert!(backend.head(&key("a/1")).await.expect("head").value.is_some(), "an expired delete took effect");
    let valid = Validity { signed_at: date, lasts: minute };
    let deletion = backend.delete(&[key("a/1"), key("a/9"), key("a/2")], valid).await.expect("delete").value;
    assert_eq!(deletion.refused, [], "a delete of a missing key was refused");
    assert_eq!(keys_below(backend, "a/").await, [""; 0]);
}
