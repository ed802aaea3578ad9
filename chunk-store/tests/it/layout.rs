//! Which objects of a bucket are the store's.

use bytes::Bytes;
use coldkeep_chunk_store::backend::{Fault, ObjectBackend, PutCondition, RequestBound, S3Backend};

use crate::scene::*;

const CHUNK: &str = ".chunks/ba78/ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

async fn listed(backend: &S3Backend, prefix: &str) -> Vec<String> {
    let page = backend.list(prefix, None).await.unwrap().value;
    assert_eq!(page.next, None);
    page.objects.iter().map(|object| object.key.to_string()).collect()
}

#[tokio::test]
async fn a_store_sees_the_objects_below_its_name_and_no_others() {
    let scene = Scene::new().await;
    for foreign in ["other/k", "store-2/k", "store", "store/", "store//k", "store/folder/"] {
        scene.origin.insert(BUCKET, foreign, "foreign");
    }
    scene.backend.put(put(".cnt/vm/100/owner", "root@pam\n", PutCondition::Always)).await.unwrap();
    assert_eq!(listed(&scene.backend, "").await, [".cnt/vm/100/owner"]);
    assert_eq!(scene.held(".cnt/vm/100/owner").as_deref(), Some("root@pam\n"));
    let whole = backend(config(&scene.proxy.endpoint()), "", RequestBound::Presigned);
    assert_eq!(listed(&whole, "store").await, ["store", "store-2/k", "store/.cnt/vm/100/owner"]);
    let logged = &scene.origin.log()[0];
    assert_eq!(logged.header("content-type"), Some("application/octet-stream"));
}

#[tokio::test]
async fn a_name_that_cannot_begin_a_key_is_refused() {
    let scene = Scene::new().await;
    for name in ["/", "a/", "/a", "..", "a//b", "a\n"] {
        let client = scene.backend.client().clone();
        assert!(S3Backend::new(client, name, RequestBound::Presigned).is_err(), "{name:?}");
    }
}

#[tokio::test]
async fn a_key_that_is_too_long_with_its_prefix_is_refused() {
    let scene = Scene::new().await;
    let error = scene.backend.head(&key(&"k".repeat(1020))).await.unwrap_err();
    assert_eq!((error.fault, error.is_unclear, scene.proxy.seen().len()), (Fault::Other, false, 0));
}

#[tokio::test]
async fn a_listing_goes_on_where_its_page_ended() {
    let scene = Scene::new().await;
    let names: Vec<_> = (0..1005).map(|number| format!("list/{number:04}")).collect();
    for name in &names {
        scene.origin.insert(BUCKET, &format!("{STORE}/{name}"), "x");
    }
    let first = scene.backend.list("list/", None).await.unwrap().value;
    let second = scene.backend.list("list/", first.next.as_deref()).await.unwrap().value;
    assert_eq!((first.objects.len(), second.objects.len(), second.next), (1000, 5, None));
    let objects = first.objects.iter().chain(&second.objects);
    assert_eq!(objects.clone().map(|object| object.key.to_string()).collect::<Vec<_>>(), names);
    assert!(objects.clone().all(|object| object.len == 1 && object.modified_at == start()));
}

#[tokio::test]
async fn an_object_that_is_longer_than_it_can_be_is_not_read() {
    let scene = Scene::new().await;
    let longest = coldkeep_chunk_store::blob::BLOB_ENCODED_BYTES_MAX;
    for (len, is_read) in [(longest, true), (longest + 1, false)] {
        scene.origin.insert(BUCKET, &format!("{STORE}/{CHUNK}"), Bytes::from(vec![0; len]));
        let result = scene.backend.get(&key(CHUNK)).await;
        assert_eq!(result.is_ok(), is_read, "{len}");
        assert!(result.err().is_none_or(|error| error.fault == Fault::BadAnswer));
    }
    scene.insert("small", "abcd");
    let config = config(&scene.proxy.endpoint());
    let careful = backend(config, STORE, RequestBound::Presigned).with_object_bytes_max(3);
    assert_eq!(careful.get(&key("small")).await.unwrap_err().fault, Fault::BadAnswer);
}
