//! The far end of every upload: chunks are sent once, references follow in the order of the archive.
//!
//! Tasks send chunks in any order; their handles come in the order of the archive and are awaited one by one, so a batch
//! of references leaves only after the answers to all its chunks, and index checksum and offsets need no sorting.

use std::sync::Arc;

use bytes::Bytes;
use coldkeep_chunk_store::{Digest, DigestBuilder};
use coldkeep_datastore::ArchiveName;
use coldkeep_datastore::index::IndexKind;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::AbortOnDropHandle;

use super::error::BackupError;
use super::known::{Elsewhere, KnownChunks, Sending};
use super::pool::BufferPool;
use crate::error::RequestError;
use crate::progress::Progress;
use crate::zeros::ZeroDigests;

/// References per request: stock clients send up to 128 (spec `conversation.md` §4).
const BATCH_MAX: usize = 128;

/// Chunks between their start and their reference. The bytes of those with data are bounded by a budget; this bounds
/// those that hold none.
pub(super) const QUEUE_MAX: usize = 256;

/// One chunk to send.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) digest: Digest,
    pub(super) plain_len: usize,
    pub(super) blob: Bytes,
}

/// Where the chunks of one archive go: an index writer of the server, or a model of one.
pub(super) trait ChunkSink: Send + Sync + 'static {
    /// Stores a chunk.
    fn send(&self, chunk: Chunk) -> impl Future<Output = Result<(), RequestError>> + Send;

    /// Appends references: digests with the offsets at which their chunks start.
    fn append(&self, entries: &[(Digest, u64)]) -> impl Future<Output = Result<(), RequestError>> + Send;
}

/// What all uploads of a session share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) known: Arc<KnownChunks>,
    pub(super) progress: Arc<Progress>,
    pub(super) zeros: ZeroDigests,
    pub(super) pool: BufferPool,
}

/// What was referenced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) size: u64,
    pub(super) chunk_count: u64,
    pub(super) csum: Digest,
}

/// A chunk that may be referenced.
#[derive(Debug, Clone, Copy)]
pub(super) struct Done {
    digest: Digest,
    plain_len: u64,
    is_sent: bool,
}

/// A chunk that will be referenced in its turn.
#[derive(Debug)]
pub(super) enum Coming {
    /// The server has it.
    Known(Done),
    /// A task sees to it.
    Task(AbortOnDropHandle<Result<Done, BackupError>>),
}

/// The way of the chunks of one archive to the server.
#[derive(Debug)]
pub(super) struct Uplink<S> {
    pub(super) archive: ArchiveName,
    pub(super) kind: IndexKind,
    pub(super) sink: Arc<S>,
    pub(super) shared: Arc<Shared>,
    /// Chunks that may be on their way at once.
    pub(super) requests: Semaphore,
}

impl<S: ChunkSink> Uplink<S> {
    /// Sends a chunk that is ours to send; `share`, what it takes from a budget, is held until it is sent.
    pub(super) async fn send<T>(
        &self,
        sending: Sending,
        chunk: Chunk,
        share: T,
    ) -> Result<Done, BackupError> {
        let (digest, plain_len, encoded_len) =
            (chunk.digest, chunk.plain_len as u64, chunk.blob.len() as u64);
        // Never closed: an error here cannot happen.
        let _slot = self.requests.acquire().await;
        let result = sending.ended(self.sink.send(chunk).await);
        drop(share);
        result.map_err(|source| BackupError::Chunk { archive: self.archive.clone(), source })?;
        self.shared.progress.add_transferred_chunk(plain_len, encoded_len);
        Ok(Done { digest, plain_len, is_sent: true })
    }

    /// Waits for a chunk that another upload of the session, or an earlier part of this one, is sending.
    pub(super) async fn wait(
        &self,
        digest: Digest,
        plain_len: u64,
        elsewhere: Elsewhere,
    ) -> Result<Done, BackupError> {
        elsewhere.wait().await.map_err(|cause| match cause {
            Some(source) => BackupError::Chunk { archive: self.archive.clone(), source },
            None => BackupError::GivenUp { archive: self.archive.clone() },
        })?;
        Ok(self.known(digest, plain_len))
    }

    /// Takes note of a chunk that the server has.
    pub(super) fn known(&self, digest: Digest, plain_len: u64) -> Done {
        self.shared.progress.add_reused_chunk(plain_len);
        Done { digest, plain_len, is_sent: false }
    }

    /// Awaits the chunks in order and references them in batches.
    pub(super) async fn reference(&self, mut coming: mpsc::Receiver<Coming>) -> Result<Written, BackupError> {
        let mut checksum = DigestBuilder::new();
        let (mut size, mut chunk_count) = (0, 0);
        let mut batch = Batch::default();
        while let Some(chunk) = coming.recv().await {
            let done = match chunk {
                Coming::Known(done) => done,
                Coming::Task(task) => task.await.map_err(BackupError::Worker)??,
            };
            batch.entries.push((done.digest, size));
            batch.sent += usize::from(done.is_sent);
            size += done.plain_len;
            chunk_count += 1;
            if self.kind == IndexKind::Dynamic {
                checksum.update(&u64::to_le_bytes(size));
            }
            checksum.update(done.digest.as_bytes());
            if batch.entries.len() == BATCH_MAX {
                self.append(std::mem::take(&mut batch)).await?;
            }
        }
        if !batch.entries.is_empty() {
            self.append(batch).await?;
        }
        Ok(Written { size, chunk_count, csum: checksum.finish() })
    }

    async fn append(&self, batch: Batch) -> Result<(), BackupError> {
        self.sink.append(&batch.entries).await.map_err(|source| match source {
            RequestError::Refused { .. } => BackupError::Append {
                archive: self.archive.clone(),
                reused: batch.entries.len() - batch.sent,
                sent: batch.sent,
                source: Box::new(source),
            },
            other => BackupError::Request(other),
        })
    }
}

/// References that wait to be sent.
#[derive(Default)]
struct Batch {
    entries: Vec<(Digest, u64)>,
    sent: usize,
}

#[cfg(test)]
#[path = "sink_model.rs"]
pub(super) mod model;
