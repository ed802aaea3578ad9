//! Opening a session: every check and what a refusal leaves behind.

use coldkeep_datastore::{BackupRequest, BeginError, Namespace, TreeError};

use crate::support::{request, snapshot, upload_manifest, upload_stream};

#[tokio::test]
async fn an_unknown_namespace_is_not_found() {
    let fixture = super::fixture().await;
    let request = BackupRequest { ns: "a/b".parse().unwrap(), ..request("host/x/2026-01-01T00:00:00Z") };
    let error = fixture.store.begin_backup(request).await.unwrap_err();
    assert!(error.is_not_found() && error.to_string().contains("a/b"), "{error}");
}

#[tokio::test]
async fn one_session_per_group_at_a_time() {
    let fixture = super::fixture().await;
    let first = fixture.begin("host/x/2026-01-01T00:00:00Z").await;
    let error = fixture.store.begin_backup(request("host/x/2026-01-02T00:00:00Z")).await.unwrap_err();
    assert!(error.is_in_use() && !error.is_not_found(), "{error}");
    let _other_group = fixture.begin("host/y/2026-01-01T00:00:00Z").await;
    first.abort().await.unwrap();
    fixture.begin("host/x/2026-01-02T00:00:00Z").await.abort().await.unwrap();
}

#[tokio::test]
async fn the_first_caller_owns_the_group() {
    let fixture = super::fixture().await;
    fixture.backup("host/x/2026-01-01T00:00:00Z", &[b"one"]).await;
    let text = "host/x/2026-01-02T00:00:00Z";
    for stranger in ["al@pbs", "root@pam!token"] {
        let request = BackupRequest { caller: stranger.parse().unwrap(), ..request(text) };
        let error = fixture.store.begin_backup(request).await.unwrap_err();
        assert!(matches!(error, BeginError::NotOwner { .. }), "{stranger}: {error}");
    }
    let group = snapshot(text).group;
    fixture.store.change_owner(&Namespace::root(), &group, &"root@pam!token".parse().unwrap()).await.unwrap();
    fixture.begin(text).await.abort().await.unwrap();
    assert_eq!(std::fs::read_to_string(fixture.path("host/x/owner")).unwrap(), "root@pam!token\n");
}

#[tokio::test]
async fn the_time_must_be_after_the_last_finished_backup() {
    let fixture = super::fixture().await;
    fixture.backup("host/x/2026-01-02T00:00:00Z", &[b"one"]).await;
    for text in ["host/x/2026-01-02T00:00:00Z", "host/x/2026-01-01T00:00:00Z"] {
        let error = fixture.store.begin_backup(request(text)).await.unwrap_err();
        assert!(matches!(error, BeginError::NotNewer { .. }), "{error}");
    }
    // One that did not finish does not count.
    fixture.begin("host/x/2026-01-09T00:00:00Z").await.abort().await.unwrap();
    fixture.begin("host/x/2026-01-03T00:00:00Z").await.abort().await.unwrap();
}

#[tokio::test]
async fn a_folder_in_the_way_is_not_touched() {
    let fixture = super::fixture().await;
    fixture.backup("host/x/2026-01-01T00:00:00Z", &[b"one"]).await;
    let path = fixture.path("host/x/2026-01-02T00:00:00Z");
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("keep"), "me").unwrap();
    let error = fixture.store.begin_backup(request("host/x/2026-01-02T00:00:00Z")).await.unwrap_err();
    assert!(matches!(error, BeginError::Exists { .. }), "{error}");
    assert!(path.join("keep").exists());
}

#[tokio::test]
async fn the_benchmark_flag_and_the_benchmark_group_belong_together() {
    let fixture = super::fixture().await;
    let text = "host/benchmark/2026-01-01T00:00:00Z";
    let without = fixture.store.begin_backup(request(text)).await.unwrap_err();
    assert!(matches!(without, BeginError::Benchmark { .. }));
    let request = |text| BackupRequest { benchmark: true, ..request(text) };
    let elsewhere = fixture.store.begin_backup(request("host/x/2026-01-01T00:00:00Z")).await.unwrap_err();
    assert!(matches!(elsewhere, BeginError::Benchmark { .. }));
    let writer = fixture.store.begin_backup(request(text)).await.unwrap();
    upload_stream(&writer, "a.didx", &[b"one"]).await;
    upload_manifest(&writer, &["a.didx"], fixture.store.folder()).await;
    assert!(writer.finish().await.is_err());
    writer.abort().await.unwrap();
    assert!(!fixture.path("host/benchmark").exists());
}

#[tokio::test]
async fn a_group_folder_that_a_crash_left_without_an_owner_is_taken_over() {
    let fixture = super::fixture().await;
    std::fs::create_dir_all(fixture.path("host/x")).unwrap();
    let writer = fixture.begin("host/x/2026-01-01T00:00:00Z").await;
    assert_eq!(std::fs::read_to_string(fixture.path("host/x/owner")).unwrap(), "root@pam\n");
    writer.abort().await.unwrap();
    assert!(!fixture.path("host/x").exists());
}

#[tokio::test]
async fn a_session_locks_its_snapshot_and_the_one_it_builds_on() {
    let fixture = super::fixture().await;
    let root = Namespace::root();
    let base = fixture.backup("host/x/2026-01-01T00:00:00Z", &[b"one"]).await;
    let older = fixture.backup("host/x/2026-01-02T00:00:00Z", &[b"one"]).await;
    let writer = fixture.begin("host/x/2026-01-03T00:00:00Z").await;
    assert_eq!(writer.previous_time(), Some(older.time));
    for held in [&older, writer.snapshot()] {
        let error = fixture.store.forget(&root, held).await.unwrap_err();
        assert!(matches!(error, TreeError::SnapshotInUse { .. }), "{held}: {error}");
    }
    assert!(fixture.store.open_snapshot(&root, writer.snapshot()).await.is_err());
    assert!(fixture.store.open_snapshot(&root, &older).await.is_ok(), "readers share the base");
    assert!(fixture.store.forget_group(&root, &base.group, true).await.unwrap_err().is_in_use());
    fixture.store.forget(&root, &base).await.unwrap();
    writer.abort().await.unwrap();
    fixture.store.forget(&root, &older).await.unwrap();
    assert!(!fixture.path("host/x").exists(), "the group goes with its last snapshot");
}
