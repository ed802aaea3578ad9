//! The local side lost, damaged, behind or cut short.

use std::sync::Arc;

use coldkeep_chunk_store::Digest;
use coldkeep_chunk_store::backend::{AnyBackend, Fault, ObjectKey};
use coldkeep_chunk_store::testing::{RequestKind, Which};
use coldkeep_datastore::{Datastore, IndexKind, Namespace, OpenError, SnapshotInfo};

use crate::support::{Fixture, bucket_parts, name, options, stream, temporary_folder};

const FIRST: &str = "host/x/2026-01-01T00:00:00Z";
const SECOND: &str = "host/x/2026-01-02T00:00:00Z";

#[tokio::test]
async fn a_lost_folder_costs_time_and_no_data() {
    let fixture = Fixture::in_bucket().await;
    let made = fixture.backup(FIRST, &[b"one", b"two"]).await;
    let path = fixture.store.folder().to_owned();
    let used = fixture.store.usage().await.unwrap().used;
    assert!(used > 0);
    let Fixture { folder, clock, store, backend } = fixture;
    drop(store);
    std::fs::remove_dir_all(&path).unwrap();
    let backend = backend.unwrap();
    let parts = bucket_parts(&clock, AnyBackend::new(backend.clone()));
    let store = Datastore::open_bucket(&path, "default".parse().unwrap(), parts).await.unwrap();
    let report = store.refresh_report().unwrap();
    assert_eq!((report.objects, report.fetched, report.unfinished), (3, 3, 0));
    assert_eq!(store.usage().await.unwrap().used, used);
    let fixture = Fixture { folder, clock, store, backend: Some(backend) };
    assert_eq!(fixture.restore(&made, "stream.bin.didx").await, b"onetwo");
    assert_eq!(fixture.check_whole().await, 1);

    // The next incremental backup takes its chunks from the last one.
    let puts = fixture.backend().requests(RequestKind::PutNew);
    let writer = fixture.begin(SECOND).await;
    writer.previous_file(&name("stream.bin.didx")).await.unwrap();
    let wid = writer.create_dynamic(&name("stream.bin.didx")).await.unwrap();
    let (entries, totals) = stream(&[b"one", b"two"]);
    writer.append(wid, IndexKind::Dynamic, &entries).await.unwrap();
    writer.close_dynamic(wid, totals).await.unwrap();
    crate::support::upload_manifest(&writer, &["stream.bin.didx"], fixture.store.folder()).await;
    writer.finish().await.unwrap();
    drop(writer);
    assert_eq!(fixture.backend().requests(RequestKind::PutNew), puts, "no chunk was sent");
    assert_eq!(fixture.check_whole().await, 2);
}

#[tokio::test]
async fn an_open_finds_what_a_crash_left_behind() {
    let fixture = Fixture::in_bucket().await;
    let root = Namespace::root();
    let (first, second) = (fixture.backup(FIRST, &[b"one"]).await, fixture.backup(SECOND, &[b"two"]).await);
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.store.refresh_report(), None, "nothing differs");
    // The claims of whoever did not close the store stand until they have expired.
    fixture.expire();
    // As after crashes between the two halves of a commit, of a note, and of a removal.
    std::fs::remove_dir_all(fixture.path(FIRST)).unwrap();
    let old = std::fs::read(fixture.path(SECOND).join("index.json.blob")).unwrap();
    fixture.store.set_notes(&root, &second, "new").await.unwrap();
    std::fs::write(fixture.path(SECOND).join("index.json.blob"), old).unwrap();
    let copy = "host/x/2026-01-03T00:00:00Z";
    std::fs::create_dir(fixture.path(copy)).unwrap();
    std::fs::copy(fixture.path(SECOND).join("index.json.blob"), fixture.path(copy).join("index.json.blob"))
        .unwrap();
    let fixture = fixture.reopen().await;
    let report = fixture.store.refresh_report().unwrap();
    assert_eq!((report.objects, report.fetched), (5, 3), "two files were there already");
    assert_eq!(fixture.store.snapshots(&root, None, None).await.unwrap().len(), 2);
    assert_eq!(fixture.store.notes(&root, &second).await.unwrap(), "new");
    assert_eq!(fixture.restore(&first, "stream.bin.didx").await, b"one");
}

/// Goal: a refresh that was cut short goes on where it was.
/// Method: one object is refused; the next open fetches that one and no other.
#[tokio::test]
async fn a_refresh_that_was_cut_short_goes_on() {
    let fixture = Fixture::in_bucket().await;
    for day in 1..=5 {
        fixture.backup(&format!("host/x/2026-01-0{day}T00:00:00Z"), &[b"one"]).await;
    }
    let folder = temporary_folder();
    let path = folder.path().join("b");
    let open = || {
        let parts = bucket_parts(&fixture.clock, AnyBackend::new(fixture.backend().clone()));
        Datastore::open_bucket(&path, "bbb".parse().unwrap(), parts)
    };
    let refused = ".cnt/host/x/owner";
    fixture.backend().fail(Which::every(RequestKind::Get).key(refused), Fault::Denied, false);
    open().await.unwrap_err();
    assert!(!path.join("host").exists(), "half a tree is not shown");
    fixture.backend().clear_rules();
    let store = open().await.unwrap();
    let report = store.refresh_report().unwrap();
    assert_eq!(report.objects, 11);
    assert!(report.fetched < 11, "{report:?}");
    assert_eq!(store.snapshots(&Namespace::root(), None, None).await.unwrap().len(), 5);
    assert!(!path.join(".coldkeep/refresh").exists());
}

