//! Parameters of the two protocols behind an upgrade.

use std::collections::BTreeSet;

use serde_json::json;

use super::{Ask, BodyKind, Description, QUERY_TEXT_BYTES_MAX, Style, TestServer, description, faults_of};
use crate::material::{Chunk, backup, begin, finish, noise, open, open_dynamic, write_dynamic};
use crate::wire::Session;

const TIME: i64 = 1_700_000_000;

/// Sends every endpoint of a session a request with one fault, and returns what was not refused by name.
async fn ask_wrongly(session: &Session, endpoints: &[Description]) -> Vec<String> {
    let mut found = Vec::new();
    for endpoint in endpoints {
        let method = http::Method::from_bytes(endpoint.method.as_str().as_bytes()).unwrap();
        let good = Ask::required(endpoint);
        for style in Style::of(endpoint) {
            let mut asks = vec![("nosuch", good.clone().with("nosuch", "1"))];
            for param in endpoint.params {
                let name = param.name;
                if param.presence == coldkeep_server::api::Presence::Required {
                    asks.push((name, good.clone().without(name)));
                }
                for fault in faults_of(endpoint, param) {
                    let len = fault.value.as_str().map_or(0, str::len);
                    if fault.styles.contains(style) && (*style != Style::Query || len <= QUERY_TEXT_BYTES_MAX)
                    {
                        asks.push((name, good.clone().with(name, fault.value)));
                    }
                }
            }
            for (name, ask) in asks {
                let (path, content_type, body) = ask.parts("", *style);
                let answer = session.call(method.clone(), &path, content_type, body).await;
                if answer.status != 400 || !answer.text().contains(&format!("'{name}'")) {
                    found.push(format!("{endpoint:?} {ask:.300?}: {} {:.200}", answer.status, answer.text()));
                }
            }
        }
    }
    found
}

#[tokio::test]
async fn every_wrong_parameter_of_a_session_is_refused_by_name_and_the_session_goes_on() {
    let server = TestServer::start().await;
    let root = server.root().await;
    backup(&root, "h1", TIME, &[&Chunk::of(noise(1, 100))]).await;

    let session = begin(&root, "h1", TIME + 1).await;
    let faults = ask_wrongly(&session, &description::backup_session()).await;
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert_eq!(open_dynamic(&session, "b.bin.didx").await, 1, "a writer was opened");
    let csum = coldkeep_chunk_store::Digest::of(b"");
    session.post(&format!("/dynamic_close?chunk-count=0&csum={csum}&size=0&wid=1")).await.ok();
    let listed = write_dynamic(&session, "a.bin.didx", &[&Chunk::of(noise(2, 100))], true).await;
    finish(&session, "h1", TIME + 1, &[listed]).await.ok();
    session.drop_connection().await;

    let reader = open(&root, "h1", TIME).await;
    let faults = ask_wrongly(&reader, &description::reader_session()).await;
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    reader.get("/download?file-name=a.bin.didx").await.ok();
}

#[tokio::test]
async fn the_paths_of_a_session_are_those_of_its_table() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let session = begin(&root, "h1", TIME).await;
    let listed = session.get("/").await.data();
    let listed: BTreeSet<&str> =
        listed.as_array().unwrap().iter().map(|one| one["subdir"].as_str().unwrap()).collect();
    let endpoints = description::backup_session();
    let table: BTreeSet<&str> =
        endpoints.iter().map(|one| &one.path[1..]).filter(|path| !path.is_empty()).collect();
    assert_eq!(listed, table);
    for endpoint in &endpoints {
        let other = if endpoint.method.as_str() == "GET" { "DELETE" } else { "GET" };
        let is_known = endpoints.iter().any(|one| one.path == endpoint.path && one.method.as_str() == other);
        let method = http::Method::from_bytes(other.as_bytes()).unwrap();
        if !is_known {
            let answer = session.call(method, endpoint.path, crate::wire::FORM, bytes::Bytes::new()).await;
            assert_eq!(answer.status, 404, "{other} {}", endpoint.path);
        }
        if endpoint.body == BodyKind::Params {
            let body = json!({}).to_string();
            let method = http::Method::from_bytes(endpoint.method.as_str().as_bytes()).unwrap();
            session.call(method, endpoint.path, "text/plain", body.into()).await.refused(400, "content type");
        }
    }
    session.get("/dynamic_index/../blob").await.refused(400, "dot");
    session.get("/api2/json/version").await.refused(404, "version");
}
