//! Checksums of bodies, computed while they are read or before they are sent.

use std::future::poll_fn;
use std::task::Poll;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use crc_fast::CrcAlgorithm;
use md5::Md5;
use sha2::{Digest as _, Sha256};

use crate::body::Payload;
use crate::error::AnswerFlaw;
use crate::ops::Checksums;

/// How much is hashed at once by each algorithm in turn: what stays in the processor's cache.
const SLICE_BYTES: usize = 64 << 10;

/// How much is hashed before other tasks get their turn: about 2 ms, as long as a chunk of 4 MiB. A turn can move the task to another thread;
/// with one every 256 KiB, puts of 4 MiB took a fifth longer.
const TURN_BYTES: usize = 4 << 20;

/// What an upload needs of its payload's hashes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wanted {
    pub(super) sha256: bool,
    pub(super) crc32c: bool,
    pub(super) md5: bool,
}

/// The hashes of a payload.
#[derive(Debug, Clone, Default)]
pub(super) struct Hashes {
    pub(super) sha256: Option<[u8; 32]>,
    /// Base64, as its header has it.
    pub(super) crc32c: Option<String>,
    /// Base64.
    pub(super) md5: Option<String>,
}

/// Hashes a payload in one pass over memory, and lets other tasks run in between.
pub(super) async fn hash(payload: &Payload, wanted: Wanted) -> Hashes {
    let mut sha256 = wanted.sha256.then(Sha256::new);
    let mut crc32c = wanted.crc32c.then(|| crc_fast::Digest::new(CrcAlgorithm::Crc32Iscsi));
    let mut md5 = wanted.md5.then(Md5::new);
    let mut hashed = 0;
    for slice in payload.pieces().iter().flat_map(|piece| piece.chunks(SLICE_BYTES)) {
        if hashed >= TURN_BYTES {
            let_others_run().await;
            hashed = 0;
        }
        hashed += slice.len();
        if let Some(hasher) = &mut crc32c {
            hasher.update(slice);
        }
        if let Some(hasher) = &mut sha256 {
            hasher.update(slice);
        }
        if let Some(hasher) = &mut md5 {
            hasher.update(slice);
        }
    }
    Hashes {
        sha256: sha256.map(|hasher| hasher.finalize().into()),
        crc32c: crc32c.map(|hasher| crc_text(hasher.finalize(), 4)),
        md5: md5.map(|hasher| BASE64.encode(hasher.finalize())),
    }
}

/// Gives the task's turn to others, once.
async fn let_others_run() {
    let mut has_yielded = false;
    poll_fn(|cx| {
        if has_yielded {
            return Poll::Ready(());
        }
        has_yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Checks a body against the one checksum that is cheapest of those that came with it.
pub(super) struct Check {
    algorithm: &'static str,
    expected: String,
    hasher: Hasher,
}

enum Hasher {
    /// The digest, and how many bytes of its value count.
    Crc(Box<crc_fast::Digest>, usize),
    Sha256(Box<Sha256>),
}

impl Check {
    /// Chooses the checksum; `None` if the answer has none.
    pub(super) fn of(sums: Checksums) -> Option<Check> {
        let crc = |algorithm, bytes| Hasher::Crc(Box::new(crc_fast::Digest::new(algorithm)), bytes);
        let (algorithm, expected, hasher) = match sums {
            Checksums { crc32c: Some(sum), .. } => ("CRC32C", sum, crc(CrcAlgorithm::Crc32Iscsi, 4)),
            Checksums { crc64nvme: Some(sum), .. } => ("CRC64NVME", sum, crc(CrcAlgorithm::Crc64Nvme, 8)),
            Checksums { crc32: Some(sum), .. } => ("CRC32", sum, crc(CrcAlgorithm::Crc32IsoHdlc, 4)),
            Checksums { sha256: Some(sum), .. } => ("SHA-256", sum, Hasher::Sha256(Box::default())),
            _ => return None,
        };
        Some(Check { algorithm, expected, hasher })
    }

    pub(super) fn update(&mut self, piece: &[u8]) {
        match &mut self.hasher {
            Hasher::Crc(digest, _) => digest.update(piece),
            Hasher::Sha256(digest) => digest.update(piece),
        }
    }

    pub(super) fn finish(self) -> Result<(), AnswerFlaw> {
        let got = match self.hasher {
            Hasher::Crc(digest, bytes) => crc_text(digest.finalize(), bytes),
            Hasher::Sha256(digest) => BASE64.encode(digest.finalize()),
        };
        if got == self.expected {
            Ok(())
        } else {
            Err(AnswerFlaw::WrongChecksum { algorithm: self.algorithm })
        }
    }
}

/// Returns Base64, as headers have it.
pub(super) fn base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// The last `bytes` of the value, big-endian, in Base64.
fn crc_text(value: u64, bytes: usize) -> String {
    BASE64.encode(&value.to_be_bytes()[8 - bytes..])
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// "123456789" is the check input of the CRC catalogue; its CRC-32C is e3069283, CRC-32 cbf43926, CRC-64/NVME ae8b14860a799888.
    const CHECK: &[u8] = b"123456789";

    #[tokio::test]
    async fn hashes_are_those_of_the_published_check_values() {
        let wanted = Wanted { sha256: true, crc32c: true, md5: true };
        let pieces = [&CHECK[..4], &CHECK[4..]].map(Bytes::from_static);
        let hashes = hash(&Payload::from_pieces(pieces), wanted).await;
        assert_eq!(hashes.crc32c.as_deref(), Some("4waSgw=="));
        assert_eq!(hashes.md5.as_deref(), Some("JfnnlDI7RTiF9RgfG2JNCw=="));
        assert_eq!(hashes.sha256.unwrap()[..4], [0x15, 0xe2, 0xb0, 0xd3]);
    }

    #[test]
    fn bodies_are_checked_by_whatever_came() {
        let sums = |field: fn(&mut Checksums) -> &mut Option<String>, value: &str| {
            let mut sums = Checksums::default();
            *field(&mut sums) = Some(value.to_owned());
            sums
        };
        for good in [
            sums(|sums| &mut sums.crc32c, "4waSgw=="),
            sums(|sums| &mut sums.crc32, "y/Q5Jg=="),
            sums(|sums| &mut sums.crc64nvme, "rosUhgp5mIg="),
            sums(|sums| &mut sums.sha256, "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="),
        ] {
            let run = |body: &[u8]| {
                let mut check = Check::of(good.clone()).unwrap();
                body.chunks(2).for_each(|piece| check.update(piece));
                check.finish()
            };
            assert!(run(CHECK).is_ok(), "{good:?}");
            assert!(matches!(run(b"123456780"), Err(AnswerFlaw::WrongChecksum { .. })), "{good:?}");
        }
        assert!(Check::of(Checksums::default()).is_none());
    }
}
