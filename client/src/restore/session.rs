//! A reader session with the server (spec `backup-protocol.md` §5).

use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use coldkeep_chunk_store::Digest;
use coldkeep_chunk_store::blob::{BLOB_ENCODED_BYTES_MAX, Blob, ENCODE_BYTES_MAX};
use coldkeep_datastore::manifest::{CryptMode, FileInfo};
use coldkeep_datastore::{ArchiveKind, ArchiveName, Manifest, SnapshotName};

use super::error::RestoreError;
use super::fetch::{ChunkSource, Restore};
use super::target::{FileTarget, Target, WriterTarget};
use crate::api::Store;
use crate::encoding::Parameters;
use crate::error::RequestError;
use crate::http::{Session, Upgrade};
use crate::index::{INDEX_BYTES_MAX, Index, IndexMismatch};
use crate::limits::TransferLimits;
use crate::progress::Progress;

/// Archive that is not encrypted with the snapshot's key, although the manifest says so (spec `formats.md` §6.2).
const RSA_KEY: &str = "rsa-encrypted.key.blob";

/// A snapshot open for reading; dropping it closes the connection.
///
/// Everything is checked against the manifest: index and blob sizes and checksums, and every chunk's CRC, length and
/// digest.
#[derive(Debug)]
pub struct ReaderSession {
    session: Arc<Session>,
    snapshot: SnapshotName,
    manifest: Manifest,
    limits: TransferLimits,
    progress: Arc<Progress>,
}

impl Store {
    /// Opens a snapshot and fetches its manifest; the snapshot cannot be removed while it is open.
    ///
    /// # Errors
    /// [`RestoreError::Request`]: no such snapshot, no right to read it (400), or it has no manifest (404).
    /// [`RestoreError::Manifest`] and [`RestoreError::Snapshot`]: the manifest is damaged or misplaced.
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn open_snapshot(
        &self,
        snapshot: &SnapshotName,
        limits: TransferLimits,
    ) -> Result<ReaderSession, RestoreError> {
        let parameters = self.snapshot(snapshot).with("store", self.name().to_string());
        let session = self.client().upgrade(Upgrade::Reader, &parameters).await?;
        let bytes = download(&session, &ArchiveName::manifest(), BLOB_ENCODED_BYTES_MAX).await?;
        let manifest = Blob::parse(bytes).map_err(Into::into).and_then(|blob| Manifest::from_blob(&blob));
        let manifest =
            manifest.map_err(|source| RestoreError::Manifest { snapshot: snapshot.clone(), source })?;
        let got = manifest.snapshot();
        if got != *snapshot {
            return Err(RestoreError::Snapshot { expected: snapshot.clone(), got });
        }
        Ok(ReaderSession {
            session: Arc::new(session),
            snapshot: snapshot.clone(),
            manifest,
            limits,
            progress: Arc::default(),
        })
    }
}

impl ReaderSession {
    /// Returns the snapshot's name.
    pub const fn snapshot(&self) -> &SnapshotName {
        &self.snapshot
    }

    /// Returns the snapshot's manifest.
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns the counters of this session, for another thread to read.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Writes an archive to a file: an image, a stream or a blob.
    ///
    /// A regular file is emptied first and gets holes where the archive holds whole pages of zeros; a block device
    /// is written in full from its start. The file is not synced.
    ///
    /// # Errors
    /// See [`RestoreError`]; the file then holds part of the archive.
    ///
    /// # Cancel safety
    /// Dropping the future leaves part of the archive in the file, and one more write may follow.
    pub async fn restore_to_file(&self, archive: &ArchiveName, file: File) -> Result<(), RestoreError> {
        let write_error = |source| RestoreError::Write { archive: archive.clone(), source };
        let target = tokio::task::spawn_blocking(move || FileTarget::new(file)).await;
        let target = target.map_err(RestoreError::Worker)?.map_err(write_error)?;
        self.restore(archive, target).await.map(drop)
    }

