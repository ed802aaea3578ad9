//! Deleting many objects: DeleteObjects, and single deletes in its place.

use coldkeep_s3_client::ops::{DELETE_KEYS_MAX, DeleteObjects, DeleteReport, DeleteTarget, ListObjectsV2};
use coldkeep_s3_client::{CallOptions, Effect, ObjectKey, Operation, Quirk, Quirks};

use crate::env::{Env, connect};
use crate::many;

pub(crate) async fn a_thousand_objects_go_in_one_request(env: Env) {
    let keys = put_many(&env, DELETE_KEYS_MAX).await;
    let stays = env.put("stays", "x").await;
    let reply = env.client().send(&DeleteObjects::new(keys.iter().cloned())).await.unwrap();
    assert_eq!((reply.attempts, reply.outcome.effect()), (1, Effect::Applied));
    assert_all_deleted(&reply.value, &keys);
    assert_eq!(listed(&env).await, [stays]);
}

pub(crate) async fn quiet_mode_deletes_as_well(env: Env) {
    let keys = put_many(&env, 20).await;
    let reply = env.client().send(&DeleteObjects::new(keys.iter().cloned()).quiet()).await.unwrap();
    assert_all_deleted(&reply.value, &keys);
    assert_eq!(listed(&env).await, []);
}

pub(crate) async fn missing_objects_count_as_deleted(env: Env) {
    let mut keys = put_many(&env, 3).await;
    keys.extend((0..3).map(|number| env.key(&format!("never-{number}"))));
    let reply = env.client().send(&DeleteObjects::new(keys.iter().cloned())).await.unwrap();
    assert_all_deleted(&reply.value, &keys);
    assert_eq!(listed(&env).await, []);
    // And again, when none is there.
    let reply = env.client().send(&DeleteObjects::new(keys.iter().cloned())).await.unwrap();
    assert_all_deleted(&reply.value, &keys);
}

pub(crate) async fn a_batch_goes_without_multi_delete(env: Env) {
    let mut quirks: Quirks = env.config().quirks().clone();
    quirks.insert(Quirk::NoMultiDelete);
    let client = connect(env.config().with_quirks(quirks));
    let keys = put_many(&env, 100).await;
    let targets: Vec<_> = keys.iter().cloned().map(DeleteTarget::new).collect();
    let reply = client.delete_batch(&targets, &CallOptions::new()).await.unwrap();
    assert_eq!((reply.attempts, reply.outcome.effect()), (100, Effect::Applied));
    assert_all_deleted(&reply.value, &keys);
    assert_eq!(listed(&env).await, []);
    let stats = client.stats();
    assert_eq!(stats.operations[&Operation::DeleteObject].requests, 100);
    assert!(!stats.operations.contains_key(&Operation::DeleteObjects));
}

pub(crate) async fn a_batch_is_one_request(env: Env) {
    let client = connect(env.config());
    let keys = put_many(&env, 50).await;
    let targets: Vec<_> = keys.iter().cloned().map(DeleteTarget::new).collect();
    let reply = client.delete_batch(&targets, &CallOptions::new()).await.unwrap();
    assert_all_deleted(&reply.value, &keys);
    assert_eq!(client.stats().total().requests, 1);
    assert_eq!(listed(&env).await, []);
}

async fn put_many(env: &Env, count: usize) -> Vec<ObjectKey> {
    let puts = (0..count).map(|number| async move { env.put(&format!("{number:04}"), "x").await });
    many::all(puts).await
}

/// The test's keys that are there.
async fn listed(env: &Env) -> Vec<ObjectKey> {
    let mut listing = env.client().list(ListObjectsV2::new().with_prefix(&env.key_prefix()));
    let mut keys = Vec::new();
    while let Some(object) = listing.next_object().await.unwrap() {
        keys.push(object.key);
    }
    keys
}

/// Every key stands in the report, in the order of the request.
fn assert_all_deleted(report: &DeleteReport, keys: &[ObjectKey]) {
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    assert!(report.unreported.is_empty(), "{:?}", report.unreported);
    let deleted: Vec<_> = report.deleted.iter().map(|deleted| deleted.target.key.clone()).collect();
    assert_eq!(deleted, keys);
}
