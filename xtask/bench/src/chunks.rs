//! A datastore of very many small chunks, written by the documented layout (`docs/FORMAT.md`): no client makes so many so quickly.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use filetime::FileTime;
use sha2::{Digest as _, Sha256};

/// Plain bytes of one chunk.
const CHUNK_BYTES: usize = 64;
/// Far older than any grace, so that all that is not referenced goes.
const AGE: Duration = Duration::from_hours(24 * 7);
const SNAPSHOT: &str = "host/bench/2026-01-01T00:00:00Z";
const SNAPSHOT_UNIX_SECONDS: u64 = 1_767_225_600;
const PLAIN_MAGIC: [u8; 8] = [0x42, 0xab, 0x38, 0x07, 0xbe, 0x83, 0x70, 0xa1];
const DYNAMIC_MAGIC: [u8; 8] = [0x1c, 0x91, 0x4e, 0xa5, 0x19, 0xba, 0xb3, 0xcd];
const INDEX_HEADER_BYTES: usize = 4096;

/// Writes `count` chunks into the datastore at `base`; every second one is referenced by one snapshot. Chunks that are there already
/// (the referenced ones, after a first collection) are written again.
pub(crate) fn fill(base: &Path, count: usize) -> Result<()> {
    let used_at = SystemTime::now() - AGE;
    let mut entries = Vec::with_capacity(count / 2 * 40);
    let mut folders = vec![false; 1 << 16];
    for number in 0..count {
        let data = content(number);
        let digest: [u8; 32] = Sha256::digest(data).into();
        write_chunk(base, &digest, &data, &mut folders, used_at)?;
        if number % 2 == 0 {
            let end = (entries.len() / 40 + 1) * CHUNK_BYTES;
            entries.extend((end as u64).to_le_bytes());
            entries.extend(digest);
        }
    }
    write_snapshot(base, &entries)
}

/// The chunks' bytes must differ, and nothing else about them matters.
fn content(number: usize) -> [u8; CHUNK_BYTES] {
    let mut data = [0x5a; CHUNK_BYTES];
    data[..8].copy_from_slice(&(number as u64).to_le_bytes());
    data
}

fn write_chunk(
    base: &Path,
    digest: &[u8; 32],
    data: &[u8],
    folders: &mut [bool],
    used_at: SystemTime,
) -> Result<()> {
    let name = hex(digest);
    let folder = base.join(".chunks").join(&name[..4]);
    let prefix = usize::from(digest[0]) << 8 | usize::from(digest[1]);
    if !folders[prefix] {
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        folders[prefix] = true;
    }
    let path = folder.join(name);
    fs::write(&path, blob(data)).with_context(|| format!("cannot write {}", path.display()))?;
    let time = FileTime::from_system_time(used_at);
    filetime::set_file_times(&path, time, time).with_context(|| format!("cannot date {}", path.display()))
}

fn write_snapshot(base: &Path, entries: &[u8]) -> Result<()> {
    let snapshot = base.join(SNAPSHOT);
    fs::create_dir_all(&snapshot).with_context(|| format!("cannot create {}", snapshot.display()))?;
    let csum: [u8; 32] = Sha256::digest(entries).into();
    let mut index = vec![0; INDEX_HEADER_BYTES];
    index[..8].copy_from_slice(&DYNAMIC_MAGIC);
    index[24..32].copy_from_slice(&SNAPSHOT_UNIX_SECONDS.to_le_bytes());
    index[32..64].copy_from_slice(&csum);
    index.extend(entries);
    let manifest = serde_json::json!({
        "backup-type": "host", "backup-id": "bench", "backup-time": SNAPSHOT_UNIX_SECONDS,
        "files": [{"filename": "many.bin.didx", "crypt-mode": "none", "size": entries.len() / 40 * CHUNK_BYTES, "csum": hex(&csum)}],
        "unprotected": {}, "signature": null,
    });
    let files: [(PathBuf, Vec<u8>); 3] = [
        (base.join("host/bench/owner"), b"root@pam\n".to_vec()),
        (snapshot.join("many.bin.didx"), index),
        (snapshot.join("index.json.blob"), blob(manifest.to_string().as_bytes())),
    ];
    for (path, bytes) in files {
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Counts the chunk files of a datastore.
pub(crate) fn count(base: &Path) -> Result<usize> {
    let mut count = 0;
    let folder = base.join(".chunks");
    let context = || format!("cannot list {}", folder.display());
    for prefix in fs::read_dir(&folder).with_context(context)? {
        count += fs::read_dir(prefix.with_context(context)?.path()).with_context(context)?.count();
    }
    Ok(count)
}

fn blob(data: &[u8]) -> Vec<u8> {
    [&PLAIN_MAGIC[..], &crc32fast::hash(data).to_le_bytes(), data].concat()
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_that_of_the_vectors() {
        let vector = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/vectors/blob/abc.uncompressed.blob");
        assert_eq!(blob(b"abc"), fs::read(vector).unwrap());
    }

    #[test]
    fn half_of_the_chunks_are_referenced() {
        let folder = tempfile::tempdir().unwrap();
        fill(folder.path(), 10).unwrap();
        assert_eq!(count(folder.path()).unwrap(), 10);
        let index = fs::read(folder.path().join(SNAPSHOT).join("many.bin.didx")).unwrap();
        assert_eq!(index.len(), INDEX_HEADER_BYTES + 5 * 40);
        let csum: [u8; 32] = Sha256::digest(&index[INDEX_HEADER_BYTES..]).into();
        assert_eq!(index[32..64], csum);
        let digest = hex(&index[INDEX_HEADER_BYTES + 8..INDEX_HEADER_BYTES + 40]);
        let chunk = folder.path().join(".chunks").join(&digest[..4]).join(&digest);
        let accessed_at = FileTime::from_last_access_time(&fs::metadata(chunk).unwrap());
        assert!(accessed_at.unix_seconds() < FileTime::now().unix_seconds() - 6 * 86_400);
    }
}
