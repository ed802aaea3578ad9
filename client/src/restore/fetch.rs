//! The way back of one archive: fetch, decode and check, write.
//!
//! One end walks the index in order and makes a task of every chunk as soon as the byte budget has room; the other
//! end awaits them in the same order and hands them to the thread that writes. A chunk of zeros is not fetched, one
//! that was used a moment ago is not fetched again.

use std::sync::Arc;

use bytes::Bytes;
use coldkeep_chunk_store::Digest;
use coldkeep_chunk_store::blob::{Blob, CHUNK_BYTES_MAX};
use coldkeep_datastore::ArchiveName;
use coldkeep_datastore::index::{ChunkSpan, FIXED_CHUNK_BYTES};
use futures_util::future::{BoxFuture, FutureExt as _, Shared, try_join3};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::cache::Recent;
use super::error::{ChunkError, RestoreError};
use super::target::{Block, Target};
use crate::error::RequestError;
use crate::index::StoredIndex;
use crate::limits::TransferLimits;
use crate::progress::Progress;
use crate::zeros::ZeroDigests;

/// Chunks between fetching and writing; those with data are bounded by the budget already.
const QUEUE_MAX: usize = 256;

/// Blocks between the queue and the writer.
const WRITE_AHEAD: usize = 2;

/// The unit of the byte budget.
const BUDGET_UNIT: usize = 4096;

/// Where chunks come from: a reader session, or a model of one.
pub(super) trait ChunkSource: Send + Sync + 'static {
    /// Fetches the encoded chunk.
    fn fetch(&self, digest: Digest) -> impl Future<Output = Result<Bytes, RequestError>> + Send;
}

/// A checked chunk and the part of the budget that it takes.
#[derive(Debug)]
struct Fetched {
    data: Bytes,
    _share: OwnedSemaphorePermit,
}

type FetchResult = Result<Arc<Fetched>, Arc<ChunkError>>;
type SharedFetch = Shared<BoxFuture<'static, FetchResult>>;

/// A chunk on its way.
enum Coming {
    Zeros(usize),
    Chunk(ChunkSpan, SharedFetch),
}

/// A block for the writer; it keeps its part of the budget until it is written.
struct Ready {
    block: Block,
    _chunk: Option<Arc<Fetched>>,
}

/// The restore of one archive.
pub(super) struct Restore<S> {
    pub(super) archive: ArchiveName,
    pub(super) source: Arc<S>,
    pub(super) limits: TransferLimits,
    pub(super) progress: Arc<Progress>,
}

impl<S: ChunkSource> Restore<S> {
    /// Writes everything that `index` names to `target` and returns the target.
    pub(super) async fn run<T: Target>(self, index: &StoredIndex, target: T) -> Result<T, RestoreError> {
        let (blocks, written) = self.start_writer(target)?;
        let (queue, coming) = mpsc::channel(QUEUE_MAX);
        let write = async {
            written.await.map_err(|_| self.write_error(std::io::Error::other("the writer panicked")))?
        };
        let ((), (), target) =
            try_join3(self.spread(index, queue), self.collect(coming, blocks), write).await?;
        Ok(target)
    }

    /// Starts the writer on a thread of its own: a write into a pipe may never return, and a blocking task of the
    /// runtime would keep the process from ending.
    #[expect(clippy::type_complexity, reason = "two ends of two channels")]
    fn start_writer<T: Target>(
        &self,
        mut target: T,
    ) -> Result<(mpsc::Sender<Option<Ready>>, oneshot::Receiver<Result<T, RestoreError>>), RestoreError> {
        let (sender, mut blocks) = mpsc::channel::<Option<Ready>>(WRITE_AHEAD);
        let (done, written) = oneshot::channel();
        let progress = Arc::clone(&self.progress);
        let archive = self.archive.clone();
        let write = move || {
            let result = loop {
                match blocks.blocking_recv() {
                    Some(Some(ready)) => {
                        if let Err(error) = target.write(&ready.block) {
                            break Err(error);
                        }
                        progress.add_written(ready.block.len() as u64);
                    }
                    Some(None) => break target.finish(),
                    // The restore was given up.
                    None => return,
                }
            };
            // Nobody may be waiting any more.
            let _ =
                done.send(result.map(|()| target).map_err(|source| RestoreError::Write { archive, source }));
        };
        let spawned = std::thread::Builder::new().name("coldkeep-write".to_owned()).spawn(write);
        spawned.map_err(|source| self.write_error(source))?;
        Ok((sender, written))
    }

    fn write_error(&self, source: std::io::Error) -> RestoreError {
        RestoreError::Write { archive: self.archive.clone(), source }
    }

