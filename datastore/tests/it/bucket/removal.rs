//! What goes, in which order, and what is left when something stops in between.

use coldkeep_chunk_store::Clock as _;
use coldkeep_chunk_store::backend::{Fault, ObjectKey};
use coldkeep_chunk_store::testing::{RequestKind, Which};
use coldkeep_datastore::{Namespace, TreeError};

use crate::support::{Fixture, snapshot};

const FIRST: &str = "host/x/2026-01-01T00:00:00Z";
const SECOND: &str = "host/x/2026-01-02T00:00:00Z";

#[tokio::test]
async fn what_is_forgotten_is_gone_from_the_bucket() {
    let fixture = Fixture::in_bucket().await;
    let (store, root) = (&fixture.store, Namespace::root());
    let (first, second) = (fixture.backup(FIRST, &[b"one"]).await, fixture.backup(SECOND, &[b"one"]).await);
    store.set_group_notes(&root, &first.group, "notes").await.unwrap();
    store.forget(&root, &first).await.unwrap();
    assert!(fixture.keys(&format!(".cnt/{FIRST}/")).await.is_empty());
    assert_eq!(fixture.keys(&format!(".cnt/{SECOND}/")).await.len(), 2);
    store.forget(&root, &second).await.unwrap();
    assert!(fixture.keys(".cnt/").await.is_empty(), "the group goes with its last snapshot");
    assert_eq!(fixture.with_bucket_alone().await.check_whole().await, 0);
}

/// Goal: a removal that stops anywhere leaves a snapshot that is whole, or none (I1).
/// Method: each of its deletes fails, or has its effect and no answer; then look from the bucket alone, and on disk.
#[tokio::test]
async fn a_removal_that_stops_anywhere_leaves_no_half_snapshot() {
    for stopped in ["/index.json.blob", "/stream.bin.didx", "/notes", "/owner"] {
        for has_effect in [false, true] {
            let fixture = Fixture::in_bucket().await;
            let root = Namespace::root();
            let made = fixture.backup(FIRST, &[b"one", b"two"]).await;
            fixture.store.set_group_notes(&root, &made.group, "notes").await.unwrap();
            let which = Which::every(RequestKind::Delete).about(move |key| key.ends_with(stopped));
            if has_effect {
                fixture.backend().lose_replies(which);
            } else {
                fixture.backend().fail(which, Fault::Denied, false);
            }
            let refused = fixture.store.forget(&root, &made).await;
            assert!(refused.is_err(), "{stopped}");
            fixture.backend().clear_rules();
            let shown = fixture.store.snapshots(&root, None, None).await.unwrap();
            // Before the manifest is known to be gone, nothing changes on disk.
            assert_eq!(shown.len(), usize::from(stopped == "/index.json.blob"), "{stopped}");
            assert!(shown.iter().all(coldkeep_datastore::SnapshotInfo::is_finished));
            let alone = fixture.with_bucket_alone().await;
            let whole = alone.check_whole().await;
            assert_eq!(
                whole,
                usize::from(stopped == "/index.json.blob" && !has_effect),
                "{stopped} {has_effect}"
            );
            let left = alone.keys(&format!(".cnt/{FIRST}/")).await;
            assert_eq!(left.len(), 2 * whole, "the open cleared what was left: {left:?}");
        }
    }
}

#[tokio::test]
async fn a_removal_can_be_repeated() {
    let fixture = Fixture::in_bucket().await;
    let root = Namespace::root();
    let made = fixture.backup(FIRST, &[b"one"]).await;
    fixture.backend().lose_replies(Which::every(RequestKind::Delete));
    fixture.store.forget(&root, &made).await.unwrap_err();
    fixture.backend().clear_rules();
    let closed = fixture.store.forget(&root, &made).await.unwrap_err();
    assert!(closed.is_in_use() && closed.to_string().contains("may still take effect"), "{closed}");
    fixture.expire();
    fixture.store.forget(&root, &made).await.unwrap();
    assert!(fixture.keys(".cnt/").await.is_empty());
}

