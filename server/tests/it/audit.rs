//! The audit log of a server: what stands in it, and what does not.

use std::path::Path;

use coldkeep_chunk_store::Digest;
use serde_json::{Value, json};

use crate::cli::Place;
use crate::harness::{PASSWORD, TestServer};
use crate::material::{BACKUP, Chunk, READER, backup, backup_path, begin, open, reader_path};
use crate::wire::{Auth, Wire};

const TIME: i64 = 1_700_000_000;
const STORE: &str = "/api2/json/admin/datastore/default";

/// The lines of a data folder's log, each without its time, and where there is an address, without that.
fn lines(data: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(data.join("log/audit.log")).unwrap();
    let parse = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let time = line.as_object_mut().unwrap().remove("time").unwrap();
        assert!(time.as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{time}");
        let address = line.as_object_mut().unwrap().remove("address");
        assert!(address.is_none_or(|address| address == "127.0.0.1"));
        line
    };
    text.lines().map(parse).collect()
}

/// What was added since the last call.
async fn news(server: &TestServer, seen: &mut usize) -> Vec<Value> {
    server.server.audit().flush().await;
    let mut lines = lines(&server.folder().join("data"));
    let news = lines.split_off(*seen);
    *seen += news.len();
    news
}

#[tokio::test]
async fn changes_logins_and_denials_have_a_line_each_and_reads_have_none() {
    let server = TestServer::start().await;
    let mut seen = 0;
    let root = server.root().await;
    let login = news(&server, &mut seen).await;
    let params = json!({ "http-only": "false", "password": "(secret)", "username": "root@pam" });
    let line = json!({ "who": "root@pam", "method": "POST", "path": "/access/ticket", "params": params, "status": 200 });
    assert_eq!(login, [line]);

    root.get(&format!("{STORE}/status")).await.ok();
    root.get("/api2/json/ping").await.ok();
    root.get(&format!("{STORE}/files?backup-id=x")).await.refused(400, "");
    root.get("/api2/json/nosuch").await.refused(404, "");
    assert_eq!(news(&server, &mut seen).await, [] as [Value; 0]);

    let user = json!({ "userid": "joe@pbs", "password": PASSWORD, "comment": "x" });
    root.post_json("/api2/json/config/user", &user).await.ok();
    root.post_json("/api2/json/config/user", &user).await.refused(400, "exists already");
    root.put("/api2/json/config/user/joe%40pbs?password=a+new+password").await.ok();
    let lines = news(&server, &mut seen).await;
    let params = json!({ "comment": "x", "enable": "true", "password": "(secret)", "userid": "joe@pbs" });
    let line = json!({ "who": "root@pam", "method": "POST", "path": "/config/user", "params": params, "status": 200 });
    assert_eq!(lines[0], line);
    assert_eq!((&lines[1]["status"], &lines[1]["error"]), (&json!(400), &json!("joe@pbs exists already")));
    let params = json!({ "password": "(secret)", "userid": "joe@pbs" });
    assert_eq!((&lines[2]["path"], &lines[2]["params"]), (&json!("/config/user/{userid}"), &params));
    assert_eq!(lines.len(), 3);

    // Refused rights, of a GET too; refused credentials, with what they claimed.
    let joe = Wire::login(server.address, "joe@pbs", "a new password").await;
    joe.get(&format!("{STORE}/groups")).await.refused(403, "");
    joe.get("/metrics").await.refused(403, "");
    let nobody = Wire::nobody(server.address);
    nobody.get(&format!("{STORE}/groups")).await.refused(401, "");
    nobody.get("/api2/json/some/where?secret=x").await.refused(401, "");
    let wrong = json!({ "username": "joe@pbs", "password": "a wrong password" });
    nobody.post_json("/api2/json/access/ticket", &wrong).await.refused(401, "");
    let token = Wire { address: server.address, auth: Auth::Token("joe@pbs!ci:geheim".to_owned()) };
    token.get("/api2/json/version").await.refused(401, "");
    let lines = news(&server, &mut seen).await;
    let short: Vec<Value> = lines
        .iter()
        .map(|line| json!([line["who"], line["claims"], line["method"], line["path"], line["status"]]))
        .collect();
    let groups = "/admin/datastore/{store}/groups";
    assert_eq!(
        Value::from(short),
        json!([
            ["joe@pbs", null, "POST", "/access/ticket", 200],
            ["joe@pbs", null, "GET", groups, 403],
            ["joe@pbs", null, "GET", "/metrics", 403],
            [null, null, "GET", groups, 401],
            [null, null, "GET", "/api2/json/some/where", 401],
            [null, null, "POST", "/access/ticket", 401],
            [null, "joe@pbs!ci", "GET", "/version", 401],
        ])
    );
    assert_eq!(lines[1]["error"], "permission check failed on /datastore/default");
    assert_eq!(lines[2]["error"], "permission check failed on /system/metrics");

    let text = std::fs::read_to_string(server.folder().join("data/log/audit.log")).unwrap();
    for secret in [PASSWORD, "password\":\"a", "new password", "wrong", "geheim", "secret=x", "PBS:"] {
        assert!(!text.contains(secret), "{secret} stands in {text}");
    }
}

