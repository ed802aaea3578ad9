//! What a crash leaves in the folder of a datastore on a filesystem, and what the next open does about it.

use coldkeep_datastore::Namespace;

use crate::support::{Fixture, snapshot, upload_stream};

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

#[tokio::test]
async fn a_collection_clears_what_no_session_holds() {
    let fixture = Fixture::new().await;
    let made = fixture.backup(FIRST, &[b"one"]).await;
    let running = fixture.begin(SECOND).await;
    upload_stream(&running, "a.didx", &[b"two"]).await;
    let left = "host/y/2026-01-02T00:00:00Z";
    let removing = "host/x/.removing-2026-01-05T00:00:00Z";
    for folder in [left, removing] {
        std::fs::create_dir_all(fixture.path(folder)).unwrap();
        std::fs::copy(fixture.path(SECOND).join("a.didx"), fixture.path(folder).join("a.didx")).unwrap();
    }
    std::fs::write(fixture.path("host/y/owner"), "root@pam\n").unwrap();

    let (foreseen, in_use) = fixture.store.unfinished().await.unwrap();
    assert_eq!(foreseen.into_iter().collect::<Vec<_>>(), [(Namespace::root(), snapshot(left))]);
    assert_eq!(in_use, 1);
    assert!(fixture.path(left).exists() && fixture.path(removing).exists(), "it only looked");

    let cancelled = fixture.store.clear_unfinished(|| true).await.unwrap();
    assert_eq!((cancelled.snapshots, fixture.path(left).exists()), (0, true));

    let cleared = fixture.store.clear_unfinished(|| false).await.unwrap();
    assert_eq!((cleared.snapshots, cleared.in_use, cleared.errors.len()), (1, 1, 0), "{cleared:?}");
    assert!(!fixture.path("host/y").exists() && !fixture.path(removing).exists());
    assert!(fixture.path(SECOND).join("a.didx").exists(), "a session that runs is left alone");
    assert_eq!(fixture.restore(&made, "stream.bin.didx").await, b"one");
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
