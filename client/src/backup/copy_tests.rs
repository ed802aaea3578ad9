//! Copies against a model of the server's index writer.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use coldkeep_chunk_store::Digest;
use coldkeep_chunk_store::blob::{Blob, Compression};

use super::*;
use crate::backup::sink::Shared;
use crate::backup::sink::model::{Model, noise};

const MIB: usize = 1 << 20;

/// Encoded chunks in memory; counts how often each is loaded, and how many are held at once.
#[derive(Default)]
struct Source {
    chunks: BTreeMap<Digest, Bytes>,
    loads: Mutex<BTreeMap<Digest, usize>>,
    held: Arc<Held>,
}

#[derive(Default)]
struct Held {
    now: AtomicUsize,
    max: AtomicUsize,
}

/// A loaded chunk that counts as held until its last copy is dropped.
struct Tracked(Bytes, Arc<Held>);

impl AsRef<[u8]> for Tracked {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.1.now.fetch_sub(1, Ordering::SeqCst);
    }
}

impl LoadChunk for Source {
    async fn load(&self, span: ChunkSpan) -> Result<Bytes, BoxError> {
        // Let others overtake.
        for _ in 0..span.digest.as_bytes()[0] % 8 {
            tokio::task::yield_now().await;
        }
        *self.loads.lock().unwrap().entry(span.digest).or_default() += 1;
        let chunk = self.chunks.get(&span.digest).ok_or("no such chunk here")?;
        let now = self.held.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.held.max.fetch_max(now, Ordering::SeqCst);
        Ok(Bytes::from_owner(Tracked(chunk.clone(), Arc::clone(&self.held))))
    }
}

/// Stores `chunks` and lists the entries of the archive that they make, in order.
fn stored(chunks: &[Vec<u8>]) -> (Source, Vec<ChunkSpan>) {
    let (mut source, mut spans, mut start) = (Source::default(), Vec::new(), 0);
    for chunk in chunks {
        let (digest, end) = (Digest::of(chunk), start + chunk.len() as u64);
        source.chunks.insert(digest, Blob::encode(chunk, Compression::Zstd).unwrap().into_bytes());
        spans.push(ChunkSpan { digest, start, end });
        start = end;
    }
    (source, spans)
}

