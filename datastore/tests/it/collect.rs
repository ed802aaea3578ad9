//! What the collector is told: every index, or an error (I6, hazard H15).

use std::ops::ControlFlow;

use coldkeep_chunk_store::Digest;
use coldkeep_datastore::{IndexPlace, IndexRead, Namespace, ReferenceError};

use crate::support::{Fixture, upload_stream};

const FIRST: &str = "host/x/2026-01-01T00:00:00Z";

#[tokio::test]
async fn indexes_count_with_and_without_manifest_and_in_unexpected_places() {
    let fixture = Fixture::new().await;
    fixture.backup(FIRST, &[b"one"]).await;
    let writer = fixture.begin("host/x/2026-01-02T00:00:00Z").await;
    upload_stream(&writer, "a.didx", &[b"two"]).await;
    let open = writer.create_dynamic(&"b.didx".parse().unwrap()).await.unwrap();
    assert_eq!(open, 2);
    let stray = std::fs::read(fixture.path(FIRST).join("stream.bin.didx")).unwrap();
    std::fs::create_dir(fixture.path("attic")).unwrap();
    std::fs::write(fixture.path("attic/old.didx"), &stray).unwrap();
    std::fs::create_dir(fixture.path(".hidden")).unwrap();
    std::fs::write(fixture.path(".hidden/old.didx"), &stray).unwrap();
    let indexes = fixture.store.index_files().await.unwrap();
    let places: Vec<_> =
        indexes.iter().map(|index| matches!(index.place(), IndexPlace::Unexpected)).collect();
    assert_eq!(places, [true, false, false], "{indexes:?}");
    assert!(fixture.references().await.contains(&Digest::of(b"two")));
}

/// Goal: what has the name of an index and leads nowhere is told by its name, instead of one collection after the other being
/// told that indexes change.
#[tokio::test]
async fn a_link_that_is_called_like_an_index_and_leads_nowhere_is_an_error() {
    let fixture = Fixture::new().await;
    fixture.backup(FIRST, &[b"one"]).await;
    let index = fixture.path(FIRST).join("stream.bin.didx");
    std::os::unix::fs::symlink(&index, fixture.path("good.didx")).unwrap();
    assert_eq!(fixture.store.index_files().await.unwrap().len(), 2);
    std::os::unix::fs::symlink("/nowhere/at/all", fixture.path("bad.didx")).unwrap();
    let error = fixture.store.index_files().await.unwrap_err().to_string();
    assert!(error.contains("bad.didx"), "{error}");
}

#[tokio::test]
async fn an_index_that_vanished_is_an_error_unless_its_snapshot_is_gone() {
    let fixture = Fixture::new().await;
    let made = fixture.backup(FIRST, &[b"one"]).await;
    let indexes = fixture.store.index_files().await.unwrap();
    let read = || fixture.store.read_index(&indexes[0], |_: &[Digest]| ControlFlow::Continue(()));
    assert_eq!(read().await.unwrap(), IndexRead::Read { references: 1, data_bytes: 3 });
    let path = indexes[0].path().to_owned();
    std::fs::rename(&path, path.with_extension("away")).unwrap();
    assert!(matches!(read().await, Err(ReferenceError::Vanished { .. })));
    std::fs::rename(path.with_extension("away"), &path).unwrap();
    fixture.store.forget(&Namespace::root(), &made).await.unwrap();
    assert_eq!(read().await.unwrap(), IndexRead::Gone);
}

/// A client whose backup broke off tries again with the same time: its first index is gone, its folder is there.
#[tokio::test]
async fn an_index_that_vanished_from_an_unfinished_snapshot_is_gone() {
    let fixture = Fixture::new().await;
    let writer = fixture.begin(FIRST).await;
    upload_stream(&writer, "a.didx", &[b"one"]).await;
    let indexes = fixture.store.index_files().await.unwrap();
    writer.abort().await.unwrap();
    drop(writer);
    let _again = fixture.begin(FIRST).await;
    let read = fixture.store.read_index(&indexes[0], |_: &[Digest]| ControlFlow::Continue(())).await;
    assert_eq!(read.unwrap(), IndexRead::Gone);
}

/// Goal: a server that is not root collects in a datastore at the root of a filesystem.
/// Method: a `lost+found` that nobody may list; root may all the same, so the test says something for other users alone.
#[tokio::test]
async fn a_lost_and_found_that_only_root_may_list_hides_nothing() {
    use std::os::unix::fs::PermissionsExt as _;
    let fixture = Fixture::new().await;
    fixture.backup(FIRST, &[b"one"]).await;
    let folder = fixture.path("lost+found");
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o000)).unwrap();
    let listed = fixture.store.index_files().await;
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(listed.unwrap().len(), 1);
}

#[tokio::test]
async fn whatever_hides_references_is_an_error() {
    let fixture = Fixture::new().await;
    fixture.backup(FIRST, &[b"one"]).await;
    let index = fixture.store.index_files().await.unwrap().remove(0);
    let whole = std::fs::read(index.path()).unwrap();
    std::fs::write(index.path(), &whole[..4100]).unwrap();
    let cut = fixture.store.read_index(&index, |_: &[Digest]| ControlFlow::Continue(())).await;
    assert!(matches!(cut, Err(ReferenceError::Index { .. })), "{cut:?}");
    std::fs::write(index.path(), whole).unwrap();
    let elsewhere = fixture.folder.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, fixture.path("vm")).unwrap();
    let linked = fixture.store.index_files().await;
    assert!(matches!(linked, Err(ReferenceError::Tree(_))), "a folder behind a link is not seen: {linked:?}");
}