    /// Walks the index and starts a fetch for every chunk.
    async fn spread(&self, index: &StoredIndex, queue: mpsc::Sender<Coming>) -> Result<(), RestoreError> {
        let capacity = self.limits.memory_bytes.max(CHUNK_BYTES_MAX) / BUDGET_UNIT;
        let budget = Arc::new(Semaphore::new(capacity));
        let requests = Arc::new(Semaphore::new(self.limits.requests.max(1)));
        let workers = Arc::new(Semaphore::new(self.limits.workers.max(1)));
        let zeros = ZeroDigests::default();
        let mut recent = Recent::new();
        for span in index.spans() {
            let len = span.plain_len() as usize;
            let coming = if is_zero_chunk(&zeros, &span) {
                self.progress.add_reused_chunk(len as u64);
                Coming::Zeros(len)
            } else if let Some(fetch) = recent.find(&span.digest) {
                self.progress.add_reused_chunk(len as u64);
                Coming::Chunk(span, fetch)
            } else {
                // Remembered chunks hold their part of the budget: they must leave room for this one. All are counted
                // in whole units, as the budget counts them.
                let units = len.div_ceil(BUDGET_UNIT);
                recent.shrink_to(capacity.saturating_sub(units) * BUDGET_UNIT);
                // Never closed: an error here cannot happen.
                let share = Arc::clone(&budget).acquire_many_owned(units as u32).await;
                let Ok(share) = share else { return Ok(()) };
                let task = Task {
                    source: Arc::clone(&self.source),
                    progress: Arc::clone(&self.progress),
                    requests: Arc::clone(&requests),
                    workers: Arc::clone(&workers),
                };
                let handle = AbortOnDropHandle::new(tokio::spawn(task.run(span, share)));
                let fetch = async {
                    match handle.await {
                        Ok(result) => result,
                        Err(error) => Err(Arc::new(ChunkError::Worker(error))),
                    }
                };
                let fetch = fetch.boxed().shared();
                recent.insert(span.digest, units * BUDGET_UNIT, fetch.clone());
                Coming::Chunk(span, fetch)
            };
            if queue.send(coming).await.is_err() {
                // The other end failed and says why.
                return Ok(());
            }
        }
        Ok(())
    }

    /// Awaits the chunks in order and passes them to the writer.
    async fn collect(
        &self,
        mut queue: mpsc::Receiver<Coming>,
        blocks: mpsc::Sender<Option<Ready>>,
    ) -> Result<(), RestoreError> {
        while let Some(coming) = queue.recv().await {
            let ready = match coming {
                Coming::Zeros(len) => Ready { block: Block::Zeros(len), _chunk: None },
                Coming::Chunk(span, fetch) => {
                    let chunk = fetch.await.map_err(|source| self.chunk_error(&span, source))?;
                    // One digest, two lengths: the index is wrong.
                    check_length(&span, chunk.data.len())
                        .map_err(|source| self.chunk_error(&span, Arc::new(source)))?;
                    Ready { block: Block::Data(chunk.data.clone()), _chunk: Some(chunk) }
                }
            };
            if blocks.send(Some(ready)).await.is_err() {
                // The writer failed and says why.
                return Ok(());
            }
        }
        // Without this mark the writer would take an aborted restore for a complete one.
        let _ = blocks.send(None).await;
        Ok(())
    }

    fn chunk_error(&self, span: &ChunkSpan, source: Arc<ChunkError>) -> RestoreError {
        RestoreError::Chunk { archive: self.archive.clone(), digest: span.digest, offset: span.start, source }
    }
}

/// Tells whether a chunk is one of those that only hold zeros; only the usual lengths are looked at.
fn is_zero_chunk(zeros: &ZeroDigests, span: &ChunkSpan) -> bool {
    let len = span.plain_len();
    (len == FIXED_CHUNK_BYTES || len == CHUNK_BYTES_MAX as u64) && zeros.of(len as usize) == span.digest
}

fn check_length(span: &ChunkSpan, got: usize) -> Result<(), ChunkError> {
    let (expected, got) = (span.plain_len(), got as u64);
    if expected == got { Ok(()) } else { Err(ChunkError::Length { expected, got }) }
}

/// The way of one chunk.
struct Task<S> {
    source: Arc<S>,
    progress: Arc<Progress>,
    requests: Arc<Semaphore>,
    workers: Arc<Semaphore>,
}

impl<S: ChunkSource> Task<S> {
    async fn run(self, span: ChunkSpan, share: OwnedSemaphorePermit) -> FetchResult {
        self.fetch(span, share).await.map(Arc::new).map_err(Arc::new)
    }

    async fn fetch(self, span: ChunkSpan, share: OwnedSemaphorePermit) -> Result<Fetched, ChunkError> {
        // Neither semaphore is ever closed.
        let slot = self.requests.acquire().await;
        let encoded = self.source.fetch(span.digest).await?;
        drop(slot);
        let _worker = self.workers.acquire().await;
        let encoded_len = encoded.len() as u64;
        let check = move || check(&span, encoded);
        let data = tokio::task::spawn_blocking(check).await.map_err(ChunkError::Worker)??;
        self.progress.add_transferred_chunk(data.len() as u64, encoded_len);
        Ok(Fetched { data, _share: share })
    }
}

/// Decodes a chunk and checks CRC, length and digest.
fn check(span: &ChunkSpan, encoded: Bytes) -> Result<Bytes, ChunkError> {
    let blob = Blob::parse(encoded)?;
    let data = blob.decode(CHUNK_BYTES_MAX)?;
    check_length(span, data.len())?;
    let got = Digest::of(&data);
    if got == span.digest { Ok(data) } else { Err(ChunkError::Digest { got }) }
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
