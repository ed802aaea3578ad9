//! A datastore that a stock server could have written: the mini datastore of the published vectors.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use coldkeep_chunk_store::StoreTime;
use coldkeep_chunk_store::testing::ManualClock;
use coldkeep_datastore::{Datastore, Namespace, VerifyControl, VerifyOutcome, VerifyTask};

use crate::support::{Fixture, options, snapshot, temporary_folder};

const MINI: &str = "host/demo/2023-11-14T22:13:20Z";

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::write(target, fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

async fn mini() -> Fixture {
    let folder = temporary_folder();
    let path = folder.path().join("store");
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/vectors/mini-datastore"), &path);
    let clock = Arc::new(ManualClock::at(StoreTime::from_unix(1_790_000_000, 0)));
    let store = Datastore::open(&path, "default".parse().unwrap(), options(&clock)).await.unwrap();
    Fixture { folder, clock, store, backend: None }
}

#[tokio::test]
async fn the_mini_datastore_lists_as_published() {
    let fixture = mini().await;
    let root = Namespace::root();
    let files = serde_json::to_value(fixture.store.files(&root, &snapshot(MINI)).await.unwrap()).unwrap();
    let published: serde_json::Value =
        serde_json::from_str(include_str!("../../../docs/vectors/json/files.json")).unwrap();
    assert_eq!(files, published["data"]);
    let groups = fixture.store.groups(&root).await.unwrap();
    assert_eq!(groups[0].last_backup, 1_700_000_000);
    assert_eq!(groups[0].owner, Some("root@pam".parse().unwrap()));
}

#[tokio::test]
async fn the_mini_datastore_verifies_and_restores() {
    let fixture = mini().await;
    let mini = snapshot(MINI);
    let mut task = VerifyTask::new("UPID:x:".into(), Arc::new(VerifyControl::default()));
    let outcome = fixture.store.verify_snapshot(&Namespace::root(), &mini, &mut task).await.unwrap();
    assert!(matches!(outcome, VerifyOutcome::Whole), "{outcome:?}");
    let mut image = vec![0; 4 << 20];
    image.extend(b"abc");
    assert_eq!(fixture.restore(&mini, "disk.img.fidx").await, image);
    assert_eq!(fixture.restore(&mini, "stream.bin.didx").await, b"abchello");
}

#[tokio::test]
async fn a_backup_builds_on_what_a_stock_server_wrote() {
    let fixture = mini().await;
    assert_eq!(fixture.collect().await, 0, "all its chunks are referenced");
    let made = fixture.backup("host/demo/2026-01-01T00:00:00Z", &[b"abc", b"new"]).await;
    assert_eq!(fixture.restore(&made, "stream.bin.didx").await, b"abcnew");
}
