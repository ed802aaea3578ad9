//! Backup sessions of a stock client, in its order of calls (conversation.md §4).

use bytes::Bytes;
use coldkeep_chunk_store::blob::{Blob, Compression, CryptKey};
use coldkeep_chunk_store::{Digest, DigestBuilder};
use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Command, S, TIME, triple};
use crate::harness::{PASSWORD, TestServer};
use crate::material::{
    BACKUP, Chunk, IMAGE_CHUNK, Listed, READER, append, backup, backup_path, begin, dynamic_csum, eventually,
    finish, fixed_csum, noise, offsets, open_dynamic, open_fixed, put_blob, reader_path, task_end,
    write_blob,
};
use crate::wire::{Auth, Session};

/// Entries of one append in a first backup.
const FIRST_BATCH: usize = 64;
/// The same where nothing has changed.
const UNCHANGED_BATCH: usize = 128;

/// Chunks of an archive, small ones.
fn chunks(seed: u64, count: u64) -> Vec<Chunk> {
    (0..count).map(|i| Chunk::of(noise(seed * 1000 + i, 1000 + i as usize))).collect()
}

/// Uploads many chunks at once, as the client does.
async fn upload_all(session: &Session, kind: &str, wid: u64, chunks: &[&Chunk]) {
    for some in chunks.chunks(29) {
        let answers = join_all(some.iter().map(|chunk| chunk.upload(session, kind, wid))).await;
        for (answer, chunk) in answers.iter().zip(some) {
            assert_eq!(answer.data(), chunk.digest.to_string());
        }
    }
}

/// Appends in batches and closes a dynamic index.
async fn append_and_close(session: &Session, wid: u64, chunks: &[&Chunk], batch: usize) -> (Digest, u64) {
    let (starts, size) = offsets(chunks);
    for (some, starts) in chunks.chunks(batch).zip(starts.chunks(batch)) {
        assert!(session.put_json("/dynamic_index", &append(wid, some, starts)).await.data().is_null());
    }
    let (csum, count) = (dynamic_csum(chunks), chunks.len());
    let close = format!("/dynamic_close?chunk-count={count}&csum={csum}&size={size}&wid={wid}");
    assert!(session.post(&close).await.data().is_null());
    (csum, size)
}

/// The first backup of `x.pxar` with its catalog and a configuration file; returns the chunks of the archive.
async fn first_backup(client: Command) -> Vec<Chunk> {
    let session = client.upgrade(&backup_path("h1", TIME, ""), BACKUP).await.unwrap();
    assert!(session.get("/previous_backup_time").await.data().is_null());
    // The catalog is opened with the archive, in either order.
    let (catalog, archive) =
        tokio::join!(open_dynamic(&session, "catalog.pcat1.didx"), open_dynamic(&session, "x.pxar.didx"));
    let mut ids = [catalog, archive];
    ids.sort_unstable();
    assert_eq!(ids, [1, 2]);
    let (data, entries) = (chunks(1, 200), chunks(2, 3));
    let (data_refs, entry_refs): (Vec<_>, Vec<_>) = (data.iter().collect(), entries.iter().collect());
    upload_all(&session, "dynamic", archive, &data_refs).await;
    let (csum, size) = append_and_close(&session, archive, &data_refs, FIRST_BATCH).await;
    upload_all(&session, "dynamic", catalog, &entry_refs).await;
    let (catalog_csum, catalog_size) = append_and_close(&session, catalog, &entry_refs, FIRST_BATCH).await;
    let files = [
        ("x.pxar.didx", csum, size),
        ("catalog.pcat1.didx", catalog_csum, catalog_size),
        write_blob(&session, "y.conf.blob", b"key = value\n").await,
    ];
    assert!(finish(&session, "h1", TIME, &files).await.data().is_null());
    session.drop_connection().await;
    data
}

