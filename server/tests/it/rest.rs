//! The REST API of datastores and tasks: what stock clients ask for, the shapes of the answers, who may what.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use coldkeep_chunk_store::blob::{Blob, Compression};
use serde_json::{Value, json};

use crate::harness::TestServer;
use crate::material::{Chunk, backup, begin, eventually, noise, open, triple};
use crate::wire::Wire;

const TIME: i64 = 1_700_000_000;
const STORE: &str = "/api2/json/admin/datastore/default";

pub(crate) fn vector(name: &str) -> Value {
    let path = format!("{}/../docs/vectors/json/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Panics unless both values have the same keys with values of the same types; keys in `optional` may be missing.
#[track_caller]
pub(crate) fn assert_same_shape(got: &Value, vector: &Value, optional: &[&str]) {
    match (got, vector) {
        (Value::Object(got), Value::Object(vector)) => {
            let keys: BTreeSet<&String> = got.keys().chain(vector.keys()).collect();
            for key in keys.into_iter().filter(|key| !optional.contains(&key.as_str())) {
                let value = got.get(key).unwrap_or_else(|| panic!("{key} is missing in {got:?}"));
                let expected = vector.get(key).unwrap_or_else(|| panic!("{key} is too much in {got:?}"));
                assert_same_shape(value, expected, optional);
            }
        }
        (Value::Array(got), Value::Array(vector)) => {
            if let Some(expected) = vector.first() {
                assert!(!got.is_empty());
                for value in got {
                    assert_same_shape(value, expected, optional);
                }
            }
        }
        (Value::Null, _) | (_, Value::Null) => {}
        _ => assert_eq!(
            std::mem::discriminant(got),
            std::mem::discriminant(vector),
            "{got} is not like {vector}"
        ),
    }
}

/// One snapshot of `h1` that holds one archive.
async fn with_snapshot(server: &TestServer) -> Wire {
    let root = server.root().await;
    backup(&root, "h1", TIME, &[&Chunk::of(noise(1, 5000))]).await;
    root
}

#[tokio::test]
async fn listings_look_like_the_vectors() {
    let server = TestServer::start().await;
    let root = with_snapshot(&server).await;
    assert_same_shape(&root.get("/api2/json/admin/datastore").await.json(), &vector("datastores"), &[]);
    let groups = root.get(&format!("{STORE}/groups")).await.json();
    assert_same_shape(&groups, &vector("groups"), &[]);
    let group = &groups["data"][0];
    assert_eq!((&group["backup-count"], &group["last-backup"]), (&json!(1), &json!(TIME)));
    assert_eq!(group["files"], json!(["a.bin.didx", "index.json.blob"]));
    assert_eq!(group["owner"], "root@pam");

    let notes = format!("{STORE}/notes?{}&notes=first+line%0Asecond", triple("h1", TIME));
    assert!(root.put(&notes).await.data().is_null());
    // A bare question mark stands for no parameters.
    let snapshots = root.get(&format!("{STORE}/snapshots?")).await.json();
    assert_same_shape(&snapshots, &vector("snapshots"), &["verification"]);
    let snapshot = &snapshots["data"][0];
    assert_eq!(snapshot["comment"], "first line");
    let files = root.get(&format!("{STORE}/files?{}", triple("h1", TIME))).await.json();
    assert_same_shape(&files, &vector("files"), &[]);
    assert_eq!(files["data"], snapshot["files"]);
    let sum: u64 = files["data"].as_array().unwrap().iter().map(|file| file["size"].as_u64().unwrap()).sum();
    assert_eq!(snapshot["size"], sum);

    // A backup in progress is listed without a size.
    let session = begin(&root, "h1", TIME + 1).await;
    let snapshots = root.get(&format!("{STORE}/snapshots?backup-id=h1&backup-type=host")).await.data();
    let running =
        snapshots.as_array().unwrap().iter().find(|snapshot| snapshot["backup-time"] == TIME + 1).unwrap();
    assert!(running.get("size").is_none() && running["files"] == json!([]), "{running}");
    session.drop_connection().await;
    assert_eq!(
        root.get(&format!("{STORE}/snapshots?backup-id=nosuch&backup-type=host")).await.data(),
        json!([])
    );
    root.get(&format!("{STORE}/snapshots?ns=nosuch")).await.refused(400, "nosuch");
    root.get(&format!("{STORE}/files?{}", triple("h1", TIME + 9))).await.refused(400, "h1");
    root.get("/api2/json/admin/datastore/nosuch/groups").await.refused(400, "nosuch");
    root.get(&format!("{STORE}/groups?unknown=1")).await.refused(400, "unknown");
}

#[tokio::test]
async fn status_tells_sizes_and_counts() {
    let server = TestServer::start().await;
    let root = with_snapshot(&server).await;
    let status = root.get(&format!("{STORE}/status")).await.json();
    assert_same_shape(&status, &vector("status"), &[]);
    assert!(status["data"]["total"].as_u64().unwrap() > 0);
    let verbose = root.get(&format!("{STORE}/status?verbose=true")).await.json();
    assert_same_shape(&verbose, &vector("status-verbose"), &[]);
    assert_eq!(
        verbose["data"]["counts"],
        json!({ "ct": null, "host": { "groups": 1, "snapshots": 1 }, "vm": null, "other": null })
    );
    let usage = root.get("/api2/json/status/datastore-usage").await.data();
    assert_eq!((&usage[0]["store"], &usage[0]["backend-type"]), (&json!("default"), &json!("filesystem")));
    assert!(usage[0]["total"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn notes_and_protection_are_kept() {
    let server = TestServer::start().await;
    let root = with_snapshot(&server).await;
    let triple = triple("h1", TIME);
    assert_eq!(root.get(&format!("{STORE}/notes?{triple}")).await.data(), "");
    root.put(&format!("{STORE}/notes?{triple}&notes=a%0Ab")).await.ok();
    assert_eq!(root.get(&format!("{STORE}/notes?{triple}")).await.data(), "a\nb");
    let group = "backup-id=h1&backup-type=host";
    root.put(&format!("{STORE}/group-notes?{group}&notes=of+the+group")).await.ok();
    assert_eq!(root.get(&format!("{STORE}/group-notes?{group}")).await.data(), "of the group");
    assert_eq!(root.get(&format!("{STORE}/groups")).await.data()[0]["comment"], "of the group");

    assert_eq!(root.get(&format!("{STORE}/protected?{triple}")).await.data(), false);
    root.put(&format!("{STORE}/protected?{triple}&protected=1")).await.ok();
    assert_eq!(root.get(&format!("{STORE}/protected?{triple}")).await.data(), true);
    root.delete(&format!("{STORE}/snapshots?{triple}")).await.refused(400, "protected");
    root.delete(&format!("{STORE}/groups?{group}")).await.refused(400, "protected");
    let kept = root.delete(&format!("{STORE}/groups?{group}&error-on-protected=false")).await.json();
    assert_same_shape(&kept, &vector("delete-stats"), &[]);
    assert_eq!(kept["data"]["protected-snapshots"], 1);
    root.put(&format!("{STORE}/protected?{triple}&protected=false")).await.ok();
    assert!(root.delete(&format!("{STORE}/snapshots?{triple}")).await.data().is_null());
    root.delete(&format!("{STORE}/snapshots?{triple}")).await.refused(400, "h1");
    root.delete(&format!("{STORE}/groups?backup-id=nosuch&backup-type=vm"))
        .await
        .refused(400, "ENOENT: No such file or directory");
}

#[tokio::test]
async fn files_are_downloaded_raw_and_decoded() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let chunks = [Chunk::of(noise(1, 5000)), Chunk::of(vec![7; 9000])];
    backup(&root, "h1", TIME, &[&chunks[0], &chunks[1], &chunks[0]]).await;
    let triple = triple("h1", TIME);
    let decoded = root.get(&format!("{STORE}/download-decoded?{triple}&file-name=a.bin.didx")).await;
    assert!(decoded.ok().body == [&chunks[0].plain[..], &chunks[1].plain, &chunks[0].plain].concat());
    let raw = root.get(&format!("{STORE}/download?{triple}&file-name=a.bin.didx")).await;
    assert_eq!(raw.ok().body.len(), 4096 + 3 * 40);
    let manifest = root.get(&format!("{STORE}/download-decoded?{triple}&file-name=index.json.blob")).await;
    assert_eq!(manifest.json()["files"][0]["filename"], "a.bin.didx");
    let stats = &manifest.json()["unprotected"]["chunk_upload_stats"];
    assert_eq!((&stats["count"], &stats["duplicates"]), (&json!(3), &json!(1)));
    for path in ["download", "download-decoded"] {
        root.get(&format!("{STORE}/{path}?{triple}&file-name=b.bin.didx")).await.refused(400, "b.bin.didx");
    }
}

#[tokio::test]
async fn the_client_log_is_uploaded_once() {
    let server = TestServer::start().await;
    let root = with_snapshot(&server).await;
    let path = format!("{STORE}/upload-backup-log?{}", triple("h1", TIME));
    let log = Blob::encode(b"all went well", Compression::Zstd).unwrap().into_bytes();
    let mut wrong = log.to_vec();
    wrong[8] ^= 1;
    root.post_bytes(&path, wrong.into()).await.refused(400, "CRC");
    root.post_bytes(&path, Bytes::from_static(b"no blob")).await.refused(400, "");
    assert!(root.post_bytes(&path, log.clone()).await.data().is_null());
    root.post_bytes(&path, log.clone()).await.refused(400, "log");
    let files = root.get(&format!("{STORE}/files?{}", triple("h1", TIME))).await.data();
    assert_eq!(files.as_array().unwrap().last().unwrap(), &json!({ "filename": "client.log.blob" }));
    let reader = open(&root, "h1", TIME).await;
    assert_eq!(reader.get("/download?file-name=client.log.blob").await.body, log);
}

#[tokio::test]
async fn namespaces_nest_and_go() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let namespace = format!("{STORE}/namespace");
    let create = async |name: &str, parent: &str| {
        root.post_json(&namespace, &json!({ "name": name, "parent": parent })).await
    };
    assert_eq!(create("a", "").await.data(), "a");
    assert_eq!(create("b", "a").await.data(), "a/b");
    create("a", "").await.refused(400, "a");
    create("..", "").await.refused(400, "..");
    create("x/y", "").await.refused(400, "x/y");
    create("c", "nosuch").await.refused(400, "nosuch");
    assert_same_shape(&root.get(&namespace).await.json(), &vector("namespaces"), &[]);
    assert_eq!(root.get(&namespace).await.data(), json!([{ "ns": "" }, { "ns": "a" }, { "ns": "a/b" }]));
    assert_eq!(
        root.get(&format!("{namespace}?parent=a")).await.data(),
        json!([{ "ns": "a" }, { "ns": "a/b" }])
    );
    assert_eq!(
        root.get(&format!("{namespace}?max-depth=1")).await.data(),
        json!([{ "ns": "" }, { "ns": "a" }])
    );
    assert_eq!(root.get(&format!("{namespace}?parent=nosuch")).await.data(), json!([{ "ns": "nosuch" }]));

    let path = crate::material::backup_path("h1", TIME, "&ns=a%2Fb");
    let session = root.upgrade(&path, crate::material::BACKUP).await.unwrap();
    let listed = crate::material::write_blob(&session, "y.conf.blob", b"x").await;
    crate::material::finish(&session, "h1", TIME, &[listed]).await.ok();
    session.drop_connection().await;
    assert_eq!(root.get(&format!("{STORE}/groups")).await.data(), json!([]));
    assert_eq!(root.get(&format!("{STORE}/groups?ns=a%2Fb")).await.data()[0]["backup-id"], "h1");
    eventually(&root, &format!("{STORE}/active-operations"), |answer| answer.data()["write"] == 0).await;
    root.delete(&format!("{namespace}?ns=a")).await.refused(400, "a");
    root.delete(&format!("{namespace}?ns=")).await.refused(400, "");
    let stats = root.delete(&format!("{namespace}?delete-groups=true&ns=a")).await.json();
    assert_same_shape(&stats, &vector("delete-stats"), &[]);
    assert_eq!(root.get(&namespace).await.data(), json!([{ "ns": "" }]));
}

#[tokio::test]
async fn collection_is_a_task_that_is_polled() {
    let server = TestServer::with_grace(Duration::ZERO).await;
    let root = with_snapshot(&server).await;
    backup(&root, "h2", TIME, &[&Chunk::of(noise(2, 5000))]).await;
    root.delete(&format!("{STORE}/snapshots?{}", triple("h2", TIME))).await.ok();
    eventually(&root, &format!("{STORE}/active-operations"), |answer| answer.data()["write"] == 0).await;
    // Form content type, neither body nor length.
    let upid = root.post(&format!("{STORE}/gc")).await.data().as_str().unwrap().to_owned();
    assert!(upid.contains(":garbage_collection:default:root@pam:"), "{upid}");
    let task = format!(
        "/api2/json/nodes/localhost/tasks/{}",
        upid.replace(':', "%3A").replace('_', "%5F").replace('@', "%40")
    );
    let log = eventually(&root, &format!("{task}/log?limit=500&start=1&test-status=true"), |answer| {
        answer.json()["active"] == false
    })
    .await;
    assert_same_shape(&log.json(), &vector("task-log"), &[]);
    let lines = log.json()["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["t"].as_str().unwrap()[27..].to_owned())
        .collect::<Vec<_>>();
    for wanted in [
        "Removed garbage: ",
        "Removed chunks: 1",
        "Original data usage: ",
        "On-Disk usage: ",
        "On-Disk chunks: 1",
        "Deduplication factor: ",
        "Average chunk size: ",
    ] {
        assert!(lines.iter().any(|line| line.starts_with(wanted)), "{wanted} is not in {lines:#?}");
    }
    let status = root.get(&format!("{task}/status")).await.json();
    assert_same_shape(&status, &vector("task-status-stopped"), &[]);
    assert_eq!((&status["data"]["exitstatus"], &status["data"]["id"]), (&json!("OK"), &json!("default")));
    let gc = root.get(&format!("{STORE}/gc")).await.data();
    assert_eq!(
        (&gc["disk-chunks"], &gc["removed-chunks"], &gc["index-file-count"]),
        (&json!(1), &json!(1), &json!(1))
    );
    assert_eq!(
        (&gc["upid"], &gc["last-run-state"], &gc["store"]),
        (&json!(upid), &json!("OK"), &json!("default"))
    );
    let tasks = root.get("/api2/json/nodes/localhost/tasks?limit=50&running=false&start=0&store=default&userfilter=root@pam").await.json();
    assert_same_shape(&tasks, &vector("task-list"), &[]);
}

#[tokio::test]
async fn collection_spares_what_an_open_session_was_told() {
    let server = TestServer::with_grace(Duration::ZERO).await;
    let root = server.root().await;
    let chunk = Chunk::of(noise(1, 5000));
    let session = begin(&root, "h1", TIME).await;
    let wid = crate::material::open_dynamic(&session, "a.bin.didx").await;
    chunk.upload(&session, "dynamic", wid).await.ok();
    root.post(&format!("{STORE}/gc")).await.ok();
    assert_eq!(crate::material::task_end(&root, "garbage_collection").await, "OK");
    let gc = root.get(&format!("{STORE}/gc")).await.data();
    assert_eq!((&gc["pending-chunks"], &gc["removed-chunks"]), (&json!(1), &json!(0)));
}

/// Goal: what a collection finds out of the ordinary is in its report, which outlives the server.
/// Method: an index in an odd place, a chunk that is lost, a dry run, and bad requests.
#[tokio::test]
async fn the_report_of_a_collection_tells_what_is_out_of_the_ordinary() {
    let server = TestServer::with_grace(Duration::ZERO).await;
    let root = server.root().await;
    let (kept, lost) = (Chunk::of(noise(1, 5000)), Chunk::of(noise(2, 5000)));
    crate::material::backup(&root, "h1", TIME, &[&kept, &lost]).await;
    let store = server.store_folder();
    let snapshot = store.join("host/h1/2023-11-14T22:13:20Z");
    std::fs::create_dir(store.join("stray")).unwrap();
    std::fs::copy(snapshot.join("a.bin.didx"), store.join("stray/copy.didx")).unwrap();
    let digest = lost.digest.to_string();
    std::fs::remove_file(store.join(".chunks").join(&digest[..4]).join(&digest)).unwrap();

    root.post(&format!("{STORE}/gc?max-delete-rate=0")).await.refused(400, "max-delete-rate");
    root.post(&format!("{STORE}/gc?dry-run=perhaps")).await.refused(400, "dry-run");
    let dry = root.post(&format!("{STORE}/gc?dry-run=1")).await.data();
    assert_eq!(crate::material::task_end(&root, "garbage_collection").await, "WARNINGS: 4");
    let status = root.get(&format!("{STORE}/gc")).await.data();
    assert_eq!(status["upid"], json!(null), "a dry run is no result");
    assert_eq!(status["last-run-endtime"], json!(null), "and no run");
    root.post(&format!("{STORE}/gc")).await.ok();
    assert_eq!(crate::material::task_end(&root, "garbage_collection").await, "WARNINGS: 4");

    let history = root.get(&format!("{STORE}/gc-history")).await.data();
    let runs = history.as_array().unwrap();
    assert_eq!((runs.len(), &runs[1]["upid"], &runs[1]["report"]["dry_run"]), (2, &dry, &json!(true)));
    let report = &runs[0]["report"];
    assert_eq!(report["unexpected_indexes"][0], store.join("stray/copy.didx").display().to_string());
    assert_eq!((&report["missing"]["chunks"], &report["missing"]["sample"][0]), (&json!(1), &json!(digest)));
    assert_eq!(report["missing"]["broken_indexes"].as_array().unwrap().len(), 2);
    let only = root.get(&format!("{STORE}/gc-history?limit=1")).await.data();
    assert_eq!(only, json!([runs[0]]));
    let upid = dry.as_str().unwrap().replace(':', "%3A").replace('@', "%40");
    assert_eq!(root.get(&format!("{STORE}/gc-history?upid={upid}")).await.data(), json!([runs[1]]));
}

/// Goal: whoever asks for the last collection is told of the last that could remove something, with figures that belong
/// together.
/// Method: a real run, then a dry one that ends otherwise.
#[tokio::test]
async fn the_last_collection_is_never_a_dry_run() {
    let server = TestServer::with_grace(Duration::ZERO).await;
    let root = server.root().await;
    let chunk = Chunk::of(noise(1, 5000));
    crate::material::backup(&root, "h1", TIME, &[&chunk]).await;
    let real = root.post(&format!("{STORE}/gc")).await.data();
    assert_eq!(crate::material::task_end(&root, "garbage_collection").await, "OK");
    let before = root.get(&format!("{STORE}/gc")).await.data();
    let digest = chunk.digest.to_string();
    std::fs::remove_file(server.store_folder().join(".chunks").join(&digest[..4]).join(&digest)).unwrap();
    root.post(&format!("{STORE}/gc?dry-run=1")).await.ok();
    assert_eq!(crate::material::task_end(&root, "garbage_collection").await, "WARNINGS: 2");
    let after = root.get(&format!("{STORE}/gc")).await.data();
    assert_eq!((&after["upid"], &after["last-run-state"]), (&real, &json!("OK")));
    assert_eq!(after, before);
}

#[tokio::test]
async fn verify_finds_damage_and_notes_it() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let (good, bad) = (Chunk::of(noise(1, 5000)), Chunk::of(noise(2, 5000)));
    backup(&root, "h1", TIME, &[&good]).await;
    backup(&root, "h2", TIME, &[&good, &bad]).await;
    let digest = bad.digest.to_string();
    let path = server.store_folder().join(".chunks").join(&digest[..4]).join(&digest);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    eventually(&root, &format!("{STORE}/active-operations"), |answer| answer.data()["write"] == 0).await;

    root.post_json(&format!("{STORE}/verify"), &json!({})).await.ok();
    assert_ne!(crate::material::task_end(&root, "verify").await, "OK");
    let state = async |id: &str| {
        let path = format!("{STORE}/snapshots?backup-id={id}&backup-type=host");
        root.get(&path).await.data()[0]["verification"]["state"].clone()
    };
    assert_eq!((state("h1").await, state("h2").await), (json!("ok"), json!("failed")));
    assert!(!path.exists() && path.with_extension("0.bad").exists());
    // Nothing builds on a damaged snapshot.
    let session = begin(&root, "h2", TIME + 1).await;
    assert!(session.get("/previous_backup_time").await.data().is_null());
    session.drop_connection().await;
    eventually(&root, &format!("{STORE}/active-operations"), |answer| answer.data()["write"] == 0).await;
    let body =
        json!({ "backup-id": "h1", "backup-type": "host", "backup-time": TIME, "ignore-verified": false });
    let upid = root.post_json(&format!("{STORE}/verify"), &body).await.data();
    assert!(upid.as_str().unwrap().contains(":verify_snapshot:"), "{upid}");
}

/// A deeper entry of the access list replaces those above it, also for a task that goes down into namespaces.
#[tokio::test]
async fn verify_leaves_out_namespaces_that_the_caller_may_not_verify() {
    let server = TestServer::start().await;
    let root = with_snapshot(&server).await;
    eventually(&root, &format!("{STORE}/active-operations"), |answer| answer.data()["write"] == 0).await;
    let secret = server.store_folder().join("ns/secret/host");
    std::fs::create_dir_all(&secret).unwrap();
    let copied = std::process::Command::new("cp")
        .arg("-r")
        .args([server.store_folder().join("host/h1"), secret])
        .status()
        .unwrap();
    assert!(copied.success());
    let reader = server.user("bo@pbs", "DatastoreReader").await;
    let entry =
        json!({"path": "/datastore/default/secret", "who": "bo@pbs", "role": "NoAccess", "propagate": true});
    server.server.identities().grant(serde_json::from_value(entry).unwrap()).await.unwrap();

    reader.post_json(&format!("{STORE}/verify"), &json!({})).await.ok();
    assert_eq!(crate::material::task_end(&reader, "verify").await, "OK");
    let snapshots = async |query: &str| root.get(&format!("{STORE}/snapshots?{query}")).await.data();
    assert_eq!(snapshots("").await[0]["verification"]["state"], "ok");
    assert!(snapshots("ns=secret").await[0]["verification"].is_null());
}

#[tokio::test]
async fn roles_see_and_do_what_the_table_says() {
    let server = TestServer::start().await;
    let root = with_snapshot(&server).await;
    let backup_user = server.user("al@pbs", "DatastoreBackup").await;
    let reader = server.user("bo@pbs", "DatastoreReader").await;
    let nobody = server.user("cy@pbs", "NoAccess").await;
    backup(&backup_user, "own", TIME, &[&Chunk::of(noise(3, 100))]).await;
    let denied = |answer: crate::wire::Answer| answer.refused(403, "/datastore/default");

    let ids = async |wire: &Wire, list: &str| {
        let listed = wire.get(&format!("{STORE}/{list}")).await.data();
        listed
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["backup-id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    for list in ["groups", "snapshots"] {
        assert_eq!(ids(&backup_user, list).await, ["own"]);
        assert_eq!(ids(&reader, list).await, ["h1", "own"]);
    }
    let (theirs, own) = (triple("h1", TIME), triple("own", TIME));
    backup_user.get(&format!("{STORE}/files?{own}")).await.ok();
    backup_user.get(&format!("{STORE}/files?{theirs}")).await.refused(400, "owner");
    backup_user.get(&format!("{STORE}/notes?{theirs}")).await.refused(400, "owner");
    backup_user.put(&format!("{STORE}/protected?{theirs}&protected=true")).await.refused(400, "owner");
    assert!(backup_user.get(&format!("{STORE}/status")).await.data()["total"].as_u64().unwrap() > 0);
    denied(backup_user.delete(&format!("{STORE}/snapshots?{own}")).await);
    denied(backup_user.post(&format!("{STORE}/gc")).await);
    denied(
        backup_user
            .post_json(&format!("{STORE}/prune"), &json!({ "backup-id": "own", "backup-type": "host" }))
            .await,
    );
    denied(backup_user.post_json(&format!("{STORE}/namespace"), &json!({ "name": "x" })).await);

    reader.get(&format!("{STORE}/files?{theirs}")).await.ok();
    denied(reader.put(&format!("{STORE}/notes?{theirs}&notes=x")).await);
    denied(reader.delete(&format!("{STORE}/snapshots?{theirs}")).await);
    denied(reader.post(&format!("{STORE}/gc")).await);
    let log = Blob::encode(b"x", Compression::None).unwrap().into_bytes();
    denied(reader.post_bytes(&format!("{STORE}/upload-backup-log?{theirs}"), log.clone()).await);
    backup_user.post_bytes(&format!("{STORE}/upload-backup-log?{theirs}"), log).await.refused(400, "owner");

    assert_eq!(nobody.get("/api2/json/admin/datastore").await.data(), json!([]));
    nobody.get("/api2/json/version").await.ok();
    for path in ["groups", "snapshots", "status", "namespace", "gc", &format!("files?{theirs}")] {
        denied(nobody.get(&format!("{STORE}/{path}")).await);
    }
    // Who may not see a store does not learn whether it exists.
    nobody.get("/api2/json/admin/datastore/nosuch/status").await.refused(403, "/datastore/nosuch");
    root.get("/api2/json/admin/datastore/nosuch/status").await.refused(400, "nosuch");

    // A DatastorePowerUser prunes own groups only.
    let power = server.user("dy@pbs", "DatastorePowerUser").await;
    power.delete(&format!("{STORE}/snapshots?{theirs}")).await.refused(400, "owner");
    backup(&power, "mine", TIME, &[&Chunk::of(noise(4, 100))]).await;
    eventually(&root, &format!("{STORE}/active-operations"), |answer| answer.data()["write"] == 0).await;
    power.delete(&format!("{STORE}/snapshots?{}", triple("mine", TIME))).await.ok();
}

#[tokio::test]
async fn groups_whose_owner_cannot_be_read_are_not_listed() {
    let server = TestServer::start().await;
    let root = server.root().await;
    for id in ["h1", "h2"] {
        backup(&root, id, 1_700_000_000, &[&Chunk::of("x")]).await;
    }
    let owner = server.folder().join("data/stores/default/host/h1/owner");
    std::fs::write(&owner, "nobody at all\n").unwrap();
    for list in ["groups", "snapshots", "snapshots?backup-id=h1", "snapshots?backup-id=h2"] {
        let listed = root.get(&format!("{STORE}/{list}")).await.data();
        let ids: Vec<_> =
            listed.as_array().unwrap().iter().map(|item| item["backup-id"].as_str().unwrap()).collect();
        let expected: &[&str] = if list.ends_with("h1") { &[] } else { &["h2"] };
        assert_eq!(ids, expected, "{list}");
    }
    std::fs::write(&owner, "root@pam\n").unwrap();
    assert_eq!(root.get(&format!("{STORE}/groups")).await.data().as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn owners_change_within_the_rules() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let al = server.user("al@pbs", "DatastoreBackup").await;
    server.user("bo@pbs", "DatastoreBackup").await;
    backup(&al, "h1", TIME, &[&Chunk::of(noise(1, 100))]).await;
    eventually(&root, &format!("{STORE}/active-operations"), |answer| answer.data()["write"] == 0).await;
    let change = async |wire: &Wire, owner: &str| {
        wire.post_json(
            &format!("{STORE}/change-owner"),
            &json!({ "backup-id": "h1", "backup-type": "host", "new-owner": owner }),
        )
        .await
    };
    change(&al, "bo@pbs").await.refused(401, "bo@pbs");
    change(&root, "no user").await.refused(400, "new-owner");
    change(&root, "bo@pbs").await.ok();
    assert_eq!(root.get(&format!("{STORE}/groups")).await.data()[0]["owner"], "bo@pbs");
    assert_eq!(al.get(&format!("{STORE}/groups")).await.data(), json!([]));
    change(&al, "al@pbs").await.refused(401, "al@pbs");
}

#[tokio::test]
async fn tasks_show_their_owner_only_to_others_with_the_privilege() {
    let server = TestServer::start().await;
    let root = with_snapshot(&server).await;
    let al = server.user("al@pbs", "DatastoreAdmin").await;
    let tasks = "/api2/json/nodes/localhost/tasks";
    assert_eq!(al.get(tasks).await.json()["total"], 0);
    let listed = root.get(tasks).await.json();
    let upid = listed["data"][0]["upid"].as_str().unwrap().replace(':', "%3A").replace('\\', "%5C");
    for path in ["status", "log"] {
        al.get(&format!("{tasks}/{upid}/{path}")).await.refused(403, "/system/tasks");
        root.get(&format!("{tasks}/{upid}/{path}")).await.ok();
    }
    al.delete(&format!("{tasks}/{upid}")).await.refused(403, "/system/tasks");
    let log = root.get(&format!("{tasks}/{upid}/log")).await.json();
    assert!(log.get("active").is_none() && log["success"] == 1);
    root.get(&format!("{tasks}/nonsense/status")).await.refused(400, "upid");
}
