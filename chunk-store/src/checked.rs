//! Chunks whose content was checked before they count (R2).

use std::borrow::Cow;

use bytes::Bytes;

use crate::blob::{
    BLOB_ENCODED_BYTES_MAX, Blob, BlobError, BlobKind, CHUNK_BYTES_MAX, ChunkClass, decompress,
    decompress_unambiguous,
};
use crate::digest::Digest;

/// A chunk as it may be stored: a plain one was decoded and its digest and length are right, an encrypted one has the
/// right shape. Its CRC is right in both cases.
#[derive(Debug, Clone)]
pub struct CheckedChunk {
    digest: Digest,
    plain_len: u64,
    blob: Blob,
}

/// Why an uploaded chunk is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The announced length is not that of a chunk.
    #[error("chunk {digest} has an announced size of {len} bytes; allowed are 1 to {CHUNK_BYTES_MAX}")]
    PlainLength {
        /// The chunk's announced digest.
        digest: Digest,
        /// The announced length of its data.
        len: u64,
    },
    /// The body is longer than any encoded chunk.
    #[error("chunk {digest} is {len} bytes long encoded; at most {BLOB_ENCODED_BYTES_MAX} are allowed")]
    EncodedLength {
        /// The chunk's announced digest.
        digest: Digest,
        /// The length of the body.
        len: usize,
    },
    /// The body is no blob, or its payload is damaged.
    #[error("chunk {digest} is no valid blob")]
    Blob {
        /// The chunk's announced digest.
        digest: Digest,
        /// What is wrong with it.
        #[source]
        source: BlobError,
    },
    /// The data has another digest than announced.
    #[error("chunk {digest} has data with the digest {got}")]
    Digest {
        /// The chunk's announced digest.
        digest: Digest,
        /// The digest of its data.
        got: Digest,
    },
    /// The data has another length than announced.
    #[error("chunk {digest} has data of another length than the announced {expected} bytes")]
    Length {
        /// The chunk's announced digest.
        digest: Digest,
        /// The announced length.
        expected: u64,
    },
}

impl CheckedChunk {
    /// Checks an uploaded chunk against its announced digest and length.
    ///
    /// A plain chunk is decoded, in which there must be no choice; digest and length must be right. The CRC that its writer put in is
    /// ignored and made right (spec `formats.md` §2.2). Of an encrypted chunk only the shape can be checked, and the
    /// CRC if its writer did not leave it out.
    ///
    /// Hashes and decompresses up to 16 MiB: call it where blocking is allowed.
    ///
    /// # Errors
    /// [`CheckError`]: nothing was stored, the uploader sent something wrong.
    pub fn check(digest: Digest, plain_len: u64, body: Bytes) -> Result<Self, CheckError> {
        if plain_len == 0 || plain_len > CHUNK_BYTES_MAX as u64 {
            return Err(CheckError::PlainLength { digest, len: plain_len });
        }
        if body.len() > BLOB_ENCODED_BYTES_MAX {
            return Err(CheckError::EncodedLength { digest, len: body.len() });
        }
        let blob = Blob::parse(body).map_err(|source| CheckError::Blob { digest, source })?;
        check_content(&blob, digest, Some(plain_len))?;
        Ok(Self { digest, plain_len, blob: blob.with_right_crc() })
    }

    /// Returns the chunk's name.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns the number of plain bytes; of an encrypted, compressed chunk as its writer announced it.
    pub const fn plain_len(&self) -> u64 {
        self.plain_len
    }

    /// Returns the encoded chunk.
    pub const fn blob(&self) -> &Blob {
        &self.blob
    }
}

fn check_content(blob: &Blob, digest: Digest, plain_len: Option<u64>) -> Result<(), CheckError> {
    let failed = |source| CheckError::Blob { digest, source };
    let payload_len = blob.payload().len() as u64;
    match blob.kind().class() {
        ChunkClass::Plain => {
            let data = data_of(blob, plain_len.is_some()).map_err(failed)?;
            let (got, len) = (Digest::of(&data), data.len() as u64);
            if got != digest {
                return Err(CheckError::Digest { digest, got });
            }
            match plain_len {
                Some(expected) if expected != len => Err(CheckError::Length { digest, expected }),
                _ => Ok(()),
            }
        }
        ChunkClass::Encrypted => {
            // GCM keeps the length: uncompressed, it is known without the key. Compression is only kept if it helps.
            let exact = blob.kind() == BlobKind::Encrypted;
            match plain_len {
                Some(expected) if payload_len > expected || (exact && payload_len != expected) => {
                    return Err(CheckError::Length { digest, expected });
                }
                _ => {}
            }
            if payload_len == 0 {
                return Err(CheckError::PlainLength { digest, len: 0 });
            }
            if plain_len.is_some() && blob.has_no_crc() { Ok(()) } else { blob.check_crc().map_err(failed) }
        }
    }
}

