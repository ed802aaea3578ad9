//! The way of chunks from the other server into the store: fetch, check, store; bounded in requests and bytes.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use coldkeep_chunk_store::blob::{Blob, ChunkClass};
use coldkeep_chunk_store::{CheckedChunk, Digest};
use coldkeep_client::{StoredIndex, StoredSnapshot};
use coldkeep_datastore::manifest::{CryptMode, FileInfo};
use coldkeep_datastore::{ArchiveName, ChunkSpan, GroupCopy};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::coming::{Arrival, Come, Coming};
use crate::Server;
use crate::sync::error::{ChunkError, SyncError};
use crate::sync::rate::RateLimit;
use crate::sync::report::{Figures, add};

/// Chunks of one group that are fetched at the same time (spec `pull.md` §7).
const REQUESTS_MAX: usize = 20;
/// Most plain bytes of chunks that all groups of a pull hold at once.
const MEMORY_BYTES: usize = 64 << 20;
/// The unit of that bound.
const UNIT_BYTES: u64 = 4096;
/// Entries of an index that are looked up at once.
const WINDOW: usize = 1024;

/// What the groups of a pull share.
pub(super) struct Shared {
    pub(super) server: Arc<Server>,
    pub(super) figures: Arc<Figures>,
    pub(super) rate: RateLimit,
    budget: Arc<Semaphore>,
}

/// Fetches the chunks of one group.
pub(super) struct Fetcher {
    pub(super) copy: Arc<GroupCopy>,
    pub(super) shared: Arc<Shared>,
    slots: Arc<Semaphore>,
    coming: Coming,
}

/// Chunks on their way; dropping it gives them up.
pub(super) type Underway = JoinSet<Result<(), SyncError>>;

impl Shared {
    pub(super) fn new(server: Arc<Server>, figures: Arc<Figures>, rate: Option<u64>) -> Self {
        let budget = Arc::new(Semaphore::new(MEMORY_BYTES / UNIT_BYTES as usize));
        Self { server, figures, rate: RateLimit::new(rate), budget }
    }

    /// Counts a file that came, and waits until its bytes have had their time.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it counted.
    pub(super) async fn received(&self, bytes: usize) {
        add(&self.figures.bytes_transferred, bytes as u64);
        self.rate.pass(bytes).await;
    }
}

impl Fetcher {
    pub(super) fn new(copy: Arc<GroupCopy>, shared: Arc<Shared>) -> Self {
        Self { copy, shared, slots: Arc::new(Semaphore::new(REQUESTS_MAX)), coming: Coming::default() }
    }

    /// Begins to fetch those chunks of an index that the copy may not use as they are here (R17); returns when the last one has
    /// begun. When all of `underway` has ended well, the store has told the copy of every chunk of the index.
    ///
    /// # Errors
    /// The first failure of any chunk under way.
    ///
    /// # Cancel safety
    /// Dropping the future leaves what has begun to `underway`.
    pub(super) async fn begin(
        self: &Arc<Self>,
        source: &Arc<StoredSnapshot>,
        entry: &FileInfo,
        index: &StoredIndex,
        underway: &mut Underway,
    ) -> Result<(), SyncError> {
        let mut spans = index.spans();
        let mut awaited = HashSet::new();
        loop {
            let window: Vec<ChunkSpan> = spans.by_ref().take(WINDOW).collect();
            if window.is_empty() {
                return Ok(());
            }
            let missing = self.copy.missing_chunks(&window).await?;
            let mut reused = Reused::of(&window);
            for span in missing {
                while let Some(done) = underway.try_join_next() {
                    done.map_err(SyncError::Worker)??;
                }
                match self.coming.ask(span.digest) {
                    // Stored since it was looked up, for another snapshot.
                    Come::Fetch(_) if self.copy.holds(&span.digest) => {}
                    Come::Wait(_) if !awaited.insert(span.digest) => {}
                    Come::Fetch(arrival) => {
                        awaited.insert(span.digest);
                        reused.take_off(&span);
                        let order = self.order(source, entry, span).await;
                        underway.spawn(order.run(Some(arrival)));
                    }
                    Come::Wait(expected) => {
                        let (this, source, entry) = (Arc::clone(self), Arc::clone(source), entry.clone());
                        underway.spawn(async move {
                            if expected.arrives().await {
                                return Ok(());
                            }
                            // Why it was given up is told where that was.
                            this.order(&source, &entry, span).await.run(None).await
                        });
                    }
                }
            }
            reused.count(&self.shared.figures);
            // An index whose chunks are all here waits for nothing, however long it is.
            tokio::task::yield_now().await;
        }
    }

    /// Waits until there is room for a chunk.
    async fn order(&self, source: &Arc<StoredSnapshot>, entry: &FileInfo, span: ChunkSpan) -> Order {
        let units = span.plain_len().div_ceil(UNIT_BYTES) as u32;
        Order {
            source: Arc::clone(source),
            copy: Arc::clone(&self.copy),
            shared: Arc::clone(&self.shared),
            archive: entry.filename.clone(),
            class: class_of(entry.crypt_mode),
            span,
            // Neither is ever closed.
            _share: Arc::clone(&self.shared.budget).acquire_many_owned(units).await.ok(),
            slot: Arc::clone(&self.slots).acquire_owned().await.ok(),
        }
    }
}

/// References that need no fetch of their own.
struct Reused {
    chunks: u64,
    bytes: u64,
}

