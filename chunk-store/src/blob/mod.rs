//! The stored envelope of chunks and small files: magic, CRC, payload, optionally compressed and/or encrypted.
//!
//! Layout (spec `formats.md` §2, `docs/FORMAT.md`): 8 bytes magic, little-endian CRC-32 of what follows the header,
//! for encrypted kinds a 16-byte IV and a 16-byte tag, then the payload up to the end.

mod crypt;
mod zstd;

use bytes::{Bytes, BytesMut};

pub use self::crypt::{CryptKey, IV_BYTES};
pub(crate) use self::zstd::{decompress, decompress_unambiguous};

/// Most plain bytes in one chunk: 16 MiB (spec `formats.md` §2.4).
pub const CHUNK_BYTES_MAX: usize = 16 << 20;

/// Most encoded bytes of a chunk or blob: 16 MiB and the longest header (spec `formats.md` §2.4).
pub const BLOB_ENCODED_BYTES_MAX: usize = CHUNK_BYTES_MAX + HEADER_BYTES_ENCRYPTED;

/// Most plain bytes the encoder takes: 128 MiB (spec `formats.md` §2.4).
pub const ENCODE_BYTES_MAX: usize = 128 << 20;

/// Length of the shortest header: magic and CRC.
pub const HEADER_BYTES: usize = 12;

/// Length of the header of the encrypted kinds: magic, CRC, IV and tag.
pub const HEADER_BYTES_ENCRYPTED: usize = 44;

const MAGIC_BYTES: usize = 8;
const CRC_RANGE: std::ops::Range<usize> = 8..12;

/// What a blob's magic says of its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobKind {
    /// The data itself.
    Plain,
    /// Zstandard frames.
    Zstd,
    /// AES-256-GCM ciphertext of the data.
    Encrypted,
    /// AES-256-GCM ciphertext of Zstandard frames.
    EncryptedZstd,
}

impl BlobKind {
    const ALL: [Self; 4] = [Self::Plain, Self::Zstd, Self::Encrypted, Self::EncryptedZstd];

    /// Returns the first eight bytes of a blob of this kind (spec `formats.md` §1).
    pub const fn magic(self) -> [u8; MAGIC_BYTES] {
        match self {
            Self::Plain => [0x42, 0xab, 0x38, 0x07, 0xbe, 0x83, 0x70, 0xa1],
            Self::Zstd => [0x31, 0xb9, 0x58, 0x42, 0x6f, 0xb6, 0xa3, 0x7f],
            Self::Encrypted => [0x7b, 0x67, 0x85, 0xbe, 0x22, 0x2d, 0x4c, 0xf0],
            Self::EncryptedZstd => [0xe6, 0x59, 0x1b, 0xbf, 0x0b, 0xbf, 0xd8, 0x0b],
        }
    }

    /// Recognises a kind by the first eight bytes of a blob.
    pub fn from_magic(bytes: &[u8]) -> Option<Self> {
        let magic = bytes.get(..MAGIC_BYTES)?;
        Self::ALL.into_iter().find(|kind| kind.magic() == magic)
    }

    /// Returns whether a server can check the content.
    pub const fn class(self) -> ChunkClass {
        match self {
            Self::Plain | Self::Zstd => ChunkClass::Plain,
            Self::Encrypted | Self::EncryptedZstd => ChunkClass::Encrypted,
        }
    }

    /// Returns the number of bytes before the payload.
    pub const fn header_bytes(self) -> usize {
        match self.class() {
            ChunkClass::Plain => HEADER_BYTES,
            ChunkClass::Encrypted => HEADER_BYTES_ENCRYPTED,
        }
    }

    /// Returns whether the payload is compressed (before any encryption).
    pub const fn is_compressed(self) -> bool {
        matches!(self, Self::Zstd | Self::EncryptedZstd)
    }
}

/// Whether a chunk's content can be checked against its digest without a key (R2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkClass {
    /// Anyone can check it: the digest is the SHA-256 of the data.
    Plain,
    /// Only the holder of the key can: data and digest are keyed.
    Encrypted,
}

/// Whether the encoder tries to compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Store the data as it is.
    None,
    /// Zstandard level 1; the data is stored as it is if that does not make it smaller.
    Zstd,
}

