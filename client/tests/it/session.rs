//! Upgraded sessions: a whole backup and its restore over the wire.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use coldkeep_chunk_store::Digest;
use coldkeep_client::{BackupError, Client, Credentials, ImageSource, RestoreError, Store, TransferLimits};
use coldkeep_datastore::{Namespace, SnapshotName};
use http::StatusCode;
use serde_json::json;

use super::server::{Seen, Server, data, error, ok};

/// What a server keeps of one snapshot; each archive's index is rebuilt from the references.
#[derive(Default)]
struct Kept {
    chunks: BTreeMap<String, Bytes>,
    blobs: BTreeMap<String, Bytes>,
    names: Vec<String>,
    entries: BTreeMap<u64, Vec<(Digest, u64)>>,
    lengths: BTreeMap<Digest, u64>,
    indexes: BTreeMap<String, Vec<u8>>,
    is_finished: bool,
}

fn parameter(seen: &Seen, name: &str) -> String {
    let query = seen.target.split('?').nth(1).unwrap_or("");
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map_or_else(String::new, |(_, value)| value.to_owned())
}

impl Kept {
    fn answer(&mut self, seen: &Seen) -> (StatusCode, Bytes) {
        match seen.path() {
            "/api2/json/backup" => {
                assert_eq!(seen.header("upgrade"), "proxmox-backup-protocol-v1");
                (StatusCode::SWITCHING_PROTOCOLS, Bytes::new())
            }
            "/api2/json/reader" => {
                assert_eq!(seen.header("upgrade"), "proxmox-backup-reader-protocol-v1");
                (StatusCode::SWITCHING_PROTOCOLS, Bytes::new())
            }
            "/previous_backup_time" if self.is_finished => data(&json!(1_700_000_000)),
            "/previous_backup_time" => data(&json!(null)),
            "/previous" | "/download" => {
                let name = format!("{}{}", parameter(seen, "archive-name"), parameter(seen, "file-name"));
                let blob = self.blobs.get(&name).cloned();
                let file = blob.or_else(|| self.indexes.get(&name).cloned().map(Bytes::from));
                file.map_or_else(|| error(404, "no such file"), ok)
            }
            "/chunk" => {
                let chunk = self.chunks.get(&parameter(seen, "digest"));
                chunk.map_or_else(|| error(400, "no such chunk"), |chunk| ok(chunk.clone()))
            }
            "/fixed_index" | "/dynamic_index" if seen.method == "POST" => {
                self.names.push(parameter(seen, "archive-name"));
                data(&json!(self.names.len()))
            }
            "/fixed_index" | "/dynamic_index" => self.append(seen),
            "/fixed_chunk" | "/dynamic_chunk" => {
                let digest = parameter(seen, "digest");
                assert_eq!(parameter(seen, "encoded-size"), seen.body.len().to_string());
                assert_eq!(seen.header("content-type"), "application/octet-stream");
                self.lengths.insert(digest.parse().unwrap(), parameter(seen, "size").parse().unwrap());
                self.chunks.insert(digest.clone(), seen.body.clone());
                data(&json!(digest))
            }
            "/fixed_close" | "/dynamic_close" => self.close(seen),
            "/blob" => {
                self.blobs.insert(parameter(seen, "file-name"), seen.body.clone());
                data(&json!(null))
            }
            "/finish" => {
                self.is_finished = true;
                data(&json!(null))
            }
            _ => error(404, "no such path"),
        }
    }

    fn append(&mut self, seen: &Seen) -> (StatusCode, Bytes) {
        let body: serde_json::Value = serde_json::from_slice(&seen.body).unwrap();
        let digests: Vec<Digest> = serde_json::from_value(body["digest-list"].clone()).unwrap();
        let offsets: Vec<u64> = serde_json::from_value(body["offset-list"].clone()).unwrap();
        if digests.iter().any(|digest| !self.chunks.contains_key(&digest.to_string())) {
            return error(400, "no such chunk");
        }
        let entries = self.entries.entry(body["wid"].as_u64().unwrap()).or_default();
        entries.extend(digests.into_iter().zip(offsets));
        data(&json!(null))
    }

