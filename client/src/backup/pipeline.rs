//! The way of one archive: read, hash, known?, compress, send, reference.
//!
//! A thread reads pieces in order and waits for room in a byte budget. Each piece becomes a task: hash and, if nobody
//! has sent it, compress on a blocking thread (as many at once as there are workers), then send (a bounded number in
//! flight). The tasks' handles go into a queue in the order of the archive; the other end awaits them one by one, so
//! a batch of references leaves only after the answers to all its chunks, and index checksum and offsets need no
//! sorting. Whatever fails drops the queue: the tasks are aborted, the budget is closed, the reader ends.

use std::sync::Arc;

use bytes::Bytes;
use coldkeep_chunk_store::blob::{Blob, Compression};
use coldkeep_chunk_store::{Digest, DigestBuilder};
use coldkeep_datastore::ArchiveName;
use coldkeep_datastore::index::IndexKind;
use futures_util::future::try_join;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::task::AbortOnDropHandle;

use super::budget::{Budget, CloseOnDrop, Share};
use super::error::BackupError;
use super::known::{Claim, KnownChunks, Sending};
use super::pool::BufferPool;
use super::source::{Piece, Pieces};
use crate::error::RequestError;
use crate::limits::TransferLimits;
use crate::progress::Progress;
use crate::zeros::{ZeroDigests, is_zero};

/// References per request: stock clients send up to 128 (spec `conversation.md` §4).
const BATCH_MAX: usize = 128;

/// Pieces between hashing and referencing. Their bytes are bounded by the budget; this bounds those that hold none.
const QUEUE_MAX: usize = 256;

/// Pieces between reading and hashing: enough to keep the reader busy while the workers are.
const READ_AHEAD: usize = 2;

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

/// A piece on its way from the reader; the share is what it takes from the budget.
struct Queued {
    piece: Piece,
    share: Share,
}

/// What the reader says. A queue that closes without `End` or `Failed` means that the reader panicked.
enum Read {
    Piece(Queued),
    End,
    Failed(std::io::Error),
}

/// A chunk that may be referenced.
#[derive(Debug, Clone, Copy)]
struct Done {
    digest: Digest,
    plain_len: u64,
    is_sent: bool,
}

/// The upload of one archive.
pub(super) struct Pipeline<S> {
    pub(super) archive: ArchiveName,
    pub(super) kind: IndexKind,
    pub(super) sink: Arc<S>,
    pub(super) shared: Arc<Shared>,
    pub(super) limits: TransferLimits,
}

impl<S: ChunkSink> Pipeline<S> {
    /// Sends and references everything that `source` gives.
    pub(super) async fn run(self, source: impl Pieces) -> Result<Written, BackupError> {
        let budget = Budget::new(self.limits.memory_bytes);
        let _closing = CloseOnDrop(Arc::clone(&budget));
        let pieces = self.start_reader(source, budget)?;
        let (handles, finished) = mpsc::channel(QUEUE_MAX);
        let ((), written) = try_join(self.spread(pieces, handles), self.reference(finished)).await?;
        Ok(written)
    }

    /// Starts the reader on a thread of its own: a read from a pipe may never return, and a blocking task of the
    /// runtime would keep the process from ending.
    fn start_reader(
        &self,
        mut source: impl Pieces,
        budget: Arc<Budget>,
    ) -> Result<mpsc::Receiver<Read>, BackupError> {
        let (sender, pieces) = mpsc::channel(READ_AHEAD);
        let shared = Arc::clone(&self.shared);
        let read = move || {
            loop {
                let message = match source.next_piece(&shared.pool) {
                    Ok(Some(piece)) => {
                        let held = if let Piece::Data(data) = &piece { data.len() } else { 0 };
                        let Some(share) = budget.take(held) else { return };
                        shared.progress.add_read(piece.len() as u64);
                        Read::Piece(Queued { piece, share })
                    }
                    Ok(None) => Read::End,
                    Err(error) => Read::Failed(error),
                };
                let is_last = !matches!(message, Read::Piece(_));
                if sender.blocking_send(message).is_err() || is_last {
                    return;
                }
            }
        };
        let spawned = std::thread::Builder::new().name("coldkeep-read".to_owned()).spawn(read);
        spawned.map_err(|source| BackupError::Read { archive: self.archive.clone(), source })?;
        Ok(pieces)
    }

