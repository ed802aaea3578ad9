//! The list of datastores, through REST and from the command line.

use coldkeep_server::auth::AclEntry;
use serde_json::{Value, json};

use crate::cli::Place;
use crate::harness::TestServer;
use crate::process::Serve;
use crate::wire::{Answer, Wire};

const STORES: &str = "/api2/json/config/datastore";

/// Waits for the end of the task that an answer names, and returns how it ended.
async fn ended(server: &TestServer, answer: &Answer) -> String {
    let upid = answer.data().as_str().unwrap().to_owned();
    match server.client().wait_task(&upid, |_| {}).await {
        Ok(status) => status.exitstatus.unwrap(),
        Err(coldkeep_client::TaskError::Failed { status, .. }) => status,
        Err(error) => panic!("{error}"),
    }
}

async fn names(wire: &Wire) -> Vec<Value> {
    wire.get(STORES).await.data().as_array().unwrap().iter().map(|config| config["name"].clone()).collect()
}

#[tokio::test]
async fn datastores_are_made_shown_changed_and_taken_off_the_list() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let folder = server.folder().join("elsewhere");
    let new = json!({ "name": "tank", "path": folder, "comment": "second" });
    assert_eq!(ended(&server, &root.post_json(STORES, &new).await).await, "OK");
    assert!(folder.join(".chunks").is_dir());
    assert!(ended(&server, &root.post_json(STORES, &new).await).await.contains("tank exists already"));
    let one = format!("{STORES}/tank");
    let shown = root.get(&one).await.data();
    assert_eq!((&shown["path"], &shown["comment"]), (&json!(folder), &json!("second")));
    root.get("/api2/json/admin/datastore/tank/status").await.ok();
    root.put(&format!("{one}?comment=third")).await.ok();
    assert_eq!(root.get(&one).await.data()["comment"], "third");
    root.put(&format!("{one}?comment=")).await.ok();
    assert!(root.get(&one).await.data().get("comment").is_none());
    root.put(&format!("{one}?cache-size=5")).await.refused(400, "not in a bucket");

    assert_eq!(ended(&server, &root.delete(&one).await).await, "OK");
    root.get(&one).await.refused(400, "no such datastore: tank");
    assert!(folder.join(".chunks").is_dir(), "content was removed");
    // What is there is taken; then all of it goes.
    assert_eq!(ended(&server, &root.post_json(STORES, &new).await).await, "OK");
    assert_eq!(ended(&server, &root.delete(&format!("{one}?destroy-data=true")).await).await, "OK");
    assert!(!folder.exists());
    assert_eq!(names(&root).await, ["default"]);
    assert!(ended(&server, &root.delete(&one).await).await.contains("no such datastore: tank"));
}

#[tokio::test]
async fn bad_values_are_refused_with_their_names() {
    let server = TestServer::start().await;
    let root = server.root().await;
    for (name, value) in [
        ("name", json!("a/b")),
        ("name", Value::Null),
        ("path", json!("relative")),
        ("path", json!("/srv/../etc")),
        ("backend-type", json!("tape")),
        ("endpoint", json!("no url")),
        ("bucket", json!("B")),
        ("prefix", json!("/x")),
        ("cache-size", json!(-1)),
        ("request-lifetime", json!(0)),
        ("request-lifetime", json!(901)),
        ("expiry-margin", json!(1)),
        ("check", json!("perhaps")),
        ("secret-key", json!("x".repeat(2000))),
        ("comment", json!("x".repeat(1000))),
    ] {
        let mut new = json!({ "name": "tank" });
        new[name] = value;
        root.post_json(STORES, &new).await.refused(400, name);
    }
    let bucket = json!({ "name": "tank", "backend-type": "s3", "endpoint": "https://s3.example.com" });
    root.post_json(STORES, &bucket).await.refused(400, "bucket");
    let key = json!({ "name": "tank", "backend-type": "s3", "endpoint": "https://s3.example.com", "bucket": "backups", "access-key": "x" });
    root.post_json(STORES, &key).await.refused(400, "secret-key");
    let folder = json!({ "name": "tank", "bucket": "backups" });
    root.post_json(STORES, &folder).await.refused(400, "backend-type s3");
    assert_eq!(names(&root).await, ["default"]);
}

#[tokio::test]
async fn who_may_see_and_change_datastores_is_said_by_the_access_list() {
    let server = TestServer::start().await;
    let root = server.root().await;
    assert_eq!(ended(&server, &root.post_json(STORES, &json!({ "name": "tank" })).await).await, "OK");
    let admin = server.user("al@pbs", "DatastoreAdmin").await;
    let backup = server.user("bo@pbs", "DatastoreBackup").await;
    let allocator = server.user("cy@pbs", "NoAccess").await;
    let (path, who) = ("/datastore/tank".parse().unwrap(), "cy@pbs".parse().unwrap());
    let entry = AclEntry { path, who, role: "Admin".parse().unwrap(), propagate: true };
    server.server.identities().grant(entry).await.unwrap();
    assert_eq!(names(&admin).await, ["default"]);
    assert!(names(&backup).await.is_empty());
    assert_eq!(names(&allocator).await, ["tank"]);
    for store in ["tank", "nosuch"] {
        let (one, denied) = (format!("{STORES}/{store}"), format!("failed on /datastore/{store}"));
        admin.get(&one).await.refused(403, &denied);
        admin.put(&format!("{one}?comment=x")).await.refused(403, &denied);
        admin.delete(&one).await.refused(403, &denied);
    }
    admin.delete(&format!("{STORES}/default?destroy-data=1")).await.refused(403, "/datastore/default");
    for wire in [&admin, &allocator] {
        wire.post_json(STORES, &json!({ "name": "new" })).await.refused(403, "failed on /datastore");
    }
    allocator.put(&format!("{STORES}/tank?comment=x")).await.ok();
    let removed = allocator.delete(&format!("{STORES}/tank")).await;
    assert_eq!(ended(&server, &removed).await, "OK");
    assert_eq!(names(&root).await, ["default"]);
}

#[test]
fn the_command_line_manages_the_datastores_of_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(&folder.path().join("data"));
    let place = Place::server(&serve);
    let elsewhere = place.path("elsewhere").display().to_string();
    assert!(place.failure(&["datastore", "create", "tank", "elsewhere"]).contains("the whole path"));
    assert_eq!(place.json(&["datastore", "create", "tank", &elsewhere]), json!({ "name": "tank" }));
    assert!(place.failure(&["datastore", "create", "tank"]).contains("tank exists already"));
    place.text(&["datastore", "create", "pool", "--comment", "below the data folder"]);
    assert!(folder.path().join("data/stores/pool/.chunks").is_dir());
    assert_eq!(place.json(&["datastore", "list"]).as_array().unwrap().len(), 3);
    assert_eq!(place.json(&["datastore", "show", "tank"])["path"], elsewhere);
    place.text(&["datastore", "remove", "tank"]);
    assert!(place.failure(&["datastore", "remove", "tank"]).contains("no such datastore: tank"));
    let bucket = ["--backend", "s3", "--endpoint", "https://s3.example.com", "--bucket", "backups"];
    let refused = place.failure(&[&["datastore", "create", "cloud"], &bucket[..]].concat());
    assert!(refused.contains("made on the data folder"), "{refused}");
}
