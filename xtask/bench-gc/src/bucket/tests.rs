use coldkeep_chunk_store::backend::{ObjectBackend, ObjectKey, Put, PutCondition, PutOutcome, Validity};
use coldkeep_chunk_store::dir::EntryName;
use coldkeep_chunk_store::{Clock, SystemClock};

use super::*;
use crate::store::backend;

fn bucket(count: u64) -> SyntheticBucket {
    SyntheticBucket::new(Objects::new(count, 5), Duration::ZERO)
}

fn chunk_key(objects: Objects, number: u64) -> ObjectKey {
    ObjectKey::of_entry(EntryName::chunk(objects.digest(number)))
}

async fn listed(bucket: &SyntheticBucket, prefix: &str) -> Vec<ObjectKey> {
    let backend = backend(bucket).unwrap();
    let (mut keys, mut after) = (Vec::new(), None);
    loop {
        let page = backend.list(prefix, after.as_deref()).await.unwrap().value;
        keys.extend(page.objects.into_iter().map(|object| object.key));
        after = page.next;
        if after.is_none() {
            return keys;
        }
    }
}

#[tokio::test]
async fn a_listing_names_every_chunk_in_order_and_then_the_rest() {
    let bucket = bucket(2500);
    bucket.put(".in-use", "x");
    let objects = bucket.shared.objects;
    let mut expected: Vec<ObjectKey> = (0..2500).map(|number| chunk_key(objects, number)).collect();
    assert_eq!(listed(&bucket, ".chunks/").await, expected);
    expected.push(ObjectKey::new(".in-use").unwrap());
    assert_eq!(listed(&bucket, "").await, expected);
    assert_eq!(bucket.requests(), Requests::from([("list", 6)]));
}

#[tokio::test]
async fn the_listings_of_all_prefixes_make_the_whole() {
    let bucket = bucket(5000);
    let mut keys = Vec::new();
    for first in 0..=255_u8 {
        keys.extend(listed(&bucket, &format!(".chunks/{first:02x}")).await);
    }
    assert_eq!(keys, listed(&bucket, ".chunks").await);
    let whole = chunk_key(bucket.shared.objects, 4999);
    assert_eq!(listed(&bucket, whole.as_str()).await, [whole]);
    assert_eq!(listed(&bucket, ".cnt/").await, []);
}

#[tokio::test]
async fn an_object_is_listed_with_its_age() {
    let bucket = bucket(1);
    let answer = backend(&bucket).unwrap().list("", None).await.unwrap();
    let object = &answer.value.objects[0];
    let age = answer.date.since(object.modified_at);
    assert!(age >= listing::AGE && age < listing::AGE + Duration::from_mins(1), "{age:?}");
    let head = backend(&bucket).unwrap().head(&object.key).await.unwrap().value.unwrap();
    assert_eq!((head.len, head.modified_at), (object.len, object.modified_at));
    assert_eq!(object.len, Objects::bytes(0));
}

#[tokio::test]
async fn what_is_deleted_is_listed_no_more() {
    let bucket = bucket(100);
    let backend = backend(&bucket).unwrap();
    let keys: Vec<ObjectKey> =
        [3, 50, 99].map(|number| chunk_key(bucket.shared.objects, number)).into_iter().collect();
    let validity = Validity { signed_at: SystemClock::new().wall(), lasts: Duration::from_mins(1) };
    let deletion = backend.delete(&keys, validity).await.unwrap().value;
    assert_eq!((deletion.refused, deletion.is_unclear), (Vec::new(), false));
    let left = listed(&bucket, "").await;
    assert_eq!((left.len(), bucket.deleted()), (97, 3));
    assert!(keys.iter().all(|key| !left.contains(key)));
    assert_eq!(backend.head(&keys[0]).await.unwrap().value, None);
}

#[tokio::test]
async fn puts_heed_their_conditions() {
    let bucket = bucket(1);
    let backend = backend(&bucket).unwrap();
    let key = ObjectKey::new(".generation").unwrap();
    let put = async |content: &'static str, condition| {
        let put = Put { key: key.clone(), content: content.into(), condition, validity: None };
        backend.put(put).await.unwrap().value
    };
    let PutOutcome::Stored(tag) = put("one", PutCondition::IfAbsent).await else { panic!("not stored") };
    assert_eq!(put("two", PutCondition::IfAbsent).await, PutOutcome::ConditionFailed);
    assert_ne!(put("two", PutCondition::IfMatch(tag.clone())).await, PutOutcome::ConditionFailed);
    assert_eq!(put("three", PutCondition::IfMatch(tag)).await, PutOutcome::ConditionFailed);
    let (_, content) = backend.get(&key).await.unwrap().value.unwrap();
    assert_eq!(content, "two");
}

#[tokio::test(start_paused = true)]
async fn requests_take_their_time_side_by_side() {
    let bucket = SyntheticBucket::new(Objects::new(1000, 5), Duration::from_millis(30));
    let backend = backend(&bucket).unwrap();
    let started_at = Instant::now();
    let one = async || backend.list(".chunks/", None).await.unwrap();
    futures_util::future::join3(one(), one(), one()).await;
    let elapsed = started_at.elapsed();
    assert!(elapsed >= Duration::from_millis(30) && elapsed < Duration::from_millis(60), "{elapsed:?}");
    assert_eq!(bucket.requests_at_once(), 3);
}
