//! Pruning over REST: what stays and why.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::harness::TestServer;
use crate::material::{Chunk, backup, begin, eventually, finish, noise, open, triple, write_dynamic};
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