fn copy(
    kind: IndexKind,
    sink: &Arc<Model>,
    source: &Arc<Source>,
    shared: &Arc<Shared>,
) -> Copy<Model, Source> {
    let limits = TransferLimits::default().with_memory_bytes(0).with_requests(12);
    let uplink = Uplink {
        archive: "x.img.fidx".parse().unwrap(),
        kind,
        sink: Arc::clone(sink),
        shared: Arc::clone(shared),
        requests: Semaphore::new(limits.requests),
    };
    Copy { uplink: Arc::new(uplink), chunks: Arc::clone(source), room: Arc::new(Room::new(&limits)) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_arrives_in_order_and_each_unknown_chunk_is_loaded_once() {
    let (a, b, c) = (noise(4 * MIB, 1), noise(4 * MIB, 2), noise(1000, 3));
    let chunks = [&a, &b, &a, &a, &b, &c].map(Clone::clone);
    let (source, spans) = stored(&chunks);
    let (sink, source, shared) = (Arc::new(Model::default()), Arc::new(source), Arc::new(Shared::default()));
    let known = Digest::of(&b);
    sink.know(known, &b);
    shared.known.extend([known].into_iter());
    let written = copy(IndexKind::Fixed, &sink, &source, &shared).run(spans.into_iter()).await.unwrap();
    assert!(sink.content() == chunks.concat());
    assert_eq!((written.size, written.chunk_count), (20 * MIB as u64 + 1000, 6));
    assert_eq!(*source.loads.lock().unwrap(), BTreeMap::from([(Digest::of(&a), 1), (Digest::of(&c), 1)]));
    let counted = shared.progress.snapshot();
    assert_eq!((counted.chunks, counted.reused_chunks), (6, 4));
    assert_eq!(counted.transferred_bytes, 4 * MIB as u64 + 1000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_archives_at_once_share_what_they_send() {
    let chunks: Vec<_> = (0..6).map(|seed| noise(MIB, seed)).collect();
    let (source, spans) = stored(&chunks);
    let (sink, source, shared) = (Arc::new(Model::default()), Arc::new(source), Arc::new(Shared::default()));
    // The model panics if a chunk is sent twice.
    let run = || copy(IndexKind::Dynamic, &sink, &source, &shared).run(spans.clone().into_iter());
    let (first, second) = futures_util::future::join(run(), run()).await;
    assert_eq!(first.unwrap(), second.unwrap());
    assert!(source.loads.lock().unwrap().values().all(|count| *count == 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_in_memory_are_bounded() {
    let chunks: Vec<_> = (0..12).map(|seed| noise(4 * MIB, seed)).collect();
    let (source, spans) = stored(&chunks);
    let (sink, source) = (Arc::new(Model::default()), Arc::new(source));
    copy(IndexKind::Fixed, &sink, &source, &Arc::default()).run(spans.into_iter()).await.unwrap();
    assert!(sink.content() == chunks.concat());
    // 16 MiB are always granted; each of these takes a little more than 4.
    assert_eq!(source.held.max.load(Ordering::SeqCst), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_that_cannot_be_loaded_fails_the_copy() {
    let mut chunks: Vec<_> = (0..12).map(|seed| noise(4 * MIB, seed)).collect();
    chunks.insert(4, chunks[3].clone());
    let (mut source, spans) = stored(&chunks);
    let missing = Digest::of(&chunks[3]);
    source.chunks.remove(&missing);
    let sink = Arc::new(Model::default());
    let run = copy(IndexKind::Fixed, &sink, &Arc::new(source), &Arc::default()).run(spans.into_iter());
    match run.await.unwrap_err() {
        BackupError::Load { digest, .. } => assert_eq!(digest, missing),
        other => panic!("{other:?}"),
    }
    assert!(sink.entries().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_that_is_refused_or_too_long_fails_the_copy() {
    let chunks: Vec<_> = (0..3).map(|seed| noise(MIB, seed)).collect();
    let (source, spans) = stored(&chunks);
    let digest = Digest::of(&chunks[1]);
    let sink = Arc::new(Model { fail_send_of: Some(digest), ..Model::default() });
    let copied = copy(IndexKind::Dynamic, &sink, &Arc::new(source), &Arc::default());
    let error = copied.run(spans.clone().into_iter()).await.unwrap_err();
    assert!(matches!(error, BackupError::Chunk { .. }), "{error:?}");
    let (mut source, _) = stored(&chunks);
    source.chunks.insert(digest, vec![0; BLOB_ENCODED_BYTES_MAX + 1].into());
    let copied = copy(IndexKind::Dynamic, &Arc::default(), &Arc::new(source), &Arc::default());
    let error = copied.run(spans.into_iter()).await.unwrap_err();
    assert!(matches!(error, BackupError::Load { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_that_cannot_be_registered_are_refused() {
    let digest = Digest::of(b"");
    let span = |start: usize, end: usize| ChunkSpan { digest, start: start as u64, end: end as u64 };
    for (kind, bad) in [
        (IndexKind::Dynamic, span(1, 2)),
        (IndexKind::Dynamic, span(0, 0)),
        (IndexKind::Dynamic, span(0, CHUNK_BYTES_MAX + 1)),
        (IndexKind::Fixed, span(0, 4 * MIB + 1)),
    ] {
        let shared = Arc::new(Shared::default());
        shared.known.extend([digest].into_iter());
        let copied = copy(kind, &Arc::default(), &Arc::default(), &shared);
        let error = copied.run([bad].into_iter()).await.unwrap_err();
        assert!(matches!(error, BackupError::Spans { .. }), "{error:?}");
    }
    // A fixed index of 2 MiB chunks, which no server takes.
    let shared = Arc::new(Shared::default());
    shared.known.extend([digest].into_iter());
    let sink = Arc::new(Model::default());
    sink.know(digest, b"");
    let halves = [span(0, 2 * MIB), span(2 * MIB, 4 * MIB)];
    let copied = copy(IndexKind::Fixed, &sink, &Arc::default(), &shared);
    let error = copied.run(halves.into_iter()).await.unwrap_err();
    assert!(matches!(error, BackupError::Spans { .. }), "{error:?}");
}
