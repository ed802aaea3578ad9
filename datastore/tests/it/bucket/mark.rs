//! What a collector is told while the tree changes under it (I6).

use std::ops::ControlFlow;
use std::sync::mpsc;

use coldkeep_chunk_store::Digest;
use coldkeep_chunk_store::backend::{AnyBackend, ObjectKey};
use coldkeep_chunk_store::testing::{RequestKind, Which};
use coldkeep_datastore::{Datastore, IndexFile, IndexPlace, IndexRead, Namespace, ReferenceError};

use crate::support::{Fixture, START, bucket_parts, snapshot, temporary_folder, upload_stream};

const FIRST: &str = "host/x/2026-01-01T00:00:00Z";
const SECOND: &str = "host/x/2026-01-02T00:00:00Z";

/// Leaves an index in the bucket whose session was aborted.
async fn abort_after_index(fixture: &Fixture, text: &str) {
    let writer = fixture.begin(text).await;
    upload_stream(&writer, "a.didx", &[b"two"]).await;
    writer.abort().await.unwrap();
}

async fn read(fixture: &Fixture, index: &IndexFile) -> (Result<IndexRead, ReferenceError>, Vec<Digest>) {
    let (send, receive) = mpsc::channel();
    let sink = move |digests: &[Digest]| {
        send.send(digests.to_vec()).unwrap();
        ControlFlow::Continue(())
    };
    let read = fixture.store.read_index(index, sink).await;
    (read, receive.into_iter().flatten().collect())
}

/// Goal: an index that vanished with its snapshot is no error (I6).
/// Method: it is listed, and cleared before it is fetched.
#[tokio::test]
async fn an_index_that_goes_before_it_is_fetched_does_not_stop_a_mark() {
    let fixture = Fixture::in_bucket().await;
    fixture.backup(FIRST, &[b"one"]).await;
    abort_after_index(&fixture, SECOND).await;
    let mut held =
        fixture.backend().hold_before(Which::next(RequestKind::Get).key(format!(".cnt/{SECOND}/a.didx")));
    let clear = async {
        let get = held.arrived().await;
        assert_eq!(fixture.store.clear_unfinished(START, &|| false).await.unwrap().snapshots, 1);
        get.release();
    };
    let (listed, ()) = tokio::join!(fixture.store.index_files(), clear);
    let places: Vec<String> = listed.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(places, [format!(".cnt/{FIRST}/stream.bin.didx")], "named as the operator finds it");
}

/// Goal: what takes the place of a listed index counts (I6).
/// Method: it is listed, and a retry with the same time replaces it before it is fetched.
#[tokio::test]
async fn an_index_that_is_replaced_before_it_is_fetched_counts_as_it_is_now() {
    let fixture = Fixture::in_bucket().await;
    abort_after_index(&fixture, SECOND).await;
    let mut held =
        fixture.backend().hold_before(Which::next(RequestKind::Get).key(format!(".cnt/{SECOND}/a.didx")));
    let retry = async {
        let get = held.arrived().await;
        let writer = fixture.begin(SECOND).await;
        upload_stream(&writer, "a.didx", &[b"three", b"four"]).await;
        get.release();
        writer
    };
    let (listed, _writer) = tokio::join!(fixture.store.index_files(), retry);
    let listed = listed.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(read(&fixture, &listed[0]).await.1, [Digest::of(b"three"), Digest::of(b"four")]);
}

/// Goal: an index in the bucket counts, with or without a local copy (R10).
/// Method: its session is aborted after it was listed, so that the copy goes and the object stays.
#[tokio::test]
async fn an_index_whose_session_is_aborted_during_a_mark_counts_all_the_same() {
    let fixture = Fixture::in_bucket().await;
    let writer = fixture.begin(FIRST).await;
    upload_stream(&writer, "a.didx", &[b"one"]).await;
    let listed = fixture.store.index_files().await.unwrap();
    writer.abort().await.unwrap();
    let (outcome, digests) = read(&fixture, &listed[0]).await;
    assert!(matches!(outcome, Ok(IndexRead::Read { references: 1, .. })), "{outcome:?}");
    assert_eq!(digests, [Digest::of(b"one")]);
    // When the object is gone too, there is nothing to count.
    assert_eq!(fixture.store.clear_unfinished(START, &|| false).await.unwrap().snapshots, 1);
    let again = fixture.store.index_files().await.unwrap();
    assert!(again.is_empty());
    assert!(matches!(read(&fixture, &listed[0]).await.0, Ok(IndexRead::Gone)));
}