#[tokio::test]
async fn a_directory_twice() {
    let server = TestServer::start().await;
    server.user("test@pbs", "DatastoreBackup").await;
    let login = async || Command::of(&server, "test@pbs", PASSWORD).await;
    let data = first_backup(login().await).await;
    let mut client = login().await;
    assert_eq!(task_end(&client.wire, "backup").await, "OK");
    let files = client.get(&format!("{S}/files"), &triple("h1", "1700000000")).await.data();
    let names: Vec<_> =
        files.as_array().unwrap().iter().map(|file| file["filename"].as_str().unwrap()).collect();
    assert_eq!(names, ["x.pxar.didx", "catalog.pcat1.didx", "y.conf.blob", "index.json.blob"]);

    // The second time nothing has changed, and no chunk of the archive travels.
    let session = login().await.upgrade(&backup_path("h1", TIME + 60, ""), BACKUP).await.unwrap();
    assert_eq!(session.get("/previous_backup_time").await.data(), TIME);
    let manifest = session.get("/previous?archive-name=index.json.blob").await;
    assert_eq!(manifest.headers["content-type"], "application/octet-stream");
    assert!(!manifest.headers.contains_key("content-length"));
    let manifest = Blob::parse(manifest.ok().body.clone()).unwrap().decode(1 << 20).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let catalog = open_dynamic(&session, "catalog.pcat1.didx").await;
    let index = session.get("/previous?archive-name=x.pxar.didx").await;
    assert!(!index.headers.contains_key("content-length"));
    // The client checks the index with the old manifest.
    let mut csum = DigestBuilder::new();
    csum.update(&index.ok().body[4096..]);
    let csum = csum.finish();
    assert_eq!(manifest["files"][0]["csum"], csum.to_string());
    assert_eq!(index.body[32..64], *csum.as_bytes());
    let archive = open_dynamic(&session, "x.pxar.didx").await;
    let data: Vec<_> = data.iter().collect();
    let (new_csum, size) = append_and_close(&session, archive, &data, UNCHANGED_BATCH).await;
    assert_eq!(new_csum, csum);
    // Those of the catalog always do.
    let entries = chunks(2, 3);
    let entries: Vec<_> = entries.iter().collect();
    upload_all(&session, "dynamic", catalog, &entries).await;
    let (catalog_csum, catalog_size) = append_and_close(&session, catalog, &entries, UNCHANGED_BATCH).await;
    let files = [("x.pxar.didx", csum, size), ("catalog.pcat1.didx", catalog_csum, catalog_size)];
    finish(&session, "h1", TIME + 60, &files).await.ok();
    session.drop_connection().await;
    let stored = client.get(&format!("{S}/download-decoded"), &manifest_query("1700000060")).await.json();
    let stats = &stored["unprotected"]["chunk_upload_stats"];
    assert_eq!((&stats["count"], &stats["duplicates"]), (&json!(3), &json!(3)), "{stats}");
}

fn manifest_query(time: &str) -> [(&str, &str); 4] {
    [("backup-id", "h1"), ("backup-time", time), ("backup-type", "host"), ("file-name", "index.json.blob")]
}

/// Two images at once, as QEMU writes them: a chunk of zeros is sent once and named wherever it belongs.
#[tokio::test]
async fn images_whose_uploads_interleave() {
    let server = TestServer::start().await;
    let root = Command::root(&server).await;
    let wire = root.wire.clone();
    let path = backup_path("h1", TIME, "").replace("backup-type=host", "backup-type=vm");
    let session = root.upgrade(&path, BACKUP).await.unwrap();
    let (zeros, tail) = (Chunk::of(vec![0; IMAGE_CHUNK]), Chunk::of(noise(1, 4096)));
    let (data, step) = (Chunk::of(noise(2, IMAGE_CHUNK)), IMAGE_CHUNK as u64);
    let (first, second) = (4 * step, 2 * step + 4096);
    let (a, b) = (
        open_fixed(&session, "drive-scsi0.img.fidx", first).await,
        open_fixed(&session, "drive-scsi1.img.fidx", second).await,
    );
    for wid in [a, b] {
        zeros.upload(&session, "fixed", wid).await.ok();
    }
    let conf = write_blob(&session, "qemu-server.conf.blob", b"cores: 2\n").await;
    let (one, two) = tokio::join!(data.upload(&session, "fixed", a), tail.upload(&session, "fixed", b));
    assert!(one.status == 200 && two.status == 200);
    let put = async |wid, chunks: &[&Chunk], starts: &[u64]| {
        session.put_json("/fixed_index", &append(wid, chunks, starts)).await.ok();
    };
    put(a, &[&zeros, &zeros], &[0, step]).await;
    put(b, &[&zeros, &zeros, &tail], &[0, step, 2 * step]).await;
    put(a, &[&data, &zeros], &[2 * step, 3 * step]).await;
    let mut files = vec![conf];
    for (wid, name, chunks, size) in [
        (a, "drive-scsi0.img.fidx", vec![&zeros, &zeros, &data, &zeros], first),
        (b, "drive-scsi1.img.fidx", vec![&zeros, &zeros, &tail], second),
    ] {
        let (csum, count) = (fixed_csum(&chunks), chunks.len());
        let close = format!("/fixed_close?chunk-count={count}&csum={csum}&size={size}&wid={wid}");
        session.post(&close).await.ok();
        files.push((name, csum, size));
    }
    put_blob(&session, "index.json.blob", manifest("vm", &files, "none", &Value::Null, &json!({})))
        .await
        .ok();
    session.post("/finish").await.ok();
    session.drop_connection().await;
    let query = "backup-id=h1&backup-time=1700000000&backup-type=vm&file-name=drive-scsi0.img.fidx";
    let image = wire.get(&format!("/api2/json/{S}/download-decoded?{query}")).await;
    let expected = [&zeros.plain[..], &zeros.plain, &data.plain, &zeros.plain].concat();
    assert!(image.ok().body == expected);
}

