//! The manifest: the list of a snapshot's files, written last (spec `formats.md` §6).

use coldkeep_chunk_store::blob::{Blob, BlobError, Compression, CryptKey};
use coldkeep_chunk_store::{Digest, ParseDigestError};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::Sha256;

use crate::name::{ArchiveName, BackupId, BackupTime, BackupType, GroupName, SnapshotName};

/// Most bytes of a manifest's JSON: far above any real one, and a bound for hostile compressed ones, which take dozens
/// of times their length of memory while they are parsed.
pub const MANIFEST_BYTES_MAX: usize = 4 << 20;

const KEY_FINGERPRINT: &str = "key-fingerprint";
const NOTES: &str = "notes";
const VERIFY_STATE: &str = "verify_state";
const CHUNK_UPLOAD_STATS: &str = "chunk_upload_stats";

/// List of a snapshot's files with sizes and checksums.
///
/// Keys that this crate does not know are kept, in place, through decoding and encoding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Manifest {
    backup_type: BackupType,
    backup_id: BackupId,
    backup_time: BackupTime,
    files: Vec<FileInfo>,
    #[serde(default)]
    unprotected: Map<String, Value>,
    #[serde(default)]
    signature: Option<Digest>,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

/// One file of a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FileInfo {
    /// Name on the server.
    pub filename: ArchiveName,
    /// How its content is protected; missing means [`CryptMode::None`].
    #[serde(default)]
    pub crypt_mode: CryptMode,
    /// Of an index: size of the archive. Of a blob: encoded size.
    pub size: u64,
    /// Of an index: its checksum. Of a blob: SHA-256 of the encoded bytes.
    pub csum: Digest,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

impl FileInfo {
    /// Describes one file.
    pub fn new(filename: ArchiveName, crypt_mode: CryptMode, size: u64, csum: Digest) -> Self {
        Self { filename, crypt_mode, size, csum, unknown: Map::new() }
    }
}

/// How the content of a file is protected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CryptMode {
    /// Neither encrypted nor signed.
    #[default]
    None,
    /// Encrypted, in a signed manifest.
    Encrypt,
    /// Not encrypted, in a signed manifest.
    SignOnly,
}

/// Result of the last verification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyState {
    /// Whether everything was whole.
    pub state: VerifyResult,
    /// The task that found out.
    pub upid: String,
}

/// Whether a snapshot was found whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VerifyResult {
    /// Every file and chunk was whole.
    Ok,
    /// Something is missing or damaged: no backup builds on this snapshot.
    Failed,
}

/// What a backup session uploaded; the server adds it to the manifest at the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkUploadStats {
    /// Chunks uploaded.
    pub count: u64,
    /// Their plain bytes.
    pub size: u64,
    /// Encoded bytes of those that were new.
    pub compressed_size: u64,
    /// Chunks that the store already had.
    pub duplicates: u64,
}