    /// Makes a task of every piece and queues its handle.
    async fn spread(
        &self,
        mut pieces: mpsc::Receiver<Read>,
        handles: mpsc::Sender<AbortOnDropHandle<Result<Done, BackupError>>>,
    ) -> Result<(), BackupError> {
        let workers = Arc::new(Semaphore::new(self.limits.workers.max(1)));
        let requests = Arc::new(Semaphore::new(self.limits.requests.max(1)));
        loop {
            let queued = match pieces.recv().await {
                Some(Read::Piece(queued)) => queued,
                Some(Read::End) => return Ok(()),
                Some(Read::Failed(source)) => {
                    return Err(BackupError::Read { archive: self.archive.clone(), source });
                }
                None => return Err(BackupError::Reader { archive: self.archive.clone() }),
            };
            // Taken here, so that pieces are hashed in order.
            let Ok(worker) = Arc::clone(&workers).acquire_owned().await else { return Ok(()) };
            let task = Task {
                archive: self.archive.clone(),
                sink: Arc::clone(&self.sink),
                shared: Arc::clone(&self.shared),
                requests: Arc::clone(&requests),
            };
            let handle = AbortOnDropHandle::new(tokio::spawn(task.run(queued, worker)));
            if handles.send(handle).await.is_err() {
                // The other end failed and says why.
                return Ok(());
            }
        }
    }

    /// Awaits the tasks in order and references their chunks in batches.
    async fn reference(
        &self,
        mut finished: mpsc::Receiver<AbortOnDropHandle<Result<Done, BackupError>>>,
    ) -> Result<Written, BackupError> {
        let mut checksum = DigestBuilder::new();
        let (mut size, mut chunk_count) = (0, 0);
        let mut batch = Batch::default();
        while let Some(handle) = finished.recv().await {
            let done = handle.await.map_err(BackupError::Worker)??;
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

/// The way of one piece.
struct Task<S> {
    archive: ArchiveName,
    sink: Arc<S>,
    shared: Arc<Shared>,
    requests: Arc<Semaphore>,
}

/// A piece after the blocking part of its way.
enum Hashed {
    Known(Digest, Claim),
    Encoded { sending: Sending, chunk: Chunk, share: Share },
}

impl<S: ChunkSink> Task<S> {
    async fn run(self, queued: Queued, worker: OwnedSemaphorePermit) -> Result<Done, BackupError> {
        let plain_len = queued.piece.len() as u64;
        let shared = Arc::clone(&self.shared);
        let hash = move || {
            let hashed = hash_and_encode(&shared, queued);
            drop(worker);
            hashed
        };
        let hashed = tokio::task::spawn_blocking(hash).await.map_err(BackupError::Worker)?;
        let hashed =
            hashed.map_err(|source| BackupError::Encode { archive: self.archive.clone(), source })?;
        let (digest, is_sent) = match hashed {
            Hashed::Encoded { sending, chunk, share } => (self.send(sending, chunk, share).await?, true),
            Hashed::Known(digest, Claim::Elsewhere(elsewhere)) => {
                elsewhere.wait().await.map_err(|cause| match cause {
                    Some(source) => BackupError::Chunk { archive: self.archive.clone(), source },
                    None => BackupError::GivenUp { archive: self.archive.clone() },
                })?;
                (digest, false)
            }
            Hashed::Known(digest, _) => (digest, false),
        };
        if !is_sent {
            self.shared.progress.add_reused_chunk(plain_len);
        }
        Ok(Done { digest, plain_len, is_sent })
    }

    async fn send(&self, sending: Sending, chunk: Chunk, share: Share) -> Result<Digest, BackupError> {
        let (digest, plain_len, encoded_len) = (chunk.digest, chunk.plain_len, chunk.blob.len());
        // Never closed: an error here cannot happen.
        let _slot = self.requests.acquire().await;
        let result = sending.ended(self.sink.send(chunk).await);
        drop(share);
        result.map_err(|source| BackupError::Chunk { archive: self.archive.clone(), source })?;
        self.shared.progress.add_transferred_chunk(plain_len as u64, encoded_len as u64);
        Ok(digest)
    }
}

/// Hashes a piece and, if it is ours to send, encodes it.
fn hash_and_encode(shared: &Shared, queued: Queued) -> Result<Hashed, coldkeep_chunk_store::blob::BlobError> {
    let Queued { piece, mut share } = queued;
    let plain_len = piece.len();
    let digest = match &piece {
        Piece::Data(data) if !is_zero(data) => Digest::of(data),
        Piece::Data(_) | Piece::Zeros(_) => shared.zeros.of(plain_len),
    };
    let claim = shared.known.claim(digest);
    let hashed = match claim {
        Claim::Ours(sending) => {
            let blob = match &piece {
                Piece::Data(data) => Blob::encode(data, Compression::Zstd)?,
                Piece::Zeros(len) => Blob::encode(&vec![0; *len], Compression::Zstd)?,
            };
            let blob = blob.into_bytes();
            share.shrink_to(blob.len());
            Hashed::Encoded { sending, chunk: Chunk { digest, plain_len, blob }, share }
        }
        known => Hashed::Known(digest, known),
    };
    if let Piece::Data(data) = piece {
        shared.pool.give(data);
    }
    Ok(hashed)
}

#[cfg(test)]
#[path = "pipeline_tests.rs"]
mod tests;
