//! The way of one archive that is stored elsewhere: known?, load, send, reference.
//!
//! One end walks over the entries in order. A chunk that the session knows is only referenced; any other waits for room
//! in a byte budget and becomes a task that loads and sends it, once for all archives of the session. The other end is
//! that of every upload, see [`Uplink::reference`].

use std::sync::Arc;

use bytes::Bytes;
use coldkeep_chunk_store::blob::{BLOB_ENCODED_BYTES_MAX, CHUNK_BYTES_MAX};
use coldkeep_datastore::index::{ChunkSpan, FIXED_CHUNK_BYTES, IndexKind};
use futures_util::future::try_join;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::task::AbortOnDropHandle;

use super::error::BackupError;
use super::known::{Claim, Sending};
use super::sink::{Chunk, ChunkSink, Coming, Done, QUEUE_MAX, Uplink, Written};
use crate::error::BoxError;
use crate::limits::TransferLimits;

/// The unit of the byte budget.
const BUDGET_UNIT: usize = 4096;

/// What an encoded chunk may be longer than its data: the header of an encrypted blob.
const ENVELOPE_BYTES: usize = BLOB_ENCODED_BYTES_MAX - CHUNK_BYTES_MAX;

/// Where the chunks of a pushed snapshot come from.
pub trait LoadChunk: Send + Sync + 'static {
    /// Returns the chunk as it is stored; its content is for the server to check.
    ///
    /// # Cancel safety
    /// The future is dropped when the upload is given up.
    fn load(&self, span: ChunkSpan) -> impl Future<Output = Result<Bytes, BoxError>> + Send;
}

/// Bounds that all uploads of a session share.
#[derive(Debug)]
pub(super) struct Room {
    budget: Arc<Semaphore>,
    units: usize,
    loads: Semaphore,
}

impl Room {
    pub(super) fn new(limits: &TransferLimits) -> Self {
        let units = limits.memory_bytes.max(BLOB_ENCODED_BYTES_MAX).div_ceil(BUDGET_UNIT);
        let units = units.min(Semaphore::MAX_PERMITS);
        Self { budget: Arc::new(Semaphore::new(units)), units, loads: Semaphore::new(limits.requests.max(1)) }
    }

    /// Waits for room for a chunk of so many plain bytes; `None` cannot happen, for nobody closes the budget.
    async fn take(&self, plain_len: usize) -> Option<OwnedSemaphorePermit> {
        let units = (plain_len + ENVELOPE_BYTES).div_ceil(BUDGET_UNIT).min(self.units);
        Arc::clone(&self.budget).acquire_many_owned(u32::try_from(units).ok()?).await.ok()
    }
}

/// The upload of one archive.
#[derive(Debug)]
pub(super) struct Copy<S, L> {
    pub(super) uplink: Arc<Uplink<S>>,
    pub(super) chunks: Arc<L>,
    pub(super) room: Arc<Room>,
}

impl<S: ChunkSink, L: LoadChunk> Copy<S, L> {
    /// Sends and references everything that `spans` name.
    pub(super) async fn run(
        self,
        spans: impl Iterator<Item = ChunkSpan> + Send,
    ) -> Result<Written, BackupError> {
        let (queue, coming) = mpsc::channel(QUEUE_MAX);
        let ((), written) = try_join(self.spread(spans, queue), self.uplink.reference(coming)).await?;
        Ok(written)
    }

    /// Decides about every chunk in order and makes tasks of those that are to be sent.
    async fn spread(
        &self,
        spans: impl Iterator<Item = ChunkSpan> + Send,
        queue: mpsc::Sender<Coming>,
    ) -> Result<(), BackupError> {
        let mut end = 0;
        for span in spans {
            self.check(&span, end)?;
            end = span.end;
            let coming = match self.uplink.shared.known.claim(span.digest) {
                Claim::Stored => Coming::Known(self.uplink.known(span.digest, span.plain_len())),
                Claim::Elsewhere(elsewhere) => {
                    let uplink = Arc::clone(&self.uplink);
                    let wait = async move { uplink.wait(span.digest, span.plain_len(), elsewhere).await };
                    Coming::Task(AbortOnDropHandle::new(tokio::spawn(wait)))
                }
                Claim::Ours(sending) => {
                    let Some(share) = self.room.take(span.plain_len() as usize).await else { return Ok(()) };
                    let task = Task {
                        uplink: Arc::clone(&self.uplink),
                        chunks: Arc::clone(&self.chunks),
                        room: Arc::clone(&self.room),
                    };
                    Coming::Task(AbortOnDropHandle::new(tokio::spawn(task.run(span, sending, share))))
                }
            };
            if queue.send(coming).await.is_err() {
                // The other end failed and says why.
                return Ok(());
            }
        }
        Ok(())
    }

    /// Checks that an entry begins at `start`, where the one before ends, and can be registered at the server.
    fn check(&self, span: &ChunkSpan, start: u64) -> Result<(), BackupError> {
        let fits_kind = match self.uplink.kind {
            IndexKind::Fixed => {
                span.start.is_multiple_of(FIXED_CHUNK_BYTES) && span.end <= span.start + FIXED_CHUNK_BYTES
            }
            IndexKind::Dynamic => true,
        };
        let follows = span.start == start && span.end > start && span.end - start <= CHUNK_BYTES_MAX as u64;
        if follows && fits_kind {
            return Ok(());
        }
        Err(BackupError::Spans { archive: self.uplink.archive.clone(), start: span.start, end: span.end })
    }
}

/// The way of one chunk.
struct Task<S, L> {
    uplink: Arc<Uplink<S>>,
    chunks: Arc<L>,
    room: Arc<Room>,
}

impl<S: ChunkSink, L: LoadChunk> Task<S, L> {
    async fn run(
        self,
        span: ChunkSpan,
        sending: Sending,
        mut share: OwnedSemaphorePermit,
    ) -> Result<Done, BackupError> {
        let blob = self.load(span).await.map_err(|source| BackupError::Load {
            archive: self.uplink.archive.clone(),
            digest: span.digest,
            source,
        })?;
        let spare = share.num_permits().saturating_sub(blob.len().div_ceil(BUDGET_UNIT));
        drop(share.split(spare));
        let chunk = Chunk { digest: span.digest, plain_len: span.plain_len() as usize, blob };
        self.uplink.send(sending, chunk, share).await
    }

    async fn load(&self, span: ChunkSpan) -> Result<Bytes, BoxError> {
        // Never closed: an error here cannot happen.
        let _slot = self.room.loads.acquire().await;
        let blob = self.chunks.load(span).await?;
        if blob.len() > BLOB_ENCODED_BYTES_MAX {
            return Err(format!("it has {} encoded bytes", blob.len()).into());
        }
        Ok(blob)
    }
}

#[cfg(test)]
#[path = "copy_tests.rs"]
mod tests;