/// Goal: a request of an earlier process that lands during a refresh does not keep the datastore closed (R19).
/// Method: an object goes between the listing and its fetch.
#[tokio::test]
async fn an_object_that_goes_during_a_refresh_does_not_stop_it() {
    let fixture = Fixture::in_bucket().await;
    let made = fixture.backup(FIRST, &[b"one"]).await;
    fixture.store.set_group_notes(&Namespace::root(), &made.group, "notes").await.unwrap();
    let key = ".cnt/host/x/notes";
    let mut held = fixture.backend().hold_before(Which::next(RequestKind::Get).key(key));
    let folder = temporary_folder();
    let parts = bucket_parts(&fixture.clock, AnyBackend::new(fixture.backend().clone()));
    let path = folder.path().join("b");
    let goes = async {
        let get = held.arrived().await;
        fixture.remove_object(&ObjectKey::new(key).unwrap()).await;
        get.release();
    };
    let (opened, ()) = tokio::join!(Datastore::open_bucket(&path, "bbb".parse().unwrap(), parts), goes);
    let store = opened.unwrap();
    let root = Namespace::root();
    assert_eq!(store.group_notes(&root, &made.group).await.unwrap(), "");
    assert!(store.manifest(&root, &snapshot(FIRST)).await.is_ok());
}

fn index_gets(fixture: &Fixture) -> usize {
    let log = fixture.backend().log();
    let is_one = |keys: &[String]| keys.iter().any(|key| key.starts_with(".cnt/") && key.contains(".didx"));
    log.iter().filter(|request| request.kind == RequestKind::Get && is_one(&request.keys)).count()
}

/// Files in the folder of kept copies: copies and records of them.
fn kept(fixture: &Fixture) -> (Vec<std::path::PathBuf>, Vec<std::path::PathBuf>) {
    let listed = std::fs::read_dir(fixture.path(".coldkeep/mark")).into_iter().flatten();
    let paths = listed.map(|entry| entry.unwrap().path());
    paths.partition(|path| path.extension().is_none())
}

/// Lists all indexes and reads them; returns how many index objects were fetched for it, and how many digests there are.
async fn mark(fixture: &Fixture) -> (usize, usize) {
    let before = index_gets(fixture);
    let digests = fixture.references().await.len();
    (index_gets(fixture) - before, digests)
}

/// Goal: where tags prove nothing, an index is fetched once and not by each run.
/// Method: hide the tags, mark twice, make a snapshot more, then forget one.
#[tokio::test]
async fn without_tags_an_unchanged_index_is_fetched_once() {
    let fixture = Fixture::in_bucket().await;
    let first = fixture.backup(FIRST, &[b"one"]).await;
    abort_after_index(&fixture, SECOND).await;
    fixture.backend().hide_tags();
    assert_eq!(mark(&fixture).await, (2, 2));
    assert_eq!(mark(&fixture).await, (0, 2), "the record vouches for the copy");
    let (copies, records) = kept(&fixture);
    assert_eq!((copies.len(), records.len()), (1, 2), "the file of the tree serves as the other copy");
    fixture.backup("host/x/2026-01-03T00:00:00Z", &[b"one", b"three"]).await;
    assert_eq!(mark(&fixture).await, (1, 3));
    assert_eq!(mark(&fixture).await, (0, 3));
    fixture.store.forget(&Namespace::root(), &first).await.unwrap();
    fixture.expire();
    assert_eq!(fixture.store.clear_unfinished(START, &|| false).await.unwrap().snapshots, 1);
    assert_eq!(mark(&fixture).await, (0, 2));
    let (copies, records) = kept(&fixture);
    assert_eq!((copies.len(), records.len()), (0, 1), "what is no longer listed is gone");
}

