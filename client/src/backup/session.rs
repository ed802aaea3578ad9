//! A backup session with the server (spec `backup-protocol.md` §2–§4).

use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use coldkeep_chunk_store::Digest;
use coldkeep_chunk_store::blob::{BLOB_ENCODED_BYTES_MAX, Blob, Compression, ENCODE_BYTES_MAX};
use coldkeep_datastore::index::IndexKind;
use coldkeep_datastore::manifest::{CryptMode, FileInfo};
use coldkeep_datastore::{ArchiveKind, ArchiveName, BackupTime, Manifest, SnapshotName};

use super::chunker::Chunker;
use super::error::BackupError;
use super::pipeline::Pipeline;
use super::sink::{Shared, Written};
use super::source::{ImageSource, Pieces};
use super::writer::WriterSession;
use crate::api::Store;
use crate::error::RequestError;
use crate::limits::TransferLimits;
use crate::progress::Progress;

/// A running backup: archives are uploaded one by one or at the same time, then the session is finished.
///
/// Dropping it without [`finish`](Self::finish) aborts: the server removes the unfinished snapshot.
#[derive(Debug)]
pub struct BackupSession {
    writer: WriterSession,
    shared: Arc<Shared>,
    limits: TransferLimits,
}

/// What became of one archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// Its name on the server.
    pub archive: ArchiveName,
    /// Plain bytes of an image or stream, encoded bytes of a blob.
    pub size: u64,
    /// Index checksum, or SHA-256 of the encoded blob.
    pub csum: Digest,
    /// Chunks referenced; 0 for a blob.
    pub chunk_count: u64,
    /// Whether the previous snapshot's index of this archive could be used.
    pub is_incremental: bool,
}

impl Store {
    /// Starts a backup of `snapshot`, whose time must be later than the newest snapshot of its group.
    ///
    /// # Errors
    /// [`RequestError::Refused`] with the server's reason: another backup of the group runs, the time is taken, the
    /// group belongs to somebody else, the datastore does not exist (400, 403, 404).
    ///
    /// # Cancel safety
    /// Dropping the future drops the connection; the server removes what it began.
    pub async fn begin_backup(
        &self,
        snapshot: &SnapshotName,
        limits: TransferLimits,
    ) -> Result<BackupSession, RequestError> {
        let writer = WriterSession::open(self, snapshot).await?;
        Ok(BackupSession { writer, shared: Arc::default(), limits })
    }
}

impl BackupSession {
    /// Returns the snapshot that is being made.
    pub const fn snapshot(&self) -> &SnapshotName {
        &self.writer.snapshot
    }

    /// Returns the time of the previous finished snapshot of the group.
    pub const fn previous_backup_time(&self) -> Option<BackupTime> {
        self.writer.previous_time
    }

    /// Returns the manifest of the previous finished snapshot, if the server gave it.
    pub const fn previous_manifest(&self) -> Option<&Manifest> {
        self.writer.previous.as_ref()
    }

