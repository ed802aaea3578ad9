//! Pruning over REST: what stays and why, of one group and of all groups of a datastore.

use coldkeep_server::auth::AclEntry;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::harness::TestServer;
use crate::material::{
    BACKUP, Chunk, backup, backup_path, begin, eventually, finish, noise, open, triple, write_blob,
    write_dynamic,
};
use crate::rest::{assert_same_shape, vector};
use crate::wire::{Answer, Wire};

const TIME: i64 = 1_700_000_000;
const STORE: &str = "/api2/json/admin/datastore/default";

/// Prunes `host/h1` with more parameters.
async fn prune(wire: &Wire, more: &Value) -> Answer {
    let mut body = json!({ "backup-id": "h1", "backup-type": "host" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    wire.post_json(&format!("{STORE}/prune"), &body).await
}

/// What an answer says of each snapshot, oldest first.
fn verdicts(answer: &Answer) -> Vec<(bool, String)> {
    let data = answer.data();
    let items = data.as_array().unwrap().iter();
    items.map(|item| (item["keep"] == true, item["reason"].as_str().unwrap().to_owned())).collect()
}

fn verdict(keep: bool, reason: &str) -> (bool, String) {
    (keep, reason.to_owned())
}

/// The times of the snapshots of a namespace, as id and seconds after [`TIME`].
async fn snapshots(root: &Wire, ns: &str) -> Vec<(String, i64)> {
    let listed = root.get(&format!("{STORE}/snapshots?ns={ns}")).await.data();
    let mut snapshots: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|item| {
            (item["backup-id"].as_str().unwrap().to_owned(), item["backup-time"].as_i64().unwrap() - TIME)
        })
        .collect();
    snapshots.sort();
    snapshots
}

fn named(snapshots: &[(&str, i64)]) -> Vec<(String, i64)> {
    snapshots.iter().map(|(id, time)| ((*id).to_owned(), *time)).collect()
}

/// Waits until the server has seen the end of every session: what they used is free again.
async fn settle(root: &Wire) {
    let is_idle = |answer: &Answer| answer.data() == json!({ "read": 0, "write": 0 });
    eventually(root, &format!("{STORE}/active-operations"), is_idle).await;
}

/// A backup of one small file in a namespace.
async fn backup_in(wire: &Wire, ns: &str, id: &str, time: i64) {
    let path = backup_path(id, time, &format!("&ns={}", ns.replace('/', "%2F")));
    let session = wire.upgrade(&path, BACKUP).await.unwrap();
    let listed = write_blob(&session, "y.conf.blob", b"x").await;
    finish(&session, id, time, &[listed]).await.ok();
    session.drop_connection().await;
}

/// Waits for the end of a task that an answer names; returns its log without the times, and its exit status.
async fn ended(wire: &Wire, answer: &Answer) -> (Vec<String>, String) {
    let upid = answer.data().as_str().unwrap().to_owned();
    let task = format!("/api2/json/nodes/localhost/tasks/{}", utf8_percent_encode(&upid, NON_ALPHANUMERIC));
    let log = eventually(wire, &format!("{task}/log?limit=0&test-status=true"), |answer| {
        answer.json()["active"] == false
    })
    .await;
    let json = log.json();
    let lines = json["data"].as_array().unwrap().iter();
    let lines = lines.map(|line| line["t"].as_str().unwrap()[27..].to_owned()).collect();
    let status = wire.get(&format!("{task}/status")).await.data();
    (lines, status["exitstatus"].as_str().unwrap().to_owned())
}

#[track_caller]
fn assert_says(log: &[String], wanted: &[&str]) {
    for line in wanted {
        assert!(log.iter().any(|said| said.contains(line)), "{line} is not in {log:#?}");
    }
}

#[tokio::test]
async fn prune_keeps_what_the_rules_say_and_tells_why() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let chunk = Chunk::of(noise(1, 100));
    for time in [TIME, TIME + 1, TIME + 2, TIME + 3] {
        backup(&root, "h1", time, &[&chunk]).await;
    }
    prune(&root, &json!({ "keep-last": 0 })).await.refused(400, "keep-last");
    prune(&root, &json!({ "keep-last": 1, "ns": "no/such" })).await.refused(400, "no/such");
    assert_eq!(verdicts(&prune(&root, &json!({})).await), [(); 4].map(|()| verdict(true, "no-rule-given")));
    let dry = prune(&root, &json!({ "dry-run": true, "keep-last": 1, "keep-daily": 9 })).await;
    // One member is our own.
    assert_same_shape(&dry.json(), &vector("prune"), &["ns", "reason"]);
    let expected = [
        verdict(false, "no-rule-left"),
        verdict(false, "no-rule-left"),
        verdict(false, "no-rule-left"),
        verdict(true, "keep-last"),
    ];
    assert_eq!(verdicts(&dry), expected);
    assert_eq!((&dry.data()[0]["backup-time"], &dry.data()[0]["ns"]), (&json!(TIME), &json!("")));
    let dry = prune(&root, &json!({ "dry-run": true, "keep-yearly": 1 })).await;
    assert_eq!(verdicts(&dry)[2..], [verdict(false, "keep-yearly"), verdict(true, "keep-yearly")]);
    assert_eq!(snapshots(&root, "").await.len(), 4);

    root.put(&format!("{STORE}/protected?{}&protected=true", triple("h1", TIME))).await.ok();
    settle(&root).await;
    let pruned = prune(&root, &json!({ "keep-last": 1 })).await;
    assert_eq!(
        pruned.data()[0],
        json!({
            "backup-id": "h1", "backup-time": TIME, "backup-type": "host", "keep": true, "protected": true,
            "reason": "protected",
        })
    );
    let expected = [
        verdict(true, "protected"),
        verdict(false, "no-rule-left"),
        verdict(false, "no-rule-left"),
        verdict(true, "keep-last"),
    ];
    assert_eq!(verdicts(&pruned), expected);
    assert_eq!(snapshots(&root, "").await, named(&[("h1", 0), ("h1", 3)]));
    let upid = prune(&root, &json!({ "keep-last": 1, "use-task": true })).await;
    let (log, status) = ended(&root, &upid).await;
    assert_says(&log, &["kept host/h1/2023-11-14T22:13:20Z: protected", "22:13:23Z: keep-last"]);
    assert_eq!(status, "OK");
}

