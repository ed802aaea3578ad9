//! What a backup is made of, computed here from the formats' description, not with the server's code.

use bytes::Bytes;
use coldkeep_chunk_store::blob::{Blob, Compression};
use coldkeep_chunk_store::{Digest, DigestBuilder};
use serde_json::{Value, json};

use crate::wire::{Answer, Session, Wire};

pub(crate) const BACKUP: &str = "proxmox-backup-protocol-v1";
pub(crate) const READER: &str = "proxmox-backup-reader-protocol-v1";
/// Chunk size of images.
pub(crate) const IMAGE_CHUNK: usize = 4 << 20;

/// A chunk as it is uploaded.
#[derive(Debug, Clone)]
pub(crate) struct Chunk {
    pub(crate) digest: Digest,
    pub(crate) plain: Bytes,
    pub(crate) encoded: Bytes,
}

impl Chunk {
    pub(crate) fn of(plain: impl Into<Bytes>) -> Self {
        let plain = plain.into();
        let encoded = Blob::encode(&plain, Compression::Zstd).unwrap().into_bytes();
        Self { digest: Digest::of(&plain), plain, encoded }
    }

    /// The query of an upload of this chunk.
    pub(crate) fn query(&self, wid: u64) -> String {
        let (digest, size, encoded) = (self.digest, self.plain.len(), self.encoded.len());
        format!("digest={digest}&encoded-size={encoded}&size={size}&wid={wid}")
    }

    pub(crate) async fn upload(&self, session: &Session, kind: &str, wid: u64) -> Answer {
        session.post_bytes(&format!("/{kind}_chunk?{}", self.query(wid)), self.encoded.clone()).await
    }
}

/// Data that does not compress and differs for each seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

pub(crate) fn append(wid: u64, chunks: &[&Chunk], offsets: &[u64]) -> Value {
    let digests: Vec<String> = chunks.iter().map(|chunk| chunk.digest.to_string()).collect();
    json!({ "wid": wid, "digest-list": digests, "offset-list": offsets })
}

/// Where each chunk starts, and the end of the last.
pub(crate) fn offsets(chunks: &[&Chunk]) -> (Vec<u64>, u64) {
    let (mut starts, mut end) = (Vec::new(), 0);
    for chunk in chunks {
        starts.push(end);
        end += chunk.plain.len() as u64;
    }
    (starts, end)
}

pub(crate) fn dynamic_csum(chunks: &[&Chunk]) -> Digest {
    let (mut csum, mut end) = (DigestBuilder::new(), 0);
    for chunk in chunks {
        end += chunk.plain.len() as u64;
        csum.update(&u64::to_le_bytes(end));
        csum.update(chunk.digest.as_bytes());
    }
    csum.finish()
}

pub(crate) fn fixed_csum(chunks: &[&Chunk]) -> Digest {
    let mut csum = DigestBuilder::new();
    for chunk in chunks {
        csum.update(chunk.digest.as_bytes());
    }
    csum.finish()
}