    /// Returns the counters of this session, for another thread to read.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.shared.progress)
    }

    /// Uploads an image as a fixed index of 4 MiB chunks (`NAME.img.fidx`).
    ///
    /// # Errors
    /// See [`BackupError`]; the session cannot be finished afterwards.
    ///
    /// # Cancel safety
    /// Dropping the future stops the upload; the session cannot be finished then.
    pub async fn upload_image(
        &self,
        archive: &ArchiveName,
        source: ImageSource,
    ) -> Result<Uploaded, BackupError> {
        self.writer.begin(archive, ArchiveKind::Index(IndexKind::Fixed), "an image")?;
        let size = source.size();
        if size == 0 {
            return Err(BackupError::Empty { archive: archive.clone() });
        }
        self.upload_index(archive, IndexKind::Fixed, Some(size), source).await
    }

    /// Uploads a stream as a dynamic index of content-defined chunks, 4 MiB on average (`NAME.bin.didx`).
    ///
    /// The reader runs on a thread of its own, which may outlive a failed upload until its read returns. An empty stream
    /// gives an empty index, which stock servers refuse (spec `backup-protocol.md` §3.1).
    ///
    /// # Errors
    /// See [`BackupError`]; the session cannot be finished afterwards.
    ///
    /// # Cancel safety
    /// Dropping the future stops the upload; the session cannot be finished then.
    pub async fn upload_stream(
        &self,
        archive: &ArchiveName,
        reader: impl Read + Send + 'static,
    ) -> Result<Uploaded, BackupError> {
        self.writer.begin(archive, ArchiveKind::Index(IndexKind::Dynamic), "a stream")?;
        self.upload_index(archive, IndexKind::Dynamic, None, Chunker::new(reader)).await
    }

    /// Uploads data as one blob (`NAME.conf.blob`), compressed if that helps; at most 16 MiB encoded.
    ///
    /// # Errors
    /// See [`BackupError`]; after [`BackupError::BlobTooLarge`] the session can go on without this archive.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open whether the server has the blob; the manifest will not name it.
    pub async fn upload_blob(&self, archive: &ArchiveName, data: Bytes) -> Result<Uploaded, BackupError> {
        self.writer.begin(archive, ArchiveKind::Blob, "a blob")?;
        let plain_len = data.len();
        let too_large = |bytes| BackupError::BlobTooLarge {
            archive: archive.clone(),
            bytes,
            max: BLOB_ENCODED_BYTES_MAX,
        };
        if plain_len > ENCODE_BYTES_MAX {
            self.writer.leave_out(archive);
            return Err(too_large(plain_len));
        }
        let encoded = tokio::task::spawn_blocking(move || Blob::encode(&data, Compression::Zstd)).await;
        let blob = encoded
            .map_err(BackupError::Worker)?
            .map_err(|source| BackupError::Encode { archive: archive.clone(), source })?
            .into_bytes();
        if blob.len() > BLOB_ENCODED_BYTES_MAX {
            self.writer.leave_out(archive);
            return Err(too_large(blob.len()));
        }
        let (size, csum) = (blob.len() as u64, Digest::of(&blob));
        self.writer.send_blob(archive, blob).await?;
        self.shared.progress.add_read(plain_len as u64);
        self.shared.progress.add_transferred_blob(plain_len as u64, size);
        self.finish_file(archive, size, csum);
        Ok(Uploaded { archive: archive.clone(), size, csum, chunk_count: 0, is_incremental: false })
    }

    /// Writes the manifest, commits the snapshot and closes the connection; returns the manifest as sent.
    ///
    /// # Errors
    /// [`BackupError::Incomplete`]: the upload of an archive failed or was dropped. [`BackupError::Request`]: the server
    /// refused. No snapshot exists then; only a connection that broke while the answer was awaited leaves it open
    /// whether it does.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open whether the snapshot was committed.
    pub async fn finish(self) -> Result<Manifest, BackupError> {
        let mut manifest = Manifest::new(&self.writer.snapshot);
        for file in self.writer.complete_files()? {
            manifest.push(file);
        }
        let blob = manifest.to_blob()?.into_bytes();
        self.writer.commit(blob).await?;
        Ok(manifest)
    }

    /// Gives the backup up: the server removes the unfinished snapshot. The same as dropping the session.
    pub fn abort(self) {}

    fn finish_file(&self, archive: &ArchiveName, size: u64, csum: Digest) {
        self.writer.finish_file(FileInfo::new(archive.clone(), CryptMode::None, size, csum));
    }

    async fn upload_index(
        &self,
        archive: &ArchiveName,
        kind: IndexKind,
        size: Option<u64>,
        source: impl Pieces,
    ) -> Result<Uploaded, BackupError> {
        let is_incremental = self.load_previous(archive).await;
        let writer = Arc::new(self.writer.create_index(archive, kind, size).await?);
        let pipeline = Pipeline {
            archive: archive.clone(),
            kind,
            sink: Arc::clone(&writer),
            shared: Arc::clone(&self.shared),
            limits: self.limits,
        };
        let written = pipeline.run(source).await?;
        writer.close(&written).await?;
        let Written { size, chunk_count, csum } = written;
        self.finish_file(archive, size, csum);
        Ok(Uploaded { archive: archive.clone(), size, csum, chunk_count, is_incremental })
    }

    /// Makes the chunks of the previous snapshot's index known, to the server and to us.
    async fn load_previous(&self, archive: &ArchiveName) -> bool {
        let entry = self.writer.previous.as_ref().and_then(|manifest| manifest.file(archive));
        if entry.is_none_or(|entry| entry.crypt_mode != CryptMode::None) {
            return false;
        }
        let Some(index) = self.writer.previous_index(archive).await else { return false };
        self.shared.known.extend(index.spans().map(|span| span.digest));
        true
    }
}