/// Bytes that are no manifest, or a manifest that cannot be signed or checked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The blob around it is damaged, encrypted or too large.
    #[error("the manifest's blob cannot be decoded")]
    Blob(#[from] BlobError),
    /// The text is no manifest.
    #[error("the manifest is not the JSON it should be")]
    Json(#[from] serde_json::Error),
    /// A `null` has no canonical form (spec `formats.md` §6.1).
    #[error("the manifest holds a null, which cannot be signed")]
    Null,
    /// The manifest names another key than the one given.
    #[error("the manifest was written with key {fingerprint}, not with the one given")]
    OtherKey {
        /// The fingerprint in the manifest.
        fingerprint: String,
    },
    /// The signature does not fit.
    #[error("the manifest's signature does not match: it was changed, or signed with another key")]
    Signature,
}

impl Manifest {
    /// Starts the manifest of `snapshot`, without files.
    pub fn new(snapshot: &SnapshotName) -> Self {
        Self {
            backup_type: snapshot.group.ty,
            backup_id: snapshot.group.id.clone(),
            backup_time: snapshot.time,
            files: Vec::new(),
            unprotected: Map::new(),
            signature: None,
            unknown: Map::new(),
        }
    }

    /// Parses the JSON text.
    ///
    /// # Errors
    /// [`ManifestError::Json`].
    pub fn from_json(json: &[u8]) -> Result<Self, ManifestError> {
        Ok(serde_json::from_slice(json)?)
    }

    /// Writes indented JSON text.
    ///
    /// # Errors
    /// [`ManifestError::Json`]; not for a manifest that was parsed or built by this type.
    pub fn to_json(&self) -> Result<String, ManifestError> {
        Ok(serde_json::to_string_pretty(self)?)
    }

    /// Decodes the blob that stores a manifest; it is never encrypted.
    ///
    /// # Errors
    /// [`ManifestError::Blob`], [`ManifestError::Json`].
    pub fn from_blob(blob: &Blob) -> Result<Self, ManifestError> {
        Self::from_json(&blob.decode(MANIFEST_BYTES_MAX)?)
    }

    /// Encodes the blob that stores this manifest, compressed if that helps.
    ///
    /// # Errors
    /// [`ManifestError::Blob`] above [`MANIFEST_BYTES_MAX`], since nobody could read it again; [`ManifestError::Json`].
    pub fn to_blob(&self) -> Result<Blob, ManifestError> {
        let json = self.to_json()?;
        if json.len() > MANIFEST_BYTES_MAX {
            return Err(BlobError::TooLarge { max: MANIFEST_BYTES_MAX }.into());
        }
        Ok(Blob::encode(json.as_bytes(), Compression::Zstd)?)
    }

    /// Returns the snapshot that the manifest says it belongs to.
    pub fn snapshot(&self) -> SnapshotName {
        SnapshotName::new(GroupName::new(self.backup_type, self.backup_id.clone()), self.backup_time)
    }

    /// Returns the files in the order written.
    pub fn files(&self) -> &[FileInfo] {
        &self.files
    }

    /// Returns the entry of one file.
    pub fn file(&self, name: &ArchiveName) -> Option<&FileInfo> {
        self.files.iter().find(|file| file.filename == *name)
    }

    /// Appends a file.
    pub fn push(&mut self, file: FileInfo) {
        self.files.push(file);
    }

    /// Returns the signature, if the manifest is signed.
    pub const fn signature(&self) -> Option<&Digest> {
        self.signature.as_ref()
    }

    /// Returns the fingerprint of the key that was used, 32 hexadecimal pairs joined by `:`.
    pub fn key_fingerprint(&self) -> Option<&str> {
        self.unprotected.get(KEY_FINGERPRINT)?.as_str()
    }

    /// Returns the notes; empty if there are none.
    pub fn notes(&self) -> &str {
        self.unprotected.get(NOTES).and_then(Value::as_str).unwrap_or_default()
    }

    /// Replaces the notes; empty ones are removed.
    pub fn set_notes(&mut self, notes: &str) {
        if notes.is_empty() {
            self.unprotected.shift_remove(NOTES);
        } else {
            self.unprotected.insert(NOTES.to_owned(), notes.into());
        }
    }

    /// Returns the result of the last verification; one that does not parse counts as none.
    pub fn verify_state(&self) -> Option<VerifyState> {
        VerifyState::deserialize(self.unprotected.get(VERIFY_STATE)?).ok()
    }

    /// Replaces the result of the last verification.
    pub fn set_verify_state(&mut self, state: &VerifyState) {
        let state = serde_json::json!({ "state": state.state, "upid": state.upid });
        self.unprotected.insert(VERIFY_STATE.to_owned(), state);
    }

    /// Forgets the result of the last verification.
    pub fn clear_verify_state(&mut self) {
        self.unprotected.shift_remove(VERIFY_STATE);
    }

    /// Returns what the backup session uploaded.
    pub fn chunk_upload_stats(&self) -> Option<ChunkUploadStats> {
        ChunkUploadStats::deserialize(self.unprotected.get(CHUNK_UPLOAD_STATS)?).ok()
    }

    /// Replaces what the backup session uploaded.
    pub fn set_chunk_upload_stats(&mut self, stats: ChunkUploadStats) {
        let ChunkUploadStats { count, size, compressed_size, duplicates } = stats;
        let stats = serde_json::json!({
            "count": count, "size": size, "compressed_size": compressed_size, "duplicates": duplicates,
        });
        self.unprotected.insert(CHUNK_UPLOAD_STATS.to_owned(), stats);
    }

    /// Returns the bytes that a signature covers: everything but `unprotected` and `signature`, keys sorted, no
    /// whitespace (spec `formats.md` §6.1).
    ///
    /// # Errors
    /// [`ManifestError::Null`], [`ManifestError::Json`].
    pub fn canonical_bytes(&self) -> Result<Vec<u8>, ManifestError> {
        let mut value = serde_json::to_value(self)?;
        if let Value::Object(object) = &mut value {
            object.shift_remove("unprotected");
            object.shift_remove("signature");
        }
        let mut bytes = Vec::new();
        write_canonical(&value, &mut bytes)?;
        Ok(bytes)
    }

    /// Signs the manifest with `key` and notes the key's fingerprint.
    ///
    /// # Errors
    /// [`ManifestError::Null`], [`ManifestError::Json`].
    pub fn sign(&mut self, key: &CryptKey) -> Result<(), ManifestError> {
        let signature: [u8; 32] = self.mac(key)?.finalize().into_bytes().into();
        self.signature = Some(Digest::from_bytes(signature));
        self.unprotected.insert(KEY_FINGERPRINT.to_owned(), colon_hex(&key.fingerprint()).into());
        Ok(())
    }

    /// Checks fingerprint and signature, as far as the manifest carries them.
    ///
    /// # Errors
    /// [`ManifestError::OtherKey`], [`ManifestError::Signature`], [`ManifestError::Null`].
    pub fn check_signature(&self, key: &CryptKey) -> Result<(), ManifestError> {
        if let Some(fingerprint) = self.key_fingerprint()
            && fingerprint != colon_hex(&key.fingerprint())
        {
            return Err(ManifestError::OtherKey { fingerprint: fingerprint.chars().take(95).collect() });
        }
        match &self.signature {
            None => Ok(()),
            Some(signature) => {
                self.mac(key)?.verify_slice(signature.as_bytes()).map_err(|_| ManifestError::Signature)
            }
        }
    }

    fn mac(&self, key: &CryptKey) -> Result<Hmac<Sha256>, ManifestError> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(key.id_key()).expect("invariant: HMAC takes keys of any length");
        mac.update(&self.canonical_bytes()?);
        Ok(mac)
    }
}