/// Name, checksum and size of a file, as the manifest lists it.
pub(crate) type Listed = (&'static str, Digest, u64);

pub(crate) fn manifest(id: &str, time: i64, files: &[Listed]) -> Bytes {
    let files: Vec<Value> = files
        .iter()
        .map(|(name, csum, size)| json!({ "crypt-mode": "none", "csum": csum.to_string(), "filename": name, "size": size }))
        .collect();
    let manifest = json!({
        "backup-type": "host", "backup-id": id, "backup-time": time,
        "files": files, "signature": null, "unprotected": {},
    });
    Blob::encode(manifest.to_string().as_bytes(), Compression::Zstd).unwrap().into_bytes()
}

pub(crate) fn backup_path(id: &str, time: i64, more: &str) -> String {
    format!(
        "//api2/json/backup?backup-id={id}&backup-time={time}&backup-type=host&benchmark=false&debug=true{more}&store=default"
    )
}

pub(crate) fn reader_path(id: &str, time: i64) -> String {
    format!("//api2/json/reader?backup-id={id}&backup-time={time}&backup-type=host&debug=true&store=default")
}

pub(crate) async fn begin(wire: &Wire, id: &str, time: i64) -> Session {
    wire.upgrade(&backup_path(id, time, ""), BACKUP)
        .await
        .unwrap_or_else(|answer| panic!("{}", answer.text()))
}

pub(crate) async fn open(wire: &Wire, id: &str, time: i64) -> Session {
    wire.upgrade(&reader_path(id, time), READER).await.unwrap_or_else(|answer| panic!("{}", answer.text()))
}

/// Opens a dynamic index; returns its writer.
pub(crate) async fn open_dynamic(session: &Session, name: &str) -> u64 {
    session.post(&format!("/dynamic_index?archive-name={name}")).await.data().as_u64().unwrap()
}

pub(crate) async fn open_fixed(session: &Session, name: &str, size: u64) -> u64 {
    session.post(&format!("/fixed_index?archive-name={name}&size={size}")).await.data().as_u64().unwrap()
}

/// Writes a whole dynamic archive; `uploaded` says whether the chunks are sent.
pub(crate) async fn write_dynamic(
    session: &Session,
    name: &'static str,
    chunks: &[&Chunk],
    uploaded: bool,
) -> Listed {
    let wid = open_dynamic(session, name).await;
    if uploaded {
        for chunk in chunks {
            assert_eq!(chunk.upload(session, "dynamic", wid).await.data(), chunk.digest.to_string());
        }
    }
    let (starts, size) = offsets(chunks);
    session.put_json("/dynamic_index", &append(wid, chunks, &starts)).await.ok();
    let csum = dynamic_csum(chunks);
    let count = chunks.len();
    session.post(&format!("/dynamic_close?chunk-count={count}&csum={csum}&size={size}&wid={wid}")).await.ok();
    (name, csum, size)
}

/// Writes a whole image.
pub(crate) async fn write_fixed(session: &Session, name: &'static str, chunks: &[&Chunk]) -> Listed {
    let (starts, size) = offsets(chunks);
    let wid = open_fixed(session, name, size).await;
    for chunk in chunks {
        chunk.upload(session, "fixed", wid).await.ok();
    }
    session.put_json("/fixed_index", &append(wid, chunks, &starts)).await.ok();
    let csum = fixed_csum(chunks);
    let count = chunks.len();
    session.post(&format!("/fixed_close?chunk-count={count}&csum={csum}&size={size}&wid={wid}")).await.ok();
    (name, csum, size)
}

pub(crate) async fn write_blob(session: &Session, name: &'static str, plain: &[u8]) -> Listed {
    let blob = Blob::encode(plain, Compression::Zstd).unwrap().into_bytes();
    put_blob(session, name, blob.clone()).await.ok();
    (name, Digest::of(&blob), blob.len() as u64)
}

pub(crate) async fn put_blob(session: &Session, name: &str, blob: Bytes) -> Answer {
    session.post_bytes(&format!("/blob?encoded-size={}&file-name={name}", blob.len()), blob).await
}

/// Uploads the manifest and commits.
pub(crate) async fn finish(session: &Session, id: &str, time: i64, files: &[Listed]) -> Answer {
    put_blob(session, "index.json.blob", manifest(id, time, files)).await.ok();
    session.post("/finish").await
}

/// A whole backup of one dynamic archive `a.bin.didx`.
pub(crate) async fn backup(wire: &Wire, id: &str, time: i64, chunks: &[&Chunk]) {
    let session = begin(wire, id, time).await;
    let listed = write_dynamic(&session, "a.bin.didx", chunks, true).await;
    finish(&session, id, time, &[listed]).await.ok();
    session.drop_connection().await;
}

/// The query that names a snapshot.
pub(crate) fn triple(id: &str, time: i64) -> String {
    format!("backup-id={id}&backup-time={time}&backup-type=host")
}

/// Asks until the answer satisfies `wanted`: the end of a connection is seen by the server a moment later.
pub(crate) async fn eventually(wire: &Wire, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
    for _ in 0..200 {
        let answer = wire.get(path).await;
        if wanted(&answer) {
            return answer;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("{path} did not change in 5 s: {}", wire.get(path).await.text());
}

/// Waits until no task of this kind runs, and returns the exit status of the newest.
pub(crate) async fn task_end(wire: &Wire, worker_type: &str) -> String {
    let path = format!("/api2/json/nodes/localhost/tasks?limit=1&start=0&typefilter={worker_type}");
    let answer = eventually(wire, &path, |answer| answer.json()["data"][0]["status"].is_string()).await;
    answer.json()["data"][0]["status"].as_str().unwrap().to_owned()
}
