//! Manifests.

use coldkeep_chunk_store::blob::CryptKey;
use coldkeep_datastore::Manifest;

/// A manifest that parses survives its JSON form and its blob, and can be signed.
pub fn check(input: &[u8]) {
    let Ok(mut manifest) = Manifest::from_json(input) else { return };
    manifest.snapshot();
    manifest.files();
    manifest.verify_state();
    manifest.chunk_upload_stats();
    manifest.key_fingerprint();
    let json = manifest.to_json().expect("a parsed manifest has a JSON form");
    let again = Manifest::from_json(json.as_bytes()).expect("the JSON form parses");
    assert_eq!(again.to_json().expect("so does this one"), json);
    let blob = manifest.to_blob().expect("a parsed manifest fits into a blob");
    let unpacked = Manifest::from_blob(&blob).expect("the blob holds the manifest");
    assert_eq!(unpacked.to_json().expect("as before"), json);
    let key = CryptKey::new([7; 32]);
    // A `null` inside makes the canonical form impossible, so signing may be refused.
    if manifest.sign(&key).is_ok() {
        manifest.check_signature(&key).expect("the signature just made is valid");
    }
}
