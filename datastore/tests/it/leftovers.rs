//! What a crash leaves in the folder of a datastore on a filesystem, and what the next open does about it.

use std::time::{Duration, UNIX_EPOCH};

use coldkeep_chunk_store::StoreTime;
use coldkeep_datastore::Namespace;

use crate::support::{Fixture, START, snapshot, upload_stream};

const FIRST: &str = "host/x/2026-01-01T00:00:00Z";
const SECOND: &str = "host/x/2026-01-02T00:00:00Z";

#[tokio::test]
async fn opening_clears_what_crashed_sessions_and_removals_left_and_nothing_else() {
    let fixture = Fixture::new().await;
    let made = fixture.backup(FIRST, &[b"one"]).await;
    let copy = |to: &str| {
        std::fs::create_dir_all(fixture.path(to)).unwrap();
        std::fs::copy(fixture.path(FIRST).join("stream.bin.didx"), fixture.path(to).join("stream.bin.didx"))
            .unwrap();
    };
    copy(SECOND);
    copy("host/x/.removing-2026-01-05T00:00:00Z");
    // Kept: protected, not called like a snapshot, in a group without an owner.
    copy("host/x/2026-01-03T00:00:00Z");
    std::fs::write(fixture.path("host/x/2026-01-03T00:00:00Z/.protected"), "").unwrap();
    copy("host/x/yesterday");
    copy("host/nobody/2026-01-03T00:00:00Z");
    // A group that holds nothing but a crashed session goes with it.
    copy("host/new/2026-01-03T00:00:00Z");
    std::fs::write(fixture.path("host/new/owner"), "root@pam\n").unwrap();
    let fixture = fixture.reopen().await;
    for gone in [SECOND, "host/x/.removing-2026-01-05T00:00:00Z", "host/new"] {
        assert!(!fixture.path(gone).exists(), "{gone}");
    }
    for kept in ["host/x/2026-01-03T00:00:00Z", "host/x/yesterday", "host/nobody/2026-01-03T00:00:00Z"] {
        assert!(fixture.path(kept).join("stream.bin.didx").exists(), "{kept}");
    }
    assert_eq!(fixture.restore(&made, "stream.bin.didx").await, b"one");
}

/// Sets when a folder was last changed.
fn change_at(folder: &std::path::Path, time: StoreTime) {
    let time = UNIX_EPOCH + Duration::from_secs(time.unix_seconds() as u64);
    std::fs::File::open(folder).unwrap().set_modified(time).unwrap();
}

// Goal: a collection takes what ended sessions and removals left, and nothing that somebody holds or may be copying (I5).
// Method: beside a session that goes on and a snapshot that is being read, such folders as a crash leaves, one of them young.
#[tokio::test]
async fn a_collection_clears_what_nobody_holds() {
    let fixture = Fixture::new().await;
    let made = fixture.backup(FIRST, &[b"one"]).await;
    let running = fixture.begin(SECOND).await;
    upload_stream(&running, "a.didx", &[b"two"]).await;
    let (left, young) = ("host/y/2026-01-02T00:00:00Z", "host/z/2026-01-02T00:00:00Z");
    // From when the date was wrong (H30).
    let ahead = "host/w/2026-01-02T00:00:00Z";
    let (removing, removed) =
        ("host/x/.removing-2026-01-05T00:00:00Z", "host/v/.removing-2026-01-05T00:00:00Z");
    for folder in [left, young, ahead, removing, removed] {
        std::fs::create_dir_all(fixture.path(folder)).unwrap();
        std::fs::copy(fixture.path(SECOND).join("a.didx"), fixture.path(folder).join("a.didx")).unwrap();
        std::fs::write(fixture.path(folder).with_file_name("owner"), "root@pam\n").unwrap();
        change_at(&fixture.path(folder), START.minus(Duration::from_secs(1)));
    }
    for folder in [young, SECOND] {
        change_at(&fixture.path(folder), START);
    }
    change_at(&fixture.path(ahead), START.plus(Duration::from_hours(10_000)));
    let hidden = fixture.path(removing);

    let foreseen = fixture.store.unfinished(START).await.unwrap();
    let both = [ahead, left].map(|path| (Namespace::root(), snapshot(path)));
    assert_eq!(foreseen.clearable.into_iter().collect::<Vec<_>>(), both);
    assert_eq!((foreseen.in_use, foreseen.errors.len()), (2, 0));
    let cancelled = fixture.store.clear_unfinished(START, &|| true).await.unwrap();
    assert_eq!(cancelled.snapshots, 0);
    assert!(fixture.path(left).exists() && hidden.exists(), "it only looked");

    let cleared = fixture.store.clear_unfinished(START, &|| false).await.unwrap();
    assert_eq!((cleared.snapshots, cleared.in_use, cleared.errors.len()), (2, 2, 0), "{cleared:?}");
    for gone in ["host/y", "host/w", removing, "host/v"] {
        assert!(!fixture.path(gone).exists(), "{gone}");
    }
    for kept in [SECOND, young] {
        assert!(fixture.path(kept).join("a.didx").exists(), "{kept}");
    }
    assert_eq!(fixture.restore(&made, "stream.bin.didx").await, b"one");
}

