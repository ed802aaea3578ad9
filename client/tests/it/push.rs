//! Snapshots written as they are stored elsewhere.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use coldkeep_chunk_store::Digest;
use coldkeep_client::{
    BackupError, BoxError, ImageSource, IndexMismatch, LoadChunk, PushSession, Store, StoredSnapshot,
    TransferLimits,
};
use coldkeep_datastore::index::ChunkSpan;
use coldkeep_datastore::manifest::{CryptMode, FileInfo};
use coldkeep_datastore::{ArchiveKind, ArchiveName, Manifest};

use super::kept::{Kept, noise, serve, snapshot};

/// Chunks of a snapshot that is open at another server.
struct Remote(Arc<StoredSnapshot>);

impl LoadChunk for Remote {
    async fn load(&self, span: ChunkSpan) -> Result<Bytes, BoxError> {
        Ok(self.0.chunk(&span.digest, usize::MAX).await?)
    }
}

fn name(text: &str) -> ArchiveName {
    text.parse().unwrap()
}

/// Makes a snapshot whose manifest says that it is encrypted, and opens it.
async fn source() -> Arc<StoredSnapshot> {
    let kept = Arc::new(Mutex::new(Kept::default()));
    let (_, store) = serve(&kept);
    let session = store.begin_backup(&snapshot(), TransferLimits::default()).await.unwrap();
    let image = [noise(9 << 20, 1), vec![0; 8 << 20], noise(77, 2)].concat();
    let size = image.len() as u64;
    let image = ImageSource::reader(std::io::Cursor::new(image), size);
    session.upload_image(&name("d.img.fidx"), image).await.unwrap();
    session.upload_stream(&name("s.bin.didx"), std::io::Cursor::new(noise(11 << 20, 3))).await.unwrap();
    session.upload_blob(&name("y.conf.blob"), Bytes::from_static(b"key = value")).await.unwrap();
    let plain = session.finish().await.unwrap();
    let mut manifest = Manifest::new(&snapshot());
    for file in plain.files() {
        manifest.push(FileInfo::new(file.filename.clone(), CryptMode::Encrypt, file.size, file.csum));
    }
    let blob = manifest.to_blob().unwrap().into_bytes();
    kept.lock().unwrap().blobs.insert("index.json.blob".to_owned(), blob);
    kept.lock().unwrap().blobs.insert("client.log.blob".to_owned(), Bytes::from_static(b"log"));
    Arc::new(store.open_stored(&snapshot()).await.unwrap())
}

fn target() -> (Arc<Mutex<Kept>>, super::server::Server, Store) {
    let kept = Arc::new(Mutex::new(Kept::default()));
    let (server, store) = serve(&kept);
    (kept, server, store)
}

async fn begin(store: &Store) -> PushSession {
    store.begin_push(&snapshot(), TransferLimits::default()).await.unwrap()
}