/// Goal: what a removal left of a group that has no snapshots goes with a collection (I5), unless somebody makes one there.
/// Method: the delete of one of the group's files fails, or has its effect and no answer.
#[tokio::test]
async fn what_a_removal_left_of_a_group_goes_with_the_next_collection() {
    for stopped in ["/notes", "/owner"] {
        for has_effect in [false, true] {
            let fixture = Fixture::in_bucket().await;
            let (store, root) = (&fixture.store, Namespace::root());
            let made = fixture.backup(FIRST, &[b"one"]).await;
            store.set_group_notes(&root, &made.group, "notes").await.unwrap();
            let which = Which::every(RequestKind::Delete).about(move |key| key.ends_with(stopped));
            if has_effect {
                fixture.backend().lose_replies(which);
            } else {
                fixture.backend().fail(which, Fault::Denied, false);
            }
            store.forget(&root, &made).await.unwrap_err();
            fixture.backend().clear_rules();
            fixture.expire();
            let writer = fixture.begin(SECOND).await;
            let left = fixture.keys(".cnt/").await;
            store.clear_unfinished(fixture.clock.wall(), &|| false).await.unwrap();
            assert_eq!(fixture.keys(".cnt/").await, left, "{stopped} {has_effect}: a backup goes on there");
            writer.abort().await.unwrap();
            drop(writer);
            fixture.expire();
            assert_eq!(store.groups(&root).await.unwrap().len(), 1);
            let cleared = store.clear_unfinished(fixture.clock.wall(), &|| false).await.unwrap();
            assert!(cleared.errors.is_empty(), "{cleared:?}");
            assert!(fixture.keys(".cnt/").await.is_empty(), "{stopped} {has_effect}");
            assert!(store.groups(&root).await.unwrap().is_empty());
        }
    }
}

/// Hazard H33: `vm/10` is also the beginning of `vm/100`.
#[tokio::test]
async fn h33_a_group_takes_none_with_it_whose_name_begins_like_its_own() {
    let fixture = Fixture::in_bucket().await;
    fixture.backup("vm/10/2026-01-01T00:00:00Z", &[b"one"]).await;
    let kept = fixture.backup("vm/100/2026-01-01T00:00:00Z", &[b"one"]).await;
    let before = fixture.keys(".cnt/vm/100/").await;
    fixture.store.forget_group(&Namespace::root(), &"vm/10".parse().unwrap(), true).await.unwrap();
    assert_eq!(fixture.keys(".cnt/").await, before);
    let alone = fixture.with_bucket_alone().await;
    assert_eq!(alone.restore(&kept, "stream.bin.didx").await, b"one");
}

#[tokio::test]
async fn a_group_takes_with_it_what_failed_sessions_left() {
    let fixture = Fixture::in_bucket().await;
    fixture.backup(FIRST, &[b"one"]).await;
    let writer = fixture.begin(SECOND).await;
    crate::support::upload_stream(&writer, "a.didx", &[b"two"]).await;
    writer.abort().await.unwrap();
    assert_eq!(fixture.keys(&format!(".cnt/{SECOND}/")).await.len(), 1);
    fixture.store.forget_group(&Namespace::root(), &snapshot(FIRST).group, true).await.unwrap();
    assert!(fixture.keys(".cnt/").await.is_empty());
}

#[tokio::test]
async fn a_namespace_goes_from_the_bucket_when_it_is_really_gone() {
    let fixture = Fixture::in_bucket().await;
    let store = &fixture.store;
    let [outer, inner] = ["a", "a/b"].map(|text| text.parse::<Namespace>().unwrap());
    store.create_namespace(&outer).await.unwrap();
    store.create_namespace(&inner).await.unwrap();
    assert_eq!(fixture.keys(".cnt/").await, [".cnt/ns/a/.namespace", ".cnt/ns/a/ns/b/.namespace"]);
    let alone = fixture.with_bucket_alone().await;
    let store = &alone.store;
    assert_eq!(store.namespaces(&Namespace::root(), 7).await.unwrap().len(), 3);
    let mut request = crate::support::request(FIRST);
    request.ns = inner.clone();
    let writer = store.begin_backup(request).await.unwrap();
    crate::support::upload_stream(&writer, "a.didx", &[b"one"]).await;
    crate::support::upload_manifest(&writer, &["a.didx"], &alone.path("ns/a/ns/b")).await;
    writer.finish().await.unwrap();
    drop(writer);
    store.set_protected(&inner, &snapshot(FIRST), true).await.unwrap();
    store.remove_namespace(&outer, true).await.unwrap();
    assert!(alone.keys(".cnt/").await.contains(&".cnt/ns/a/.namespace".to_owned()));
    store.set_protected(&inner, &snapshot(FIRST), false).await.unwrap();
    store.remove_namespace(&outer, true).await.unwrap();
    assert!(alone.keys(".cnt/").await.is_empty());
    let gone = store.remove_namespace(&outer, true).await.unwrap_err();
    assert!(matches!(gone, TreeError::NoNamespace { .. }), "{gone}");
}