#[tokio::test]
async fn what_is_damaged_foreign_or_unfinished_does_not_stop_a_refresh() {
    let fixture = Fixture::in_bucket().await;
    let made = fixture.backup(FIRST, &[b"one"]).await;
    let bucket = Arc::clone(fixture.store.chunks().as_bucket().unwrap());
    let put = async |key: &str, content: &'static str| {
        let claim = bucket.claim(key).await.unwrap();
        claim.put_new(&ObjectKey::new(key).unwrap(), content.into()).await.unwrap();
        claim.release().await.unwrap();
    };
    put(&format!(".cnt/{SECOND}/index.json.blob"), "damaged").await;
    put(&format!(".cnt/{SECOND}/a.didx"), "damaged").await;
    put(".cnt/vm/1/2026-01-01T00:00:00Z/a.didx", "").await;
    put(".cnt/vm/odd name/owner", "").await;
    let alone = fixture.with_bucket_alone().await;
    let report = alone.store.refresh_report().unwrap();
    assert_eq!((report.unfinished, report.skipped.len()), (1, 1), "{report:?}");
    let all = alone.store.snapshots(&Namespace::root(), None, None).await.unwrap();
    assert_eq!(all.iter().map(SnapshotInfo::is_finished).collect::<Vec<_>>(), [true, false]);
    assert_eq!(alone.restore(&made, "stream.bin.didx").await, b"one");
    assert!(alone.keys(".cnt/vm/1/").await.is_empty(), "the unfinished one was cleared");
}

#[tokio::test]
async fn a_wrong_body_is_not_taken() {
    let fixture = Fixture::in_bucket().await;
    fixture.backup(FIRST, &[b"one"]).await;
    let folder = temporary_folder();
    let manifest = format!(".cnt/{FIRST}/index.json.blob");
    fixture.backend().wrong_body(Which::every(RequestKind::Get).key(&manifest), "wrong");
    let parts = bucket_parts(&fixture.clock, AnyBackend::new(fixture.backend().clone()));
    let path = folder.path().join("b");
    let refused = Datastore::open_bucket(&path, "bbb".parse().unwrap(), parts).await.unwrap_err();
    assert!(refused.to_string().contains(&manifest), "{refused}");
    fixture.backend().clear_rules();
    assert_eq!(fixture.with_bucket_alone().await.check_whole().await, 1);
}

/// The mark takes indexes from the bucket's own listing (R10); local copies are its cache.
#[tokio::test]
async fn the_collector_is_told_what_the_bucket_has() {
    let fixture = Fixture::in_bucket().await;
    fixture.backup(FIRST, &[b"one"]).await;
    let writer = fixture.begin(SECOND).await;
    crate::support::upload_stream(&writer, "a.didx", &[b"two"]).await;
    writer.abort().await.unwrap();
    let gets = fixture.backend().requests(RequestKind::Get);
    let all = fixture.references().await;
    assert!(all.contains(&Digest::of(b"one")) && all.contains(&Digest::of(b"two")));
    assert_eq!(fixture.backend().requests(RequestKind::Get), gets + 1, "only what is not on disk");
    // Not the same as the bucket's.
    let local = fixture.path(FIRST).join("stream.bin.didx");
    let len = std::fs::metadata(&local).unwrap().len();
    std::fs::write(&local, vec![0; len as usize]).unwrap();
    assert_eq!(fixture.references().await, all);
    fixture.backend().fail(Which::every(RequestKind::List), Fault::Unavailable, false);
    fixture.store.index_files().await.unwrap_err();
}

#[tokio::test]
async fn usage_counts_what_was_stored() {
    let fixture = Fixture::in_bucket().await;
    fixture.backup(FIRST, &[b"one"]).await;
    let usage = fixture.store.usage().await.unwrap();
    assert!(usage.used > 0 && usage.avail > 0 && usage.total == usage.used + usage.avail);
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.store.usage().await.unwrap(), usage);
    fixture.store.set_stored_bytes(7).await.unwrap();
    assert_eq!(fixture.store.usage().await.unwrap().used, 7);
}

/// Goal: no mix-up of kinds costs data: a rebuild removes what it finds in the folder (I1).
/// Method: open each kind of datastore as one of the other.
#[tokio::test]
async fn a_datastore_is_not_opened_as_one_of_the_other_kind() {
    let (files, bucket) = (Fixture::new().await, Fixture::in_bucket().await);
    let made = files.backup(FIRST, &[b"one"]).await;
    let (files_folder, bucket_folder) = (files.store.folder().to_owned(), bucket.store.folder().to_owned());
    let Fixture { folder: _files, clock, store, .. } = files;
    drop(store);
    let parts = bucket_parts(&clock, AnyBackend::new(bucket.backend().clone()));
    let refused = Datastore::open_bucket(&files_folder, "bbb".parse().unwrap(), parts).await.unwrap_err();
    assert!(matches!(refused, OpenError::NotInABucket { .. }), "{refused}");
    let reopened = Datastore::open(&files_folder, "bbb".parse().unwrap(), options(&clock)).await.unwrap();
    assert!(reopened.manifest(&Namespace::root(), &made).await.is_ok());
    assert!(reopened.chunks().load(&Digest::of(b"one")).await.is_ok());
    let Fixture { folder: _bucket, store, .. } = bucket;
    drop(store);
    let refused = Datastore::open(&bucket_folder, "bbb".parse().unwrap(), options(&clock)).await.unwrap_err();
    assert!(matches!(refused, OpenError::InABucket { .. }), "{refused}");
}