/// Why bytes are no blob, or a blob cannot be made or decoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// There are fewer bytes than the header needs.
    #[error("a blob of {len} bytes is shorter than its header of {header} bytes")]
    TooShort {
        /// Bytes there are.
        len: usize,
        /// Bytes the header needs.
        header: usize,
    },
    /// The first eight bytes name no kind of blob.
    #[error("unknown blob magic")]
    UnknownMagic,
    /// The payload does not match the checksum in the header.
    #[error("blob CRC is {got:08x}, its header says {expected:08x}")]
    Crc {
        /// The CRC in the header.
        expected: u32,
        /// The CRC of the payload.
        got: u32,
    },
    /// The data is longer than the caller allows.
    #[error("the blob's data exceeds the limit of {max} bytes")]
    TooLarge {
        /// Most bytes allowed.
        max: usize,
    },
    /// The payload is no valid sequence of Zstandard frames.
    #[error("the blob's payload does not decompress")]
    Decompress(#[source] std::io::Error),
    /// The compressor failed; this is a lack of memory.
    #[error("compressing a blob failed")]
    Compress(#[source] std::io::Error),
    /// The blob is encrypted and no key was given.
    #[error("the blob is encrypted; its key is needed")]
    KeyNeeded,
    /// The key is not the one the blob was encrypted with, or the blob was tampered with.
    #[error("the blob does not decrypt with this key")]
    Decrypt,
}

/// An encoded blob whose magic and header length were checked.
///
/// Its CRC is checked by [`Blob::check_crc`] and by every decoding call. Cloning is cheap: the bytes are shared.
#[derive(Clone, PartialEq, Eq)]
pub struct Blob {
    bytes: Bytes,
    kind: BlobKind,
}

impl Blob {
    /// Recognises the kind and checks that the header is complete.
    ///
    /// # Errors
    /// [`BlobError::UnknownMagic`] or [`BlobError::TooShort`].
    pub fn parse(bytes: Bytes) -> Result<Self, BlobError> {
        if bytes.len() < HEADER_BYTES {
            return Err(BlobError::TooShort { len: bytes.len(), header: HEADER_BYTES });
        }
        let kind = BlobKind::from_magic(&bytes).ok_or(BlobError::UnknownMagic)?;
        if bytes.len() < kind.header_bytes() {
            return Err(BlobError::TooShort { len: bytes.len(), header: kind.header_bytes() });
        }
        Ok(Self { bytes, kind })
    }

    /// Encodes `data` without encryption.
    ///
    /// # Errors
    /// [`BlobError::TooLarge`] above [`ENCODE_BYTES_MAX`], [`BlobError::Compress`].
    pub fn encode(data: &[u8], compression: Compression) -> Result<Self, BlobError> {
        let (mut bytes, compressed) = zstd::compress_behind_header(data, compression, HEADER_BYTES)?;
        let kind = if compressed { BlobKind::Zstd } else { BlobKind::Plain };
        seal(&mut bytes, kind);
        Ok(Self { bytes: bytes.into(), kind })
    }

    /// Encodes and encrypts `data` under `key`; `iv` must be random and never be used twice with one key.
    ///
    /// # Errors
    /// [`BlobError::TooLarge`] above [`ENCODE_BYTES_MAX`], [`BlobError::Compress`].
    pub fn encode_with(
        data: &[u8],
        compression: Compression,
        key: &CryptKey,
        iv: [u8; IV_BYTES],
    ) -> Result<Self, BlobError> {
        let (mut bytes, compressed) =
            zstd::compress_behind_header(data, compression, HEADER_BYTES_ENCRYPTED)?;
        let kind = if compressed { BlobKind::EncryptedZstd } else { BlobKind::Encrypted };
        let (header, payload) = bytes.split_at_mut(HEADER_BYTES_ENCRYPTED);
        let tag = key.encrypt_in_place(&iv, payload);
        header[HEADER_BYTES..HEADER_BYTES + IV_BYTES].copy_from_slice(&iv);
        header[HEADER_BYTES + IV_BYTES..].copy_from_slice(&tag);
        seal(&mut bytes, kind);
        Ok(Self { bytes: bytes.into(), kind })
    }

    /// Returns what the magic says.
    pub const fn kind(&self) -> BlobKind {
        self.kind
    }

    /// Returns whether the content can be checked without a key.
    pub const fn class(&self) -> ChunkClass {
        self.kind.class()
    }

    /// Returns the encoded bytes.
    pub const fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Returns the encoded bytes.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// Returns the number of encoded bytes.
    pub fn encoded_len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the bytes after the header.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.bytes[self.kind.header_bytes()..]
    }

    fn stored_crc(&self) -> u32 {
        let crc = self.bytes[CRC_RANGE].try_into().expect("invariant: the header is complete");
        u32::from_le_bytes(crc)
    }

    /// Checks the payload against the CRC in the header.
    ///
    /// # Errors
    /// [`BlobError::Crc`].
    pub fn check_crc(&self) -> Result<(), BlobError> {
        let (expected, got) = (self.stored_crc(), crc32fast::hash(self.payload()));
        if expected == got { Ok(()) } else { Err(BlobError::Crc { expected, got }) }
    }

    /// Puts the right CRC into the header; copies the bytes only if it was wrong and they are shared.
    #[must_use]
    pub(crate) fn with_right_crc(self) -> Self {
        let crc = crc32fast::hash(self.payload());
        if self.stored_crc() == crc {
            return self;
        }
        let mut bytes = self.bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        bytes[CRC_RANGE].copy_from_slice(&crc.to_le_bytes());
        Self { bytes: bytes.freeze(), kind: self.kind }
    }

    /// Returns whether the writer left the CRC out (all zero), which the stock protocol allows for chunks.
    pub(crate) fn has_no_crc(&self) -> bool {
        self.stored_crc() == 0
    }

    /// Checks the CRC and returns the data, at most `max_len` bytes of it.
    ///
    /// # Errors
    /// [`BlobError::Crc`], [`BlobError::KeyNeeded`], [`BlobError::Decompress`], [`BlobError::TooLarge`].
    pub fn decode(&self, max_len: usize) -> Result<Bytes, BlobError> {
        self.check_crc()?;
        match self.kind {
            BlobKind::Plain if self.payload().len() > max_len => Err(BlobError::TooLarge { max: max_len }),
            BlobKind::Plain => Ok(self.bytes.slice(HEADER_BYTES..)),
            BlobKind::Zstd => zstd::decompress(self.payload(), max_len).map(Bytes::from),
            BlobKind::Encrypted | BlobKind::EncryptedZstd => Err(BlobError::KeyNeeded),
        }
    }

    /// Checks the CRC, decrypts if the blob is encrypted, and returns the data, at most `max_len` bytes of it.
    ///
    /// # Errors
    /// [`BlobError::Crc`], [`BlobError::Decrypt`], [`BlobError::Decompress`], [`BlobError::TooLarge`].
    pub fn decode_with(&self, key: &CryptKey, max_len: usize) -> Result<Bytes, BlobError> {
        if self.class() == ChunkClass::Plain {
            return self.decode(max_len);
        }
        self.check_crc()?;
        let header = &self.bytes[HEADER_BYTES..HEADER_BYTES_ENCRYPTED];
        let (iv, tag) = header.split_at(IV_BYTES);
        let mut data = self.payload().to_vec();
        key.decrypt_in_place(iv, tag, &mut data)?;
        if self.kind.is_compressed() {
            return zstd::decompress(&data, max_len).map(Bytes::from);
        }
        if data.len() > max_len {
            return Err(BlobError::TooLarge { max: max_len });
        }
        Ok(data.into())
    }
}

impl std::fmt::Debug for Blob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blob").field("kind", &self.kind).field("encoded_len", &self.bytes.len()).finish()
    }
}

/// Fills in magic and CRC; IV and tag must be in place already.
fn seal(bytes: &mut [u8], kind: BlobKind) {
    bytes[..MAGIC_BYTES].copy_from_slice(&kind.magic());
    let crc = crc32fast::hash(&bytes[kind.header_bytes()..]);
    bytes[CRC_RANGE].copy_from_slice(&crc.to_le_bytes());
}

#[cfg(test)]
mod tests;