/// Goal: a namespace that was removed does not come back with what a failed backup left there.
#[tokio::test]
async fn a_namespace_does_not_come_back_with_the_owner_of_a_failed_backup() {
    let fixture = Fixture::in_bucket().await;
    let ns = "a".parse::<Namespace>().unwrap();
    fixture.store.create_namespace(&ns).await.unwrap();
    let mut request = crate::support::request(FIRST);
    request.ns = ns.clone();
    let writer = fixture.store.begin_backup(request).await.unwrap();
    crate::support::upload_stream(&writer, "a.didx", &[b"one"]).await;
    crate::support::upload_manifest(&writer, &["a.didx"], &fixture.path("ns/a")).await;
    let which = Which::every(RequestKind::Put).about(|key| key.ends_with("/index.json.blob"));
    fixture.backend().fail(which, Fault::Denied, false);
    writer.finish().await.unwrap_err();
    writer.abort().await.unwrap();
    drop(writer);
    fixture.backend().clear_rules();
    assert_eq!(fixture.keys(".cnt/ns/a/host/x/owner").await.len(), 1, "the test needs it");
    fixture.store.remove_namespace(&ns, false).await.unwrap();
    let alone = fixture.with_bucket_alone().await;
    assert_eq!(alone.store.namespaces(&Namespace::root(), 7).await.unwrap(), [Namespace::root()]);
    assert!(alone.keys(".cnt/").await.is_empty());
}

/// Goal: nothing goes from the bucket that cannot go from the disk.
/// Method: the group's folder is a symbolic link, through which nothing is removed.
#[tokio::test]
async fn a_removal_that_the_disk_would_refuse_takes_nothing_from_the_bucket() {
    let fixture = Fixture::in_bucket().await;
    let made = fixture.backup(FIRST, &[b"one"]).await;
    let before = fixture.keys(".cnt/").await;
    std::fs::rename(fixture.path("host/x"), fixture.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink(fixture.path("elsewhere"), fixture.path("host/x")).unwrap();
    let refused = fixture.store.forget(&Namespace::root(), &made).await.unwrap_err();
    assert!(matches!(refused, TreeError::NotAFolder { .. }), "{refused}");
    assert_eq!(fixture.keys(".cnt/").await, before);
}

/// Goal: notes that come while their group is being removed do not outlive it.
/// Method: the removal of the owner is held, and the notes are set meanwhile.
#[tokio::test]
async fn notes_that_come_during_a_removal_do_not_outlive_the_group() {
    let fixture = Fixture::in_bucket().await;
    let (store, root) = (&fixture.store, Namespace::root());
    let made = fixture.backup(FIRST, &[b"one"]).await;
    let mut held = fixture.backend().hold_before(Which::next(RequestKind::Delete).key(".cnt/host/x/owner"));
    let note = async {
        let delete = held.arrived().await;
        let mut noting = std::pin::pin!(store.set_group_notes(&root, &made.group, "late"));
        // As far as it gets before the removal goes on.
        let mut refused = None;
        for _ in 0..1000 {
            tokio::select! {
                biased;
                ended = &mut noting => { refused = Some(ended); break; }
                () = tokio::task::yield_now() => {}
            }
        }
        delete.release();
        match refused {
            Some(ended) => ended,
            None => noting.await,
        }
    };
    let (removed, noted) = tokio::join!(store.forget(&root, &made), note);
    removed.unwrap();
    assert!(noted.is_err(), "there is no group any more");
    assert!(fixture.keys(".cnt/").await.is_empty());
}

/// Goal: a process that died in the first commit of a group leaves no group that belongs to somebody.
/// Method: the bucket has owner and index and no manifest; the open clears them, and leaves a group with snapshots alone.
#[tokio::test]
async fn a_group_goes_with_its_only_unfinished_snapshot() {
    let fixture = Fixture::in_bucket().await;
    let kept = fixture.backup("vm/1/2026-01-01T00:00:00Z", &[b"one"]).await;
    let bucket = fixture.store.chunks().as_bucket().unwrap();
    let unfinished = [
        ".cnt/host/x/owner".to_owned(),
        ".cnt/host/x/notes".to_owned(),
        format!(".cnt/{FIRST}/a.didx"),
        ".cnt/vm/1/2026-01-02T00:00:00Z/a.didx".to_owned(),
        ".cnt/vm/2/owner".to_owned(),
    ];
    for key in unfinished {
        let claim = bucket.claim(&key).await.unwrap();
        claim.put_new(&ObjectKey::new(&key).unwrap(), "root@pam\n".into()).await.unwrap();
        claim.release().await.unwrap();
    }
    let alone = fixture.with_bucket_alone().await;
    let left = alone.keys(".cnt/").await;
    assert_eq!(left.len(), 3, "what was not unfinished stays, and an empty group goes: {left:?}");
    assert!(left.iter().all(|key| key.starts_with(".cnt/vm/1/")));
    let groups = alone.store.groups(&Namespace::root()).await.unwrap();
    assert_eq!(groups.len(), 1, "{groups:?}");
    assert_eq!(alone.restore(&kept, "stream.bin.didx").await, b"one");
}