impl Reused {
    fn of(spans: &[ChunkSpan]) -> Self {
        Self { chunks: spans.len() as u64, bytes: spans.iter().map(ChunkSpan::plain_len).sum() }
    }

    fn take_off(&mut self, fetched: &ChunkSpan) {
        self.chunks -= 1;
        self.bytes -= fetched.plain_len();
    }

    fn count(self, figures: &Figures) {
        add(&figures.chunks_reused, self.chunks);
        add(&figures.bytes_reused, self.bytes);
    }
}

/// Waits for all chunks under way.
///
/// # Errors
/// The first failure; the others are given up.
///
/// # Cancel safety
/// Dropping the future leaves the rest to `underway`.
pub(super) async fn finish(underway: &mut Underway) -> Result<(), SyncError> {
    while let Some(done) = underway.join_next().await {
        if let Err(error) = done.map_err(SyncError::Worker).flatten() {
            underway.abort_all();
            return Err(error);
        }
    }
    Ok(())
}

const fn class_of(mode: CryptMode) -> ChunkClass {
    match mode {
        CryptMode::Encrypt => ChunkClass::Encrypted,
        CryptMode::None | CryptMode::SignOnly => ChunkClass::Plain,
    }
}

/// One chunk that is to be fetched.
struct Order {
    source: Arc<StoredSnapshot>,
    copy: Arc<GroupCopy>,
    shared: Arc<Shared>,
    archive: ArchiveName,
    class: ChunkClass,
    span: ChunkSpan,
    slot: Option<OwnedSemaphorePermit>,
    _share: Option<OwnedSemaphorePermit>,
}

impl Order {
    async fn run(mut self, arrival: Option<Arrival>) -> Result<(), SyncError> {
        let Self { archive, span, .. } = &self;
        let (archive, digest, plain_len) = (archive.clone(), span.digest, span.plain_len());
        let failed = |source: ChunkError| SyncError::Chunk { archive, digest, source: Box::new(source) };
        let fetched = self.source.chunk(&digest, encoded_max(plain_len)).await;
        let encoded = match fetched {
            Ok(encoded) => encoded,
            Err(error) => return Err(failed(error.into())),
        };
        let figures = &self.shared.figures;
        add(&figures.requests, 1);
        add(&figures.chunks_transferred, 1);
        add(&figures.bytes_transferred, encoded.len() as u64);
        self.shared.rate.pass(encoded.len()).await;
        self.slot = None;
        let class = self.class;
        let check = move || check(digest, plain_len, class, encoded);
        let checked = match self.shared.server.on_cpu(check).await {
            Ok(Ok(chunk)) => chunk,
            Ok(Err(error)) => return Err(failed(error)),
            Err(_) => return Err(failed(ChunkError::ShuttingDown)),
        };
        self.copy.put_chunk(checked).await?;
        if let Some(arrival) = arrival {
            arrival.stored();
        }
        Ok(())
    }
}

/// Longest encoding that a chunk may have: its bytes as they are, with room for writers that compress in vain.
fn encoded_max(plain_len: u64) -> usize {
    (plain_len + plain_len / 64 + 4096) as usize
}

/// Checks what another server sent for a chunk; what is stored there has a CRC.
fn check(
    digest: Digest,
    plain_len: u64,
    class: ChunkClass,
    encoded: Bytes,
) -> Result<CheckedChunk, ChunkError> {
    let blob = Blob::parse(encoded.clone())?;
    blob.check_crc()?;
    if blob.class() != class {
        return Err(ChunkError::Class);
    }
    Ok(CheckedChunk::check(digest, plain_len, encoded)?)
}

#[cfg(test)]
mod tests {
    use coldkeep_chunk_store::blob::{CHUNK_BYTES_MAX, Compression};

    use super::*;

    fn encoded(data: &[u8]) -> Bytes {
        Blob::encode(data, Compression::Zstd).unwrap().into_bytes()
    }

    #[test]
    fn what_another_server_sends_is_checked() {
        let (data, other) = (b"some data".as_slice(), b"some lies".as_slice());
        let digest = Digest::of(data);
        let checked = |len, class, bytes| check(digest, len, class, bytes);
        assert_eq!(checked(9, ChunkClass::Plain, encoded(data)).unwrap().digest(), digest);
        assert!(matches!(checked(9, ChunkClass::Plain, encoded(other)), Err(ChunkError::Check(_))));
        assert!(matches!(checked(8, ChunkClass::Plain, encoded(data)), Err(ChunkError::Check(_))));
        assert!(matches!(checked(9, ChunkClass::Encrypted, encoded(data)), Err(ChunkError::Class)));
        assert!(matches!(checked(9, ChunkClass::Plain, Bytes::from_static(b"x")), Err(ChunkError::Blob(_))));
        let mut torn = encoded(data).to_vec();
        *torn.last_mut().unwrap() ^= 1;
        assert!(matches!(checked(9, ChunkClass::Plain, torn.into()), Err(ChunkError::Blob(_))));
    }

    #[test]
    fn an_encoding_has_room_for_the_largest_chunk() {
        let largest = vec![0xa5; CHUNK_BYTES_MAX];
        assert!(
            encoded_max(largest.len() as u64)
                >= Blob::encode(&largest, Compression::None).unwrap().encoded_len()
        );
        assert!(encoded_max(1) < 8192);
    }
}
