//! Lists, small files and removals.

use std::os::unix::fs::symlink;

use coldkeep_chunk_store::Digest;
use coldkeep_chunk_store::blob::{Blob, Compression};
use coldkeep_datastore::manifest::{CryptMode, FileInfo};
use coldkeep_datastore::prune::PruneCandidate;
use coldkeep_datastore::{ArchiveName, BackupType, Datastore, Manifest, Namespace, SnapshotInfo, TreeError};

use crate::support::{options, request, snapshot};

const FIRST: &str = "host/x/2026-01-01T00:00:00Z";
const SECOND: &str = "host/x/2026-01-02T00:00:00Z";

fn ns(text: &str) -> Namespace {
    text.parse().unwrap()
}

#[tokio::test]
async fn namespaces_are_made_listed_and_removed() {
    let fixture = super::fixture().await;
    let store = &fixture.store;
    assert!(matches!(store.create_namespace(&ns("a/b")).await, Err(TreeError::NoNamespace { .. })));
    for text in ["b", "a", "a/b", "a/b/c"] {
        store.create_namespace(&ns(text)).await.unwrap();
    }
    assert!(matches!(store.create_namespace(&ns("a")).await, Err(TreeError::NamespaceExists { .. })));
    assert!(matches!(store.create_namespace(&ns("")).await, Err(TreeError::RootNamespace)));
    let listed = store.namespaces(&ns(""), 7).await.unwrap();
    assert_eq!(listed.iter().map(Namespace::as_str).collect::<Vec<_>>(), ["", "a", "a/b", "a/b/c", "b"]);
    assert_eq!(store.namespaces(&ns("a"), 1).await.unwrap(), [ns("a"), ns("a/b")]);
    assert!(store.namespaces(&ns("z"), 1).await.unwrap_err().is_not_found());

    let mut request = request(FIRST);
    request.ns = ns("a/b");
    let writer = store.begin_backup(request).await.unwrap();
    assert!(fixture.path("ns/a/ns/b/host/x").is_dir());
    assert!(matches!(
        store.remove_namespace(&ns("a"), false).await,
        Err(TreeError::NotEmpty { groups: 1, .. })
    ));
    assert!(store.remove_namespace(&ns("a"), true).await.unwrap_err().is_in_use());
    writer.abort().await.unwrap();
    store.remove_namespace(&ns("a"), false).await.unwrap();
    assert!(!fixture.path("ns/a").exists() && fixture.path("ns/b").exists());
    assert!(matches!(store.remove_namespace(&ns(""), true).await, Err(TreeError::RootNamespace)));
}

