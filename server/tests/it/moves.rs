//! Moves of groups and namespaces through the REST API: what they do, who may, what waits for whom (R16).

use std::time::Duration;

use coldkeep_datastore::Namespace;
use coldkeep_server::auth::AclEntry;
use serde_json::json;

use crate::harness::TestServer;
use crate::material::{Chunk, backup, eventually, noise, task_end, triple};
use crate::wire::Wire;

const TIME: i64 = 1_700_000_000;
const STORE: &str = "/api2/json/admin/datastore/default";

/// A server with `host/h1` of the root user, `host/own` of `joe@pbs`, and the namespaces `a` and `a/b`.
async fn scene(role: &str) -> (TestServer, Wire, Wire) {
    let server = TestServer::start().await;
    let root = server.root().await;
    let joe = server.user("joe@pbs", role).await;
    backup(&root, "h1", TIME, &[&Chunk::of(noise(1, 5000))]).await;
    backup(&root, "own", TIME, &[&Chunk::of(noise(2, 5000))]).await;
    // The end of a session is seen by the server a moment later.
    eventually(&root, &format!("{STORE}/active-operations"), |answer| answer.data()["write"] == 0).await;
    let owner = json!({ "backup-type": "host", "backup-id": "own", "new-owner": "joe@pbs" });
    root.post_json(&format!("{STORE}/change-owner"), &owner).await.ok();
    for (name, parent) in [("a", ""), ("b", "a")] {
        let made = json!({ "name": name, "parent": parent });
        root.post_json(&format!("{STORE}/namespace"), &made).await.ok();
    }
    (server, root, joe)
}

fn group(id: &str, to: &str) -> serde_json::Value {
    json!({ "backup-type": "host", "backup-id": id, "target-ns": to })
}

async fn grant(server: &TestServer, path: &str, role: &str) {
    let (path, who, role) = (path.parse().unwrap(), "joe@pbs".parse().unwrap(), role.parse().unwrap());
    server.server.identities().grant(AclEntry { path, who, role, propagate: true }).await.unwrap();
}

