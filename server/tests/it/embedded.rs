//! The server inside its client's process.

use std::sync::Arc;

use bytes::Bytes;
use coldkeep_chunk_store::SystemClock;
use coldkeep_server::ServerOptions;
use coldkeep_server::embedded::Embedded;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use crate::harness::limits;

fn options(folder: &std::path::Path) -> ServerOptions {
    let (data_dir, clock) = (folder.to_owned(), Arc::new(SystemClock::new()));
    ServerOptions::new(data_dir, clock, limits())
}

async fn get(embedded: &Embedded, path: &str) -> (StatusCode, String) {
    let (mut sender, connection) = http1::handshake(TokioIo::new(embedded.connect())).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get(path).body(Full::new(Bytes::new())).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    drop(sender);
    connection.await.unwrap().unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn the_caller_is_root_without_credentials() {
    let folder = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(options(folder.path())).await.unwrap();
    assert_eq!(get(&embedded, "/api2/json/version").await.0, StatusCode::OK);
    let (_, permissions) = get(&embedded, "/api2/json/access/permissions").await;
    assert!(permissions.contains("Datastore.Modify"), "{permissions}");
    embedded.close().await;
}

#[tokio::test]
async fn a_second_opener_is_told_who_has_the_folder_until_it_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(options(folder.path())).await.unwrap();
    let error = Embedded::open(options(folder.path())).await.err().unwrap();
    assert_eq!(error.owner(), Some(Some(std::process::id())));
    embedded.close().await;
    Embedded::open(options(folder.path())).await.unwrap().close().await;
}