    fn close(&mut self, seen: &Seen) -> (StatusCode, Bytes) {
        let wid: u64 = parameter(seen, "wid").parse().unwrap();
        let is_fixed = seen.path() == "/fixed_close";
        let mut table = Vec::new();
        let entries = self.entries.entry(wid).or_default();
        for (digest, offset) in &*entries {
            if !is_fixed {
                table.extend_from_slice(&(offset + self.lengths[digest]).to_le_bytes());
            }
            table.extend_from_slice(digest.as_bytes());
        }
        assert_eq!(Digest::of(&table).to_string(), parameter(seen, "csum"));
        assert_eq!(entries.len().to_string(), parameter(seen, "chunk-count"));
        let mut index = vec![0; 4096];
        index[..8].copy_from_slice(if is_fixed {
            &[0x2f, 0x7f, 0x41, 0xed, 0x91, 0xfd, 0x0f, 0xcd]
        } else {
            &[0x1c, 0x91, 0x4e, 0xa5, 0x19, 0xba, 0xb3, 0xcd]
        });
        if is_fixed {
            let size: u64 = parameter(seen, "size").parse().unwrap();
            index[64..72].copy_from_slice(&size.to_le_bytes());
            index[72..80].copy_from_slice(&(4_u64 << 20).to_le_bytes());
        }
        index.extend_from_slice(&table);
        self.indexes.insert(self.names[wid as usize - 1].clone(), index);
        data(&json!(null))
    }
}

fn serve(kept: &Arc<Mutex<Kept>>) -> (Server, Store) {
    let kept = Arc::clone(kept);
    let server = Server::new(move |seen| kept.lock().unwrap().answer(seen));
    let client = Client::new(server.clone(), Credentials::Local);
    (server, client.store("tank".parse().unwrap(), Namespace::root()))
}

