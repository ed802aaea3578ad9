//! Reader sessions of a stock client, in its order of calls (conversation.md §5).

use coldkeep_chunk_store::Digest;
use coldkeep_chunk_store::blob::Blob;
use serde_json::Value;

use super::{Command, S, TIME};
use crate::harness::{PASSWORD, TestServer};
use crate::material::{
    BACKUP, Chunk, IMAGE_CHUNK, READER, backup_path, finish, noise, reader_path, task_end, write_blob,
    write_dynamic, write_fixed,
};
use crate::wire::{Answer, Session};

/// What the server holds.
struct Content {
    archive: Vec<Chunk>,
    catalog: Vec<Chunk>,
    image: Vec<Chunk>,
}

fn refs(chunks: &[Chunk]) -> Vec<&Chunk> {
    chunks.iter().collect()
}

async fn with_backup() -> (TestServer, Content) {
    let server = TestServer::start().await;
    let user = server.user("test@pbs", "DatastoreBackup").await;
    let content = Content {
        archive: (0..20).map(|i| Chunk::of(noise(i, 20_000))).collect(),
        catalog: (0..2).map(|i| Chunk::of(noise(100 + i, 500))).collect(),
        image: vec![Chunk::of(vec![0; IMAGE_CHUNK]), Chunk::of(noise(200, 4096))],
    };
    for time in [TIME, TIME + 60] {
        let session = user.upgrade(&backup_path("h1", time, ""), BACKUP).await.unwrap();
        let files = [
            write_dynamic(&session, "x.pxar.didx", &refs(&content.archive), true).await,
            write_dynamic(&session, "catalog.pcat1.didx", &refs(&content.catalog), true).await,
            write_fixed(&session, "d.img.fidx", &refs(&content.image)).await,
            write_blob(&session, "y.conf.blob", b"key = value\n").await,
        ];
        finish(&session, "h1", time, &files).await.ok();
        session.drop_connection().await;
    }
    (server, content)
}

/// Finds the newest snapshot of the group, then opens it on the same connection.
async fn open_newest(server: &TestServer) -> Session {
    let mut client = Command::of(server, "test@pbs", PASSWORD).await;
    let group = [("backup-id", "h1"), ("backup-type", "host")];
    let listed = client.get(&format!("{S}/snapshots"), &group).await.data();
    let newest =
        listed.as_array().unwrap().iter().map(|one| one["backup-time"].as_i64().unwrap()).max().unwrap();
    assert_eq!(newest, TIME + 60);
    client.upgrade(&reader_path("h1", newest), READER).await.unwrap()
}

/// A download: raw bytes of which the length is not told before.
async fn download(session: &Session, name: &str) -> Answer {
    let answer = session.get(&format!("/download?file-name={name}")).await;
    assert_eq!(answer.ok().headers["content-type"], "application/octet-stream");
    assert!(!answer.headers.contains_key("content-length"), "{name}");
    answer
}

/// The first request of every reader.
async fn manifest(session: &Session) -> Value {
    let blob = Blob::parse(download(session, "index.json.blob").await.body).unwrap();
    serde_json::from_slice(&blob.decode(1 << 20).unwrap()).unwrap()
}

/// The digests in an index, after the checks that the client makes with the manifest.
async fn index(session: &Session, manifest: &Value, name: &str) -> Vec<Digest> {
    let bytes = download(session, name).await.body;
    let entries = &bytes[4096..];
    let listed = manifest["files"].as_array().unwrap().iter().find(|file| file["filename"] == name).unwrap();
    assert_eq!(listed["csum"], Digest::of(entries).to_string());
    let entry = if name.rsplit_once('.').is_some_and(|(_, suffix)| suffix == "fidx") { 32 } else { 40 };
    entries.chunks(entry).map(|one| Digest::from_bytes(one[entry - 32..].try_into().unwrap())).collect()
}

async fn chunk(session: &Session, digest: &Digest) -> Vec<u8> {
    let answer = session.get(&format!("/chunk?digest={digest}")).await;
    assert_eq!(answer.ok().headers["content-length"].to_str().unwrap(), answer.body.len().to_string());
    Blob::parse(answer.body).unwrap().decode(1 << 24).unwrap().to_vec()
}

#[tokio::test]
async fn restore_of_a_group() {
    let (server, content) = with_backup().await;
    let session = open_newest(&server).await;
    let manifest = manifest(&session).await;
    let digests = index(&session, &manifest, "x.pxar.didx").await;
    // One at a time, in order.
    for (digest, expected) in digests.iter().zip(&content.archive) {
        assert!(chunk(&session, digest).await == expected.plain);
    }
    assert_eq!(digests.len(), content.archive.len());
    // Nothing says that it is over.
    session.drop_connection().await;
    assert_eq!(task_end(&server.root().await, "reader").await, "OK");
}

#[tokio::test]
async fn catalog_dump_and_restore_of_the_manifest() {
    let (server, content) = with_backup().await;
    let session = open_newest(&server).await;
    let manifest = manifest(&session).await;
    assert_eq!((&manifest["backup-id"], &manifest["backup-type"]), (&"h1".into(), &"host".into()));
    let digests = index(&session, &manifest, "catalog.pcat1.didx").await;
    for (digest, expected) in digests.iter().zip(&content.catalog) {
        assert!(chunk(&session, digest).await == expected.plain);
    }
    // The index of the catalog opens its own chunks, not those of the archive.
    let foreign = content.archive[0].digest;
    session.get(&format!("/chunk?digest={foreign}")).await.refused(401, &foreign.to_string());
    let conf = Blob::parse(download(&session, "y.conf.blob").await.body).unwrap();
    assert_eq!(conf.decode(100).unwrap(), "key = value\n");
}

/// Mounted archives and mapped images are read here and there, again and again.
#[tokio::test]
async fn mount_and_map() {
    let (server, content) = with_backup().await;
    let session = open_newest(&server).await;
    let manifest = manifest(&session).await;
    let digests = index(&session, &manifest, "x.pxar.didx").await;
    for i in [0, digests.len() - 1, 7, 3, 7, 0] {
        assert!(chunk(&session, &digests[i]).await == content.archive[i].plain);
    }
    session.drop_connection().await;
    let session = open_newest(&server).await;
    let manifest = self::manifest(&session).await;
    let digests = index(&session, &manifest, "d.img.fidx").await;
    for i in [1, 0, 1] {
        assert!(chunk(&session, &digests[i]).await == content.image[i].plain);
    }
}

/// A backup reads the previous snapshot beside its own session when it compares metadata.
#[tokio::test]
async fn a_reader_beside_the_writer_of_the_next_snapshot() {
    let (server, content) = with_backup().await;
    let client = Command::of(&server, "test@pbs", PASSWORD).await;
    let wire = client.wire.clone();
    let writer = client.upgrade(&backup_path("h1", TIME + 120, ""), BACKUP).await.unwrap();
    let reader = wire.upgrade(&reader_path("h1", TIME + 60), READER).await.unwrap();
    let digests = index(&reader, &manifest(&reader).await, "catalog.pcat1.didx").await;
    assert!(chunk(&reader, &digests[0]).await == content.catalog[0].plain);
    let files = [write_dynamic(&writer, "x.pxar.didx", &refs(&content.archive), true).await];
    finish(&writer, "h1", TIME + 120, &files).await.ok();
    assert!(chunk(&reader, &digests[1]).await == content.catalog[1].plain);
}
