//! The way of one archive: read, hash, known?, compress, send, reference.
//!
//! A thread reads pieces in order and waits for room in a byte budget. Each piece becomes a task: hash and, if nobody
//! has sent it, compress on a blocking thread (as many at once as there are workers), then send (a bounded number in
//! flight). The tasks' handles go into a queue in the order of the archive, whose other end is that of every upload, see
//! [`Uplink::reference`]. Whatever fails drops the queue: the tasks are aborted, the budget is closed, the reader ends.

use std::sync::Arc;

use coldkeep_chunk_store::Digest;
use coldkeep_chunk_store::blob::{Blob, Compression};
use coldkeep_datastore::ArchiveName;
use coldkeep_datastore::index::IndexKind;
use futures_util::future::try_join;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::task::AbortOnDropHandle;

use super::budget::{Budget, CloseOnDrop, Share};
use super::error::BackupError;
use super::known::{Claim, Sending};
use super::sink::{Chunk, ChunkSink, Coming, Done, QUEUE_MAX, Shared, Uplink, Written};
use super::source::{Piece, Pieces};
use crate::limits::TransferLimits;
use crate::zeros::is_zero;

/// Pieces between reading and hashing: enough to keep the reader busy while the workers are.
const READ_AHEAD: usize = 2;

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
        let uplink = Arc::new(Uplink {
            archive: self.archive.clone(),
            kind: self.kind,
            sink: Arc::clone(&self.sink),
            shared: Arc::clone(&self.shared),
            requests: Semaphore::new(self.limits.requests.max(1)),
        });
        let ((), written) =
            try_join(self.spread(pieces, handles, &uplink), uplink.reference(finished)).await?;
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
        handles: mpsc::Sender<Coming>,
        uplink: &Arc<Uplink<S>>,
    ) -> Result<(), BackupError> {
        let workers = Arc::new(Semaphore::new(self.limits.workers.max(1)));
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
            let task = upload(Arc::clone(uplink), queued, worker);
            let handle = AbortOnDropHandle::new(tokio::spawn(task));
            if handles.send(Coming::Task(handle)).await.is_err() {
                // The other end failed and says why.
                return Ok(());
            }
        }
    }
}

/// A piece after the blocking part of its way.
enum Hashed {
    Known(Digest, Claim),
    Encoded { sending: Sending, chunk: Chunk, share: Share },
}

/// The way of one piece.
async fn upload<S: ChunkSink>(
    uplink: Arc<Uplink<S>>,
    queued: Queued,
    worker: OwnedSemaphorePermit,
) -> Result<Done, BackupError> {
    let plain_len = queued.piece.len() as u64;
    let shared = Arc::clone(&uplink.shared);
    let hash = move || {
        let hashed = hash_and_encode(&shared, queued);
        drop(worker);
        hashed
    };
    let hashed = tokio::task::spawn_blocking(hash).await.map_err(BackupError::Worker)?;
    let hashed = hashed.map_err(|source| BackupError::Encode { archive: uplink.archive.clone(), source })?;
    match hashed {
        Hashed::Encoded { sending, chunk, share } => uplink.send(sending, chunk, share).await,
        Hashed::Known(digest, Claim::Elsewhere(elsewhere)) => uplink.wait(digest, plain_len, elsewhere).await,
        Hashed::Known(digest, _) => Ok(uplink.known(digest, plain_len)),
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
