//! Certificates of the operator, exchanged while the server serves.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use coldkeep_chunk_store::Digest;
use coldkeep_server::state::{DataDir, load_certificate};
use http_body_util::Full;
use hyper::client::conn::http1;

use super::manager::Manager;
use crate::wire;

/// Makes a certificate, puts it where the configuration has it, and returns its fingerprint.
fn put_certificate(folder: &Path) -> String {
    let maker = tempfile::tempdir().unwrap();
    let data_dir = DataDir::open(maker.path()).unwrap();
    let fingerprint = load_certificate(&data_dir, &["localhost".to_owned()]).unwrap().fingerprint();
    for name in ["tls.pem", "tls.key"] {
        std::fs::copy(maker.path().join("secrets").join(name), folder.join(format!("own-{name}"))).unwrap();
    }
    fingerprint
}

/// Returns the fingerprint of the certificate that a new connection is shown.
async fn shown(address: SocketAddr) -> String {
    let stream = wire::connect(address).await.into_inner();
    let leaf = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    Digest::of(&leaf).as_bytes().map(|byte| format!("{byte:02x}")).join(":")
}

#[tokio::test]
async fn certificates_are_exchanged_by_sighup_and_bad_ones_are_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let (data_dir, log) = (folder.path().join("data"), folder.path().join("log"));
    std::fs::create_dir(&data_dir).unwrap();
    let config = "[server]\ncertificate = 'own-tls.pem'\nkey = 'own-tls.key'\n";
    std::fs::write(data_dir.join("coldkeep.toml"), config).unwrap();
    let first = put_certificate(&data_dir);
    let manager = Manager::new(folder.path());
    let server = manager.serve(&data_dir, |command| {
        command.stderr(File::create(&log).unwrap());
    });
    assert_eq!(manager.next().await.trim(), "READY=1");
    assert_eq!(server.value_of("fingerprint"), Some(&*first));
    assert_eq!(shown(server.address).await, first);
    assert!(!data_dir.join("secrets/tls.pem").exists(), "a certificate was made that nobody needs");

    let open = wire::connect(server.address).await;
    let (mut sender, connection) = http1::handshake(open).await.unwrap();
    tokio::spawn(connection);
    let second = put_certificate(&data_dir);
    manager.reload(&server).await;
    assert_eq!(shown(server.address).await, second);
    let ping =
        http::Request::get("/api2/json/ping").header("host", "x").body(Full::<Bytes>::default()).unwrap();
    assert_eq!(sender.send_request(ping).await.unwrap().status(), 200, "an open connection was dropped");

    // A key of another certificate, no certificate at all, no file at all.
    let key = std::fs::read(data_dir.join("own-tls.key")).unwrap();
    put_certificate(&data_dir);
    std::fs::write(data_dir.join("own-tls.key"), key).unwrap();
    manager.reload(&server).await;
    assert_eq!(shown(server.address).await, second);
    std::fs::write(data_dir.join("own-tls.pem"), "no certificate").unwrap();
    manager.reload(&server).await;
    std::fs::remove_file(data_dir.join("own-tls.pem")).unwrap();
    manager.reload(&server).await;
    assert_eq!(shown(server.address).await, second);
    assert!(server.terminate().await);
    let log = std::fs::read_to_string(&log).unwrap();
    assert_eq!(log.matches("the old one stays in use").count(), 3, "{log}");
    assert!(log.contains(&second), "{log}");
}
