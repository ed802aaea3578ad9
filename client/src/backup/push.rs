//! A snapshot written as it is stored elsewhere: the pushing end of replication (spec `pull.md` §9).

use std::sync::Arc;

use bytes::Bytes;
use coldkeep_chunk_store::Digest;
use coldkeep_chunk_store::blob::{BLOB_ENCODED_BYTES_MAX, Blob};
use coldkeep_datastore::index::{ChunkSpan, IndexKind};
use coldkeep_datastore::manifest::{CryptMode, FileInfo};
use coldkeep_datastore::{ArchiveKind, ArchiveName, Manifest, SnapshotName};
use tokio::sync::Semaphore;

use super::copy::{Copy, LoadChunk, Room};
use super::error::BackupError;
use super::sink::{Shared, Uplink, Written};
use super::writer::WriterSession;
use crate::api::Store;
use crate::error::RequestError;
use crate::index::{IndexMismatch, StoredIndex};
use crate::limits::TransferLimits;
use crate::progress::Progress;

/// A running push: files are sent as they are stored, encrypted or not, then the session is finished with the manifest.
///
/// Files may be uploaded one by one or at the same time. Dropping it without [`finish`](Self::finish) aborts: the server
/// removes the unfinished snapshot.
#[derive(Debug)]
pub struct PushSession {
    writer: WriterSession,
    shared: Arc<Shared>,
    room: Arc<Room>,
    limits: TransferLimits,
}

impl Store {
    /// Starts to write `snapshot` as it is stored elsewhere; its time must be later than the newest snapshot of its group
    /// here. Memory for chunks is bounded for the whole session, not for each archive.
    ///
    /// # Errors
    /// As for [`begin_backup`](Self::begin_backup).
    ///
    /// # Cancel safety
    /// Dropping the future drops the connection; the server removes what it began.
    pub async fn begin_push(
        &self,
        snapshot: &SnapshotName,
        limits: TransferLimits,
    ) -> Result<PushSession, RequestError> {
        let writer = WriterSession::open(self, snapshot).await?;
        Ok(PushSession { writer, shared: Arc::default(), room: Arc::new(Room::new(&limits)), limits })
    }
}

impl PushSession {
    /// Returns the snapshot that is being written.
    pub const fn snapshot(&self) -> &SnapshotName {
        &self.writer.snapshot
    }

    /// Returns the manifest of the previous finished snapshot of the group, if the server gave it.
    pub const fn previous_manifest(&self) -> Option<&Manifest> {
        self.writer.previous.as_ref()
    }

