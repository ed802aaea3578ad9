//! The pipeline against a model of the server's index writer.

use std::io::Cursor;
use std::sync::atomic::Ordering;

use coldkeep_chunk_store::DigestBuilder;

use super::*;
use crate::backup::chunker::Chunker;
use crate::backup::sink::model::{Model, noise};
use crate::backup::source::ImageSource;

fn pipeline(kind: IndexKind, sink: &Arc<Model>, shared: &Arc<Shared>) -> Pipeline<Model> {
    Pipeline {
        archive: "x.img.fidx".parse().unwrap(),
        kind,
        sink: Arc::clone(sink),
        shared: Arc::clone(shared),
        limits: TransferLimits::default().with_memory_bytes(20 << 20).with_workers(2).with_requests(3),
    }
}

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_arrives_whole_and_repeated_chunks_are_sent_once() {
    let (a, b) = (noise(4 * MIB, 1), noise(4 * MIB, 2));
    let data = [&a[..], &b, &a, &vec![0; 8 * MIB], &a, &b, &b[..1000]].concat();
    let (sink, shared) = (Arc::new(Model::default()), Arc::new(Shared::default()));
    let source = ImageSource::reader(Cursor::new(data.clone()), data.len() as u64);
    let written = pipeline(IndexKind::Fixed, &sink, &shared).run(source).await.unwrap();
    assert!(sink.content() == data);
    assert_eq!((written.size, written.chunk_count), (data.len() as u64, 8));
    let mut checksum = DigestBuilder::new();
    for chunk in data.chunks(4 * MIB) {
        checksum.update(Digest::of(chunk).as_bytes());
    }
    assert_eq!(written.csum, checksum.finish());
    let progress = shared.progress.snapshot();
    assert_eq!((progress.chunks, progress.reused_chunks), (8, 4));
    assert_eq!(progress.read_bytes, data.len() as u64);
    assert_eq!(progress.transferred_bytes + progress.reused_bytes, data.len() as u64);
    assert!(sink.in_flight_max.load(Ordering::SeqCst) <= 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_arrives_whole_with_the_checksum_of_a_dynamic_index() {
    let data = [noise(30 * MIB, 5), vec![0; 20 * MIB], noise(10, 6)].concat();
    let (sink, shared) = (Arc::new(Model::default()), Arc::new(Shared::default()));
    let source = Chunker::new(Cursor::new(data.clone()));
    let written = pipeline(IndexKind::Dynamic, &sink, &shared).run(source).await.unwrap();
    assert!(sink.content() == data);
    let mut checksum = DigestBuilder::new();
    let state = sink.state.lock().unwrap();
    for (digest, offset) in &state.entries {
        checksum.update(&(offset + state.stored[digest].len() as u64).to_le_bytes());
        checksum.update(digest.as_bytes());
    }
    assert_eq!(written.csum, checksum.finish());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unchanged_image_sends_nothing_and_batches_are_bounded() {
    // A hole of 300 chunks, known from the previous snapshot.
    let size = 300 * 4 * MIB;
    let file = tempfile::tempfile().unwrap();
    file.set_len(size as u64).unwrap();
    let (sink, shared) = (Arc::new(Model::default()), Arc::new(Shared::default()));
    let zero = Digest::of(&vec![0; 4 * MIB]);
    sink.state.lock().unwrap().previous.insert(zero);
    shared.known.extend([zero].into_iter());
    let source = ImageSource::file(file).unwrap();
    let written = pipeline(IndexKind::Fixed, &sink, &shared).run(source).await.unwrap();
    assert_eq!(written.chunk_count, 300);
    let state = sink.state.lock().unwrap();
    assert!(state.stored.is_empty());
    assert_eq!(state.batches, [128, 128, 44]);
    assert_eq!(shared.progress.snapshot().reused_chunks, 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reused_chunk_that_is_gone_fails_clearly() {
    let data = noise(5 * MIB, 1);
    let (sink, shared) = (Arc::new(Model::default()), Arc::new(Shared::default()));
    shared.known.extend([Digest::of(&data[..4 * MIB])].into_iter());
    let source = ImageSource::reader(Cursor::new(data), 5 * MIB as u64);
    let error = pipeline(IndexKind::Fixed, &sink, &shared).run(source).await.unwrap_err();
    assert!(matches!(error, BackupError::Append { reused: 1, sent: 1, .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_chunk_fails_the_upload_with_its_cause() {
    // The refused chunk comes twice, and more data than the budget follows: nothing may hang.
    let a = noise(4 * MIB, 1);
    let data = [&a[..], &a, &noise(60 * MIB, 2)].concat();
    let sink = Arc::new(Model { fail_send_of: Some(Digest::of(&a)), ..Model::default() });
    let shared = Arc::new(Shared::default());
    let source = ImageSource::reader(Cursor::new(data.clone()), data.len() as u64);
    let error = pipeline(IndexKind::Fixed, &sink, &shared).run(source).await.unwrap_err();
    match error {
        BackupError::Chunk { source, .. } => assert_eq!(source.status(), Some(http::StatusCode::BAD_REQUEST)),
        other => panic!("{other:?}"),
    }
    assert!(sink.state.lock().unwrap().entries.is_empty());
}

/// Gives some data, then fails or panics.
struct Broken(usize, bool);

impl std::io::Read for Broken {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.0 == 0 {
            assert!(!self.1, "the reader breaks, as the test wants");
            return Err(std::io::Error::other("broken"));
        }
        let len = buffer.len().min(self.0);
        self.0 -= len;
        buffer[..len].fill(1);
        Ok(len)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_fails_or_panics_fails_the_upload() {
    for (panics, expected) in [(false, "cannot read"), (true, "did not run")] {
        let (sink, shared) = (Arc::new(Model::default()), Arc::new(Shared::default()));
        let source = Chunker::new(Broken(50 * MIB, panics));
        let error = pipeline(IndexKind::Dynamic, &sink, &shared).run(source).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_archives_of_one_session_share_chunks() {
    let data = noise(12 * MIB, 9);
    let shared = Arc::new(Shared::default());
    let sink = Arc::new(Model::default());
    let run = |sink: &Arc<Model>| {
        let source = ImageSource::reader(Cursor::new(data.clone()), data.len() as u64);
        pipeline(IndexKind::Fixed, sink, &shared).run(source)
    };
    // The model panics if a chunk is sent twice.
    let (first, second) = futures_util::future::join(run(&sink), run(&sink)).await;
    assert_eq!(first.unwrap().csum, second.unwrap().csum);
    assert_eq!(sink.state.lock().unwrap().stored.len(), 3);
}
