//! A datastore of very many small chunks, written by the documented layout (`docs/FORMAT.md`): no client makes so many so quickly.

use std::fs::{self, File};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use filetime::FileTime;
use sha2::{Digest as _, Sha256};

/// Plain bytes of one chunk.
const CHUNK_BYTES: usize = 64;
/// Far older than any grace, so that all that is not referenced goes.
pub(crate) const OLD: Duration = Duration::from_hours(24 * 7);
const TIME: &str = "2026-01-01T00:00:00Z";
const TIME_UNIX_SECONDS: u64 = 1_767_225_600;
const ARCHIVE: &str = "many.bin.didx";
const PLAIN_MAGIC: [u8; 8] = [0x42, 0xab, 0x38, 0x07, 0xbe, 0x83, 0x70, 0xa1];
const DYNAMIC_MAGIC: [u8; 8] = [0x1c, 0x91, 0x4e, 0xa5, 0x19, 0xba, 0xb3, 0xcd];
const INDEX_HEADER_BYTES: usize = 4096;

/// The chunks of a datastore, by number, some of them garbage: that many of each hundred in a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chunks {
    pub(crate) count: usize,
    pub(crate) garbage_percent: usize,
}

impl Chunks {
    /// Writes all chunks into the datastore at `base`, `garbage_age` old as far as no index names them, and one snapshot that names
    /// the others.
    pub(crate) fn fill(&self, base: &Path, garbage_age: Duration) -> Result<()> {
        self.write(base, garbage_age, |_| true)?;
        let named = (0..self.count).filter(|number| !self.is_garbage(*number));
        write_snapshot(base, "bench", named.map(|number| Sha256::digest(content(number)).into()))
    }

    /// Writes the garbage alone, again after it was collected or with another age.
    pub(crate) fn fill_garbage(&self, base: &Path, age: Duration) -> Result<()> {
        self.write(base, age, |number| self.is_garbage(number))
    }

    /// How many chunks no index names.
    pub(crate) fn garbage(&self) -> usize {
        self.count * self.garbage_percent / 100
    }

    fn is_garbage(&self, number: usize) -> bool {
        (number + 1) * self.garbage_percent / 100 > number * self.garbage_percent / 100
    }