#[tokio::test]
async fn prune_keeps_what_is_read() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let chunk = Chunk::of(noise(1, 5000));
    for time in [TIME, TIME + 1, TIME + 2] {
        backup(&root, "h1", time, &[&chunk]).await;
    }
    settle(&root).await;
    let reader = open(&root, "h1", TIME).await;
    let rule = json!({ "keep-last": 1 });
    let expected = [verdict(true, "in-use"), verdict(false, "no-rule-left"), verdict(true, "keep-last")];
    assert_eq!(verdicts(&prune(&root, &rule).await), expected);
    reader.get("/download?file-name=a.bin.didx").await.ok();
    assert_eq!(reader.get(&format!("/chunk?digest={}", chunk.digest)).await.ok().body, chunk.encoded);
    // It is no error, but nothing to pass over either.
    let task = prune(&root, &json!({ "keep-last": 1, "use-task": true })).await;
    let (log, status) = ended(&root, &task).await;
    assert_says(&log, &["WARNING: kept host/h1/2023-11-14T22:13:20Z: ", "in use"]);
    assert_eq!(status, "WARNINGS: 1");
    reader.drop_connection().await;
    settle(&root).await;
    assert_eq!(verdicts(&prune(&root, &rule).await), expected[1..]);
}

/// Goal: a running backup stays, and so does what it builds on, whatever the rules make of it.
/// Method: prunes during a session; then again beside a newer folder that an earlier session left, which looks more like a
/// running backup than the one that is.
#[tokio::test]
async fn prune_keeps_a_running_backup() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let chunk = Chunk::of(noise(1, 5000));
    for time in [TIME, TIME + 1] {
        backup(&root, "h1", time, &[&chunk]).await;
    }
    settle(&root).await;
    let session = begin(&root, "h1", TIME + 2).await;
    session.get("/previous?archive-name=a.bin.didx").await.ok();
    let expected =
        [verdict(false, "no-rule-left"), verdict(true, "keep-daily"), verdict(true, "may-be-running")];
    // All are of one day: the running one does not stand for it.
    let pruned = prune(&root, &json!({ "keep-daily": 1 })).await;
    assert_eq!(verdicts(&pruned)[1..], expected[1..]);
    let left = server.store_folder().join("host/h1/2023-11-14T22:14:00Z");
    std::fs::create_dir(&left).unwrap();
    let beside_left =
        |running: (bool, String)| [verdict(true, "keep-daily"), running, verdict(true, "may-be-running")];
    let dry = prune(&root, &json!({ "keep-daily": 1, "dry-run": true })).await;
    assert_eq!(verdicts(&dry), beside_left(verdict(false, "left-unfinished")));
    let pruned = prune(&root, &json!({ "keep-daily": 1 })).await;
    assert_eq!(verdicts(&pruned), beside_left(verdict(true, "in-use")));

    let listed = write_dynamic(&session, "a.bin.didx", &[&chunk], false).await;
    finish(&session, "h1", TIME + 2, &[listed]).await.ok();
    session.drop_connection().await;
    settle(&root).await;
    assert_eq!(snapshots(&root, "").await, named(&[("h1", 1), ("h1", 2), ("h1", 40)]));
    // The next backup is newer than what was left: that goes now, and it was nobody's.
    backup(&root, "h1", TIME + 60, &[&chunk]).await;
    settle(&root).await;
    let expected = [
        verdict(false, "keep-daily"),
        verdict(false, "keep-daily"),
        verdict(false, "left-unfinished"),
        verdict(true, "keep-daily"),
    ];
    assert_eq!(verdicts(&prune(&root, &json!({ "keep-daily": 1 })).await), expected);
    assert!(!left.exists());
}

