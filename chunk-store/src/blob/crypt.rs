//! Encryption of blobs and keyed digests (spec `formats.md` §2.3 and §7).

use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::array::Array;
use aes_gcm::aead::consts::U16;
use aes_gcm::aes::Aes256;
use aes_gcm::{AesGcm, KeyInit};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::BlobError;
use crate::digest::{Digest, DigestBuilder};

/// Length of a blob's initialisation vector; GCM derives its counter from all 16 bytes.
pub const IV_BYTES: usize = 16;

const TAG_BYTES: usize = 16;
const KEY_BYTES: usize = 32;

type Cipher = AesGcm<Aes256, U16>;

/// A 32-byte encryption key and the secret derived from it that goes into keyed digests.
///
/// Wiped from memory when dropped; `Debug` shows the fingerprint only.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct CryptKey {
    key: [u8; KEY_BYTES],
    id_key: [u8; KEY_BYTES],
}

impl CryptKey {
    /// Derives the digest secret: PBKDF2-HMAC-SHA256, salt `_id_key`, 10 rounds (spec `formats.md` §7).
    pub fn new(key: [u8; KEY_BYTES]) -> Self {
        let id_key = pbkdf2::pbkdf2_hmac_array::<Sha256, KEY_BYTES>(&key, b"_id_key", 10);
        Self { key, id_key }
    }

    /// Computes the keyed digest of `data`: SHA-256 over the data, then the digest secret.
    pub fn digest(&self, data: &[u8]) -> Digest {
        let mut builder = DigestBuilder::new();
        builder.update(data);
        builder.update(&self.id_key);
        builder.finish()
    }

    /// Returns the key's fingerprint: the keyed digest of a published constant (spec `formats.md` §7).
    pub fn fingerprint(&self) -> Digest {
        self.digest(Digest::of(b"Proxmox Backup Encryption Key Fingerprint").as_bytes())
    }

    /// Returns the secret that signs manifests (spec `formats.md` §6.1).
    pub fn id_key(&self) -> &[u8; KEY_BYTES] {
        &self.id_key
    }

    pub(super) fn encrypt_in_place(&self, iv: &[u8; IV_BYTES], data: &mut [u8]) -> [u8; TAG_BYTES] {
        let cipher = Cipher::new(&Array(self.key));
        let tag = cipher
            .encrypt_inout_detached(&Array(*iv), &[], data.into())
            .expect("invariant: blobs are far below the 64 GiB limit of GCM");
        tag.into()
    }

    pub(super) fn decrypt_in_place(&self, iv: &[u8], tag: &[u8], data: &mut [u8]) -> Result<(), BlobError> {
        let iv: [u8; IV_BYTES] = iv.try_into().map_err(|_| BlobError::Decrypt)?;
        let tag: [u8; TAG_BYTES] = tag.try_into().map_err(|_| BlobError::Decrypt)?;
        let cipher = Cipher::new(&Array(self.key));
        cipher
            .decrypt_inout_detached(&Array(iv), &[], data.into(), &Array(tag))
            .map_err(|_| BlobError::Decrypt)
    }
}

impl std::fmt::Debug for CryptKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CryptKey").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}
