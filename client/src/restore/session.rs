//! A reader session with the server (spec `backup-protocol.md` §5).

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use coldkeep_chunk_store::blob::{BLOB_ENCODED_BYTES_MAX, Blob, ENCODE_BYTES_MAX};
use coldkeep_datastore::manifest::CryptMode;
use coldkeep_datastore::{ArchiveKind, ArchiveName, Manifest, SnapshotName};

use super::error::RestoreError;
use super::fetch::Restore;
use super::pipe::pipe;
use super::stored::StoredSnapshot;
use super::target::{FileTarget, Target, WriterTarget};
use crate::api::Store;
use crate::extract::{ExtractOptions, Extracted, extract};
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
    stored: Arc<StoredSnapshot>,
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
        let stored = Arc::new(StoredSnapshot::open(self, snapshot).await?);
        Ok(ReaderSession { stored, limits, progress: Arc::default() })
    }
}

impl ReaderSession {
    /// Returns the snapshot's name.
    pub fn snapshot(&self) -> &SnapshotName {
        self.stored.snapshot()
    }

    /// Returns the snapshot's manifest.
    pub fn manifest(&self) -> &Manifest {
        self.stored.manifest()
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

    /// Restores an archive of a directory (`NAME.pxar.didx`) into the directory `target`.
    ///
    /// # Errors
    /// See [`RestoreError`]; what was restored before stays.
    ///
    /// # Cancel safety
    /// Dropping the future ends the restore soon after; what was restored before stays.
    pub async fn restore_directory(
        &self,
        archive: &ArchiveName,
        target: &Path,
        options: ExtractOptions,
    ) -> Result<Extracted, RestoreError> {
        let (blocks, reader) = pipe();
        let target = target.to_owned();
        let extracting = tokio::task::spawn_blocking(move || extract(reader, None, &target, &options));
        let restored = self.restore(archive, blocks).await.map(drop);
        let extracted = extracting.await.map_err(RestoreError::Worker)?;
        match (restored, extracted) {
            (Ok(()), Ok(extracted)) => Ok(extracted),
            // Whoever reads the archive gave up first.
            (Ok(()) | Err(RestoreError::Write { .. }), Err(source)) => {
                Err(RestoreError::Extract { archive: archive.clone(), source })
            }
            (Err(error), _) => Err(error),
        }
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
        let bytes = if is_listed {
            self.check_key(archive)?;
            self.stored.blob(archive).await?
        } else {
            self.stored.download(archive, BLOB_ENCODED_BYTES_MAX).await?
        };
        let archive = archive.clone();
        let encoded_len = bytes.len() as u64;
        let decode = move || decode_blob(archive, bytes);
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
        self.check_key(archive)?;
        let index = self.stored.index(archive, usize::MAX).await?;
        let restore = Restore {
            archive: archive.clone(),
            source: Arc::clone(&self.stored),
            limits: self.limits,
            progress: Arc::clone(&self.progress),
        };
        restore.run(&index, target).await
    }

    /// Refuses an archive that cannot be restored without a key.
    fn check_key(&self, archive: &ArchiveName) -> Result<(), RestoreError> {
        let entry = self.stored.entry(archive)?;
        let fingerprint = self.manifest().key_fingerprint();
        let needs_key = entry.crypt_mode == CryptMode::Encrypt || fingerprint.is_some();
        if needs_key && archive.as_str() != RSA_KEY {
            let fingerprint = fingerprint.unwrap_or("unknown").to_owned();
            return Err(RestoreError::KeyNeeded { archive: archive.clone(), fingerprint });
        }
        Ok(())
    }
}

fn decode_blob(archive: ArchiveName, bytes: Bytes) -> Result<Bytes, RestoreError> {
    let decoded = Blob::parse(bytes).and_then(|blob| blob.decode(ENCODE_BYTES_MAX));
    decoded.map_err(|source| RestoreError::Blob { archive, source })
}

#[cfg(test)]
mod tests {
    use coldkeep_chunk_store::blob::Compression;

    use super::*;

    #[test]
    fn a_blob_must_be_whole() {
        let name: ArchiveName = "a.conf.blob".parse().unwrap();
        let bytes = Blob::encode(b"hello", Compression::Zstd).unwrap().into_bytes();
        assert_eq!(decode_blob(name.clone(), bytes.clone()).unwrap(), "hello");
        let damaged = decode_blob(name.clone(), bytes.slice(..bytes.len() - 1));
        assert!(matches!(damaged, Err(RestoreError::Blob { .. })));
    }
}