#[tokio::test]
async fn a_namespace_with_a_protected_snapshot_stays() {
    let fixture = super::fixture().await;
    fixture.store.create_namespace(&ns("a")).await.unwrap();
    let made = fixture.backup(FIRST, &[b"one"]).await;
    let other = fixture.backup(SECOND, &[b"one"]).await;
    std::fs::rename(fixture.path("host"), fixture.path("ns/a/host")).unwrap();
    fixture.store.set_protected(&ns("a"), &made, true).await.unwrap();
    let stats = fixture.store.remove_namespace(&ns("a"), true).await.unwrap();
    assert_eq!((stats.removed_groups, stats.protected_snapshots, stats.removed_snapshots), (0, 1, 1));
    assert!(fixture.store.manifest(&ns("a"), &made).await.is_ok());
    assert!(fixture.store.manifest(&ns("a"), &other).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn groups_and_snapshots_show_what_the_api_shows() {
    let fixture = super::fixture().await;
    fixture.backup(FIRST, &[b"one"]).await;
    let made = fixture.backup(SECOND, &[b"one", b"two"]).await;
    let root = Namespace::root();
    fixture.store.set_notes(&root, &made, "first line\nsecond").await.unwrap();
    fixture.store.set_group_notes(&root, &made.group, "group line\nmore").await.unwrap();
    let _open = fixture.begin("host/x/2026-01-03T00:00:00Z").await;
    let groups = serde_json::to_value(fixture.store.groups(&root).await.unwrap()).unwrap();
    let expected = serde_json::json!([{
        "backup-type": "host", "backup-id": "x", "last-backup": made.time, "backup-count": 3,
        "files": ["index.json.blob", "stream.bin.didx"], "owner": "root@pam", "comment": "group line",
    }]);
    assert_eq!(groups, expected);
    let snapshots = fixture.store.snapshots(&root, None, None).await.unwrap();
    assert_eq!(snapshots.iter().map(SnapshotInfo::is_finished).collect::<Vec<_>>(), [true, true, false]);
    let stored = std::fs::metadata(fixture.path(SECOND).join(ArchiveName::MANIFEST)).unwrap().len();
    let shown = serde_json::to_value(&snapshots[1]).unwrap();
    let expected = serde_json::json!({
        "backup-type": "host", "backup-id": "x", "backup-time": made.time, "comment": "first line",
        "files": [
            { "filename": "stream.bin.didx", "crypt-mode": "none", "size": 6 },
            { "filename": "index.json.blob", "crypt-mode": "none", "size": stored },
        ],
        "size": 6 + stored, "owner": "root@pam", "protected": false,
    });
    assert_eq!(shown, expected);
    let unfinished = serde_json::to_value(&snapshots[2]).unwrap();
    assert!(unfinished.get("size").is_none() && unfinished["files"] == serde_json::json!([]));
    let id = "x".parse().unwrap();
    assert_eq!(fixture.store.snapshots(&root, Some(BackupType::Host), Some(&id)).await.unwrap().len(), 3);
    assert!(fixture.store.snapshots(&root, Some(BackupType::Vm), Some(&id)).await.unwrap().is_empty());
}

#[tokio::test]
async fn unknown_files_names_and_links_are_passed_over() {
    let fixture = super::fixture().await;
    let made = fixture.backup(FIRST, &[b"one"]).await;
    std::fs::create_dir_all(fixture.path("host/..x/2026-01-01T00:00:00Z")).unwrap();
    std::fs::create_dir_all(fixture.path("host/x/yesterday")).unwrap();
    std::fs::create_dir_all(fixture.path("tape/x")).unwrap();
    std::fs::write(fixture.path(FIRST).join("odd file"), "").unwrap();
    symlink(fixture.path("host/x"), fixture.path("host/linked")).unwrap();
    let root = Namespace::root();
    assert_eq!(fixture.store.groups(&root).await.unwrap().len(), 1);
    let snapshots = fixture.store.snapshots(&root, None, None).await.unwrap();
    assert_eq!(snapshots.len(), 1);
    assert_eq!(snapshots[0].files.len(), 2);
    let linked = snapshot(&FIRST.replace("/x/", "/linked/"));
    assert!(fixture.store.forget(&root, &linked).await.is_err(), "nothing is removed through a link");
    assert!(fixture.store.manifest(&root, &made).await.is_ok());
}

#[tokio::test]
async fn a_prune_learns_what_it_needs_without_reading_manifests() {
    let fixture = super::fixture().await;
    let (store, root) = (&fixture.store, Namespace::root());
    let damaged = fixture.backup(FIRST, &[b"one"]).await;
    let protected = fixture.backup(SECOND, &[b"one"]).await;
    store.set_protected(&root, &protected, true).await.unwrap();
    let open = fixture.begin("host/x/2026-01-03T00:00:00Z").await;
    std::fs::write(fixture.path(FIRST).join(ArchiveName::MANIFEST), "no manifest").unwrap();
    let candidate = |time, finished, protected| PruneCandidate { time, finished, protected };
    assert_eq!(
        store.prune_candidates(&root, &damaged.group).await.unwrap(),
        [
            // Nobody but the operator may take it for worthless.
            candidate(damaged.time, true, false),
            candidate(protected.time, true, true),
            candidate(open.snapshot().time, false, false),
        ]
    );
    assert_eq!(store.group_names(&root).await.unwrap(), [damaged.group]);
    assert_eq!(store.prune_candidates(&root, &"vm/9".parse().unwrap()).await.unwrap(), []);
    let error = store.prune_candidates(&ns("z"), &protected.group).await.unwrap_err();
    assert!(matches!(error, TreeError::NoNamespace { .. }), "{error}");
}

#[tokio::test]
async fn notes_protection_and_log_are_kept_with_the_snapshot() {
    let fixture = super::fixture().await;
    let made = fixture.backup(FIRST, &[b"one"]).await;
    let (store, root) = (&fixture.store, Namespace::root());
    store.set_notes(&root, &made, "zwölf").await.unwrap();
    assert_eq!(store.notes(&root, &made).await.unwrap(), "zwölf");
    assert!(store.manifest(&root, &made).await.unwrap().chunk_upload_stats().is_some(), "the rest is kept");
    store.set_notes(&root, &made, "").await.unwrap();
    assert_eq!(store.notes(&root, &made).await.unwrap(), "");
    store.set_group_notes(&root, &made.group, "g").await.unwrap();
    assert_eq!(store.group_notes(&root, &made.group).await.unwrap(), "g");
    store.set_group_notes(&root, &made.group, "").await.unwrap();
    assert!(!fixture.path("host/x/notes").exists());

    let log = Blob::encode(b"log", Compression::Zstd).unwrap().into_bytes();
    assert!(store.upload_log(&root, &made, b"nonsense".as_slice().into()).await.is_err());
    store.upload_log(&root, &made, log.clone()).await.unwrap();
    assert!(matches!(store.upload_log(&root, &made, log).await, Err(TreeError::FileExists { .. })));
    let files = store.files(&root, &made).await.unwrap();
    assert_eq!(files.last().unwrap().filename, ArchiveName::client_log());
    assert_eq!(files.last().unwrap().size, None);

    store.set_protected(&root, &made, true).await.unwrap();
    assert!(store.is_protected(&root, &made).await.unwrap());
    assert!(matches!(store.forget(&root, &made).await, Err(TreeError::Protected { .. })));
    let kept = store.forget_group(&root, &made.group, true).await.unwrap_err();
    assert!(matches!(kept, TreeError::ProtectedRemain { protected: 1, .. }), "{kept}");
    store.set_protected(&root, &made, false).await.unwrap();
    let stats = store.forget_group(&root, &made.group, true).await.unwrap();
    assert_eq!(
        serde_json::to_string(&stats).unwrap(),
        r#"{"removed-groups":1,"protected-snapshots":0,"removed-snapshots":1}"#
    );
    assert!(!fixture.path("host/x").exists());
    assert!(store.forget_group(&root, &made.group, true).await.unwrap_err().is_not_found());
    assert!(store.forget(&root, &made).await.unwrap_err().is_not_found());
    assert!(store.owner(&root, &made.group).await.unwrap_err().is_not_found());
    assert!(store.notes(&root, &made).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn a_group_without_a_readable_owner_takes_no_backup() {
    let fixture = super::fixture().await;
    fixture.backup(FIRST, &[b"one"]).await;
    std::fs::write(fixture.path("host/x/owner"), "nobody").unwrap();
    let error = fixture.store.begin_backup(request(SECOND)).await.unwrap_err();
    assert!(error.to_string().contains("owner file of group host/x"), "{error}");
    assert_eq!(fixture.store.groups(&Namespace::root()).await.unwrap()[0].owner, None);
}

#[tokio::test]
async fn a_store_has_one_owner_and_a_folder_of_its_own() {
    let fixture = super::fixture().await;
    assert!(fixture.open_again().await.unwrap_err().is_owned());
    let open = |path| Datastore::open(path, "default".parse().unwrap(), options(&fixture.clock));
    let error = open(fixture.folder.path()).await.unwrap_err();
    assert!(error.to_string().contains("is no datastore"), "{error}");
    let create = Datastore::create(fixture.folder.path(), "other".parse().unwrap(), options(&fixture.clock));
    assert!(create.await.unwrap_err().to_string().contains("not empty"));
    let usage = fixture.store.usage().await.unwrap();
    assert!(usage.total > 0 && usage.used + usage.avail <= usage.total);
}

/// What a manifest says is the client's word: nobody checks it at the commit.
#[tokio::test]
async fn sizes_that_a_client_made_up_do_not_break_a_list() {
    let fixture = super::fixture().await;
    let writer = fixture.begin(FIRST).await;
    let mut manifest = Manifest::new(writer.snapshot());
    for file in ["a.didx", "b.didx"] {
        manifest.push(FileInfo::new(file.parse().unwrap(), CryptMode::None, u64::MAX, Digest::of(b"")));
    }
    let body = manifest.to_blob().unwrap().into_bytes();
    writer.upload_blob(&ArchiveName::manifest(), body).await.unwrap();
    writer.finish().await.unwrap();
    let listed = fixture.store.snapshots(&ns(""), None, None).await.unwrap();
    assert_eq!(listed[0].size, Some(u64::MAX));
}

#[tokio::test]
async fn the_root_of_a_new_filesystem_counts_as_empty() {
    let folder = crate::support::temporary_folder();
    let fixture = super::fixture().await;
    std::fs::create_dir(folder.path().join("lost+found")).unwrap();
    let created = Datastore::create(folder.path(), "default".parse().unwrap(), options(&fixture.clock)).await;
    created.unwrap();
    let refused = Datastore::create(folder.path(), "default".parse().unwrap(), options(&fixture.clock)).await;
    assert!(matches!(refused, Err(coldkeep_datastore::OpenError::NotEmpty { .. })));
}
