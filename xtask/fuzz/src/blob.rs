//! Blobs, and chunks as a client uploads them.

use bytes::Bytes;
use coldkeep_chunk_store::blob::{Blob, ChunkClass};
use coldkeep_chunk_store::{CheckedChunk, Digest};

/// More than any seed decodes to, and little enough that a bomb shows up as a refused length, not as a slow run.
const DECODED_BYTES_MAX: usize = 1 << 20;

/// Parses the input as it is, and once more with the CRC put right: no mutation would ever find it.
pub fn check(input: &[u8]) {
    blob(Bytes::copy_from_slice(input));
    if input.len() >= 12 {
        let mut sealed = input.to_vec();
        let header = Blob::parse(Bytes::copy_from_slice(input)).map_or(12, |blob| blob.kind().header_bytes());
        let crc = crc32fast::hash(&input[header..]);
        sealed[8..12].copy_from_slice(&crc.to_le_bytes());
        blob(sealed.into());
    }
}

fn blob(bytes: Bytes) {
    let Ok(blob) = Blob::parse(bytes.clone()) else { return };
    assert_eq!(blob.as_bytes(), &bytes);
    let Ok(data) = blob.decode(DECODED_BYTES_MAX) else { return };
    assert!(data.len() <= DECODED_BYTES_MAX);
    blob.check_crc().expect("a blob that decodes has the right CRC");
    if data.is_empty() || blob.class() == ChunkClass::Encrypted {
        return;
    }
    let digest = Digest::of(&data);
    let checked = CheckedChunk::check(digest, data.len() as u64, bytes.clone());
    // Frames that can be decoded in more than one way are refused; there is no other reason.
    let Ok(chunk) = checked else {
        assert!(blob.kind().is_compressed(), "a decodable chunk is accepted");
        return;
    };
    let stored = chunk.blob().decode(DECODED_BYTES_MAX).expect("an accepted chunk decodes");
    assert_eq!(stored, data);
    CheckedChunk::check(digest, data.len() as u64 + 1, bytes.clone())
        .expect_err("the announced length counts");
    CheckedChunk::check(Digest::of(b"other"), data.len() as u64, bytes)
        .expect_err("the announced digest counts");
}