#[tokio::test]
async fn prune_datastore_goes_through_all_groups_and_namespaces() {
    let server = TestServer::start().await;
    let root = server.root().await;
    for name in ["a", "b"] {
        root.post_json(&format!("{STORE}/namespace"), &json!({ "name": name })).await.ok();
    }
    root.post_json(&format!("{STORE}/namespace"), &json!({ "name": "c", "parent": "a" })).await.ok();
    for time in [TIME, TIME + 1] {
        for (ns, id) in [("", "h1"), ("", "h2"), ("a", "h1"), ("a/c", "h1"), ("b", "h1")] {
            backup_in(&root, ns, id, time).await;
        }
    }
    settle(&root).await;
    let path = format!("{STORE}/prune-datastore");
    for (body, named) in [
        (json!({ "keep-last": 0 }), "keep-last"),
        (json!({ "keep-last": "x" }), "keep-last"),
        (json!({ "keep-last": 1, "max-depth": 8 }), "max-depth"),
        (json!({ "keep-last": 1, "ns": "no/such" }), "no/such"),
        (json!({ "keep-last": 1, "backup-id": "h1" }), "backup-id"),
    ] {
        root.post_json(&path, &body).await.refused(400, named);
    }
    root.post_json(&path.replace("default", "tank"), &json!({})).await.refused(400, "tank");
    let run = async |body: Value| {
        let answer = root.post_json(&path, &body).await;
        let (log, status) = ended(&root, &answer).await;
        assert_eq!(status, "OK", "{log:#?}");
        (answer.data().as_str().unwrap().to_owned(), log)
    };
    let both = |id: &'static str| named(&[(id, 0), (id, 1)]);

    let (_, log) = run(json!({})).await;
    assert_says(&log, &["no rule is given", "kept host/h1/2023-11-14T22:13:20Z: no-rule-given"]);
    let (upid, log) = run(json!({ "keep-last": 1, "keep-weekly": 4, "dry-run": true })).await;
    assert!(upid.contains(":prune:default:root@pam:"), "{upid}");
    assert_says(
        &log,
        &[
            "keep-last=1 keep-weekly=4",
            "prune group host/h1 in namespace a/c",
            "would remove host/h1/2023-11-14T22:13:20Z: no-rule-left",
            "would keep host/h1/2023-11-14T22:13:21Z: keep-last",
            "5 groups: 5 snapshots would be removed, 5 would be kept",
        ],
    );
    assert_eq!(snapshots(&root, "a").await, both("h1"));

    let (upid, _) = run(json!({ "keep-last": 1, "ns": "a", "max-depth": 0 })).await;
    assert!(upid.contains(":prune:default\\x3aa:root@pam:"), "{upid}");
    assert_eq!(snapshots(&root, "a").await, named(&[("h1", 1)]));
    for ns in ["", "b", "a%2Fc"] {
        assert_eq!(snapshots(&root, ns).await.iter().filter(|(id, _)| id == "h1").count(), 2, "{ns}");
    }
    let (_, log) = run(json!({ "keep-last": 1 })).await;
    assert_says(&log, &["5 groups: 4 snapshots removed, 5 kept"]);
    assert_eq!(snapshots(&root, "").await, named(&[("h1", 1), ("h2", 1)]));
    assert_eq!(snapshots(&root, "a%2Fc").await, named(&[("h1", 1)]));
}

