//! Images and streams of all lengths go through the real binary over TLS and come back byte for byte.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicBool, Ordering};

use coldkeep_client::{BackupError, ImageSource, Store, TransferLimits};

use crate::material::noise;
use crate::site::{
    Content, Site, archive, assert_restores, assert_verifies, begin_when_free, chunk_files, collect, group,
    in_memory_folder, small, snapshot,
};

const TIME: i64 = 1_700_000_000;
/// Chunk size of images.
const CHUNK: usize = 4 << 20;

fn image(content: &Content) -> ImageSource {
    ImageSource::reader(content.reader(), content.len() as u64)
}

/// Makes a backup of two archives, and returns how many bytes of chunks were sent, before compression.
async fn back_up(store: &Store, id: &str, time: i64, disk: &Content, stream: &Content) -> u64 {
    let session = store.begin_backup(&snapshot(id, time), small()).await.unwrap();
    session.upload_image(&archive("d.img.fidx"), image(disk)).await.unwrap();
    session.upload_stream(&archive("s.bin.didx"), stream.reader()).await.unwrap();
    let progress = session.progress();
    session.finish().await.unwrap();
    progress.snapshot().transferred_bytes
}

async fn assert_backup(store: &Store, id: &str, time: i64, disk: &Content, stream: &Content) {
    let reader = store.open_snapshot(&snapshot(id, time), TransferLimits::default()).await.unwrap();
    assert_restores(&reader, "d.img.fidx", disk).await;
    assert_restores(&reader, "s.bin.didx", stream).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lengths_at_the_edges_of_chunks_come_back() {
    let site = Site::new();
    let store = site.store();
    let lengths = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 1, 2 * CHUNK, 2 * CHUNK + 1];
    let content = |len: usize| Content { pieces: vec![(len % 1000, len)] };
    for time in [TIME, TIME + 1] {
        let session = store.begin_backup(&snapshot("h1", time), TransferLimits::default()).await.unwrap();
        for len in lengths {
            let stream = archive(&format!("s{len}.bin.didx"));
            let uploaded = session.upload_stream(&stream, content(len).reader()).await.unwrap();
            assert_eq!((uploaded.size, uploaded.is_incremental), (len as u64, time > TIME));
            if len > 0 {
                let name = archive(&format!("d{len}.img.fidx"));
                let uploaded = session.upload_image(&name, image(&content(len))).await.unwrap();
                assert_eq!(uploaded.chunk_count, len.div_ceil(CHUNK) as u64);
            }
        }
        let progress = session.progress().snapshot();
        session.finish().await.unwrap();
        // What did not change is not sent again.
        assert_eq!(progress.transferred_bytes > 0, time == TIME, "{progress:?}");
        let reader = store.open_snapshot(&snapshot("h1", time), TransferLimits::default()).await.unwrap();
        for len in lengths {
            assert_restores(&reader, &format!("s{len}.bin.didx"), &content(len)).await;
            if len > 0 {
                assert_restores(&reader, &format!("d{len}.img.fidx"), &content(len)).await;
            }
        }
    }
    assert_verifies(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_image_is_refused_and_leaves_nothing() {
    let site = Site::new();
    let store = site.store();
    let session = store.begin_backup(&snapshot("h1", TIME), small()).await.unwrap();
    let error = session.upload_image(&archive("d.img.fidx"), image(&Content::default())).await.unwrap_err();
    assert!(
        matches!(&error, BackupError::Empty { archive } if archive.as_str() == "d.img.fidx"),
        "{error:?}"
    );
    // Without the image the backup would look whole.
    session.upload_blob(&archive("c.conf.blob"), "key = value".into()).await.unwrap();
    let refused = session.finish().await.unwrap_err();
    assert!(matches!(&refused, BackupError::Incomplete { archive } if archive.as_str() == "d.img.fidx"));
    begin_when_free(&store, &snapshot("h1", TIME)).await.abort();
    assert_eq!(store.newest(&group("h1")).await.unwrap(), None);
}

/// Goal: size is not what counts. Method: three marks in 10 GiB of holes, restored into a file.
#[tokio::test(flavor = "multi_thread")]
async fn a_sparse_image_of_10_gib_stays_sparse() {
    const SIZE: u64 = 10 << 30;
    let site = Site::new();
    let store = site.store();
    let folder = in_memory_folder();
    let mut source = File::create_new(folder.path().join("source")).unwrap();
    source.set_len(SIZE).unwrap();
    let marks = [(0, noise(1, 100)), (SIZE / 2 + 12_345, noise(2, 5_000_000)), (SIZE - 100, noise(3, 100))];
    for (offset, mark) in &marks {
        source.seek(SeekFrom::Start(*offset)).unwrap();
        source.write_all(mark).unwrap();
    }
    let source = ImageSource::file(File::open(folder.path().join("source")).unwrap()).unwrap();
    let session = store.begin_backup(&snapshot("h1", TIME), TransferLimits::default()).await.unwrap();
    let uploaded = session.upload_image(&archive("d.img.fidx"), source).await.unwrap();
    assert_eq!((uploaded.size, uploaded.chunk_count), (SIZE, SIZE / CHUNK as u64));
    let sent = session.progress().snapshot();
    session.finish().await.unwrap();
    assert!(sent.encoded_bytes < 6_000_000, "{sent:?}");
    // First and last chunk, two or three in the middle, and one of zeros.
    assert!((5..=6).contains(&chunk_files(&site).len()));

    let reader = store.open_snapshot(&snapshot("h1", TIME), TransferLimits::default()).await.unwrap();
    let path = folder.path().join("restored");
    reader.restore_to_file(&archive("d.img.fidx"), File::create_new(&path).unwrap()).await.unwrap();
    let mut restored = File::open(&path).unwrap();
    let metadata = restored.metadata().unwrap();
    assert_eq!(metadata.len(), SIZE);
    assert!(metadata.blocks() * 512 < 6_000_000, "{} blocks: the holes were filled", metadata.blocks());
    // So few blocks leave room for nothing but the marks.
    for (offset, mark) in &marks {
        let mut found = vec![0; mark.len()];
        restored.seek(SeekFrom::Start(*offset)).unwrap();
        restored.read_exact(&mut found).unwrap();
        assert!(found == *mark, "the mark at {offset}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gibibyte_of_random_data_comes_back() {
    let site = Site::new();
    let store = site.store();
    // Pieces of odd lengths at odd places: no chunk is like another, none compresses well.
    let piece = 1_048_573;
    let place = |number: usize| (number * 7_368_787) % (Content::POOL_BYTES - piece);
    let content = Content { pieces: (0..1024).map(|number| (place(number), piece)).collect() };
    let len = content.len() as u64;
    assert_eq!(back_up(&store, "h1", TIME, &content, &content).await, 2 * len);
    assert_backup(&store, "h1", TIME, &content, &content).await;
    assert_eq!(back_up(&store, "h1", TIME + 1, &content, &content).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_changed_in_the_middle_is_sent_again() {
    const MIB: usize = 1 << 20;
    let site = Site::new();
    let store = site.store();
    let whole = Content { pieces: vec![(0, 20 * MIB)] };
    assert_eq!(back_up(&store, "h1", TIME, &whole, &whole).await, 40 * MIB as u64);
    let stored = chunk_files(&site).len();

    // One byte of the image's third chunk has another value; the stream is shifted from its middle on.
    let changed = Content { pieces: vec![(0, 9 * MIB), (9 * MIB - 1, 1), (9 * MIB + 1, 11 * MIB - 1)] };
    assert_eq!(changed.len(), whole.len());
    let shifted = Content { pieces: vec![(0, 9 * MIB), (21 * MIB, 1000), (9 * MIB, 11 * MIB)] };
    let session = store.begin_backup(&snapshot("h1", TIME + 1), small()).await.unwrap();
    let progress = session.progress();
    session.upload_image(&archive("d.img.fidx"), image(&changed)).await.unwrap();
    let sent = progress.snapshot();
    assert_eq!((sent.chunks - sent.reused_chunks, sent.transferred_bytes), (1, CHUNK as u64), "{sent:?}");
    session.upload_stream(&archive("s.bin.didx"), shifted.reader()).await.unwrap();
    let sent = progress.snapshot();
    let of_the_stream = sent.chunks - sent.reused_chunks - 1;
    assert!((1..=2).contains(&of_the_stream), "{sent:?}");
    session.finish().await.unwrap();
    assert_eq!(chunk_files(&site).len(), stored + 1 + of_the_stream as usize);
    assert_backup(&store, "h1", TIME, &whole, &whole).await;
    assert_backup(&store, "h1", TIME + 1, &changed, &shifted).await;
}

/// Goal: a collection takes nothing that a backup relies on. Method: collections without grace, one after the other,
/// while four writers make backups that share chunks with each other and with snapshots being forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn collections_run_all_through_the_backups_of_four_writers() {
    const BACKUPS: usize = 5;
    const MIB: usize = 1 << 20;
    let site = Site::new();
    let is_over = AtomicBool::new(false);
    // Writer and backup decide what is new; the start of the pool is common to all.
    let contents = |writer: usize, backup: usize| {
        let place = (writer * BACKUPS + backup) * MIB;
        let disk = Content { pieces: vec![(0, 4 * MIB), (place, 4 * MIB), (place / 2, 77)] };
        let stream = Content { pieces: vec![(place / 3, 5 * MIB), (123, 4 * MIB)] };
        (disk, stream)
    };
    let write = async |writer: usize| {
        let store = site.store();
        let id = format!("w{writer}");
        for backup in 0..BACKUPS {
            let (disk, stream) = contents(writer, backup);
            back_up(&store, &id, TIME + backup as i64, &disk, &stream).await;
            if backup > 1 {
                store.forget(&snapshot(&id, TIME + backup as i64 - 2)).await.unwrap();
            }
        }
    };
    let collecting = async {
        let store = site.store();
        let mut runs = 0;
        while !is_over.load(Ordering::Relaxed) {
            collect(&store).await.unwrap();
            runs += 1;
        }
        runs
    };
    let writing = async {
        tokio::join!(write(0), write(1), write(2), write(3));
        is_over.store(true, Ordering::Relaxed);
    };
    let (runs, ()) = tokio::join!(collecting, writing);
    assert!(runs > 2, "{runs} collections");

    let store = site.store();
    assert_verifies(&store).await;
    for (writer, backup) in (0..4).flat_map(|writer| [(writer, BACKUPS - 2), (writer, BACKUPS - 1)]) {
        let (disk, stream) = contents(writer, backup);
        assert_backup(&store, &format!("w{writer}"), TIME + backup as i64, &disk, &stream).await;
    }
    // A last one takes what the forgotten snapshots held, and nothing else.
    let before = chunk_files(&site).len();
    collect(&store).await.unwrap();
    let status = store.gc_status().await.unwrap();
    assert_eq!(status.removed_chunks as usize, before - chunk_files(&site).len());
    assert_verifies(&store).await;
}
