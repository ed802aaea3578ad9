//! The sample bodies of the specification (`docs/vectors/json`).

use serde::de::DeserializeOwned;

use super::*;
use crate::error::Call;

fn vector(name: &str) -> Vec<u8> {
    let path = format!("{}/../docs/vectors/json/{name}.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn data<T: DeserializeOwned>(name: &str) -> T {
    envelope::data(&Call::new(http::Method::GET, "/x"), &vector(name)).unwrap()
}

#[test]
fn snapshots_decode_with_and_without_a_manifest() {
    let list: Vec<SnapshotItem> = data("snapshots");
    assert_eq!(list.len(), 2);
    let finished = &list[0];
    assert!(finished.is_finished());
    assert_eq!(finished.name().to_string(), "host/demo/2023-11-14T22:13:20Z");
    assert_eq!(finished.size, Some(4_194_767));
    assert_eq!(finished.comment.as_deref(), Some("first line of notes"));
    assert_eq!(finished.verification.as_ref().unwrap().state, "ok");
    assert_eq!(finished.files[0].crypt_mode.as_deref(), Some("none"));
    let running = &list[1];
    assert!(!running.is_finished());
    assert_eq!((running.size, running.files[0].size), (None, None));
}

#[test]
fn groups_and_files_decode() {
    let groups: Vec<GroupItem> = data("groups");
    assert_eq!(groups[0].group.to_string(), "host/demo");
    assert_eq!((groups[0].last_backup, groups[0].backup_count), (1_700_000_000, 2));
    assert_eq!(groups[0].owner.as_ref().unwrap().to_string(), "root@pam");
    let files: Vec<FileItem> = data("files");
    assert_eq!((files[1].filename.as_str(), files[1].size), ("stream.bin.didx", Some(8)));
}

#[test]
fn listed_items_keep_the_protocol_names_when_written() {
    let groups: Vec<GroupItem> = data("groups");
    let text = serde_json::to_value(&groups[0]).unwrap();
    assert_eq!(text["backup-type"], "host");
    assert_eq!(text["backup-count"], 2);
}

#[test]
fn status_decodes_with_and_without_details() {
    let short: StoreStatus = data("status");
    assert_eq!((short.total, short.used, short.counts), (1_099_511_627_776, 4_294_967_296, None));
    let long: StoreStatus = data("status-verbose");
    let counts = long.counts.unwrap();
    assert_eq!((counts.ct, counts.host), (None, Some(TypeCount { groups: 1, snapshots: 1 })));
    assert_eq!(long.gc_status.unwrap(), GcStatus::default());
}

#[test]
fn namespaces_prune_and_removals_decode() {
    let namespaces: Vec<NamespaceItem> = data("namespaces");
    assert_eq!(namespaces.iter().map(|item| item.ns.depth()).collect::<Vec<_>>(), [0, 1, 2]);
    let prune: Vec<PruneItem> = data("prune");
    assert_eq!(prune.iter().map(|item| item.keep).collect::<Vec<_>>(), [false, true]);
    assert_eq!(prune[0].reason, None);
    let ours = r#"{"backup-type":"host","backup-id":"demo","backup-time":1,"keep":false,"protected":false,"reason":"keep-daily"}"#;
    let ours: PruneItem = serde_json::from_str(ours).unwrap();
    assert_eq!(ours.reason.as_deref(), Some("keep-daily"));
    let stats: Option<DeleteStats> = data("delete-stats");
    assert_eq!(
        stats.unwrap(),
        DeleteStats { removed_groups: 1, protected_snapshots: 0, removed_snapshots: 2 }
    );
    let none: Option<DeleteStats> = data("null-response");
    assert_eq!(none, None);
}

#[test]
fn datastores_and_version_decode() {
    let stores: Vec<DatastoreItem> = data("datastores");
    assert_eq!(stores[0].store.to_string(), "store1");
    assert_eq!(stores[0].comment, None);
    let version: Version = data("version");
    assert_eq!((version.version.as_str(), version.release.as_str()), ("4.2", "3"));
}

#[test]
fn tasks_decode() {
    let list: Vec<TaskItem> = data("task-list");
    assert_eq!(list[0].status.as_deref(), Some("OK"));
    let running: TaskStatus = data("task-status-running");
    assert_eq!((running.status, running.is_success()), (TaskState::Running, false));
    let stopped: TaskStatus = data("task-status-stopped");
    assert_eq!((stopped.status, stopped.is_success()), (TaskState::Stopped, true));
    let log: TaskLog = envelope::whole(&Call::new(http::Method::GET, "/x"), &vector("task-log")).unwrap();
    assert_eq!((log.total, log.active), (2, Some(false)));
    assert_eq!(log.lines[1].message(), "TASK OK");
}

#[test]
fn warnings_count_as_success_and_errors_do_not() {
    let mut status: TaskStatus = data("task-status-stopped");
    status.exitstatus = Some("WARNINGS: 3".to_owned());
    assert!(status.is_success());
    status.exitstatus = Some("connection lost".to_owned());
    assert!(!status.is_success());
}