async fn ids(wire: &Wire, ns: &str) -> Vec<String> {
    let groups = wire.get(&format!("{STORE}/groups?ns={ns}")).await.data();
    groups.as_array().unwrap().iter().map(|item| item["backup-id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn groups_and_namespaces_move() {
    let (_server, root, _) = scene("NoAccess").await;
    root.post_json(&format!("{STORE}/move-group"), &group("h1", "a/b")).await.ok();
    assert_eq!(task_end(&root, "move-group").await, "OK");
    assert_eq!((ids(&root, "").await, ids(&root, "a/b").await), (vec!["own".into()], vec!["h1".into()]));
    let order = json!({ "ns": "a", "target-ns": "x" });
    root.post_json(&format!("{STORE}/move-namespace"), &order).await.ok();
    assert_eq!(task_end(&root, "move-namespace").await, "OK");
    assert_eq!(ids(&root, "x/b").await, ["h1"]);
    let listed = root.get(&format!("{STORE}/namespace")).await.data();
    assert_eq!(listed, json!([{ "ns": "" }, { "ns": "x" }, { "ns": "x/b" }]));

    root.post_json(&format!("{STORE}/move-group"), &group("nosuch", "x")).await.ok();
    assert!(task_end(&root, "move-group").await.contains("no group host/nosuch"));
    let order = json!({ "ns": "", "target-ns": "y" });
    root.post_json(&format!("{STORE}/move-namespace"), &order).await.refused(400, "root namespace");
}

#[tokio::test]
async fn own_groups_move_where_their_owner_may_back_up() {
    let (server, root, joe) = scene("DatastorePowerUser").await;
    let path = format!("{STORE}/move-group");
    grant(&server, "/datastore/default/a/b", "DatastoreAudit").await;
    joe.post_json(&path, &group("own", "a/b")).await.refused(403, "/datastore/default/a/b");
    joe.post_json(&path, &group("h1", "a")).await.refused(400, "owner");
    let order = json!({ "ns": "a", "target-ns": "x" });
    joe.post_json(&format!("{STORE}/move-namespace"), &order).await.refused(403, "/datastore/default");
    joe.post_json(&path, &group("own", "a")).await.ok();
    assert_eq!(task_end(&root, "move-group").await, "OK");
    assert_eq!(ids(&joe, "a").await, ["own"]);

    // What it becomes must be theirs to change, too.
    grant(&server, "/datastore/default/secret", "NoAccess").await;
    grant(&server, "/datastore/default", "DatastoreAdmin").await;
    root.post_json(&format!("{STORE}/namespace"), &json!({ "name": "mine" })).await.ok();
    let to_secret = json!({ "ns": "mine", "target-ns": "secret" });
    joe.post_json(&format!("{STORE}/move-namespace"), &to_secret)
        .await
        .refused(403, "/datastore/default/secret");

    // A namespace inside it that its mover may not change keeps all of it in place.
    grant(&server, "/datastore/default", "DatastoreAdmin").await;
    joe.post_json(&format!("{STORE}/move-namespace"), &order).await.refused(403, "/datastore/default/a/b");
    // Whoever may only change where it comes from backs up into the other place as anyone else.
    joe.post_json(&path, &group("h1", "a/b")).await.refused(403, "/datastore/default/a/b");
    grant(&server, "/datastore/default/a/b", "DatastoreBackup").await;
    joe.post_json(&path, &group("h1", "a/b")).await.refused(400, "owner");
}

/// R16: a move is refused as long as a collection runs, which takes its time here.
#[tokio::test]
async fn a_move_is_refused_while_a_collection_runs() {
    let server = TestServer::with_grace(Duration::ZERO).await;
    let root = server.root().await;
    let chunks: Vec<Chunk> = (0..4).map(|seed| Chunk::of(noise(seed, 5000))).collect();
    backup(&root, "gone", TIME, &chunks.iter().collect::<Vec<_>>()).await;
    backup(&root, "h1", TIME, &[&Chunk::of(noise(9, 5000))]).await;
    eventually(&root, &format!("{STORE}/active-operations"), |answer| answer.data()["write"] == 0).await;
    root.delete(&format!("{STORE}/snapshots?{}", triple("gone", TIME))).await.ok();
    root.post_json(&format!("{STORE}/namespace"), &json!({ "name": "a" })).await.ok();
    let upid = root.post_json(&format!("{STORE}/gc"), &json!({ "max-delete-rate": 1 })).await.data();
    let log = format!("/api2/json/nodes/localhost/tasks/{}/log?limit=0", upid.as_str().unwrap());
    eventually(&root, &log, |answer| answer.text().contains("starting garbage collection")).await;
    root.post_json(&format!("{STORE}/move-group"), &group("h1", "a")).await.ok();
    let end = task_end(&root, "move-group").await;
    assert!(end.contains("a garbage collection is running"), "{end}");
    assert_eq!(task_end(&root, "garbage_collection").await, "OK");
    root.post_json(&format!("{STORE}/move-group"), &group("h1", "a")).await.ok();
    assert_eq!(task_end(&root, "move-group").await, "OK");
}

/// R16: a move is refused while a collection runs, and a collection waits for a move.
#[tokio::test]
async fn moves_and_collections_exclude_each_other() {
    let (server, root, _) = scene("NoAccess").await;
    let store = server.server.datastore(&"default".parse().unwrap()).unwrap();
    let collecting = store.pause_moves().await;
    root.post_json(&format!("{STORE}/move-group"), &group("h1", "a")).await.ok();
    assert!(task_end(&root, "move-group").await.contains("a garbage collection is running"));
    drop(collecting);
    let moves = store.begin_moves().unwrap();
    let upid = root.post(&format!("{STORE}/gc")).await.data();
    let log = format!("/api2/json/nodes/localhost/tasks/{}/log", upid.as_str().unwrap());
    eventually(&root, &log, |answer| answer.text().contains("waiting for a move to end")).await;
    root.post_json(&format!("{STORE}/move-group"), &group("h1", "a")).await.ok();
    assert!(task_end(&root, "move-group").await.contains("another move is running"));
    drop(moves);
    assert_eq!(task_end(&root, "garbage_collection").await, "OK");
    assert_eq!(store.group_names(&Namespace::root()).await.unwrap().len(), 2);
}
