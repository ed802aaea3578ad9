//! A session that begins while a collection, a removal or a change has what it needs is late, not refused.

use std::pin::pin;
use std::time::Duration;

use coldkeep_chunk_store::testing::{HeldRequest, ManualClock, RequestKind, Which};
use coldkeep_datastore::{Namespace, SnapshotName, TreeError};

use crate::support::{Fixture, START, request, snapshot, upload_manifest, upload_stream};

const FIRST: &str = "host/x/2026-01-01T00:00:00Z";
const SECOND: &str = "host/x/2026-01-02T00:00:00Z";
const THIRD: &str = "host/x/2026-01-03T00:00:00Z";

/// A datastore whose clock stands, so that who waits is seen to wait.
async fn fixture() -> Fixture {
    Fixture::in_bucket_with(ManualClock::at(START)).await
}

/// Begins a backup while a request is held, and lets that go when the backup waits; returns what it builds on.
async fn begin_late(fixture: &Fixture, text: &str, held: HeldRequest) -> Option<SnapshotName> {
    let mut begin = pin!(fixture.store.begin_backup(request(text)));
    tokio::select! {
        begun = &mut begin => panic!("it does not wait: {begun:?}"),
        () = fixture.clock.sleeping(1) => held.release(),
    }
    let writer = begin.await.unwrap();
    let base = writer.previous_time().map(|time| SnapshotName { time, ..snapshot(text) });
    writer.abort().await.unwrap();
    base
}

/// Goal: no backup is refused for a collection's sake.
/// Method: the collection looks at a snapshot that was unfinished in its listing and is finished by now, and is held there.
#[tokio::test]
async fn a_backup_waits_for_a_collection_that_looks_at_what_it_builds_on() {
    let fixture = fixture().await;
    let store = &fixture.store;
    let writer = fixture.begin(FIRST).await;
    upload_stream(&writer, "stream.bin.didx", &[b"one"]).await;
    upload_manifest(&writer, &["stream.bin.didx"], store.folder()).await;
    let manifest = format!(".cnt/{FIRST}/index.json.blob");
    let mut put = fixture.backend().hold_before(Which::next(RequestKind::Put).key(&manifest));
    let list = async {
        let put = put.arrived().await;
        let listing = store.list_content().await.unwrap();
        put.release();
        listing
    };
    let (finished, listing) = tokio::join!(writer.finish(), list);
    finished.unwrap();
    drop(writer);

    let mut look =
        fixture.backend().hold_before(Which::next(RequestKind::List).key(format!(".cnt/{FIRST}/")));
    let read_and_begin = async {
        let look = look.arrived().await;
        let reads = async {
            let root = Namespace::root();
            let first = snapshot(FIRST);
            store.open_snapshot(&root, &first).await.map(drop)?;
            store.manifest(&root, &first).await.map(drop)?;
            store.set_notes(&root, &first, "notes").await
        };
        let (base, read) = tokio::join!(begin_late(&fixture, SECOND, look), reads);
        read.unwrap();
        base
    };
    let (cleared, base) = tokio::join!(store.clear_unfinished_of(listing, START, &|| false), read_and_begin);
    assert!(cleared.errors.is_empty() && cleared.snapshots == 0, "{cleared:?}");
    assert_eq!(base, Some(snapshot(FIRST)));
}

/// Goal: a backup that begins while its base is removed builds on the one before.
/// Method: the removal is held at the manifest's delete.
#[tokio::test]
async fn a_backup_waits_for_the_removal_of_what_it_would_build_on() {
    let fixture = fixture().await;
    fixture.backup(FIRST, &[b"one"]).await;
    let second = fixture.backup(SECOND, &[b"one"]).await;
    let which = Which::next(RequestKind::Delete).about(|key| key.ends_with("index.json.blob"));
    let mut held = fixture.backend().hold_before(which);
    let begin = async {
        let delete = held.arrived().await;
        begin_late(&fixture, THIRD, delete).await
    };
    let root = Namespace::root();
    let (removed, base) = tokio::join!(fixture.store.forget(&root, &second), begin);
    removed.unwrap();
    assert_eq!(base, Some(snapshot(FIRST)));
}

/// Goal: a backup that begins while its group goes makes the group anew.
/// Method: the removal of the last snapshot is held at the group's owner.
#[tokio::test]
async fn a_backup_waits_for_the_removal_of_its_group() {
    let fixture = fixture().await;
    let first = fixture.backup(FIRST, &[b"one"]).await;
    let mut held = fixture.backend().hold_before(Which::next(RequestKind::Delete).key(".cnt/host/x/owner"));
    let begin = async {
        let delete = held.arrived().await;
        begin_late(&fixture, SECOND, delete).await
    };
    let root = Namespace::root();
    let (removed, base) = tokio::join!(fixture.store.forget(&root, &first), begin);
    removed.unwrap();
    assert_eq!(base, None);
}

/// Goal: nobody waits for long: a bucket that does not answer is told of.
/// Method: half a minute passes while the removal is held.
#[tokio::test]
async fn the_wait_for_a_removal_has_an_end() {
    let fixture = fixture().await;
    let first = fixture.backup(FIRST, &[b"one"]).await;
    let which = Which::next(RequestKind::Delete).about(|key| key.ends_with("index.json.blob"));
    let mut held = fixture.backend().hold_before(which);
    let root = Namespace::root();
    let begin = async {
        let delete = held.arrived().await;
        let begin = fixture.store.begin_backup(request(SECOND));
        let read = fixture.store.open_snapshot(&root, &first);
        let mut both = pin!(async { tokio::join!(begin, read) });
        tokio::select! {
            both = &mut both => panic!("they do not wait: {both:?}"),
            () = fixture.clock.sleeping(2) => fixture.clock.advance(Duration::from_secs(30)),
        }
        let (begun, read) = both.await;
        assert!(begun.unwrap_err().is_in_use());
        assert!(matches!(read.unwrap_err(), TreeError::SnapshotInUse { .. }));
        delete.release();
    };
    let (removed, ()) = tokio::join!(fixture.store.forget(&root, &first), begin);
    removed.unwrap();
    assert!(fixture.keys(".cnt/").await.is_empty(), "whoever gave up left nothing");
}
