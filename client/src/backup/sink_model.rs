//! A model of the server's index writer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use coldkeep_chunk_store::blob::Blob;
use coldkeep_chunk_store::{CheckedChunk, Digest};

use super::{Chunk, ChunkSink};
use crate::error::{Call, RequestError};

/// An index writer in memory, as strict as a server: a chunk must be stored before it is referenced, and is sent once.
#[derive(Default)]
pub(in crate::backup) struct Model {
    pub(in crate::backup) state: Mutex<ModelState>,
    pub(in crate::backup) in_flight: AtomicUsize,
    pub(in crate::backup) in_flight_max: AtomicUsize,
    pub(in crate::backup) fail_send_of: Option<Digest>,
}

#[derive(Default)]
pub(in crate::backup) struct ModelState {
    pub(in crate::backup) previous: BTreeSet<Digest>,
    pub(in crate::backup) stored: BTreeMap<Digest, Vec<u8>>,
    pub(in crate::backup) entries: Vec<(Digest, u64)>,
    pub(in crate::backup) batches: Vec<usize>,
}

fn refused(path: &str) -> RequestError {
    RequestError::refused(
        Call::new(http::Method::POST, path),
        http::StatusCode::BAD_REQUEST,
        b"no such chunk",
    )
}

impl ChunkSink for Model {
    async fn send(&self, chunk: Chunk) -> Result<(), RequestError> {
        let now = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        self.in_flight_max.fetch_max(now, Ordering::SeqCst);
        // Let others overtake.
        for _ in 0..chunk.digest.as_bytes()[0] % 8 {
            tokio::task::yield_now().await;
        }
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
        if self.fail_send_of == Some(chunk.digest) {
            return Err(refused("/fixed_chunk"));
        }
        CheckedChunk::check(chunk.digest, chunk.plain_len as u64, chunk.blob.clone()).unwrap();
        let data = Blob::parse(chunk.blob).unwrap().decode(1 << 24).unwrap().to_vec();
        let before = self.state.lock().unwrap().stored.insert(chunk.digest, data);
        assert!(before.is_none(), "{} was sent twice", chunk.digest);
        Ok(())
    }

    async fn append(&self, entries: &[(Digest, u64)]) -> Result<(), RequestError> {
        let mut state = self.state.lock().unwrap();
        for (digest, _) in entries {
            if !state.stored.contains_key(digest) && !state.previous.contains(digest) {
                return Err(refused("/fixed_index"));
            }
        }
        state.batches.push(entries.len());
        state.entries.extend_from_slice(entries);
        Ok(())
    }
}

impl Model {
    /// Rebuilds the archive from the references.
    pub(in crate::backup) fn content(&self) -> Vec<u8> {
        let state = self.state.lock().unwrap();
        let mut data = Vec::new();
        for (digest, offset) in &state.entries {
            assert_eq!(*offset, data.len() as u64);
            data.extend_from_slice(&state.stored[digest]);
        }
        data
    }

    /// Stores a chunk as if an earlier session had sent it.
    pub(in crate::backup) fn know(&self, digest: Digest, data: &[u8]) {
        self.state.lock().unwrap().stored.insert(digest, data.to_vec());
    }

    /// Returns what was referenced.
    pub(in crate::backup) fn entries(&self) -> Vec<(Digest, u64)> {
        self.state.lock().unwrap().entries.clone()
    }
}

/// Returns bytes that do not compress.
pub(in crate::backup) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut data = vec![0; len];
    for byte in &mut data {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte = state as u8;
    }
    data
}