/// Writes a digest as 32 hexadecimal pairs joined by `:`, as fingerprints are shown.
pub fn colon_hex(digest: &Digest) -> String {
    digest.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

/// Parses 32 hexadecimal pairs joined by `:`.
///
/// # Errors
/// [`ParseDigestError`] for anything else.
pub fn parse_colon_hex(text: &str) -> Result<Digest, ParseDigestError> {
    let pairs: Vec<&str> = text.split(':').collect();
    if pairs.len() != 32 || pairs.iter().any(|pair| pair.len() != 2) {
        return Err(ParseDigestError);
    }
    pairs.concat().parse()
}

fn write_canonical(value: &Value, out: &mut Vec<u8>) -> Result<(), ManifestError> {
    match value {
        Value::Null => return Err(ManifestError::Null),
        Value::Object(object) => {
            let mut entries: Vec<_> = object.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            out.push(b'{');
            for (position, (key, value)) in entries.into_iter().enumerate() {
                if position > 0 {
                    out.push(b',');
                }
                serde_json::to_writer(&mut *out, key)?;
                out.push(b':');
                write_canonical(value, out)?;
            }
            out.push(b'}');
        }
        Value::Array(items) => {
            out.push(b'[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push(b',');
                }
                write_canonical(item, out)?;
            }
            out.push(b']');
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => serde_json::to_writer(&mut *out, value)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    const UNSIGNED: &str = include_str!("../../docs/vectors/manifest/unsigned.json");
    const SIGNED: &str = include_str!("../../docs/vectors/manifest/signed.json");
    const CANONICAL: &[u8] = include_bytes!("../../docs/vectors/manifest/signed.canonical.json");

    fn vector_key() -> CryptKey {
        CryptKey::new(std::array::from_fn(|position| 0x40 + position as u8))
    }

    fn parse(json: &str) -> Manifest {
        Manifest::from_json(json.as_bytes()).unwrap()
    }

    #[test]
    fn vectors_decode_and_encode_byte_for_byte() {
        for json in [UNSIGNED, SIGNED] {
            assert_eq!(parse(json).to_json().unwrap(), json.trim_end());
        }
    }

    #[test]
    fn canonical_bytes_and_signature_are_the_published_ones() {
        let mut manifest = parse(SIGNED);
        assert_eq!(manifest.canonical_bytes().unwrap(), CANONICAL);
        let published = manifest.signature;
        manifest.check_signature(&vector_key()).unwrap();
        manifest.signature = None;
        manifest.sign(&vector_key()).unwrap();
        assert_eq!(manifest.signature, published);
        assert_eq!(manifest, parse(SIGNED));
    }

    #[test]
    fn a_changed_manifest_or_another_key_fails_the_check() {
        let mut manifest = parse(SIGNED);
        let other = CryptKey::new([7; 32]);
        assert!(matches!(manifest.check_signature(&other), Err(ManifestError::OtherKey { .. })));
        manifest.files[0].size += 1;
        assert!(matches!(manifest.check_signature(&vector_key()), Err(ManifestError::Signature)));
        // Notes are outside the signature.
        let mut manifest = parse(SIGNED);
        manifest.set_notes("changed");
        manifest.check_signature(&vector_key()).unwrap();
    }

    #[test]
    fn a_null_cannot_be_signed() {
        let manifest = parse(&UNSIGNED.replace("\"files\"", "\"odd\": null, \"files\""));
        assert!(matches!(manifest.canonical_bytes(), Err(ManifestError::Null)));
    }

    #[test]
    fn unknown_keys_survive_everywhere() {
        let odd = UNSIGNED
            .replace("\"files\"", "\"odd\": {\"b\": 1, \"a\": 2}, \"files\"")
            .replace("\"size\": 8,", "\"size\": 8, \"extra\": true,")
            .replace("\"chunk_upload_stats\"", "\"future\": [1.5], \"chunk_upload_stats\"");
        let mut manifest = parse(&odd);
        manifest.set_notes("one\ntwo");
        let json = manifest.to_json().unwrap();
        let value: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["odd"]["b"], 1);
        assert_eq!(value["files"][1]["extra"], true);
        assert_eq!(value["unprotected"]["future"][0], 1.5);
        assert_eq!(parse(&json), manifest);
    }

    #[test]
    fn unprotected_values_are_read_as_written() {
        let mut manifest = parse(UNSIGNED);
        let state = VerifyState { state: VerifyResult::Failed, upid: "UPID:x:".into() };
        manifest.set_verify_state(&state);
        manifest.set_chunk_upload_stats(ChunkUploadStats { count: 1, ..Default::default() });
        let manifest = Manifest::from_blob(&manifest.to_blob().unwrap()).unwrap();
        assert_eq!(manifest.verify_state(), Some(state));
        assert_eq!(manifest.chunk_upload_stats().unwrap().count, 1);
        assert_eq!(manifest.notes(), "");
        assert_eq!(parse(SIGNED).notes(), "line one\nZeile zwölf");
    }

    /// Indented, a manifest is longer than what its client sent: one that nobody could read again must not be stored.
    #[test]
    fn a_manifest_that_could_not_be_read_again_is_not_encoded() {
        let ones = "1,".repeat(MANIFEST_BYTES_MAX / 4);
        let long = UNSIGNED.replace("\"files\"", &format!("\"odd\": [{ones}1], \"files\""));
        assert!(long.len() < MANIFEST_BYTES_MAX);
        let refused = parse(&long).to_blob();
        assert!(matches!(refused, Err(ManifestError::Blob(BlobError::TooLarge { max: MANIFEST_BYTES_MAX }))));
    }

    #[test]
    fn file_names_with_path_tricks_are_no_manifest() {
        for name in ["../host.conf.blob", "a/b.blob", "owner"] {
            let json = UNSIGNED.replace("host.conf.blob", name);
            assert!(matches!(Manifest::from_json(json.as_bytes()), Err(ManifestError::Json(_))), "{name}");
        }
    }

    #[test]
    fn fingerprints_parse_as_they_show() {
        let fingerprint = vector_key().fingerprint();
        let shown = colon_hex(&fingerprint);
        assert_eq!(parse(SIGNED).key_fingerprint(), Some(shown.as_str()));
        assert_eq!(parse_colon_hex(&shown), Ok(fingerprint));
        assert!(parse_colon_hex(&shown.replace(':', "")).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_manifest_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Manifest::from_json(&bytes);
            if let Ok(blob) = Blob::parse(Bytes::from(bytes)) {
                let _ = Manifest::from_blob(&blob);
            }
        }

        #[test]
        fn any_change_of_a_manifest_gives_a_manifest_or_an_error(
            position in 0..UNSIGNED.len(),
            byte in any::<u8>(),
        ) {
            let mut bytes = UNSIGNED.as_bytes().to_vec();
            bytes[position] = byte;
            if let Ok(manifest) = Manifest::from_json(&bytes) {
                prop_assert_eq!(parse(&manifest.to_json().unwrap()), manifest);
            }
        }
    }
}