    /// Writes some of the chunks, on all processors.
    fn write(
        &self,
        base: &Path,
        garbage_age: Duration,
        is_wanted: impl Fn(usize) -> bool + Sync,
    ) -> Result<()> {
        let now = SystemTime::now();
        let write = |numbers: Range<usize>| {
            let mut folders = vec![false; 1 << 16];
            for number in numbers.filter(|number| is_wanted(*number)) {
                let age = if self.is_garbage(number) { garbage_age } else { OLD };
                write_chunk(base, &content(number), &mut folders, now - age)?;
            }
            anyhow::Ok(())
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let part = |thread: usize| self.count * thread / threads..self.count * (thread + 1) / threads;
        std::thread::scope(|scope| {
            let (write, part) = (&write, &part);
            let parts: Vec<_> = (0..threads).map(|thread| scope.spawn(move || write(part(thread)))).collect();
            parts.into_iter().try_for_each(|part| match part.join() {
                Ok(written) => written,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })
    }
}

/// The chunks' bytes must differ, and nothing else about them matters.
fn content(number: usize) -> [u8; CHUNK_BYTES] {
    let mut data = [0x5a; CHUNK_BYTES];
    data[..8].copy_from_slice(&(number as u64).to_le_bytes());
    data
}

fn write_chunk(base: &Path, data: &[u8], folders: &mut [bool], used_at: SystemTime) -> Result<()> {
    let digest: [u8; 32] = Sha256::digest(data).into();
    let name = hex(&digest);
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

/// Writes a snapshot of the group `host/<id>` whose one index names these chunks.
pub(crate) fn write_snapshot(base: &Path, id: &str, digests: impl Iterator<Item = [u8; 32]>) -> Result<()> {
    let group = base.join("host").join(id);
    let snapshot = group.join(TIME);
    fs::create_dir_all(&snapshot).with_context(|| format!("cannot create {}", snapshot.display()))?;
    let index = snapshot.join(ARCHIVE);
    let (size, csum) =
        write_index(&index, digests).with_context(|| format!("cannot write {}", index.display()))?;
    let manifest = serde_json::json!({
        "backup-type": "host", "backup-id": id, "backup-time": TIME_UNIX_SECONDS,
        "files": [{"filename": ARCHIVE, "crypt-mode": "none", "size": size, "csum": hex(&csum)}],
        "unprotected": {}, "signature": null,
    });
    let files: [(PathBuf, Vec<u8>); 2] = [
        (group.join("owner"), b"root@pam\n".to_vec()),
        (snapshot.join("index.json.blob"), blob(manifest.to_string().as_bytes())),
    ];
    for (path, bytes) in files {
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Writes a dynamic index; returns the size of its archive and the checksum of its entries.
fn write_index(path: &Path, digests: impl Iterator<Item = [u8; 32]>) -> std::io::Result<(u64, [u8; 32])> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut header = [0; INDEX_HEADER_BYTES];
    file.write_all(&header)?;
    let (mut end, mut csum) = (0, Sha256::new());
    for digest in digests {
        end += CHUNK_BYTES as u64;
        let mut entry = [0; 40];
        entry[..8].copy_from_slice(&end.to_le_bytes());
        entry[8..].copy_from_slice(&digest);
        csum.update(entry);
        file.write_all(&entry)?;
    }
    let csum: [u8; 32] = csum.finalize().into();
    header[..8].copy_from_slice(&DYNAMIC_MAGIC);
    header[24..32].copy_from_slice(&TIME_UNIX_SECONDS.to_le_bytes());
    header[32..64].copy_from_slice(&csum);
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&header)?;
    file.flush()?;
    Ok((end, csum))
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
    fn what_is_no_garbage_is_referenced() {
        let folder = tempfile::tempdir().unwrap();
        let chunks = Chunks { count: 10, garbage_percent: 50 };
        chunks.fill(folder.path(), OLD).unwrap();
        assert_eq!((count(folder.path()).unwrap(), chunks.garbage()), (10, 5));
        let index = fs::read(folder.path().join("host/bench").join(TIME).join(ARCHIVE)).unwrap();
        assert_eq!(index.len(), INDEX_HEADER_BYTES + 5 * 40);
        let csum: [u8; 32] = Sha256::digest(&index[INDEX_HEADER_BYTES..]).into();
        assert_eq!(index[32..64], csum);
        let digest = hex(&index[INDEX_HEADER_BYTES + 8..INDEX_HEADER_BYTES + 40]);
        let chunk = folder.path().join(".chunks").join(&digest[..4]).join(&digest);
        let accessed_at = FileTime::from_last_access_time(&fs::metadata(chunk).unwrap());
        assert!(accessed_at.unix_seconds() < FileTime::now().unix_seconds() - 6 * 86_400);
    }

    #[test]
    fn garbage_is_written_alone_and_as_old_as_it_is_to_be() {
        let folder = tempfile::tempdir().unwrap();
        let chunks = Chunks { count: 200, garbage_percent: 5 };
        chunks.fill_garbage(folder.path(), Duration::ZERO).unwrap();
        assert_eq!((count(folder.path()).unwrap(), chunks.garbage()), (10, 10));
        let digest: [u8; 32] = Sha256::digest(content(19)).into();
        let name = hex(&digest);
        let metadata = fs::metadata(folder.path().join(".chunks").join(&name[..4]).join(name)).unwrap();
        let accessed_at = FileTime::from_last_access_time(&metadata);
        assert!(accessed_at.unix_seconds() > FileTime::now().unix_seconds() - 3600);
    }
}