async fn upload(
    session: &PushSession,
    from: &Arc<StoredSnapshot>,
    file: &FileInfo,
) -> Result<(), BackupError> {
    if let ArchiveKind::Blob = file.filename.kind() {
        return session.upload_encoded_blob(&file.filename, from.blob(&file.filename).await.unwrap()).await;
    }
    let index = from.index(&file.filename, usize::MAX).await.unwrap();
    session.upload_index(file, index.spans(), Arc::new(Remote(Arc::clone(from)))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pushed_snapshot_is_the_same_and_a_second_push_sends_no_chunk() {
    let from = source().await;
    let (kept, server, store) = target();
    for round in 0..2 {
        let session = begin(&store).await;
        assert_eq!(session.previous_manifest().is_some(), round == 1);
        for file in from.manifest().files() {
            let previous = session.previous_chunks(&file.filename).await;
            let is_index = file.filename.kind() != ArchiveKind::Blob;
            assert_eq!(previous.is_some(), round == 1 && is_index);
            upload(&session, &from, file).await.unwrap();
        }
        let log = from.client_log().await.unwrap().unwrap();
        session.upload_encoded_blob(&ArchiveName::client_log(), log).await.unwrap();
        let counted = session.progress().snapshot();
        assert_eq!(counted.reused_chunks, if round == 0 { 0 } else { counted.chunks });
        session.finish(from.encoded_manifest()).await.unwrap();
        let mut kept = kept.lock().unwrap();
        assert!(kept.is_finished);
        assert_eq!(kept.blobs["index.json.blob"], from.encoded_manifest());
        assert_eq!(kept.blobs["client.log.blob"], "log");
        kept.entries.clear();
        kept.names.clear();
    }
    let copied = store.open_stored(&snapshot()).await.unwrap();
    for file in from.manifest().files().iter().filter(|file| file.filename.kind() != ArchiveKind::Blob) {
        let (ours, theirs) =
            (from.index(&file.filename, usize::MAX).await, copied.index(&file.filename, usize::MAX).await);
        let (ours, theirs) = (ours.unwrap(), theirs.unwrap());
        assert_eq!(ours.bytes(), theirs.bytes());
        for span in theirs.spans() {
            let chunk = copied.chunk(&span.digest, usize::MAX).await.unwrap();
            assert_eq!(chunk, from.chunk(&span.digest, usize::MAX).await.unwrap());
        }
    }
    let log = server.log();
    assert!(log.contains(&"POST /fixed_index?archive-name=d.img.fidx&size=17825869".to_owned()), "{log:?}");
    assert!(log.contains(&"POST /dynamic_index?archive-name=s.bin.didx".to_owned()), "{log:?}");
    assert_eq!(log.iter().filter(|call| call.contains("_chunk?")).count(), kept.lock().unwrap().chunks.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_previous_index_that_does_not_fit_is_not_used() {
    let from = source().await;
    let (kept, _, store) = target();
    let file = from.manifest().file(&name("d.img.fidx")).unwrap();
    let session = begin(&store).await;
    for file in from.manifest().files() {
        upload(&session, &from, file).await.unwrap();
    }
    session.finish(from.encoded_manifest()).await.unwrap();
    *kept.lock().unwrap().indexes.get_mut("d.img.fidx").unwrap().last_mut().unwrap() ^= 1;
    kept.lock().unwrap().indexes.remove("s.bin.didx");
    let session = begin(&store).await;
    assert_eq!(session.previous_chunks(&file.filename).await, None);
    assert_eq!(session.previous_chunks(&name("s.bin.didx")).await, None);
    assert_eq!(session.previous_chunks(&name("z.bin.didx")).await, None);
    kept.lock().unwrap().entries.clear();
    kept.lock().unwrap().names.clear();
    upload(&session, &from, file).await.unwrap();
    assert_eq!(session.progress().snapshot().reused_chunks, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_other_than_the_manifests_is_not_completed() {
    let from = source().await;
    let (_, server, store) = target();
    let archive = name("s.bin.didx");
    let entry = from.manifest().file(&archive).unwrap();
    for (size, csum, expected) in
        [(entry.size, Digest::of(b"x"), "Checksum"), (entry.size + 1, entry.csum, "Size")]
    {
        let session = begin(&store).await;
        let lie = FileInfo::new(archive.clone(), CryptMode::None, size, csum);
        let refused = upload(&session, &from, &lie).await.unwrap_err();
        let BackupError::Index { source, .. } = refused else { panic!("{refused:?}") };
        assert!(format!("{source:?}").starts_with(expected), "{source:?}");
        assert!(matches!(source, IndexMismatch::Checksum { .. } | IndexMismatch::Size { .. }));
        let refused = session.finish(from.encoded_manifest()).await.unwrap_err();
        assert!(matches!(&refused, BackupError::Incomplete { archive: left } if *left == archive));
    }
    assert!(!server.log().iter().any(|call| call.contains("close") || call.contains("finish")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_that_names_what_was_not_sent_is_refused() {
    let from = source().await;
    let (_, server, store) = target();
    let blob = from.manifest().file(&name("y.conf.blob")).unwrap();
    let session = begin(&store).await;
    upload(&session, &from, blob).await.unwrap();
    let refused = session.finish(from.encoded_manifest()).await.unwrap_err();
    assert!(matches!(&refused, BackupError::Incomplete { archive } if archive.as_str() == "d.img.fidx"));

    // Another blob than the manifest's.
    let mut manifest = Manifest::new(&snapshot());
    manifest.push(blob.clone());
    let session = begin(&store).await;
    session.upload_encoded_blob(&blob.filename, Bytes::from_static(b"other")).await.unwrap();
    let refused = session.finish(manifest.to_blob().unwrap().into_bytes()).await.unwrap_err();
    assert!(matches!(refused, BackupError::Incomplete { .. }), "{refused:?}");

    let other = Manifest::new(&"host/demo/2024-01-01T00:00:00Z".parse().unwrap());
    let refused = begin(&store).await.finish(other.to_blob().unwrap().into_bytes()).await.unwrap_err();
    assert!(matches!(refused, BackupError::Snapshot { .. }), "{refused:?}");
    let refused = begin(&store).await.finish(Bytes::from_static(b"{}")).await.unwrap_err();
    assert!(matches!(refused, BackupError::Manifest(_)), "{refused:?}");
    assert!(!server.log().iter().any(|call| call.contains("finish") || call.contains("index.json.blob&")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_protocol_cannot_hold_is_not_pushed() {
    let from = source().await;
    let (_, _, store) = target();
    let session = begin(&store).await;
    let large = Bytes::from(vec![0; (16 << 20) + 45]);
    let large = session.upload_encoded_blob(&name("l.conf.blob"), large).await.unwrap_err();
    assert!(matches!(large, BackupError::BlobTooLarge { .. }));
    let manifest = session.upload_encoded_blob(&ArchiveName::manifest(), from.encoded_manifest()).await;
    assert!(matches!(manifest, Err(BackupError::Kind { .. })));
    let chunks = Arc::new(Remote(Arc::clone(&from)));
    let blob = from.manifest().file(&name("y.conf.blob")).unwrap();
    let kind = session.upload_index(blob, std::iter::empty(), Arc::clone(&chunks)).await.unwrap_err();
    assert!(matches!(kind, BackupError::Kind { .. }));
    let empty = FileInfo::new(name("e.img.fidx"), CryptMode::None, 0, Digest::of(b""));
    let empty = session.upload_index(&empty, std::iter::empty(), chunks).await.unwrap_err();
    assert!(matches!(empty, BackupError::Empty { .. }));
    upload(&session, &from, blob).await.unwrap();
    let twice = upload(&session, &from, blob).await.unwrap_err();
    assert!(matches!(twice, BackupError::Twice { .. }));
}