fn snapshot() -> SnapshotName {
    "host/demo/2023-11-14T22:13:20Z".parse().unwrap()
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut data = vec![0; len];
    for byte in &mut data {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte = state as u8;
    }
    data
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_comes_back_and_a_second_one_sends_no_chunk() {
    let kept = Arc::new(Mutex::new(Kept::default()));
    let (server, store) = serve(&kept);
    let image = [noise(9 << 20, 1), vec![0; 8 << 20], noise(77, 2)].concat();
    let stream = noise(11 << 20, 3);
    for round in 0..2 {
        let session = store.begin_backup(&snapshot(), TransferLimits::default()).await.unwrap();
        assert_eq!(session.previous_backup_time().is_some(), round == 1);
        let source = ImageSource::reader(std::io::Cursor::new(image.clone()), image.len() as u64);
        let uploaded = session.upload_image(&"d.img.fidx".parse().unwrap(), source).await.unwrap();
        assert_eq!((uploaded.size, uploaded.is_incremental), (image.len() as u64, round == 1));
        let reader = std::io::Cursor::new(stream.clone());
        session.upload_stream(&"s.bin.didx".parse().unwrap(), reader).await.unwrap();
        session
            .upload_blob(&"y.conf.blob".parse().unwrap(), Bytes::from_static(b"key = value"))
            .await
            .unwrap();
        let counted = session.progress().snapshot();
        assert_eq!(counted.read_bytes, (image.len() + stream.len() + 11) as u64);
        assert_eq!(counted.transferred_bytes == 11, round == 1, "{counted:?}");
        let manifest = session.finish().await.unwrap();
        let names: Vec<_> = manifest.files().iter().map(|file| file.filename.as_str()).collect();
        assert_eq!(names, ["d.img.fidx", "s.bin.didx", "y.conf.blob"]);
        kept.lock().unwrap().entries.clear();
        kept.lock().unwrap().names.clear();
    }
    let log = server.log();
    assert!(log.contains(
        &"GET /api2/json/backup?backup-id=demo&backup-time=1700000000&backup-type=host&store=tank".to_owned()
    ));

    let reader = store.open_snapshot(&snapshot(), TransferLimits::default()).await.unwrap();
    let file = tempfile::tempfile().unwrap();
    reader.restore_to_file(&"d.img.fidx".parse().unwrap(), file.try_clone().unwrap()).await.unwrap();
    let mut restored = vec![0; image.len()];
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut restored, 0).unwrap();
    assert!(restored == image && file.metadata().unwrap().len() == image.len() as u64);
    let restored = reader.restore_to_writer(&"s.bin.didx".parse().unwrap(), Vec::new()).await.unwrap();
    assert!(restored == stream);
    assert_eq!(reader.load_blob(&"y.conf.blob".parse().unwrap()).await.unwrap(), "key = value");
    let missing = reader.load_blob(&"z.conf.blob".parse().unwrap()).await.unwrap_err();
    assert!(matches!(missing, RestoreError::NoArchive { .. }));
    let restored = reader.restore_to_writer(&"y.conf.blob".parse().unwrap(), Vec::new()).await.unwrap();
    assert_eq!(restored, b"key = value");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_of_another_snapshot_is_refused() {
    let kept = Arc::new(Mutex::new(Kept::default()));
    let (_, store) = serve(&kept);
    let session = store.begin_backup(&snapshot(), TransferLimits::default()).await.unwrap();
    session.upload_blob(&"y.conf.blob".parse().unwrap(), Bytes::new()).await.unwrap();
    session.finish().await.unwrap();
    let other = "host/demo/2024-01-01T00:00:00Z".parse().unwrap();
    let refused = store.open_snapshot(&other, TransferLimits::default()).await.unwrap_err();
    assert!(matches!(refused, RestoreError::Snapshot { .. }), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_protocol_cannot_hold_is_refused_here() {
    let (_, store) = serve(&Arc::default());
    let session = store.begin_backup(&snapshot(), TransferLimits::default()).await.unwrap();
    let image = |size| ImageSource::reader(std::io::empty(), size);
    let kind = session.upload_image(&"c.bin.didx".parse().unwrap(), image(1)).await.unwrap_err();
    assert!(matches!(kind, BackupError::Kind { .. }));
    let kind = session.upload_blob(&"index.json.blob".parse().unwrap(), Bytes::new()).await.unwrap_err();
    assert!(matches!(kind, BackupError::Kind { .. }));
    let large = Bytes::from(noise(17 << 20, 1));
    let large = session.upload_blob(&"d.conf.blob".parse().unwrap(), large).await.unwrap_err();
    assert!(matches!(large, BackupError::BlobTooLarge { .. }));
    session.upload_blob(&"e.conf.blob".parse().unwrap(), Bytes::new()).await.unwrap();
    let twice = session.upload_blob(&"e.conf.blob".parse().unwrap(), Bytes::new()).await.unwrap_err();
    assert!(matches!(twice, BackupError::Twice { .. }));
    // None of these has begun anything on the server: the backup may do without them.
    assert_eq!(session.finish().await.unwrap().files().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_lacks_an_archive_is_not_finished() {
    let (server, store) = serve(&Arc::default());
    let session = store.begin_backup(&snapshot(), TransferLimits::default()).await.unwrap();
    let image = ImageSource::reader(std::io::empty(), 0);
    let empty = session.upload_image(&"a.img.fidx".parse().unwrap(), image).await.unwrap_err();
    assert!(matches!(empty, BackupError::Empty { .. }));
    session.upload_blob(&"e.conf.blob".parse().unwrap(), Bytes::new()).await.unwrap();
    let refused = session.finish().await.unwrap_err();
    assert!(matches!(&refused, BackupError::Incomplete { archive } if archive.as_str() == "a.img.fidx"));
    assert!(!server.log().iter().any(|call| call.contains("/finish")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_stream_is_an_index_without_entries() {
    let (_, store) = serve(&Arc::default());
    let session = store.begin_backup(&snapshot(), TransferLimits::default()).await.unwrap();
    let uploaded = session.upload_stream(&"b.bin.didx".parse().unwrap(), std::io::empty()).await.unwrap();
    assert_eq!((uploaded.size, uploaded.chunk_count, uploaded.csum), (0, 0, Digest::of(b"")));
}

#[tokio::test]
async fn a_refused_upgrade_gives_the_servers_reason() {
    let server = Server::new(|_| error(400, "backup group is locked"));
    let store = Client::new(server, Credentials::Local).store("tank".parse().unwrap(), Namespace::root());
    let refused = store.begin_backup(&snapshot(), TransferLimits::default()).await.unwrap_err();
    assert_eq!(refused.to_string(), "backup group is locked (400 Bad Request)");
}

#[tokio::test]
async fn an_answer_other_than_101_is_no_session() {
    let server = Server::new(|_| ok("hello"));
    let store = Client::new(server, Credentials::Local).store("tank".parse().unwrap(), Namespace::root());
    assert!(store.open_snapshot(&snapshot(), TransferLimits::default()).await.is_err());
}