/// Goal: nothing but what was fetched for the listed object counts (I6).
/// Method: tear, change and swap the copy, its record and the file of the tree; replace the object.
#[tokio::test]
async fn without_tags_a_copy_in_doubt_is_fetched_again() {
    let fixture = Fixture::in_bucket().await;
    abort_after_index(&fixture, SECOND).await;
    fixture.backend().hide_tags();
    assert_eq!(mark(&fixture).await, (1, 1));
    let (copies, records) = kept(&fixture);
    let (copy, record) = (&copies[0], &records[0]);
    let whole = std::fs::read(copy).unwrap();
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    let torn = [&whole[..whole.len() - 10], &[0; 10]].concat();
    for bad in [changed, torn, whole[..whole.len() - 40].to_vec(), Vec::new()] {
        std::fs::write(copy, bad).unwrap();
        assert_eq!(mark(&fixture).await, (1, 1));
        assert_eq!(std::fs::read(copy).unwrap(), whole);
    }
    for bad in [&b""[..], &[0; 64], Digest::of(b"another").to_string().as_bytes()] {
        std::fs::write(record, bad).unwrap();
        assert_eq!(mark(&fixture).await, (1, 1));
    }
    assert_eq!(mark(&fixture).await, (0, 1));
    // A retry replaces the object by one of the same length.
    let writer = fixture.begin(SECOND).await;
    upload_stream(&writer, "a.didx", &[b"six"]).await;
    writer.abort().await.unwrap();
    let before = index_gets(&fixture);
    assert!(fixture.references().await.contains(&Digest::of(b"six")));
    assert_eq!(index_gets(&fixture) - before, 1);
    assert!(!copy.exists(), "the version before is no longer listed");
}

/// Goal: a listing that ends too early, and does not say so, condemns nothing (I6, hazard H15).
/// Method: it is cut after each of its objects; whole snapshots are on disk.
#[tokio::test]
async fn h15_a_listing_that_is_cut_in_silence_is_noticed_by_what_the_tree_has() {
    let fixture = Fixture::in_bucket().await;
    fixture.backup(FIRST, &[b"one"]).await;
    fixture.backup(SECOND, &[b"two"]).await;
    let objects = fixture.keys(".cnt/").await.len();
    let mut noticed = 0;
    for count in 0..objects {
        fixture.backend().cut_listings(Which::next(RequestKind::List), count);
        match fixture.store.index_files().await {
            Ok(found) => assert_eq!(found.len(), 2, "{count}"),
            Err(ReferenceError::Unlisted { .. }) => noticed += 1,
            Err(error) => panic!("{count}: {error}"),
        }
    }
    assert!(noticed >= 3, "each snapshot was cut away: {noticed}");
    assert_eq!(fixture.store.index_files().await.unwrap().len(), 2);
}

/// Goal: an index that goes while its snapshot stays stops the run (I6).
/// Method: somebody deletes the object after it was listed and before it is fetched.
#[tokio::test]
async fn an_index_that_goes_alone_during_a_mark_stops_it() {
    let fixture = Fixture::in_bucket().await;
    fixture.backup(FIRST, &[b"one"]).await;
    let key = format!(".cnt/{FIRST}/stream.bin.didx");
    std::fs::write(fixture.path(FIRST).join("stream.bin.didx"), "not what the bucket has").unwrap();
    let mut held = fixture.backend().hold_before(Which::next(RequestKind::Get).key(&key));
    let lose = async {
        let get = held.arrived().await;
        fixture.remove_object(&ObjectKey::new(key.clone()).unwrap()).await;
        get.release();
    };
    let (listed, ()) = tokio::join!(fixture.store.index_files(), lose);
    assert!(matches!(listed, Err(ReferenceError::Vanished { .. })), "{listed:?}");
}

/// Goal: what can be restored from here keeps its chunks, although the bucket has lost an index; the report names it.
#[tokio::test]
async fn an_index_that_only_the_disk_has_counts_while_its_snapshot_stands() {
    let fixture = Fixture::in_bucket().await;
    fixture.backup(FIRST, &[b"one"]).await;
    let key = |name: &str| ObjectKey::new(format!(".cnt/{FIRST}/{name}")).unwrap();
    fixture.remove_object(&key("stream.bin.didx")).await;
    let found = fixture.store.index_files().await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(*found[0].place(), IndexPlace::Unexpected);
    assert!(fixture.references().await.contains(&Digest::of(b"one")));
    // Without a manifest there it is what a removal has not come to yet.
    fixture.remove_object(&key("index.json.blob")).await;
    assert!(fixture.store.index_files().await.unwrap().is_empty());
}
