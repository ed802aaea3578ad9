//! The chunks of a history: few, small, named by number.

use coldkeep_chunk_store::backend::ObjectKey;
use coldkeep_chunk_store::blob::{Blob, Compression};
use coldkeep_chunk_store::dir::EntryName;
use coldkeep_chunk_store::{CheckedChunk, Digest};

/// Most chunks of a history.
pub(crate) const CHUNKS: usize = 10;

/// All chunks, made once.
#[derive(Debug, Clone)]
pub(crate) struct Chunks {
    chunks: Vec<Chunk>,
}

#[derive(Debug, Clone)]
struct Chunk {
    checked: CheckedChunk,
    key: String,
}

impl Chunks {
    pub(crate) fn new() -> Self {
        Self { chunks: (0..CHUNKS).map(|number| Chunk::new(&content(number))).collect() }
    }

    pub(crate) fn checked(&self, number: usize) -> CheckedChunk {
        self.chunks[number].checked.clone()
    }

    pub(crate) fn digest(&self, number: usize) -> Digest {
        self.chunks[number].checked.digest()
    }

    /// Returns the key of the chunk's object.
    pub(crate) fn key(&self, number: usize) -> &str {
        &self.chunks[number].key
    }

    /// Returns the length of the chunk as it is stored.
    pub(crate) fn len(&self, number: usize) -> u64 {
        self.chunks[number].checked.blob().encoded_len() as u64
    }

    pub(crate) fn number(&self, digest: &Digest) -> Option<usize> {
        self.chunks.iter().position(|chunk| chunk.checked.digest() == *digest)
    }

    /// Returns whether a blob is that of the chunk.
    pub(crate) fn is_content(&self, number: usize, blob: &Blob) -> bool {
        self.is_stored_as(number, blob.as_bytes())
    }

    /// Returns whether the chunk is stored as these bytes.
    pub(crate) fn is_stored_as(&self, number: usize, content: &[u8]) -> bool {
        self.chunks[number].checked.blob().as_bytes() == content
    }
}

impl Chunk {
    fn new(content: &str) -> Self {
        let digest = Digest::of(content.as_bytes());
        let body = Blob::encode(content.as_bytes(), Compression::None).expect("a small blob").into_bytes();
        let checked = CheckedChunk::check(digest, content.len() as u64, body).expect("a good chunk");
        Self { checked, key: ObjectKey::of_entry(EntryName::chunk(digest)).to_string() }
    }
}

/// Of one length, as chunks of fixed size are.
fn content(number: usize) -> String {
    format!("content of chunk {number:02}")
}
