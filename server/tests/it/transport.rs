//! Connections: TLS, the redirect, credentials, and peers that are slow, silent or too big.

use std::time::{Duration, Instant};

use coldkeep_chunk_store::Digest;
use coldkeep_server::http::Listener;
use http::{Method, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{TestServer, limits};
use crate::wire::{self, Auth, FORM, JSON, Wire};

const VERSION: &str = "/api2/json/version";

async fn plain(server: &TestServer, text: &str) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.to_ascii_lowercase()
}

#[tokio::test]
async fn plain_http_is_sent_to_https() {
    let server = TestServer::start().await;
    let answer = plain(&server, "GET /some/path HTTP/1.1\r\nHost: backup.example:8007\r\n\r\n").await;
    assert!(answer.starts_with("http/1.1 301 "), "{answer}");
    assert!(answer.contains("location: https://backup.example:8007"), "{answer}");
    assert!(answer.contains("content-length: 0"), "{answer}");
    let answer = plain(&server, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").await;
    assert!(answer.starts_with("http/1.1 308 "), "{answer}");
    assert!(plain(&server, "GARBAGE\r\n\r\n").await.starts_with("http/1.1 400 "));
}

#[tokio::test]
async fn open_endpoints_answer_everybody_and_the_rest_wants_credentials() {
    let server = TestServer::start().await;
    let nobody = Wire::nobody(server.address);
    assert_eq!(nobody.get("/api2/json/ping").await.json(), json!({"data": {"pong": true}}));
    assert!(nobody.get("/").await.ok().text().contains("Coldkeep"));
    for path in [VERSION, "/api2/json/nothing", "/api2/json/access/permissions"] {
        nobody.get(path).await.refused(401, "authentication failed");
    }
    let answer = server.root().await.get(VERSION).await;
    assert_eq!((&answer.data()["version"], &answer.data()["release"]), (&json!("4.0"), &json!("0")));
    assert_eq!(answer.headers["content-type"], "application/json;charset=UTF-8");
    assert!(answer.headers.contains_key("date"));
}

#[tokio::test]
async fn wrong_credentials_are_401() {
    let server = TestServer::start().await;
    let nobody = Wire::nobody(server.address);
    let login = |user: &str, password: &str| json!({"username": user, "password": password});
    for body in [login("root@pam", "wrong"), login("root@pam", ""), login("no@pbs", "wrong")] {
        nobody.post_json("//api2/json/access/ticket", &body).await.refused(401, "authentication failed");
    }
    nobody.post_json("/api2/json/access/ticket", &json!({"username": "root"})).await.refused(400, "username");
    let root = server.root().await;
    let Auth::Ticket { ticket, csrf } = root.auth.clone() else { panic!("no ticket") };
    let forged = Auth::Ticket { ticket: ticket.replace("root@pam", "al@pbs"), csrf: csrf.clone() };
    Wire { address: server.address, auth: forged }.get(VERSION).await.refused(401, "authentication failed");
    let no_csrf = Auth::Ticket { ticket: ticket.clone(), csrf: "6553F100:x".to_owned() };
    let no_csrf = Wire { address: server.address, auth: no_csrf };
    no_csrf.get(VERSION).await.ok();
    no_csrf.post("/api2/json/admin/datastore/default/gc").await.refused(401, "CSRF");
    let token = Auth::Token("root@pam!none:secret".to_owned());
    Wire { address: server.address, auth: token }.get(VERSION).await.refused(401, "authentication failed");
    // A ticket renews itself in the place of a password, also as a form.
    let form = format!("username=root%40pam&password={}", ticket.replace('+', "%2B"));
    let renewal = nobody.request(Method::POST, "/api2/json/access/ticket", FORM, form.into());
    assert_eq!(nobody.send(renewal).await.data()["username"], "root@pam");
}

#[tokio::test]
async fn refusals_are_held_back() {
    let mut limits = limits();
    limits.unauthorized_delay = Duration::from_millis(300);
    let server = TestServer::start_with(limits).await;
    let start = Instant::now();
    Wire::nobody(server.address).get(VERSION).await.refused(401, "");
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_token_works_without_login_within_its_rights() {
    let server = TestServer::start().await;
    server.user("al@pbs", "DatastoreAdmin").await;
    let token = "al@pbs!ci-1";
    let secret = server.server.identities().add_token(token.parse().unwrap(), None).await.unwrap();
    let wire = Wire { address: server.address, auth: Auth::Token(format!("{token}:{}", *secret)) };
    assert_eq!(wire.get("/api2/json/access/permissions").await.data(), json!({}));
    let entry =
        json!({"path": "/datastore/default", "who": token, "role": "DatastoreAudit", "propagate": true});
    server.server.identities().grant(serde_json::from_value(entry).unwrap()).await.unwrap();
    let granted = json!({"/datastore/default": {"Datastore.Audit": true}});
    assert_eq!(wire.get("/api2/json/access/permissions").await.data(), granted);
    wire.get("/api2/json/access/permissions?auth-id=root%40pam").await.refused(403, "/access");
}

#[tokio::test]
async fn bodies_heads_and_uris_are_bounded() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let big = root.request(Method::POST, "/api2/json/access/ticket", JSON, vec![b' '; 512 * 1024].into());
    root.send(big).await.refused(400, "longer than");
    root.get(&format!("/api2/json/ping?_dc={}", "x".repeat(3072))).await.refused(414, "too long");
    let mut many = root.request(Method::GET, "/api2/json/ping", FORM, bytes::Bytes::new());
    for i in 0..100 {
        let name = http::HeaderName::try_from(format!("x-{i}")).unwrap();
        many.headers_mut().insert(name, "1".parse().unwrap());
    }
    assert_eq!(root.send(many).await.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    let mut endless = wire::connect(server.address).await.into_inner();
    endless.write_all(b"GET / HTTP/1.1\r\nx: ").await.unwrap();
    let mut sent = 0;
    // The server stops reading and answers or closes long before a megabyte has gone.
    while sent < 1 << 20 && endless.write_all(&[b'y'; 4096]).await.is_ok() && endless.flush().await.is_ok() {
        sent += 4096;
    }
    assert!(sent < 1 << 20, "{sent} bytes of a header were taken");
}

#[tokio::test]
async fn silent_and_slow_peers_are_dropped() {
    let mut limits = limits();
    limits.handshake = Duration::from_millis(200);
    limits.request_head = Duration::from_millis(400);
    let server = TestServer::start_with(limits).await;
    let deadline = Duration::from_secs(10);
    // No byte at all, half a TLS record, plain HTTP that never ends.
    for start in [&b""[..], b"\x16\x03\x01", b"GET / HTTP/1.1\r\n"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(start).await.unwrap();
        let mut rest = Vec::new();
        let read = tokio::time::timeout(deadline, stream.read_to_end(&mut rest)).await;
        assert!(read.is_ok(), "{start:?} was left open");
    }
    // A head that comes byte by byte, and a connection that idles after TLS.
    for pause in [Duration::from_millis(50), deadline] {
        let mut stream = wire::connect(server.address).await.into_inner();
        let trickle = async {
            let mut byte = [0];
            loop {
                tokio::select! {
                    read = stream.read(&mut byte) => if read.map_or(0, |n| n) == 0 { return },
                    () = tokio::time::sleep(pause) => if stream.write_all(b"x").await.is_err() { return },
                }
            }
        };
        assert!(tokio::time::timeout(deadline, trickle).await.is_ok(), "a slow peer was kept");
    }
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_their_turn() {
    let mut limits = limits();
    limits.connections_max = 2;
    let server = TestServer::start_with(limits).await;
    let idle = [wire::connect(server.address).await, wire::connect(server.address).await];
    let nobody = Wire::nobody(server.address);
    let mut third = Box::pin(nobody.get("/api2/json/ping"));
    assert!(tokio::time::timeout(Duration::from_millis(200), &mut third).await.is_err());
    drop(idle);
    third.await.ok();
}

#[tokio::test]
async fn the_fingerprint_is_that_of_the_certificate_sent() {
    let server = TestServer::start().await;
    let stream = wire::connect(server.address).await.into_inner();
    let leaf = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    let pairs = Digest::of(&leaf).as_bytes().map(|byte| format!("{byte:02x}"));
    assert_eq!(server.fingerprint, pairs.join(":"));
    assert_eq!(stream.get_ref().1.alpn_protocol(), None);
}

#[tokio::test]
async fn an_idle_connection_does_not_delay_the_end() {
    let server = TestServer::start().await;
    let _idle = wire::connect(server.address).await;
    let start = Instant::now();
    server.end().await;
    assert!(start.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn a_key_that_does_not_fit_the_certificate_is_refused() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [mut one, other] = folders.each_ref().map(|folder| {
        let data_dir = coldkeep_server::state::DataDir::open(folder.path()).unwrap();
        coldkeep_server::state::load_certificate(&data_dir, &[]).unwrap()
    });
    one.key = other.key;
    assert!(Listener::bind(([127, 0, 0, 1], 0).into(), &one).await.is_err());
}