#[tokio::test]
async fn a_removal_that_goes_on_is_left_alone() {
    let fixture = Fixture::new().await;
    let made = fixture.backup(FIRST, &[b"one"]).await;
    let hidden = fixture.path("host/x/.removing-2026-01-01T00:00:00Z");
    std::fs::create_dir_all(&hidden).unwrap();
    // Whoever holds the snapshot may be removing it.
    let reader = fixture.store.open_snapshot(&Namespace::root(), &made).await.unwrap();
    let cleared = fixture.store.clear_unfinished(START, &|| false).await.unwrap();
    assert_eq!((cleared.snapshots, cleared.in_use, cleared.errors.len()), (0, 0, 0), "{cleared:?}");
    assert!(hidden.exists());
    drop(reader);
    fixture.store.clear_unfinished(START, &|| false).await.unwrap();
    assert!(!hidden.exists());
    assert_eq!(fixture.restore(&made, "stream.bin.didx").await, b"one");
}

// Goal: what one place refuses keeps neither the rest from going nor the dry run from saying so.
#[tokio::test]
async fn a_dry_run_leaves_out_what_goes_though_something_cannot_be_looked_at() {
    let fixture = Fixture::new().await;
    let left = "host/y/2026-01-02T00:00:00Z";
    std::fs::create_dir_all(fixture.path(left)).unwrap();
    std::fs::write(fixture.path("host/y/owner"), "root@pam\n").unwrap();
    change_at(&fixture.path(left), START.minus(Duration::from_secs(1)));
    std::fs::create_dir_all(fixture.path("ns/a")).unwrap();
    std::fs::write(fixture.path("ns/a/vm"), "").unwrap();
    let foreseen = fixture.store.unfinished(START).await.unwrap();
    assert_eq!((foreseen.clearable.len(), foreseen.errors.len()), (1, 1), "{foreseen:?}");
    let cleared = fixture.store.clear_unfinished(START, &|| false).await.unwrap();
    assert_eq!((cleared.snapshots, cleared.errors.len()), (1, 1), "{cleared:?}");
}

#[tokio::test]
async fn what_cannot_be_cleared_keeps_neither_the_rest_nor_the_store() {
    let fixture = Fixture::new().await;
    let made = fixture.backup(FIRST, &[b"one"]).await;
    std::fs::create_dir_all(fixture.path("ns/a/ns/b")).unwrap();
    // Files where folders should be: a group's type, and the place to which an unfinished snapshot is moved.
    std::fs::write(fixture.path("ns/a/vm"), "").unwrap();
    std::fs::write(fixture.path("host/x/.removing-2026-01-02T00:00:00Z"), "").unwrap();
    for unfinished in [SECOND, "host/x/2026-01-03T00:00:00Z", "ns/a/ns/b/ct/1/2026-01-03T00:00:00Z"] {
        std::fs::create_dir_all(fixture.path(unfinished)).unwrap();
    }
    std::fs::write(fixture.path("ns/a/ns/b/ct/1/owner"), "root@pam\n").unwrap();
    let fixture = fixture.reopen().await;
    let errors = fixture.store.leftover_errors();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(fixture.path(SECOND).exists());
    assert!(!fixture.path("host/x/2026-01-03T00:00:00Z").exists());
    assert!(!fixture.path("ns/a/ns/b/ct/1").exists());
    assert_eq!(fixture.restore(&made, "stream.bin.didx").await, b"one");
}
