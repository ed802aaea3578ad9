//! Small facts: first in the bucket, then on disk.

use coldkeep_chunk_store::backend::Fault;
use coldkeep_chunk_store::blob::{Blob, Compression};
use coldkeep_chunk_store::bucket::{Closed, PathError, Takeover};
use coldkeep_chunk_store::testing::{RequestKind, Which};
use coldkeep_datastore::manifest::VerifyResult;
use coldkeep_datastore::{BeginError, Datastore, Namespace, TreeError};

use crate::support::{Fixture, bucket_parts, request, temporary_folder};

const FIRST: &str = "host/x/2026-01-01T00:00:00Z";
const SECOND: &str = "host/x/2026-01-02T00:00:00Z";

#[tokio::test]
async fn small_facts_are_in_the_bucket() {
    let fixture = Fixture::in_bucket().await;
    let (store, root) = (&fixture.store, Namespace::root());
    let made = fixture.backup(FIRST, &[b"one"]).await;
    store.set_notes(&root, &made, "notes").await.unwrap();
    store.set_group_notes(&root, &made.group, "group").await.unwrap();
    store.change_owner(&root, &made.group, &"al@pbs".parse().unwrap()).await.unwrap();
    store.set_protected(&root, &made, true).await.unwrap();
    let log = Blob::encode(b"log", Compression::Zstd).unwrap().into_bytes();
    store.upload_log(&root, &made, log).await.unwrap();
    fixture.check_whole().await;

    let alone = fixture.with_bucket_alone().await;
    let store = &alone.store;
    assert_eq!(store.notes(&root, &made).await.unwrap(), "notes");
    assert_eq!(store.group_notes(&root, &made.group).await.unwrap(), "group");
    assert_eq!(store.owner(&root, &made.group).await.unwrap().to_string(), "al@pbs");
    assert!(store.is_protected(&root, &made).await.unwrap());
    assert!(alone.path(FIRST).join("client.log.blob").exists());
    let state = store.manifest(&root, &made).await.unwrap().verify_state().unwrap();
    assert_eq!(state.state, VerifyResult::Ok);

    store.set_protected(&root, &made, false).await.unwrap();
    store.set_group_notes(&root, &made.group, "").await.unwrap();
    let alone = alone.with_bucket_alone().await;
    assert!(!alone.store.is_protected(&root, &made).await.unwrap());
    assert_eq!(alone.store.group_notes(&root, &made.group).await.unwrap(), "");
}

#[tokio::test]
async fn what_the_bucket_refuses_does_not_happen_on_disk() {
    let fixture = Fixture::in_bucket().await;
    let (store, root) = (&fixture.store, Namespace::root());
    let made = fixture.backup(FIRST, &[b"one"]).await;
    store.set_protected(&root, &made, true).await.unwrap();
    for kind in [RequestKind::Put, RequestKind::Delete] {
        fixture.backend().fail(Which::every(kind), Fault::Denied, false);
    }
    let refused = store.set_notes(&root, &made, "x").await.unwrap_err();
    assert!(matches!(refused, TreeError::Bucket(PathError::Backend(_))), "{refused}");
    assert!(store.set_group_notes(&root, &made.group, "x").await.is_err());
    assert!(store.change_owner(&root, &made.group, &"al@pbs".parse().unwrap()).await.is_err());
    assert!(store.set_protected(&root, &made, false).await.is_err());
    assert!(store.create_namespace(&"a".parse().unwrap()).await.is_err());
    fixture.backend().clear_rules();
    assert_eq!(store.notes(&root, &made).await.unwrap(), "");
    assert_eq!(store.group_notes(&root, &made.group).await.unwrap(), "");
    assert_eq!(store.owner(&root, &made.group).await.unwrap().to_string(), "root@pam");
    assert!(store.is_protected(&root, &made).await.unwrap());
    assert!(!fixture.path("ns/a").exists());
}

/// Goal: two changes of one manifest both take place, neither is refused for the other's sake.
/// Method: the first one's put is held until the second has had time to get in its way.
#[tokio::test]
async fn changes_of_one_manifest_take_turns() {
    let fixture = Fixture::in_bucket().await;
    let (store, root) = (&fixture.store, Namespace::root());
    let made = fixture.backup(FIRST, &[b"one"]).await;
    let mut task = coldkeep_datastore::VerifyTask::new("UPID:test".into(), std::sync::Arc::default());
    let manifest = format!(".cnt/{FIRST}/index.json.blob");
    let mut held = fixture.backend().hold_before(Which::next(RequestKind::Put).key(&manifest));
    let verify = async {
        let first = held.arrived().await;
        let waits = async {
            for _ in 0..100 {
                assert_eq!(store.notes(&root, &made).await.unwrap(), "");
            }
            first.release();
        };
        tokio::join!(store.verify_snapshot(&root, &made, &mut task), waits).0
    };
    let (noted, verified) = tokio::join!(store.set_notes(&root, &made, "notes"), verify);
    noted.unwrap();
    verified.unwrap();
    let manifest = fixture.with_bucket_alone().await.store.manifest(&root, &made).await.unwrap();
    assert!(manifest.notes() == "notes" && manifest.verify_state().is_some());
}

/// Hazard H36: whoever lost the bucket to another server changes nothing any more, and says why; reads go on.
#[tokio::test]
async fn h36_a_superseded_server_neither_prunes_nor_writes() {
    let fixture = Fixture::in_bucket().await;
    let (store, root) = (&fixture.store, Namespace::root());
    let made = fixture.backup(FIRST, &[b"one"]).await;
    let writer = fixture.begin(SECOND).await;
    crate::support::upload_stream(&writer, "stream.bin.didx", &[b"two"]).await;
    crate::support::upload_manifest(&writer, &["stream.bin.didx"], store.folder()).await;
    let folder = temporary_folder();
    let mut parts = bucket_parts(
        &fixture.clock,
        coldkeep_chunk_store::backend::AnyBackend::new(fixture.backend().clone()),
    );
    parts.options.holder.id = "other".into();
    parts.options.takeover = Takeover::Force;
    let other =
        Datastore::open_bucket(&folder.path().join("b"), "bbb".parse().unwrap(), parts).await.unwrap();
    let listed = |store: &std::sync::Arc<Datastore>| {
        let store = std::sync::Arc::clone(store);
        async move { store.chunks().as_bucket().unwrap().list_objects(".cnt/").await.unwrap() }
    };
    let before = listed(&other).await;

    assert!(writer.finish().await.is_err());
    writer.abort().await.unwrap();
    drop(writer);
    let is_superseded =
        |error: &TreeError| matches!(error, TreeError::Bucket(PathError::Closed(Closed::Superseded)));
    let error = store.forget(&root, &made).await.unwrap_err();
    assert!(is_superseded(&error) && error.to_string().contains("another server"), "{error}");
    assert!(is_superseded(&store.set_notes(&root, &made, "x").await.unwrap_err()));
    let refused = store.begin_backup(request("host/y/2026-01-03T00:00:00Z")).await.unwrap_err();
    assert!(matches!(refused, BeginError::Store(_)), "{refused}");
    assert_eq!(listed(&other).await, before);
    assert_eq!(fixture.restore(&made, "stream.bin.didx").await, b"one");
}
