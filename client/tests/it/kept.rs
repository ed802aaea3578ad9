//! A server that keeps one snapshot in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use coldkeep_chunk_store::Digest;
use coldkeep_client::{Client, Credentials, Store};
use coldkeep_datastore::{Namespace, SnapshotName};
use http::StatusCode;
use serde_json::json;

use super::server::{Seen, Server, data, error, ok};

/// What a server keeps of one snapshot; each archive's index is rebuilt from the references.
#[derive(Clone, Default)]
pub(crate) struct Kept {
    pub(crate) chunks: BTreeMap<String, Bytes>,
    pub(crate) blobs: BTreeMap<String, Bytes>,
    pub(crate) names: Vec<String>,
    pub(crate) entries: BTreeMap<u64, Vec<(Digest, u64)>>,
    pub(crate) lengths: BTreeMap<Digest, u64>,
    pub(crate) indexes: BTreeMap<String, Vec<u8>>,
    pub(crate) is_finished: bool,
}

pub(crate) fn parameter(seen: &Seen, name: &str) -> String {
    let query = seen.target.split('?').nth(1).unwrap_or("");
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map_or_else(String::new, |(_, value)| value.to_owned())
}

impl Kept {
    pub(crate) fn answer(&mut self, seen: &Seen) -> (StatusCode, Bytes) {
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

pub(crate) fn serve(kept: &Arc<Mutex<Kept>>) -> (Server, Store) {
    let kept = Arc::clone(kept);
    let server = Server::new(move |seen| kept.lock().unwrap().answer(seen));
    let client = Client::new(server.clone(), Credentials::Local);
    (server, client.store("tank".parse().unwrap(), Namespace::root()))
}

pub(crate) fn snapshot() -> SnapshotName {
    "host/demo/2023-11-14T22:13:20Z".parse().unwrap()
}

pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
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