    /// Writes an archive, in order, to a writer and returns it flushed: an image, a stream or a blob.
    ///
    /// The writer runs on a thread of its own, which may outlive a failed restore until its write returns.
    ///
    /// # Errors
    /// See [`RestoreError`]; the writer then got part of the archive, and what it got is right.
    ///
    /// # Cancel safety
    /// Dropping the future loses the writer; one more write may follow.
    pub async fn restore_to_writer<W: Write + Send + 'static>(
        &self,
        archive: &ArchiveName,
        writer: W,
    ) -> Result<W, RestoreError> {
        self.restore(archive, WriterTarget(writer)).await.map(|target| target.0)
    }

    /// Fetches and decodes a blob. The client's log, which no manifest lists, is checked by its CRC only.
    ///
    /// # Errors
    /// See [`RestoreError`].
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn load_blob(&self, archive: &ArchiveName) -> Result<Bytes, RestoreError> {
        if archive.kind() != ArchiveKind::Blob {
            return Err(RestoreError::Kind { archive: archive.clone(), what: "a blob" });
        }
        let is_listed = !archive.is_manifest() && archive.as_str() != ArchiveName::CLIENT_LOG;
        let entry = if is_listed { Some(self.entry(archive)?.clone()) } else { None };
        let bytes = download(&self.session, archive, BLOB_ENCODED_BYTES_MAX).await?;
        let archive = archive.clone();
        let encoded_len = bytes.len() as u64;
        let decode = move || decode_blob(archive, bytes, entry.as_ref());
        let data = tokio::task::spawn_blocking(decode).await.map_err(RestoreError::Worker)??;
        self.progress.add_transferred_blob(data.len() as u64, encoded_len);
        Ok(data)
    }

    async fn restore<T: Target>(&self, archive: &ArchiveName, mut target: T) -> Result<T, RestoreError> {
        let ArchiveKind::Index(_) = archive.kind() else {
            let data = self.load_blob(archive).await?;
            let len = data.len() as u64;
            let write = move || {
                target.write(&super::target::Block::Data(data))?;
                target.finish()?;
                Ok(target)
            };
            let target = tokio::task::spawn_blocking(write).await.map_err(RestoreError::Worker)?;
            self.progress.add_written(len);
            return target.map_err(|source| RestoreError::Write { archive: archive.clone(), source });
        };
        let index = self.load_index(archive).await?;
        let restore = Restore {
            archive: archive.clone(),
            source: Arc::new(SessionSource(Arc::clone(&self.session))),
            limits: self.limits,
            progress: Arc::clone(&self.progress),
        };
        restore.run(&index, target).await
    }

    /// Fetches an index, which also allows this session to fetch its chunks.
    async fn load_index(&self, archive: &ArchiveName) -> Result<Index, RestoreError> {
        let ArchiveKind::Index(kind) = archive.kind() else {
            return Err(RestoreError::Kind { archive: archive.clone(), what: "an index" });
        };
        let entry = self.entry(archive)?.clone();
        let bytes = download(&self.session, archive, INDEX_BYTES_MAX).await?;
        let parse = move || -> Result<Index, IndexMismatch> {
            let index = Index::parse(kind, &bytes)?;
            index.check(&entry)?;
            Ok(index)
        };
        let parsed = tokio::task::spawn_blocking(parse).await.map_err(RestoreError::Worker)?;
        parsed.map_err(|source| RestoreError::Index { archive: archive.clone(), source })
    }

    /// Returns an archive's entry in the manifest, if it can be restored without a key.
    fn entry(&self, archive: &ArchiveName) -> Result<&FileInfo, RestoreError> {
        let missing =
            || RestoreError::NoArchive { snapshot: self.snapshot.clone(), archive: archive.clone() };
        let entry = self.manifest.file(archive).ok_or_else(missing)?;
        let fingerprint = self.manifest.key_fingerprint();
        let needs_key = entry.crypt_mode == CryptMode::Encrypt || fingerprint.is_some();
        if needs_key && archive.as_str() != RSA_KEY {
            let fingerprint = fingerprint.unwrap_or("unknown").to_owned();
            return Err(RestoreError::KeyNeeded { archive: archive.clone(), fingerprint });
        }
        Ok(entry)
    }
}

fn decode_blob(archive: ArchiveName, bytes: Bytes, entry: Option<&FileInfo>) -> Result<Bytes, RestoreError> {
    if let Some(entry) = entry {
        let (got_bytes, got) = (bytes.len() as u64, Digest::of(&bytes));
        if (got_bytes, got) != (entry.size, entry.csum) {
            let (expected_bytes, expected) = (entry.size, entry.csum);
            return Err(RestoreError::BlobMismatch { archive, expected_bytes, expected, got_bytes, got });
        }
    }
    let decoded = Blob::parse(bytes).and_then(|blob| blob.decode(ENCODE_BYTES_MAX));
    decoded.map_err(|source| RestoreError::Blob { archive, source })
}

async fn download(session: &Session, archive: &ArchiveName, limit: usize) -> Result<Bytes, RequestError> {
    session.download("/download", &Parameters::new().with("file-name", archive.as_str()), limit).await
}

/// Chunks of the session with the server.
#[derive(Debug)]
struct SessionSource(Arc<Session>);

impl ChunkSource for SessionSource {
    async fn fetch(&self, digest: Digest) -> Result<Bytes, RequestError> {
        let parameters = Parameters::new().with("digest", digest.to_string());
        self.0.download("/chunk", &parameters, BLOB_ENCODED_BYTES_MAX).await
    }
}

#[cfg(test)]
mod tests {
    use coldkeep_chunk_store::blob::Compression;

    use super::*;

    #[test]
    fn a_blob_must_be_the_one_in_the_manifest() {
        let name: ArchiveName = "a.conf.blob".parse().unwrap();
        let bytes = Blob::encode(b"hello", Compression::Zstd).unwrap().into_bytes();
        let entry = |size, csum| FileInfo::new(name.clone(), CryptMode::None, size, csum);
        let good = entry(bytes.len() as u64, Digest::of(&bytes));
        assert_eq!(decode_blob(name.clone(), bytes.clone(), Some(&good)).unwrap(), "hello");
        assert_eq!(decode_blob(name.clone(), bytes.clone(), None).unwrap(), "hello");
        for bad in [entry(bytes.len() as u64 + 1, good.csum), entry(good.size, Digest::of(b"x"))] {
            let result = decode_blob(name.clone(), bytes.clone(), Some(&bad));
            assert!(matches!(result, Err(RestoreError::BlobMismatch { .. })));
        }
        let damaged = decode_blob(name.clone(), bytes.slice(..bytes.len() - 1), None);
        assert!(matches!(damaged, Err(RestoreError::Blob { .. })));
    }
}