#[tokio::test]
async fn sessions_have_a_line_when_they_begin_and_for_what_is_refused_in_them() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let mut seen = 0;
    news(&server, &mut seen).await;
    let session = begin(&root, "h1", TIME).await;
    session.post("/dynamic_index?archive-name=a.bin.didx").await.ok();
    session.drop_connection().await;
    root.upgrade(&reader_path("nosuch", TIME), READER).await.unwrap_err().refused(400, "nosuch");
    backup(&root, "h2", TIME, &[&Chunk::of("x")]).await;
    let reader = open(&root, "h2", TIME).await;
    reader.get("/download?file-name=nosuch.blob").await.refused(404, "");
    let digest = Digest::of(b"elsewhere");
    reader.get(&format!("/chunk?digest={digest}")).await.refused(401, "");
    let nobody = Wire::nobody(server.address);
    nobody.upgrade(&backup_path("h1", TIME, ""), BACKUP).await.unwrap_err().refused(401, "");
    let lines = news(&server, &mut seen).await;
    let short: Vec<Value> =
        lines.iter().map(|line| json!([line["who"], line["path"], line["status"]])).collect();
    assert_eq!(
        Value::from(short),
        json!([
            ["root@pam", "/backup", 101],
            ["root@pam", "/reader", 400],
            ["root@pam", "/backup", 101],
            ["root@pam", "/reader", 101],
            ["root@pam", "/chunk", 401],
            [null, "/backup", 401],
        ])
    );
    assert_eq!(lines[0]["params"]["backup-id"], "h1");
    assert_eq!(lines[4]["params"], json!({ "digest": digest.to_string() }));
}

#[test]
fn what_commands_do_on_a_folder_is_in_the_log_of_the_folder() {
    let place = Place::folder();
    place.write("x", b"x");
    place.json(&["backup", "a.conf:x", "--backup-id", "h1"]);
    place.json(&["acl", "list"]);
    place.failure(&["token", "add", "joe@pbs!ci"]);
    let lines = lines(&place.path("data"));
    let short: Vec<Value> =
        lines.iter().map(|line| json!([line["who"], line["method"], line["path"], line["status"]])).collect();
    assert_eq!(
        Value::from(short),
        json!([
            ["root@pam", "GET", "/backup", 101],
            ["root@pam", "POST", "/config/user/{userid}/token/{token-name}", 400],
        ])
    );
}

// Goal: strangers cannot push out the lines of others with requests that cost them nothing.
#[tokio::test]
async fn strangers_have_lines_for_refused_credentials_only() {
    let server = TestServer::start().await;
    let nobody = Wire::nobody(server.address);
    nobody.delete("/api2/json/access/ticket").await.ok();
    nobody.post_json("/api2/json/access/ticket", &json!({})).await.refused(400, "username");
    nobody.post(&format!("/api2/json/access/ticket?x={}", "x".repeat(4000))).await.refused(414, "");
    nobody.upgrade("/api2/json/ping", BACKUP).await.unwrap_err().ok();
    assert_eq!(news(&server, &mut 0).await, [] as [Value; 0]);
}
