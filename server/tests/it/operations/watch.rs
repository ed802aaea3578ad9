//! Health and metrics.

use std::net::SocketAddr;
use std::time::Duration;

use coldkeep_server::auth::AclEntry;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::TestServer;
use crate::material::{
    Chunk, backup, begin, eventually, finish, noise, open, task_end, triple, write_dynamic,
};
use crate::process::Serve;
use crate::wire::{Auth, Wire};

/// Asks by plain HTTP; returns the whole answer.
async fn plain(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// The value of a series.
fn value(text: &str, series: &str) -> f64 {
    let of = |line: &str| line.strip_prefix(series)?.trim().parse().ok();
    text.lines().find_map(of).unwrap_or_else(|| panic!("no {series} in\n{text}"))
}

#[tokio::test]
async fn metrics_are_for_those_who_may_see_the_system() {
    let server = TestServer::start().await;
    Wire::nobody(server.address).get("/metrics").await.refused(401, "");
    server.user("al@pbs", "DatastoreAdmin").await.get("/metrics").await.refused(403, "/system/metrics");
    let identities = server.server.identities();
    let token = "al@pbs!prometheus";
    let secret = identities.add_token(token.parse().unwrap(), None).await.unwrap();
    for who in ["al@pbs", token] {
        let (path, who) = ("/system".parse().unwrap(), who.parse().unwrap());
        identities
            .grant(AclEntry { path, who, role: "Audit".parse().unwrap(), propagate: true })
            .await
            .unwrap();
    }
    let wire = Wire { address: server.address, auth: Auth::Token(format!("{token}:{}", *secret)) };
    let answer = wire.get("/metrics").await;
    assert_eq!(answer.ok().headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert!(value(&answer.text(), "coldkeep_datastore_up{datastore=\"default\"}") >= 1.0);
}

#[tokio::test]
async fn what_backups_readers_and_collections_do_is_counted() {
    let server = TestServer::with_grace(Duration::ZERO).await;
    let root = server.root().await;
    let chunks = [Chunk::of(noise(1, 5000)), Chunk::of(noise(2, 7000))];
    let [one, two] = &chunks;
    backup(&root, "h1", 1_700_000_000, &[one]).await;
    let session = begin(&root, "h2", 1_700_000_100).await;
    let during = root.get("/metrics").await.text();
    assert!(value(&during, "coldkeep_sessions{kind=\"backup\"}") >= 1.0);
    let listed = write_dynamic(&session, "a.bin.didx", &[one, two, two], true).await;
    finish(&session, "h2", 1_700_000_100, &[listed]).await.ok();
    session.drop_connection().await;
    assert_eq!(task_end(&root, "backup").await, "OK");
    let reader = open(&root, "h2", 1_700_000_100).await;
    reader.get("/download?file-name=a.bin.didx").await.ok();
    reader.get(&format!("/chunk?digest={}", one.digest)).await.ok();
    reader.drop_connection().await;
    root.post("/api2/json/admin/datastore/default/gc").await.ok();
    assert_eq!(task_end(&root, "garbage_collection").await, "OK");
    root.get("/api2/json/nodes/localhost/nothing-like-this/h1").await.refused(404, "");

    let text = root.get("/metrics").await.text();
    let count = |series: &str| value(&text, series) as u64;
    let uploads = "{interface=\"backup\",method=\"POST\",path=\"/dynamic_chunk\"";
    assert_eq!(count(&format!("coldkeep_http_requests_total{uploads},status=\"200\"}}")), 4);
    assert_eq!(count(&format!("coldkeep_http_request_duration_seconds_count{uploads}}}")), 4);
    assert_eq!(count("coldkeep_chunks_uploaded_total{result=\"stored\"}"), 2);
    assert_eq!(count("coldkeep_chunks_uploaded_total{result=\"known\"}"), 2);
    assert_eq!(count("coldkeep_index_entries_total"), 4);
    assert_eq!(count("coldkeep_chunks_read_total"), 1);
    assert_eq!(count("coldkeep_chunks_read_bytes_total"), one.encoded.len() as u64);
    assert_eq!(count("coldkeep_tasks_total{type=\"backup\",result=\"ok\"}"), 2);
    assert_eq!(count("coldkeep_gc_last_success{datastore=\"default\"}"), 1);
    assert!(count("coldkeep_gc_last_end_timestamp_seconds{datastore=\"default\"}") > 1_700_000_000);
    assert!(count("coldkeep_network_receive_bytes_total") > 12_000);
    assert!(count("coldkeep_network_transmit_bytes_total") > 1000);
    assert!(count("coldkeep_connections") >= 1);
    assert!(count("process_resident_memory_bytes") > 1 << 20);
    let other = "{interface=\"rest\",method=\"GET\",path=\"other\",status=\"404\"}";
    assert_eq!(count(&format!("coldkeep_http_requests_total{other}")), 1);
    assert!(!text.contains("h1"), "a name that a client chose makes a series:\n{text}");
    // A name has one description, and every sample belongs to one.
    let mut types: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let count = types.len();
    types.sort_unstable();
    types.dedup();
    assert_eq!(types.len(), count);

    // Another collection is seen at once, although the result of the first one is remembered.
    assert_eq!(value(&text, "coldkeep_gc_last_removed_chunks{datastore=\"default\"}") as u64, 0);
    let snapshots = "/api2/json/admin/datastore/default/snapshots";
    root.delete(&format!("{snapshots}?{}", triple("h2", 1_700_000_100))).await.ok();
    eventually(&root, "/api2/json/admin/datastore/default/active-operations", |answer| {
        answer.data()["write"] == 0
    })
    .await;
    root.post("/api2/json/admin/datastore/default/gc").await.ok();
    assert_eq!(task_end(&root, "garbage_collection").await, "OK");
    let removed = "coldkeep_gc_last_removed_chunks{datastore=\"default\"}";
    assert_eq!(value(&root.get("/metrics").await.text(), removed) as u64, 1);
}

#[tokio::test]
async fn health_is_for_everybody_and_names_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Serve::start(folder.path());
    let nobody = Wire::nobody(server.address);
    assert_eq!(nobody.get("/health").await.ok().json(), json!({"status": "ok"}));
    assert!(server.terminate().await);
    std::fs::remove_dir_all(folder.path().join("stores/default")).unwrap();
    let server = Serve::start(folder.path());
    let answer = Wire::nobody(server.address).get("/health").await;
    answer.refused(503, "unavailable");
    assert!(!answer.text().contains("default"), "{}", answer.text());
}

#[tokio::test]
async fn a_listener_for_monitoring_answers_that_only_and_to_the_end() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("coldkeep.toml"), "[metrics]\nlisten = '127.0.0.1:0'").unwrap();
    let server = Serve::start(folder.path());
    let watch: SocketAddr = server.value_of("metrics on").unwrap().parse().unwrap();
    assert!(plain(watch, "/health").await.starts_with("HTTP/1.1 200 "));
    let metrics = plain(watch, "/metrics").await;
    assert!(
        metrics.starts_with("HTTP/1.1 200 ") && metrics.contains("\ncoldkeep_build_info{version="),
        "{metrics}"
    );
    for path in ["/", "/api2/json/ping", "/metrics/x"] {
        assert!(plain(watch, path).await.starts_with("HTTP/1.1 404 "), "{path}");
    }
    // A session holds the end up for as long as it may.
    let root = Wire::login(server.address, "root@pam", server.value_of("password").unwrap()).await;
    let _session = begin(&root, "h1", 1_700_000_000).await;
    server.signal("TERM");
    while !plain(watch, "/health").await.starts_with("HTTP/1.1 503 ") {}
    assert!(server.terminate().await);
}