/// A manifest with all files of one mode.
fn manifest(ty: &str, files: &[Listed], mode: &str, signature: &Value, unprotected: &Value) -> Bytes {
    let files: Vec<_> = files
        .iter()
        .map(|(name, csum, size)| json!({ "crypt-mode": mode, "csum": csum.to_string(), "filename": name, "size": size }))
        .collect();
    let manifest = json!({
        "backup-id": "h1", "backup-time": TIME, "backup-type": ty, "files": files,
        "signature": signature, "unprotected": unprotected,
    });
    Blob::encode(manifest.to_string().as_bytes(), Compression::Zstd).unwrap().into_bytes()
}

const KEY_FINGERPRINT: &str =
    "01:23:45:67:89:ab:cd:ef:01:23:45:67:89:ab:cd:ef:01:23:45:67:89:ab:cd:ef:01:23:45:67:89:ab:cd:ef";

#[tokio::test]
async fn with_a_key_and_a_master_key() {
    let server = TestServer::start().await;
    let mut root = Command::root(&server).await;
    let session = root.wire.upgrade(&backup_path("h1", TIME, ""), BACKUP).await.unwrap();
    let key = CryptKey::new([7; 32]);
    let wid = open_dynamic(&session, "x.pxar.didx").await;
    // The digest is keyed; the server cannot check it.
    let plain = noise(1, 5000);
    let mut digest = DigestBuilder::new();
    digest.update(&plain);
    digest.update(b"derived from the key");
    let digest = digest.finish();
    let encoded = Blob::encode_with(&plain, Compression::None, &key, [9; 16]).unwrap().into_bytes();
    assert_eq!(encoded.len(), 5000 + 44);
    let chunk = Chunk { digest, plain: plain.into(), encoded };
    assert_eq!(chunk.upload(&session, "dynamic", wid).await.data(), digest.to_string());
    let (csum, size) = append_and_close(&session, wid, &[&chunk], FIRST_BATCH).await;
    let conf = Blob::encode_with(b"key = value\n", Compression::None, &key, [8; 16]).unwrap().into_bytes();
    put_blob(&session, "y.conf.blob", conf.clone()).await.ok();
    // The result of RSA-4096, neither compressed nor encrypted.
    let rsa = Blob::encode(&noise(3, 512), Compression::None).unwrap().into_bytes();
    assert_eq!(rsa.len(), 512 + 12);
    put_blob(&session, "rsa-encrypted.key.blob", rsa.clone()).await.ok();
    let files = [
        ("x.pxar.didx", csum, size),
        ("y.conf.blob", Digest::of(&conf), conf.len() as u64),
        ("rsa-encrypted.key.blob", Digest::of(&rsa), rsa.len() as u64),
    ];
    let signature = json!(Digest::of(b"signature").to_string());
    let signed =
        manifest("host", &files, "encrypt", &signature, &json!({ "key-fingerprint": KEY_FINGERPRINT }));
    put_blob(&session, "index.json.blob", signed).await.ok();
    session.post("/finish").await.ok();
    session.drop_connection().await;
    assert_eq!(task_end(&root.wire, "backup").await, "OK");

    let listed = root.get(&format!("{S}/snapshots?"), &[]).await.data();
    assert_eq!(listed[0]["fingerprint"], KEY_FINGERPRINT);
    let modes: Vec<_> =
        listed[0]["files"].as_array().unwrap().iter().map(|file| &file["crypt-mode"]).collect();
    assert_eq!(modes, ["encrypt", "encrypt", "encrypt", "sign-only"]);
    // What the server has no key for it does not decode.
    for name in ["x.pxar.didx", "y.conf.blob"] {
        let query = [&triple("h1", "1700000000")[..], &[("file-name", name)]].concat();
        root.get(&format!("{S}/download-decoded"), &query).await.refused(400, "encrypted");
    }
    // A changed manifest would no longer fit its signature: what the server adds is outside of what is signed.
    let stored = root.get(&format!("{S}/download-decoded"), &manifest_query("1700000000")).await.json();
    assert_eq!(
        (&stored["signature"], &stored["unprotected"]["key-fingerprint"]),
        (&signature, &json!(KEY_FINGERPRINT))
    );
    assert!(stored["unprotected"]["chunk_upload_stats"].is_object());
}