#[tokio::test]
async fn prune_datastore_goes_on_after_a_group_that_fails() {
    let server = TestServer::start().await;
    let root = server.root().await;
    for time in [TIME, TIME + 1] {
        for id in ["h1", "h2", "h3"] {
            backup(&root, id, time, &[&Chunk::of(noise(1, 100))]).await;
        }
    }
    settle(&root).await;
    // Where the manifest should be lies a folder: nobody knows what that is, so it is not removed.
    let manifest = server.store_folder().join("host/h1/2023-11-14T22:13:20Z/index.json.blob");
    std::fs::remove_file(&manifest).unwrap();
    std::fs::create_dir(&manifest).unwrap();
    let reader = open(&root, "h2", TIME).await;
    let path = format!("{STORE}/prune-datastore");
    let (log, status) = ended(&root, &root.post_json(&path, &json!({ "keep-last": 1 })).await).await;
    assert!(status.starts_with("1 groups or namespaces could not be pruned"), "{status}");
    assert_says(
        &log,
        &[
            "could not prune group host/h1: cannot remove snapshot host/h1/2023-11-14T22:13:20Z: ",
            "WARNING: kept host/h2/2023-11-14T22:13:20Z: ",
            "removed host/h3/2023-11-14T22:13:20Z: no-rule-left",
        ],
    );
    std::fs::remove_dir(&manifest).unwrap();
    let left = named(&[("h1", 0), ("h1", 1), ("h2", 0), ("h2", 1), ("h3", 1)]);
    assert_eq!(snapshots(&root, "").await, left);
    let (log, status) = ended(&root, &root.post_json(&path, &json!({ "keep-last": 1 })).await).await;
    assert_eq!(status, "WARNINGS: 1", "{log:#?}");
    assert_says(&log, &["removed host/h1/2023-11-14T22:13:20Z: left-unfinished"]);
    reader.drop_connection().await;
}

#[tokio::test]
async fn prune_datastore_does_no_more_than_its_caller_may() {
    let server = TestServer::start().await;
    let root = server.root().await;
    for name in ["secret", "handed"] {
        root.post_json(&format!("{STORE}/namespace"), &json!({ "name": name })).await.ok();
    }
    let al = server.user("al@pbs", "DatastorePowerUser").await;
    let bo = server.user("bo@pbs", "DatastoreAdmin").await;
    for (place, who, role) in [("handed", "al@pbs", "DatastoreAdmin"), ("secret", "bo@pbs", "NoAccess")] {
        let path = format!("/datastore/default/{place}").parse().unwrap();
        let (who, role) = (who.parse().unwrap(), role.parse().unwrap());
        server.server.identities().grant(AclEntry { path, who, role, propagate: true }).await.unwrap();
    }
    for time in [TIME, TIME + 1] {
        backup_in(&al, "", "own", time).await;
        for ns in ["", "secret", "handed"] {
            backup_in(&root, ns, "theirs", time).await;
        }
    }
    settle(&root).await;
    let path = format!("{STORE}/prune-datastore");
    let rule = json!({ "keep-last": 1 });
    for role in ["DatastoreBackup", "DatastoreReader"] {
        let user = server.user(&format!("{}@pbs", role.to_lowercase()), role).await;
        user.post_json(&path, &rule).await.refused(403, "/datastore/default");
    }
    bo.post_json(&path, &json!({ "keep-last": 1, "ns": "secret" })).await.refused(403, "secret");

    let both = named(&[("theirs", 0), ("theirs", 1)]);
    let (log, status) = ended(&al, &al.post_json(&path, &rule).await).await;
    assert_eq!(status, "OK");
    assert!(!log.iter().any(|line| line == "prune group host/theirs"), "{log:#?}");
    assert_eq!(snapshots(&root, "").await, named(&[("own", 1), ("theirs", 0), ("theirs", 1)]));
    assert_eq!(snapshots(&root, "handed").await, named(&[("theirs", 1)]));
    assert_eq!(snapshots(&root, "secret").await, both);
    ended(&bo, &bo.post_json(&path, &rule).await).await;
    assert_eq!(snapshots(&root, "").await, named(&[("own", 1), ("theirs", 1)]));
    assert_eq!(snapshots(&root, "secret").await, both);
}
