//! The reader protocol: what it sends is in the round trip of `backup_protocol`; here is what it refuses.

use coldkeep_chunk_store::Digest;
use http::StatusCode;

use crate::harness::TestServer;
use crate::material::{Chunk, READER, backup, begin, eventually, noise, open, reader_path, task_end, triple};

const TIME: i64 = 1_700_000_000;

#[tokio::test]
async fn chunks_are_read_only_after_an_index_that_names_them() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let (own, foreign) = (Chunk::of(noise(1, 5000)), Chunk::of(noise(2, 5000)));
    backup(&root, "h1", TIME, &[&own]).await;
    backup(&root, "h2", TIME, &[&foreign]).await;
    let reader = open(&root, "h1", TIME).await;
    reader.get(&format!("/chunk?digest={}", own.digest)).await.refused(401, &own.digest.to_string());
    reader.get("/download?file-name=index.json.blob").await.ok();
    reader.get(&format!("/chunk?digest={}", own.digest)).await.refused(401, &own.digest.to_string());
    reader.get("/download?file-name=a.bin.didx").await.ok();
    assert_eq!(reader.get(&format!("/chunk?digest={}", own.digest)).await.ok().body, own.encoded);
    for other in [foreign.digest, Digest::of(b"nowhere")] {
        reader.get(&format!("/chunk?digest={other}")).await.refused(401, &other.to_string());
    }
    reader.drop_connection().await;
    assert_eq!(task_end(&root, "reader").await, "OK");
}

#[tokio::test]
async fn requests_are_refused_with_the_right_code() {
    let server = TestServer::start().await;
    let root = server.root().await;
    backup(&root, "h1", TIME, &[&Chunk::of(noise(1, 100))]).await;
    let reader = open(&root, "h1", TIME).await;
    reader.get("/download?file-name=b.bin.didx").await.refused(404, "b.bin.didx");
    reader.get("/download?file-name=client.log.blob").await.refused(404, "client.log.blob");
    reader.get("/download?file-name=b.bin").await.refused(400, "file-name");
    reader.get("/download?file-name=..%2Fowner.blob").await.refused(400, "file-name");
    reader.get("/chunk?digest=xyz").await.refused(400, "digest");
    reader.get("/chunk").await.refused(400, "digest");
    reader.post("/finish").await.refused(404, "finish");
    let speedtest = reader.get("/speedtest").await;
    assert!(speedtest.body.len() == 1 << 20 && speedtest.body.iter().all(|byte| *byte == b'A'));
}

#[tokio::test]
async fn many_chunks_may_be_asked_for_at_once() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let chunks: Vec<Chunk> = (0..40).map(|seed| Chunk::of(noise(seed, 200_000))).collect();
    backup(&root, "h1", TIME, &chunks.iter().collect::<Vec<_>>()).await;
    let reader = open(&root, "h1", TIME).await;
    reader.get("/download?file-name=a.bin.didx").await.ok();
    let paths: Vec<String> = chunks.iter().map(|chunk| format!("/chunk?digest={}", chunk.digest)).collect();
    let answers = futures_util::future::join_all(paths.iter().map(|path| reader.get(path))).await;
    assert!(answers.iter().zip(&chunks).all(|(answer, chunk)| answer.body == chunk.encoded));
}

#[tokio::test]
async fn only_readers_and_owners_open_a_snapshot() {
    let server = TestServer::start().await;
    let root = server.root().await;
    backup(&root, "h1", TIME, &[&Chunk::of(noise(1, 100))]).await;
    let reader = server.user("al@pbs", "DatastoreReader").await;
    open(&reader, "h1", TIME).await;
    let other = server.user("bo@pbs", "DatastoreBackup").await;
    let refused = |answer: crate::wire::Answer, named: &str| answer.refused(400, named);
    refused(other.upgrade(&reader_path("h1", TIME), READER).await.unwrap_err(), "owner");
    backup(&other, "h2", TIME, &[&Chunk::of(noise(1, 100))]).await;
    open(&other, "h2", TIME).await;
    let nobody = server.user("cy@pbs", "NoAccess").await;
    refused(nobody.upgrade(&reader_path("h1", TIME), READER).await.unwrap_err(), "permission");
    refused(root.upgrade(&reader_path("h1", TIME + 1), READER).await.unwrap_err(), "h1");
    refused(root.upgrade(&reader_path("h9", TIME), READER).await.unwrap_err(), "h9");
}

#[tokio::test]
async fn a_snapshot_that_is_read_stays_and_one_in_progress_cannot_be_read() {
    let server = TestServer::start().await;
    let root = server.root().await;
    backup(&root, "h1", TIME, &[&Chunk::of(noise(1, 100))]).await;
    let session = begin(&root, "h1", TIME + 1).await;
    root.upgrade(&reader_path("h1", TIME + 1), READER).await.unwrap_err().refused(400, "h1");
    // The snapshot that a backup builds on can be read meanwhile.
    let (first, second) = (open(&root, "h1", TIME).await, open(&root, "h1", TIME).await);
    session.drop_connection().await;
    let snapshots = "/api2/json/admin/datastore/default/snapshots";
    eventually(&root, snapshots, |answer| answer.data().as_array().unwrap().len() == 1).await;
    let forget = format!("{snapshots}?{}", triple("h1", TIME));
    root.delete(&forget).await.refused(400, "h1");
    first.drop_connection().await;
    second.drop_connection().await;
    eventually(&root, "/api2/json/admin/datastore/default/active-operations", |answer| {
        answer.data()["read"] == 0
    })
    .await;
    // Nothing that can be asked for tells when the last lock is free.
    for _ in 0..200 {
        if root.delete(&forget).await.status == StatusCode::OK {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    root.delete(&forget).await.ok();
}
