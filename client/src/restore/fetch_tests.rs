//! The restore against a model of the server's chunks.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use coldkeep_chunk_store::DigestBuilder;
use coldkeep_chunk_store::blob::Compression;
use coldkeep_datastore::index::{DynamicHeader, FixedHeader, IndexKind};

use super::*;
use crate::error::Call;
use crate::restore::target::WriterTarget;

/// Encoded chunks in memory; counts the fetches of each.
#[derive(Default)]
struct Model {
    chunks: BTreeMap<Digest, Bytes>,
    fetches: Mutex<BTreeMap<Digest, usize>>,
    in_flight: AtomicUsize,
    in_flight_max: AtomicUsize,
}

impl ChunkSource for Model {
    async fn fetch(&self, digest: Digest) -> Result<Bytes, RequestError> {
        let now = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        self.in_flight_max.fetch_max(now, Ordering::SeqCst);
        // Let others overtake.
        for _ in 0..digest.as_bytes()[0] % 8 {
            tokio::task::yield_now().await;
        }
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
        *self.fetches.lock().unwrap().entry(digest).or_default() += 1;
        let call = Call::new(http::Method::GET, "/chunk");
        let missing = || RequestError::refused(call, http::StatusCode::BAD_REQUEST, b"no such chunk");
        self.chunks.get(&digest).cloned().ok_or_else(missing)
    }
}

/// Stores `chunks` and returns the index of the archive that they make, in order.
fn stored(chunks: &[Vec<u8>]) -> (Model, StoredIndex) {
    let mut model = Model::default();
    let mut entries = Vec::new();
    let mut end = 0;
    for chunk in chunks {
        let digest = Digest::of(chunk);
        model.chunks.insert(digest, Blob::encode(chunk, Compression::Zstd).unwrap().into_bytes());
        end += chunk.len() as u64;
        entries.extend_from_slice(&end.to_le_bytes());
        entries.extend_from_slice(digest.as_bytes());
    }
    let mut checksum = DigestBuilder::new();
    checksum.update(&entries);
    let header = DynamicHeader { uuid: [0; 16], created_at: 0, csum: checksum.finish() };
    let bytes = [&header.to_bytes()[..], &entries].concat();
    (model, StoredIndex::parse(IndexKind::Dynamic, bytes.into()).unwrap())
}

fn restore(source: Model) -> (Arc<Model>, Restore<Model>) {
    let source = Arc::new(source);
    let restore = Restore {
        archive: "x.bin.didx".parse().unwrap(),
        source: Arc::clone(&source),
        limits: TransferLimits::default().with_memory_bytes(16 << 20).with_requests(3).with_workers(2),
        progress: Arc::default(),
    };
    (source, restore)
}

async fn run(restore: Restore<Model>, index: &StoredIndex) -> Result<Vec<u8>, RestoreError> {
    restore.run(index, WriterTarget(Vec::new())).await.map(|target| target.0)
}

