//! Hashes and checksums of bodies.
//!
//! The cyclic codes are written out here: a server that used the client's library would agree with its mistakes.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use md5::Md5;
use sha2::{Digest, Sha256};

/// The algorithms of `x-amz-checksum-*` that are known (S3 user guide, "Checking object integrity").
pub(crate) const ALGORITHMS: &[&str] = &["crc32", "crc32c", "crc64nvme", "sha256"];

/// The checksum of a body in the bytes that S3 puts into base64; `None` for an unknown algorithm.
pub(crate) fn checksum(algorithm: &str, pages: &[Bytes]) -> Option<Vec<u8>> {
    Some(match algorithm {
        "crc32" => (crc(pages, 0xedb8_8320, 32) as u32).to_be_bytes().to_vec(),
        "crc32c" => (crc(pages, 0x82f6_3b78, 32) as u32).to_be_bytes().to_vec(),
        "crc64nvme" => crc(pages, 0x9a6c_9329_ac4b_c9b5, 64).to_be_bytes().to_vec(),
        "sha256" => sha256(pages),
        _ => return None,
    })
}

pub(crate) fn sha256(pages: &[Bytes]) -> Vec<u8> {
    let mut hash = Sha256::new();
    for page in pages {
        hash.update(page);
    }
    hash.finalize().to_vec()
}

pub(crate) fn md5(pages: &[Bytes]) -> Vec<u8> {
    let mut hash = Md5::new();
    for page in pages {
        hash.update(page);
    }
    hash.finalize().to_vec()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// A reflected cyclic code of up to 64 bits, with all ones as start value and final mask.
fn crc(pages: &[Bytes], polynomial: u64, bits: u32) -> u64 {
    let mut table = [0_u64; 256];
    for (value, entry) in (0..).zip(&mut table) {
        *entry = (0..8).fold(value, |rest: u64, _| (rest >> 1) ^ (polynomial * (rest & 1)));
    }
    let ones = u64::MAX >> (64 - bits);
    let sum = pages
        .iter()
        .flatten()
        .fold(ones, |sum, &byte| table[((sum ^ u64::from(byte)) & 0xff) as usize] ^ (sum >> 8));
    sum ^ ones
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "123456789", the check input of the CRC catalogue (reveng), in two pages.
    fn pages() -> Vec<Bytes> {
        vec![Bytes::from_static(b"1234"), Bytes::from_static(b"56789")]
    }

    #[test]
    fn checksums_have_the_catalogued_check_values() {
        assert_eq!(checksum("crc32", &pages()), Some(0xcbf4_3926_u32.to_be_bytes().to_vec()));
        assert_eq!(checksum("crc32c", &pages()), Some(0xe306_9283_u32.to_be_bytes().to_vec()));
        assert_eq!(checksum("crc64nvme", &pages()), Some(0xae8b_1486_0a79_9888_u64.to_be_bytes().to_vec()));
        assert_eq!(checksum("sha3", &pages()), None);
    }

    #[test]
    fn digests_have_the_published_values() {
        // RFC 1321, A.5, and FIPS 180-4.
        assert_eq!(hex(&md5(&[Bytes::from_static(b"abc")])), "900150983cd24fb0d6963f7d28e17f72");
        assert!(hex(&sha256(&[Bytes::from_static(b"abc")])).starts_with("ba7816bf8f01cfea"));
    }
}