#[tokio::test]
async fn signed_only() {
    let server = TestServer::start().await;
    let mut root = Command::root(&server).await;
    let session = root.wire.upgrade(&backup_path("h1", TIME, ""), BACKUP).await.unwrap();
    let listed = write_blob(&session, "y.conf.blob", b"x").await;
    let signature = json!(Digest::of(b"signature").to_string());
    put_blob(&session, "index.json.blob", manifest("host", &[listed], "sign-only", &signature, &json!({})))
        .await
        .ok();
    session.post("/finish").await.ok();
    session.drop_connection().await;
    let files = root.get(&format!("{S}/files"), &triple("h1", "1700000000")).await.data();
    let modes: Vec<_> = files.as_array().unwrap().iter().map(|file| &file["crypt-mode"]).collect();
    assert_eq!(modes, ["sign-only", "sign-only"]);
}

/// A group is seen as soon as its first session begins, and goes with it if that is dropped, as since 3.4 (the recorded server,
/// of 3.2, left it behind); one that has a snapshot stays.
#[tokio::test]
async fn a_dropped_session_takes_its_new_group_along() {
    let server = TestServer::start().await;
    let root = Command::root(&server).await;
    let groups = format!("/api2/json/{S}/groups");
    let session = begin(&root.wire, "h1", TIME).await;
    let seen = json!([{
        "backup-count": 1, "backup-id": "h1", "backup-type": "host", "files": [], "last-backup": TIME,
        "owner": "root@pam",
    }]);
    assert_eq!(root.wire.get(&groups).await.data(), seen);
    root.wire.upgrade(&reader_path("h1", TIME), READER).await.unwrap_err().refused(400, "h1");
    session.drop_connection().await;
    eventually(&root.wire, &groups, |answer| answer.data() == json!([])).await;
    backup(&root.wire, "h2", TIME, &[&Chunk::of(noise(1, 100))]).await;
    let session = begin(&root.wire, "h2", TIME + 60).await;
    assert_eq!(root.wire.get(&groups).await.data()[0]["backup-count"], 2);
    session.drop_connection().await;
    let left = eventually(&root.wire, &groups, |answer| answer.data()[0]["backup-count"] == 1).await;
    assert_eq!(left.data()[0]["last-backup"], TIME);
}

/// Goal: whoever speaks HTTP/2 with prior knowledge right after the answer 101 is told what a stock server tells: frames of
/// 4 MiB, 32 MiB for the connection, at least 100 streams. Method: the bytes themselves.
#[tokio::test]
async fn the_server_announces_its_windows() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let Auth::Ticket { ticket, csrf } = &root.auth else { panic!("no ticket") };
    let mut stream = crate::wire::connect(server.address).await.into_inner();
    let head = format!(
        "{} {} HTTP/1.1\r\nhost: localhost:8007\r\nuser-agent: proxmox-backup-client/1.0\r\n\
         content-type: application/x-www-form-urlencoded\r\ncookie: PBSAuthCookie={ticket}\r\n\
         csrfpreventiontoken: {csrf}\r\nconnection: upgrade\r\nupgrade: {BACKUP}\r\n\r\n",
        Method::GET,
        backup_path("h1", TIME, ""),
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    let answer = String::from_utf8(answer).unwrap().to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 101 switching protocols\r\n"), "{answer}");
    assert!(
        answer.contains("\r\nconnection: upgrade\r\n")
            && answer.contains(&format!("\r\nupgrade: {BACKUP}\r\n"))
    );
    // The client's preface, with settings as its are: windows of 2^31 - 2, frames of 4 MiB.
    let mut preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x0c\x04\0\0\0\0\0".to_vec();
    preface.extend_from_slice(&[0, 4, 0x7f, 0xff, 0xff, 0xfe, 0, 5, 0, 0x40, 0, 0]);
    stream.write_all(&preface).await.unwrap();
    let (mut settings, mut window) = (Vec::new(), 65_535_u64);
    while settings.is_empty() || window == 65_535 {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).await.unwrap();
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        match (head[3], head[4] & 1) {
            (4, 0) => {
                settings = payload.chunks(6).map(|one| (number(&one[..2]), number(&one[2..]))).collect();
            }
            (8, _) if head[5..] == [0; 4] => window += number(&payload),
            _ => {}
        }
    }
    let value = |id: u64| settings.iter().find(|(known, _)| *known == id).map(|(_, value)| *value);
    assert_eq!((value(5), window), (Some(4 << 20), 32 << 20), "{settings:?}");
    assert!(value(3).is_none_or(|streams| streams >= 100), "{settings:?}");
    assert!(value(6).is_none_or(|bytes| bytes >= 16 << 10), "{settings:?}");
}
