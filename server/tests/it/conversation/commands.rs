//! The plain calls of each command (conversation.md §3), and those of the storage plugin (rest-api.md §6).

use coldkeep_chunk_store::blob::{Blob, Compression};
use http::Method;
use serde_json::{Value, json};

use super::{Command, S, TIME, checked, in_path, triple};
use crate::harness::{PASSWORD, TestServer};
use crate::material::{Chunk, READER, backup, begin, eventually, finish, noise, reader_path, write_blob};
use crate::rest::{assert_same_shape, vector};
use crate::wire::{FORM, Wire};

const AT: &str = "1700000000";

/// A server with one snapshot of `host/h1`.
async fn with_snapshot() -> (TestServer, Command) {
    let server = TestServer::start().await;
    let mut root = Command::root(&server).await;
    backup(&root.wire, "h1", TIME, &[&Chunk::of(noise(1, 5000))]).await;
    settle(&mut root).await;
    (server, root)
}

/// Waits until no session has anything open.
async fn settle(root: &mut Command) {
    let path = format!("/api2/json/{S}/active-operations");
    eventually(&root.wire, &path, |answer| answer.data() == json!({ "read": 0, "write": 0 })).await;
}

fn is_hex(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[tokio::test]
async fn version() {
    let server = TestServer::start().await;
    server.user("test@pbs", "NoAccess").await;
    let mut client = Command::of(&server, "test@pbs", PASSWORD).await;
    let version = client.get("version", &[]).await.data();
    let number = |name: &str| version[name].as_str().unwrap().parse::<f64>().unwrap();
    assert!(number("version") >= 2.2 && number("release") >= 0.0 && is_hex(&version["repoid"]));
    assert_eq!(version.as_object().unwrap().len(), 3);
    client.ask(Method::POST, "version", &[]).await.refused(404, "version");
}

#[tokio::test]
async fn list_and_snapshot_list_and_files() {
    let (_server, mut root) = with_snapshot().await;
    root.get(&format!("{S}/groups"), &[("ns", "a/b")]).await.refused(400, "a/b");
    let groups = root.get(&format!("{S}/groups"), &[]).await.json();
    assert_same_shape(&groups, &vector("groups"), &["comment"]);
    // A call with an object and nothing in it ends in a bare question mark.
    let all = root.get(&format!("{S}/snapshots?"), &[]).await;
    assert_same_shape(&all.json(), &vector("snapshots"), &["comment", "verification"]);
    let group = [("backup-id", "h1"), ("backup-type", "host")];
    assert_eq!(root.get(&format!("{S}/snapshots"), &group).await.data(), all.data());
    // An id alone stands for the groups of all types.
    assert_eq!(root.get(&format!("{S}/snapshots"), &[("backup-id", "h1")]).await.data(), all.data());
    let other = [("backup-id", "h1"), ("backup-type", "vm")];
    assert_eq!(root.get(&format!("{S}/snapshots"), &other).await.data(), json!([]));
    root.get(&format!("{S}/snapshots"), &[("ns", "nosuch")]).await.refused(400, "nosuch");
    let files = root.get(&format!("{S}/files"), &triple("h1", AT)).await.data();
    assert_eq!(files, all.data()[0]["files"]);
    let manifest = &files[1];
    assert_eq!((&manifest["filename"], &manifest["crypt-mode"]), (&json!("index.json.blob"), &json!("none")));
    // Optional members are absent, not null.
    let item = &all.data()[0];
    for name in ["comment", "fingerprint", "verification"] {
        assert!(item.get(name).is_none(), "{name} in {item}");
    }
    assert!(groups["data"][0].get("comment").is_none());
}

#[tokio::test]
async fn snapshot_forget() {
    let (_server, mut root) = with_snapshot().await;
    let forget = format!("{S}/snapshots");
    let reader = root.wire.upgrade(&reader_path("h1", TIME), READER).await.unwrap();
    root.ask(Method::DELETE, &forget, &triple("h1", AT)).await.refused(400, "h1");
    reader.drop_connection().await;
    settle(&mut root).await;
    root.ask(Method::DELETE, &forget, &triple("h1", "1700000001")).await.refused(400, "h1");
    for _ in 0..200 {
        // The lock of the reader is free a moment after its task has ended.
        let answer = root.ask(Method::DELETE, &forget, &triple("h1", AT)).await;
        if answer.status == 200 {
            assert!(answer.data().is_null());
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("the snapshot stays in use");
}

#[tokio::test]
async fn notes_and_protection_of_snapshots_and_groups() {
    let (_server, mut root) = with_snapshot().await;
    let (notes, protected) = (format!("{S}/notes"), format!("{S}/protected"));
    let of = |more: &'static [(&'static str, &'static str)]| [&triple("h1", AT)[..], more].concat();
    assert_eq!(root.get(&notes, &of(&[])).await.data(), "");
    let text = [("notes", "first line: a+b & c\nsecond/ü")];
    let with_text = [&triple("h1", AT)[..], &text].concat();
    assert!(root.ask(Method::PUT, &notes, &sorted(with_text)).await.data().is_null());
    assert_eq!(root.get(&notes, &of(&[])).await.data(), text[0].1);
    let snapshots = root.get(&format!("{S}/snapshots?"), &[]).await.data();
    assert_eq!(snapshots[0]["comment"], "first line: a+b & c");
    assert_eq!(root.get(&protected, &of(&[])).await.data(), false);
    assert!(root.ask(Method::PUT, &protected, &of(&[("protected", "true")])).await.data().is_null());
    assert_eq!(root.get(&protected, &of(&[])).await.data(), true);
    root.ask(Method::DELETE, &format!("{S}/snapshots"), &triple("h1", AT)).await.refused(400, "protected");
    let group = [("backup-id", "h1"), ("backup-type", "host")];
    let group_notes = [&group[..], &[("notes", "of the group\nmore")]].concat();
    assert!(root.ask(Method::PUT, &format!("{S}/group-notes"), &group_notes).await.data().is_null());
    assert_eq!(root.get(&format!("{S}/group-notes"), &group).await.data(), "of the group\nmore");
    assert_eq!(root.get(&format!("{S}/groups"), &[]).await.data()[0]["comment"], "of the group");
}

fn sorted<'t>(mut query: Vec<(&'t str, &'t str)>) -> Vec<(&'t str, &'t str)> {
    query.sort_unstable();
    query
}

#[tokio::test]
async fn upload_log() {
    let (_server, mut root) = with_snapshot().await;
    let log = Blob::encode(b"all went well", Compression::Zstd).unwrap().into_bytes();
    let path = format!("/api2/json/{S}/upload-backup-log?backup-id=h1&backup-time={AT}&backup-type=host");
    let request = root.wire.request(Method::POST, &path, crate::wire::BYTES, log.clone());
    assert!(root.send(request).await.data().is_null());
    let again = root.wire.request(Method::POST, &path, crate::wire::BYTES, log);
    root.send(again).await.refused(400, "log");
    let files = root.get(&format!("{S}/files"), &triple("h1", AT)).await.data();
    assert_eq!(files.as_array().unwrap().last().unwrap(), &json!({ "filename": "client.log.blob" }));
}

#[tokio::test]
async fn change_owner() {
    let (server, mut root) = with_snapshot().await;
    server.user("test@pbs", "DatastoreBackup").await;
    let change = |owner: &str| json!({ "backup-id": "h1", "backup-type": "host", "new-owner": owner });
    assert!(root.post(&format!("{S}/change-owner"), change("test@pbs")).await.data().is_null());
    let mut user = Command::of(&server, "test@pbs", PASSWORD).await;
    user.post(&format!("{S}/change-owner"), change("root@pam")).await.refused(401, "root@pam");
    assert_eq!(user.get(&format!("{S}/groups"), &[]).await.data()[0]["owner"], "test@pbs");
}

#[tokio::test]
async fn prune() {
    let (_server, mut root) = with_snapshot().await;
    for time in [TIME + 100, TIME + 200] {
        backup(&root.wire, "h1", time, &[&Chunk::of(noise(1, 5000))]).await;
    }
    settle(&mut root).await;
    let path = format!("{S}/prune");
    let group = json!({ "backup-id": "h1", "backup-type": "host" });
    let with = |more: Value| {
        let mut body = group.as_object().unwrap().clone();
        body.extend(more.as_object().unwrap().clone());
        Value::from(body)
    };
    root.post(&path, with(json!({ "keep-last": 0 }))).await.refused(400, "keep-last");
    let verdicts = root.post(&path, with(json!({ "dry-run": true, "keep-last": 1 }))).await.json();
    assert_same_shape(&verdicts, &vector("prune"), &["reason", "ns"]);
    let of = |verdicts: &Value| {
        let verdicts = verdicts.as_array().unwrap().iter();
        verdicts
            .map(|one| (one["backup-time"].as_i64().unwrap(), one["keep"].as_bool().unwrap()))
            .collect::<Vec<_>>()
    };
    // The oldest first.
    let expected = [(TIME, false), (TIME + 100, false), (TIME + 200, true)];
    assert_eq!(of(&verdicts["data"]), expected);
    let everything = root.post(&path, group.clone()).await.data();
    assert!(of(&everything).iter().all(|(_, keep)| *keep) && of(&everything).len() == 3);
    assert!(everything[0].get("ns").is_none(), "the namespace is told in dry runs only");
    assert_eq!(of(&root.post(&path, with(json!({ "keep-last": 1 }))).await.data()), expected);
    let left = root.get(&format!("{S}/snapshots?"), &[]).await.data();
    assert_eq!((left.as_array().unwrap().len(), &left[0]["backup-time"]), (1, &json!(TIME + 200)));
    let upid = root.post(&path, with(json!({ "use-task": true }))).await.data();
    let (_, status) = root.follow(upid.as_str().unwrap()).await;
    assert_eq!((&status["exitstatus"], &status["id"]), (&json!("OK"), &json!("default:host/h1")));
}

#[tokio::test]
async fn status() {
    let (_server, mut root) = with_snapshot().await;
    let status = root.get(&format!("{S}/status"), &[]).await.data();
    let bytes = |name: &str| status[name].as_u64().unwrap();
    assert!(bytes("total") > 0 && bytes("used") + bytes("avail") <= bytes("total"));
    assert!(status.get("counts").is_none() && status.get("gc-status").is_none());
    for yes in ["true", "1"] {
        let verbose = root.get(&format!("{S}/status"), &[("verbose", yes)]).await.json();
        assert_same_shape(&verbose, &vector("status-verbose"), &[]);
    }
}

#[tokio::test]
async fn garbage_collect() {
    let (_server, mut root) = with_snapshot().await;
    // Form content type, neither body nor length.
    let upid = root.ask(Method::POST, &format!("{S}/gc"), &[]).await.data();
    let upid = upid.as_str().unwrap();
    assert!(in_path(upid).contains("garbage%5Fcollection"), "{upid}");
    let (lines, status) = root.follow(upid).await;
    assert!(lines.iter().any(|line| line.starts_with("On-Disk chunks: 1")), "{lines:#?}");
    assert_same_shape(&json!({ "data": status }), &vector("task-status-stopped"), &[]);
    assert_eq!((&status["exitstatus"], &status["type"]), (&json!("OK"), &json!("garbage_collection")));
    let gc = root.get(&format!("{S}/gc"), &[]).await.data();
    for name in [
        "disk-bytes",
        "disk-chunks",
        "index-data-bytes",
        "index-file-count",
        "pending-bytes",
        "pending-chunks",
        "removed-bad",
        "removed-bytes",
        "removed-chunks",
        "still-bad",
        "duration",
        "last-run-endtime",
    ] {
        assert!(gc[name].is_u64(), "{name} in {gc}");
    }
    assert_eq!(
        (&gc["last-run-state"], &gc["upid"], &gc["store"]),
        (&json!("OK"), &json!(upid), &json!("default"))
    );
}

#[tokio::test]
async fn namespaces() {
    let server = TestServer::start().await;
    let mut root = Command::root(&server).await;
    let path = format!("{S}/namespace");
    assert_eq!(root.post(&path, json!({ "name": "a", "parent": "" })).await.data(), "a");
    assert_eq!(root.post(&path, json!({ "name": "b", "parent": "a" })).await.data(), "a/b");
    for name in ["", &"x".repeat(33)] {
        root.post(&path, json!({ "name": name, "parent": "a" })).await.refused(400, "name");
    }
    assert_eq!(root.get(&path, &[]).await.data(), json!([{ "ns": "" }, { "ns": "a" }, { "ns": "a/b" }]));
    assert_eq!(root.get(&path, &[("parent", "a")]).await.data(), json!([{ "ns": "a" }, { "ns": "a/b" }]));
    assert_eq!(root.get(&path, &[("parent", "nosuch")]).await.data(), json!([{ "ns": "nosuch" }]));
    // Peers that push name the root by an empty text.
    assert_eq!(root.get(&format!("{S}/groups"), &[("ns", "")]).await.data(), json!([]));
    let at = crate::material::backup_path("h1", TIME, "&ns=a%2Fb");
    let session = root.wire.upgrade(&at, crate::material::BACKUP).await.unwrap();
    let listed = write_blob(&session, "y.conf.blob", b"x").await;
    finish(&session, "h1", TIME, &[listed]).await.ok();
    session.drop_connection().await;
    settle(&mut root).await;
    root.ask(Method::DELETE, &path, &[("ns", "a/b")]).await.refused(400, "a/b");
    let stats = root.ask(Method::DELETE, &path, &[("delete-groups", "true"), ("ns", "a/b")]).await.json();
    assert_same_shape(&stats, &vector("delete-stats"), &[]);
    assert_eq!(
        (&stats["data"]["removed-groups"], &stats["data"]["removed-snapshots"]),
        (&json!(1), &json!(1))
    );
    root.ask(Method::DELETE, &path, &[("ns", "a")]).await.ok();
}

#[tokio::test]
async fn task_list_log_and_stop() {
    let (server, mut root) = with_snapshot().await;
    server.user("test@pbs", "DatastoreBackup").await;
    let session = begin(&root.wire, "h2", TIME).await;
    let list = async |root: &mut Command, running: &str, more: &[(&str, &str)]| {
        let query = [
            ("limit", "50"),
            ("running", running),
            ("start", "0"),
            ("store", "default"),
            ("userfilter", "root@pam"),
        ];
        root.get("nodes/localhost/tasks", &sorted([&query[..], more].concat())).await.json()
    };
    let running = list(&mut root, "true", &[]).await;
    assert_same_shape(&running, &vector("task-list"), &["endtime", "status"]);
    assert_eq!(running["total"], 1);
    let upid = running["data"][0]["upid"].as_str().unwrap().to_owned();
    assert!(running["data"][0].get("endtime").is_none() && running["data"][0].get("status").is_none());
    let task = format!("nodes/localhost/tasks/{}", in_path(&upid));
    let status = root.get(&format!("{task}/status"), &[]).await.json();
    assert_same_shape(&status, &vector("task-status-running"), &[]);
    // A session begins with two lines, a moment after it was let in.
    let path = format!("/api2/json/{task}/log?limit=500&start=1");
    eventually(&root.wire, &path, |answer| answer.json()["total"] == 2).await;
    // `active` stands there only if it was asked for.
    let log = root.get(&format!("{task}/log"), &[("limit", "1"), ("start", "1")]).await.json();
    assert!(log.get("active").is_none() && log["data"].as_array().unwrap().len() == 1 && log["success"] == 1);
    let log = root
        .get(&format!("{task}/log"), &[("limit", "500"), ("start", "1"), ("test-status", "true")])
        .await
        .json();
    assert_eq!(log["active"], true);
    let whole = root.get(&format!("{task}/log"), &[("download", "true"), ("limit", "1")]).await;
    assert_eq!(whole.text().lines().count() as u64, log["total"].as_u64().unwrap());

    assert!(root.ask(Method::DELETE, &task, &[]).await.data().is_null());
    let (lines, status) = root.follow(&upid).await;
    assert!(lines.last().unwrap().starts_with("TASK ERROR: "), "{lines:#?}");
    assert!(status["exitstatus"].as_str().unwrap().contains("stopped"), "{status}");
    session.drop_connection().await;

    // `--all`, and the other filters.
    let all = list(&mut root, "false", &[]).await;
    assert_eq!(all["total"], 2);
    let count = async |root: &mut Command, filter: &str, text: &str| {
        root.get("nodes/localhost/tasks", &[(filter, text)]).await.json()["total"].as_u64().unwrap()
    };
    let start = all["data"][0]["starttime"].as_i64().unwrap();
    for (filter, text, expected) in [
        ("errors", "true", 1),
        ("errors", "false", 2),
        ("running", "1", 0),
        ("limit", "1", 2),
        ("store", "default", 2),
        ("store", "defaul", 0),
        ("userfilter", "oot@p", 2),
        ("userfilter", "test", 0),
        ("typefilter", "back", 2),
        ("typefilter", "verify", 0),
        ("since", &(start + 3600).to_string(), 0),
        ("since", &(start - 3600).to_string(), 2),
        ("until", &(start + 3600).to_string(), 2),
        ("until", &(start - 3600).to_string(), 0),
        ("statusfilter", "ok", 1),
        ("statusfilter", "error", 1),
        ("statusfilter", "warning", 0),
        ("statusfilter", "unknown", 0),
    ] {
        assert_eq!(count(&mut root, filter, text).await, expected, "{filter}={text}");
    }
    let both = root.get("nodes/localhost/tasks?statusfilter[]=ok&statusfilter[]=error", &[]).await.json();
    assert_eq!(both["total"], 2);
    let page = async |root: &mut Command, start: &str, limit: &str| {
        let listed = root.get("nodes/localhost/tasks", &[("limit", limit), ("start", start)]).await.json();
        assert_eq!(listed["total"], 2);
        listed["data"].as_array().unwrap().clone()
    };
    assert_eq!(page(&mut root, "1", "1").await[..], all["data"].as_array().unwrap()[1..]);
    assert_eq!(page(&mut root, "0", "0").await.len(), 2);
    assert_eq!(page(&mut root, "2", "50").await.len(), 0);
    // One's own only, whatever the filter says.
    let mut user = Command::of(&server, "test@pbs", PASSWORD).await;
    assert_eq!(list(&mut user, "false", &[]).await["total"], 0);
    user.get(&format!("{task}/log"), &[]).await.refused(403, "/system/tasks");
}

#[tokio::test]
async fn a_log_comes_in_parts() {
    let (_server, mut root) = with_snapshot().await;
    let upid = root.ask(Method::POST, &format!("{S}/gc"), &[]).await.data();
    let (lines, _) = root.follow(upid.as_str().unwrap()).await;
    let path = format!("nodes/localhost/tasks/{}/log", in_path(upid.as_str().unwrap()));
    let part = async |root: &mut Command, start: &str, limit: &str| {
        let log = root.get(&path, &[("limit", limit), ("start", start)]).await.json();
        assert_eq!(log["total"], lines.len());
        log["data"].as_array().unwrap().iter().map(|line| line["n"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(part(&mut root, "2", "2").await, [2, 3]);
    assert_eq!(part(&mut root, "0", "2").await, [1, 2]);
    assert_eq!(part(&mut root, "1", "0").await.len(), lines.len());
    assert_eq!(part(&mut root, "100000", "500").await, [0_u64; 0]);
}

/// What the storage plugin of Proxmox VE calls itself: forms as bodies, and nothing but the id of a group.
#[tokio::test]
async fn the_storage_plugin() {
    let (server, mut root) = with_snapshot().await;
    let stores = root.get("admin/datastore", &[]).await.json();
    assert_same_shape(&stores, &vector("datastores"), &[]);
    assert_eq!(stores["data"][0]["store"], "default");
    let listed = root.get(&format!("{S}/snapshots"), &[("backup-id", "h1")]).await.data();
    for name in ["backup-type", "backup-id", "backup-time", "size", "protected", "files"] {
        assert!(listed[0].get(name).is_some(), "{name} in {listed}");
    }
    let wire: Wire = root.wire.clone();
    let form = format!("protected=1&backup-type=host&backup-id=h1&backup-time={AT}");
    let request = wire.request(Method::PUT, &format!("/api2/json/{S}/protected"), FORM, form.into());
    assert!(checked(wire.send(request).await).data().is_null());
    assert_eq!(root.get(&format!("{S}/protected"), &triple("h1", AT)).await.data(), true);
    let usage = root.get("status/datastore-usage", &[]).await.data();
    assert_eq!((&usage[0]["store"], &usage[0]["mount-status"]), (&json!("default"), &json!("nonremovable")));
    let identity = root.get("nodes/localhost/identity", &[]).await.data();
    let id = identity["pbs-instance-id"].as_str().unwrap();
    assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{identity}");
    assert_eq!(id, server.server.instance_id());
}