/// Checks what was read of a chunk: shape, CRC, and the digest where that is possible without a key.
pub(crate) fn check_read(digest: Digest, content: Bytes) -> Result<Blob, CheckError> {
    let blob = Blob::parse(content).map_err(|source| CheckError::Blob { digest, source })?;
    check_stored(&blob, digest)?;
    Ok(blob)
}

/// Checks shape and CRC of what was read of a chunk.
pub(crate) fn check_encoded(digest: Digest, content: Bytes) -> Result<Blob, CheckError> {
    let failed = |source| CheckError::Blob { digest, source };
    let blob = Blob::parse(content).map_err(failed)?;
    blob.check_crc().map_err(failed)?;
    Ok(blob)
}

/// Checks a chunk that was read from a store: CRC, and for a plain one the digest.
pub(crate) fn check_stored(blob: &Blob, digest: Digest) -> Result<(), CheckError> {
    blob.check_crc().map_err(|source| CheckError::Blob { digest, source })?;
    check_content(blob, digest, None)
}

/// Returns a plain chunk's data; of an upload only if every decoder finds the same.
fn data_of(blob: &Blob, is_upload: bool) -> Result<Cow<'_, [u8]>, BlobError> {
    let payload = blob.payload();
    match (blob.kind().is_compressed(), is_upload) {
        (false, _) if payload.len() > CHUNK_BYTES_MAX => Err(BlobError::TooLarge { max: CHUNK_BYTES_MAX }),
        (false, _) => Ok(Cow::Borrowed(payload)),
        (true, true) => decompress_unambiguous(payload, CHUNK_BYTES_MAX).map(Cow::Owned),
        (true, false) => decompress(payload, CHUNK_BYTES_MAX).map(Cow::Owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blob::{Compression, CryptKey};

    fn encoded(data: &[u8], compression: Compression) -> Bytes {
        Blob::encode(data, compression).unwrap().into_bytes()
    }

    #[test]
    fn right_chunks_pass_and_get_a_right_crc() {
        for compression in [Compression::None, Compression::Zstd] {
            let data = vec![7; 300_000];
            let mut body = encoded(&data, compression).to_vec();
            body[8] ^= 1;
            let chunk = CheckedChunk::check(Digest::of(&data), 300_000, body.into()).unwrap();
            assert_eq!(chunk.blob().decode(300_000).unwrap(), data);
        }
    }

    #[test]
    fn wrong_digest_length_and_payload_are_refused() {
        let data = vec![7; 1000];
        let digest = Digest::of(&data);
        let body = encoded(&data, Compression::Zstd);
        let other = Digest::of(b"other");
        let check = CheckedChunk::check;
        assert!(
            matches!(check(other, 1000, body.clone()), Err(CheckError::Digest { got, .. }) if got == digest)
        );
        for len in [999, 1001] {
            assert!(matches!(check(digest, len, body.clone()), Err(CheckError::Length { .. })));
        }
        for len in [0, CHUNK_BYTES_MAX as u64 + 1, u64::MAX] {
            assert!(matches!(check(digest, len, body.clone()), Err(CheckError::PlainLength { .. })));
        }
        let cut = body.slice(..body.len() - 1);
        assert!(matches!(check(digest, 1000, cut), Err(CheckError::Blob { .. })));
        let long = Bytes::from(vec![0; BLOB_ENCODED_BYTES_MAX + 1]);
        assert!(matches!(check(digest, 1000, long), Err(CheckError::EncodedLength { .. })));
    }

    #[test]
    fn a_small_frame_that_unpacks_to_more_than_a_chunk_is_refused() {
        let data = vec![0; CHUNK_BYTES_MAX + 1];
        let body = encoded(&data, Compression::Zstd);
        let refused = CheckedChunk::check(Digest::of(&data), CHUNK_BYTES_MAX as u64, body);
        assert!(matches!(refused, Err(CheckError::Blob { source: BlobError::TooLarge { .. }, .. })));
    }

    #[test]
    fn encrypted_chunks_are_checked_by_shape_and_crc() {
        let key = CryptKey::new([3; 32]);
        let blob = Blob::encode_with(b"abc", Compression::None, &key, [1; 16]).unwrap();
        let digest = key.digest(b"abc");
        let body = blob.as_bytes().clone();
        CheckedChunk::check(digest, 3, body.clone()).unwrap();
        assert!(matches!(CheckedChunk::check(digest, 4, body.clone()), Err(CheckError::Length { .. })));
        let mut damaged = body.to_vec();
        damaged[45] ^= 1;
        let refused = CheckedChunk::check(digest, 3, damaged.into());
        assert!(matches!(refused, Err(CheckError::Blob { source: BlobError::Crc { .. }, .. })));
        let mut without = body.to_vec();
        without[8..12].fill(0);
        assert_eq!(CheckedChunk::check(digest, 3, without.into()).unwrap().blob(), &blob);
    }
}