fn numbered(count: usize, len: usize) -> Vec<Vec<u8>> {
    (0..count).map(|number| number.to_le_bytes().repeat(len / 8)).collect()
}

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_comes_back_in_order_within_the_bounds() {
    // 60 MiB through a budget of 16 MiB, with chunks of the largest size and a chunk of zeros among them.
    let mut chunks = numbered(40, MIB);
    chunks.insert(10, vec![7; 16 * MIB]);
    chunks.push(vec![0; 4 * MIB]);
    let (model, index) = stored(&chunks);
    let (source, restore) = restore(model);
    let progress = Arc::clone(&restore.progress);
    assert!(run(restore, &index).await.unwrap() == chunks.concat());
    assert!(source.in_flight_max.load(Ordering::SeqCst) <= 3);
    assert!(source.fetches.lock().unwrap().get(&Digest::of(&vec![0; 4 * MIB])).is_none());
    let counted = progress.snapshot();
    assert_eq!((counted.written_bytes, counted.chunks), (60 * MIB as u64, 42));
    assert_eq!((counted.reused_chunks, counted.reused_bytes), (1, 4 * MIB as u64));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_repeated_nearby_is_fetched_once() {
    let [a, b] = <[Vec<u8>; 2]>::try_from(numbered(2, MIB)).unwrap();
    let (model, index) = stored(&[a.clone(), a.clone(), b.clone(), a.clone(), b, a]);
    let (source, restore) = restore(model);
    run(restore, &index).await.unwrap();
    assert!(source.fetches.lock().unwrap().values().all(|count| *count == 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_chunks_that_are_remembered_leave_room_for_a_large_one() {
    // Each of the small ones holds a whole unit of the budget, the large one wants nearly all of it.
    let mut chunks: Vec<Vec<u8>> = (1..=8).map(|byte| vec![byte]).collect();
    chunks.push(vec![9; 16 * MIB - 4 * BUDGET_UNIT]);
    let (model, index) = stored(&chunks);
    let restored = run(restore(model).1, &index);
    let restored = tokio::time::timeout(std::time::Duration::from_mins(1), restored).await;
    assert!(restored.expect("the restore waits for ever").unwrap() == chunks.concat());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_chunk_is_named_with_its_place() {
    let chunks = numbered(30, MIB);
    let (mut model, index) = stored(&chunks);
    let digest = Digest::of(&chunks[20]);
    model.chunks.remove(&digest);
    match run(restore(model).1, &index).await.unwrap_err() {
        RestoreError::Chunk { digest: named, offset, source, .. } => {
            assert_eq!((named, offset), (digest, 20 * MIB as u64));
            assert!(matches!(*source, ChunkError::Request(_)));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_chunks_are_refused() {
    let chunks = numbered(3, MIB);
    let digest = Digest::of(&chunks[1]);
    let other = Blob::encode(&chunks[2], Compression::Zstd).unwrap().into_bytes();
    let short = Blob::encode(&chunks[1][1..], Compression::None).unwrap().into_bytes();
    let mut flipped = Blob::encode(&chunks[1], Compression::None).unwrap().into_bytes().to_vec();
    flipped[5000] ^= 1;
    for (body, kind) in
        [(other, "Digest"), (short, "Length"), (flipped.into(), "Blob"), (Bytes::new(), "Blob")]
    {
        let (mut model, index) = stored(&chunks);
        model.chunks.insert(digest, body);
        match run(restore(model).1, &index).await.unwrap_err() {
            RestoreError::Chunk { digest: named, source, .. } => {
                assert_eq!(named, digest);
                assert!(format!("{source:?}").starts_with(kind), "{source:?}");
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Fails after some bytes.
struct Full(usize);

impl std::io::Write for Full {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.checked_sub(data.len()).ok_or_else(|| std::io::Error::other("disk full"))?;
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_target_ends_the_restore() {
    let (model, index) = stored(&numbered(40, MIB));
    let error = restore(model).1.run(&index, WriterTarget(Full(10 * MIB))).await.err().unwrap();
    assert!(matches!(error, RestoreError::Write { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_of_zeros_is_not_fetched_but_for_its_short_end() {
    let (zero, end) = (vec![0; 4 * MIB], vec![0; 1000]);
    let mut entries = Digest::of(&zero).as_bytes().repeat(50);
    entries.extend_from_slice(Digest::of(&end).as_bytes());
    let header = FixedHeader {
        uuid: [0; 16],
        created_at: 0,
        csum: Digest::of(&entries),
        size: 200 * MIB as u64 + 1000,
        chunk_size: FIXED_CHUNK_BYTES,
    };
    let index =
        StoredIndex::parse(IndexKind::Fixed, [&header.to_bytes()[..], &entries].concat().into()).unwrap();
    let mut model = Model::default();
    model.chunks.insert(Digest::of(&end), Blob::encode(&end, Compression::Zstd).unwrap().into_bytes());
    let (source, restore) = restore(model);
    let file = tempfile::tempfile().unwrap();
    restore
        .run(&index, crate::restore::target::FileTarget::new(file.try_clone().unwrap()).unwrap())
        .await
        .unwrap();
    assert_eq!(file.metadata().unwrap().len(), 200 * MIB as u64 + 1000);
    assert_eq!(source.fetches.lock().unwrap().len(), 1);
}