    /// Returns the counters of this session, for another thread to read; nothing counts as read or written.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.shared.progress)
    }

    /// Fetches the previous snapshot's index of an archive, encrypted or not; the chunks that it names are not sent from
    /// then on, for any archive (R17). `None`, with a warning in the log, if it cannot be fetched or does not fit the previous
    /// manifest; without a warning if there is none.
    ///
    /// # Cancel safety
    /// Dropping the future may leave chunks known to the server that are sent all the same.
    pub async fn previous_chunks(&self, archive: &ArchiveName) -> Option<StoredIndex> {
        let index = self.writer.previous_index(archive).await?;
        self.shared.known.extend(index.spans().map(|span| span.digest));
        Some(index)
    }

    /// Writes an index: `entry` is its entry in the manifest, `spans` are its entries in order. Chunks that the session does
    /// not know are taken from `chunks` and sent once.
    ///
    /// # Errors
    /// See [`BackupError`], in particular [`BackupError::Index`]: `spans` do not make the index in `entry`;
    /// [`BackupError::Load`]: a chunk cannot be read here. The session cannot be finished afterwards.
    ///
    /// # Cancel safety
    /// Dropping the future stops the upload; the session cannot be finished then.
    pub async fn upload_index<L: LoadChunk>(
        &self,
        entry: &FileInfo,
        spans: impl Iterator<Item = ChunkSpan> + Send,
        chunks: Arc<L>,
    ) -> Result<(), BackupError> {
        let archive = &entry.filename;
        let ArchiveKind::Index(kind) = archive.kind() else {
            return Err(BackupError::Kind { archive: archive.clone(), what: "an index" });
        };
        self.writer.begin(archive, archive.kind(), "an index")?;
        let is_fixed = kind == IndexKind::Fixed;
        if is_fixed && entry.size == 0 {
            return Err(BackupError::Empty { archive: archive.clone() });
        }
        let writer = self.writer.create_index(archive, kind, is_fixed.then_some(entry.size)).await?;
        let writer = Arc::new(writer);
        let uplink = Arc::new(Uplink {
            archive: archive.clone(),
            kind,
            sink: Arc::clone(&writer),
            shared: Arc::clone(&self.shared),
            requests: Semaphore::new(self.limits.requests.max(1)),
        });
        let written = Copy { uplink, chunks, room: Arc::clone(&self.room) }.run(spans).await?;
        check(entry, &written).map_err(|source| BackupError::Index { archive: archive.clone(), source })?;
        writer.close(&written).await?;
        self.writer.finish_file(entry.clone());
        Ok(())
    }

    /// Sends a blob as it is stored, also the client's log, which no manifest lists.
    ///
    /// # Errors
    /// See [`BackupError`]; after [`BackupError::BlobTooLarge`] the session can go on without this blob.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open whether the server has the blob; the session cannot be finished then.
    pub async fn upload_encoded_blob(&self, archive: &ArchiveName, bytes: Bytes) -> Result<(), BackupError> {
        self.writer.begin(archive, ArchiveKind::Blob, "a blob")?;
        if bytes.len() > BLOB_ENCODED_BYTES_MAX {
            self.writer.leave_out(archive);
            let (bytes, max) = (bytes.len(), BLOB_ENCODED_BYTES_MAX);
            return Err(BackupError::BlobTooLarge { archive: archive.clone(), bytes, max });
        }
        let hashed = bytes.clone();
        let csum = tokio::task::spawn_blocking(move || Digest::of(&hashed)).await;
        let csum = csum.map_err(BackupError::Worker)?;
        let size = bytes.len() as u64;
        self.writer.send_blob(archive, bytes).await?;
        // Whether it is encrypted stands in the manifest, which is not made here.
        self.writer.finish_file(FileInfo::new(archive.clone(), CryptMode::None, size, csum));
        self.shared.progress.add_transferred_blob(size, size);
        Ok(())
    }

    /// Sends the encoded manifest, commits the snapshot and closes the connection. The server may add to its copy of the
    /// manifest what is not protected by a signature.
    ///
    /// # Errors
    /// [`BackupError::Incomplete`]: a file of the manifest was not uploaded with its size and checksum, or the upload of
    /// another failed or was dropped. [`BackupError::Manifest`], [`BackupError::Snapshot`]: this is no manifest of this
    /// snapshot. [`BackupError::Request`]: the server refused. No snapshot exists then; only a connection that broke
    /// while the answer was awaited leaves it open whether it does.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open whether the snapshot was committed.
    pub async fn finish(self, manifest: Bytes) -> Result<(), BackupError> {
        let parsed = Blob::parse(manifest.clone()).map_err(Into::into);
        let parsed = parsed.and_then(|blob| Manifest::from_blob(&blob))?;
        let (expected, got) = (self.snapshot().clone(), parsed.snapshot());
        if got != expected {
            return Err(BackupError::Snapshot { expected, got });
        }
        let done = self.writer.complete_files()?;
        let is_there = |file: &FileInfo| {
            done.iter()
                .any(|done| (&done.filename, done.size, done.csum) == (&file.filename, file.size, file.csum))
        };
        if let Some(missing) = parsed.files().iter().find(|file| !is_there(file)) {
            return Err(BackupError::Incomplete { archive: missing.filename.clone() });
        }
        Ok(self.writer.commit(manifest).await?)
    }

    /// Gives the push up: the server removes the unfinished snapshot. The same as dropping the session.
    pub fn abort(self) {}
}

/// Compares what was referenced with the manifest, before the server is told that the index is complete.
fn check(entry: &FileInfo, written: &Written) -> Result<(), IndexMismatch> {
    if written.size != entry.size {
        return Err(IndexMismatch::Size { expected: entry.size, got: written.size });
    }
    if written.csum != entry.csum {
        return Err(IndexMismatch::Checksum { expected: entry.csum, got: written.csum });
    }
    Ok(())
}
