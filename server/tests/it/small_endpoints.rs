//! Small endpoints of the REST API (rest-api.md §2.3 and §3): permissions, identity, what is told of datastores.

use std::collections::BTreeSet;

use coldkeep_server::auth::AclEntry;
use serde_json::{Value, json};

use crate::harness::TestServer;
use crate::live::Live;
use crate::material::{Chunk, backup, noise};
use crate::process::Serve;
use crate::site::{CACHE_BYTES, Site};
use crate::wire::{Auth, Wire};

const PERMISSIONS: &str = "/api2/json/access/permissions";
const USAGE: &str = "/api2/json/status/datastore-usage";
const STORE: &str = "/api2/json/admin/datastore/default";

async fn grant(server: &TestServer, who: &str, path: &str, role: &str, propagate: bool) {
    let (path, who) = (path.parse().unwrap(), who.parse().unwrap());
    let entry = AclEntry { path, who, role: role.parse().unwrap(), propagate };
    server.server.identities().grant(entry).await.unwrap();
}

#[tokio::test]
async fn permissions_are_told_by_path_with_their_propagation() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let al = server.user("al@pbs", "DatastoreBackup").await;
    grant(&server, "al@pbs", "/datastore/default/a", "DatastoreAudit", false).await;
    grant(&server, "al@pbs", "/datastore/default/b", "NoAccess", true).await;
    let own = json!({
        "/datastore/default": { "Datastore.Backup": true },
        "/datastore/default/a": { "Datastore.Audit": false },
    });
    assert_eq!(al.get(PERMISSIONS).await.data(), own);
    assert_eq!(al.get(&format!("{PERMISSIONS}?auth-id=al%40pbs")).await.data(), own);
    assert_eq!(root.get(&format!("{PERMISSIONS}?auth-id=al%40pbs")).await.data(), own);
    // Of one path, also of one that no entry names.
    let at = async |path: &str| al.get(&format!("{PERMISSIONS}?path={path}")).await.data();
    assert_eq!(
        at("/datastore/default/c").await,
        json!({ "/datastore/default/c": { "Datastore.Backup": true } })
    );
    assert_eq!(at("/datastore/default/b/c").await, json!({}));
    assert_eq!(at("/system").await, json!({}));
    // Whose they are not needs Sys.Audit on /access; those of one's own tokens do not.
    al.get(&format!("{PERMISSIONS}?auth-id=root%40pam")).await.refused(403, "/access");
    let token = "al@pbs!ci1";
    let secret = server.server.identities().add_token(token.parse().unwrap(), None).await.unwrap();
    grant(&server, token, "/datastore/default", "DatastoreAdmin", true).await;
    let of_token = al.get(&format!("{PERMISSIONS}?auth-id=al%40pbs%21ci1")).await.data();
    assert_eq!(of_token["/datastore/default"], json!({ "Datastore.Backup": true }), "{of_token}");
    let as_token = Wire { address: server.address, auth: Auth::Token(format!("{token}:{}", *secret)) };
    assert_eq!(as_token.get(PERMISSIONS).await.data(), of_token);
    as_token.get(&format!("{PERMISSIONS}?auth-id=al%40pbs")).await.refused(403, "/access");
    grant(&server, "al@pbs", "/access", "Audit", true).await;
    let of_root = al.get(&format!("{PERMISSIONS}?auth-id=root%40pam")).await.data();
    assert_eq!(of_root["/"]["Sys.Modify"], true);
}

#[tokio::test]
async fn who_sees_a_namespace_only_is_told_no_sizes() {
    let server = TestServer::start().await;
    let root = server.root().await;
    root.post_json(&format!("{STORE}/namespace"), &json!({ "name": "a" })).await.ok();
    let al = server.user("al@pbs", "NoAccess").await;
    grant(&server, "al@pbs", "/datastore/default/a", "DatastoreAudit", true).await;
    let status = al.get(&format!("{STORE}/status?verbose=1")).await.data();
    assert_eq!(status, json!({ "total": 0, "used": 0, "avail": 0, "backend-type": "filesystem" }));
    let seen = json!([{ "store": "default", "mount-status": "nonremovable", "backend-type": "filesystem" }]);
    assert_eq!(al.get(USAGE).await.data(), seen);
    assert_eq!(al.get("/api2/json/admin/datastore").await.data()[0]["store"], "default");
    let no = server.user("no@pbs", "NoAccess").await;
    assert_eq!(no.get(USAGE).await.data(), json!([]));
    // Whoever sees the store is told everything.
    let usage = root.get(USAGE).await.data();
    let names: BTreeSet<&str> = usage[0].as_object().unwrap().keys().map(String::as_str).collect();
    let expected = ["avail", "backend-type", "gc-status", "mount-status", "store", "total", "used"];
    assert_eq!(names, expected.into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_in_a_bucket_tells_what_it_exchanged_with_it() {
    let site = Site::in_bucket(Live::any(), CACHE_BYTES);
    let root = site.wire().await;
    backup(&root, "h1", 1_700_000_000, &[&Chunk::of(noise(1, 5000))]).await;
    let plain = root.get(&format!("{STORE}/status")).await.data();
    assert_eq!((&plain["backend-type"], &plain["s3-statistics"]), (&json!("s3"), &Value::Null));
    assert!(plain["used"].as_u64().unwrap() >= 5000 && plain["avail"].as_u64().unwrap() > 0, "{plain}");
    let verbose = root.get(&format!("{STORE}/status?verbose=true")).await.data();
    let statistics = verbose["s3-statistics"].as_object().unwrap();
    let names: BTreeSet<&str> = statistics.keys().map(String::as_str).collect();
    assert_eq!(names, ["delete", "downloaded", "get", "head", "post", "put", "uploaded"].into());
    assert!(statistics["uploaded"].as_u64().unwrap() >= 5000 && statistics["put"].as_u64().unwrap() > 2);
    assert_eq!(verbose["counts"]["host"], json!({ "groups": 1, "snapshots": 1 }));
    assert_eq!(root.get(USAGE).await.data()[0]["backend-type"], "s3");
}

/// Goal: a datastore that is out of order does not vanish from the list, and what names the server outlives it. Method: the
/// real server, started again after the folder of its store is gone.
#[tokio::test]
async fn a_datastore_that_cannot_be_used_is_told_with_the_reason_and_the_server_stays_who_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let first = Serve::start(folder.path());
    let password = first.value_of("password").unwrap().to_owned();
    let identity = async |serve: &Serve| {
        let root = Wire::login(serve.address, "root@pam", &password).await;
        root.get("/api2/json/nodes/localhost/identity").await.data()
    };
    let before = identity(&first).await;
    let id = before["pbs-instance-id"].as_str().unwrap();
    assert!(id.len() == 32 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{before}");
    assert!(first.terminate().await);
    std::fs::rename(folder.path().join("stores/default"), folder.path().join("stores/gone")).unwrap();

    let second = Serve::start(folder.path());
    assert_eq!(identity(&second).await, before);
    let root = Wire::login(second.address, "root@pam", &password).await;
    let usage = root.get(USAGE).await.data();
    assert_eq!((usage.as_array().unwrap().len(), &usage[0]["store"]), (1, &json!("default")), "{usage}");
    assert!(usage[0]["error"].as_str().unwrap().contains("default"), "{usage}");
    assert_eq!(usage[0]["total"], Value::Null);
    let listed = root.get("/api2/json/admin/datastore").await.data();
    assert_eq!((&listed[0]["store"], &listed[0]["backend-type"]), (&json!("default"), &json!("filesystem")));
    root.get(&format!("{STORE}/status")).await.refused(400, "default");
}
