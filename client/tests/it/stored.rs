//! Snapshots read as they are stored, from servers that tell the truth and others.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bytes::Bytes;
use coldkeep_chunk_store::Digest;
use coldkeep_chunk_store::blob::{Blob, Compression};
use coldkeep_client::{
    Client, Credentials, ImageSource, IndexMismatch, RequestError, RestoreError, Store, TransferLimits,
};
use coldkeep_datastore::index::IndexKind;
use coldkeep_datastore::manifest::{CryptMode, FileInfo};
use coldkeep_datastore::{ArchiveName, Manifest, Namespace};
use futures_util::future::join_all;
use serde_json::json;

use super::kept::{Kept, noise, serve, snapshot};
use super::server::{Server, data, error};

fn name(text: &str) -> ArchiveName {
    text.parse().unwrap()
}

/// A server with a snapshot of an image, a stream and a blob.
async fn backed_up() -> (Arc<Mutex<Kept>>, Store) {
    let kept = Arc::new(Mutex::new(Kept::default()));
    let (_, store) = serve(&kept);
    let session = store.begin_backup(&snapshot(), TransferLimits::default()).await.unwrap();
    let image = noise(9 << 20, 1);
    let source = ImageSource::reader(std::io::Cursor::new(image), 9 << 20);
    session.upload_image(&name("d.img.fidx"), source).await.unwrap();
    session.upload_stream(&name("s.bin.didx"), std::io::Cursor::new(noise(3 << 20, 2))).await.unwrap();
    session.upload_blob(&name("y.conf.blob"), Bytes::from_static(b"key = value")).await.unwrap();
    session.finish().await.unwrap();
    (kept, store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_and_chunks_come_as_they_are_stored() {
    let (kept, store) = backed_up().await;
    let stored = store.open_stored(&snapshot()).await.unwrap();
    let kept = kept.lock().unwrap().clone();
    assert_eq!(stored.encoded_manifest(), kept.blobs["index.json.blob"]);
    assert_eq!((stored.snapshot(), stored.manifest().files().len()), (&snapshot(), 3));
    for (archive, kind) in [("d.img.fidx", IndexKind::Fixed), ("s.bin.didx", IndexKind::Dynamic)] {
        let index = stored.index(&name(archive), usize::MAX).await.unwrap();
        assert_eq!((index.kind(), &index.bytes()[..]), (kind, &kept.indexes[archive][..]));
        assert_eq!(index.size(), stored.manifest().file(&name(archive)).unwrap().size);
        for span in index.spans() {
            let chunk = stored.chunk(&span.digest, usize::MAX).await.unwrap();
            assert_eq!(chunk, kept.chunks[&span.digest.to_string()]);
        }
    }
    assert_eq!(stored.blob(&name("y.conf.blob")).await.unwrap(), kept.blobs["y.conf.blob"]);
    let other = stored.index(&name("z.img.fidx"), usize::MAX).await.unwrap_err();
    assert!(matches!(other, RestoreError::NoArchive { .. }));
    let kind = stored.index(&name("y.conf.blob"), usize::MAX).await.unwrap_err();
    assert!(matches!(kind, RestoreError::Kind { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_lies_is_refused() {
    let (kept, store) = backed_up().await;
    let stored = store.open_stored(&snapshot()).await.unwrap();
    let refusal = async |lie: &dyn Fn(&mut Vec<u8>)| {
        let honest = kept.lock().unwrap().indexes["s.bin.didx"].clone();
        lie(kept.lock().unwrap().indexes.get_mut("s.bin.didx").unwrap());
        let refused = stored.index(&name("s.bin.didx"), usize::MAX).await.unwrap_err();
        kept.lock().unwrap().indexes.insert("s.bin.didx".to_owned(), honest);
        match refused {
            RestoreError::Index { source, .. } => source,
            other => panic!("{other:?}"),
        }
    };
    let other_digest = refusal(&|index| *index.last_mut().unwrap() ^= 1).await;
    assert!(matches!(other_digest, IndexMismatch::Checksum { .. }), "{other_digest:?}");
    // The last end offset stands 40 bytes before the end.
    let other_size = refusal(&|index| {
        let end = index.len() - 40;
        index[end] ^= 1;
    });
    let other_size = other_size.await;
    assert!(matches!(other_size, IndexMismatch::Size { .. }), "{other_size:?}");
    let cut = refusal(&|index| index.truncate(index.len() - 1)).await;
    assert!(matches!(cut, IndexMismatch::Malformed(_)), "{cut:?}");
    let lacks_an_entry = refusal(&|index| index.truncate(index.len() - 40)).await;
    assert!(matches!(lacks_an_entry, IndexMismatch::Size { .. }), "{lacks_an_entry:?}");
    let other_kind = refusal(&|index| index[0] ^= 1).await;
    assert!(matches!(other_kind, IndexMismatch::Malformed(_)), "{other_kind:?}");
    stored.index(&name("s.bin.didx"), usize::MAX).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_that_lies_is_refused_and_a_missing_file_is_not_a_vanished_snapshot() {
    let (kept, store) = backed_up().await;
    let stored = store.open_stored(&snapshot()).await.unwrap();
    let archive = name("y.conf.blob");
    let other = Blob::encode(b"key = valuf", Compression::None).unwrap().into_bytes();
    for lie in [other.clone(), other.slice(..other.len() - 1), Bytes::new()] {
        kept.lock().unwrap().blobs.insert(archive.to_string(), lie);
        let refused = stored.blob(&archive).await.unwrap_err();
        assert!(matches!(refused, RestoreError::BlobMismatch { .. }), "{refused:?}");
    }
    kept.lock().unwrap().blobs.remove(archive.as_str());
    let missing = stored.blob(&archive).await.unwrap_err();
    assert!(matches!(&missing, RestoreError::Request(error) if error.is_not_found()));
    assert!(!missing.is_vanished());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_is_bounded_and_a_client_log_may_be_missing() {
    let (kept, store) = backed_up().await;
    let stored = store.open_stored(&snapshot()).await.unwrap();
    let digest = stored.index(&name("d.img.fidx"), usize::MAX).await.unwrap().spans().next().unwrap().digest;
    let len = kept.lock().unwrap().chunks[&digest.to_string()].len();
    assert_eq!(stored.chunk(&digest, len).await.unwrap().len(), len);
    let long = stored.chunk(&digest, len - 1).await.unwrap_err();
    assert!(matches!(long, RequestError::TooLong { limit, .. } if limit == len - 1), "{long:?}");
    assert!(long.to_string().contains(&format!("GET /chunk?digest={digest} is longer")), "{long}");
    // Whatever the caller allows, no more than the largest blob comes.
    kept.lock().unwrap().chunks.insert(digest.to_string(), vec![0; (16 << 20) + 45].into());
    let long = stored.chunk(&digest, usize::MAX).await.unwrap_err();
    assert!(matches!(long, RequestError::TooLong { limit, .. } if limit == (16 << 20) + 44), "{long:?}");
    assert_eq!(stored.client_log().await.unwrap(), None);
    kept.lock().unwrap().blobs.insert("client.log.blob".to_owned(), Bytes::from_static(b"as it is"));
    assert_eq!(stored.client_log().await.unwrap().unwrap(), "as it is");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encrypted_snapshot_needs_no_key() {
    let (kept, store) = backed_up().await;
    let mut manifest = Manifest::new(&snapshot());
    for (file, bytes) in [("d.img.fidx", None), ("y.conf.blob", Some(Bytes::from_static(b"sealed")))] {
        let entry = if let Some(bytes) = bytes {
            kept.lock().unwrap().blobs.insert(file.to_owned(), bytes.clone());
            FileInfo::new(name(file), CryptMode::Encrypt, bytes.len() as u64, Digest::of(&bytes))
        } else {
            let csum = Digest::of(&kept.lock().unwrap().indexes[file][4096..]);
            FileInfo::new(name(file), CryptMode::Encrypt, 9 << 20, csum)
        };
        manifest.push(entry);
    }
    let blob = manifest.to_blob().unwrap().into_bytes();
    kept.lock().unwrap().blobs.insert("index.json.blob".to_owned(), blob);
    let stored = store.open_stored(&snapshot()).await.unwrap();
    assert_eq!(stored.index(&name("d.img.fidx"), usize::MAX).await.unwrap().spans().len(), 3);
    assert_eq!(stored.blob(&name("y.conf.blob")).await.unwrap(), "sealed");
    let reader = store.open_snapshot(&snapshot(), TransferLimits::default()).await.unwrap();
    for file in ["d.img.fidx", "y.conf.blob"] {
        let refused = reader.restore_to_writer(&name(file), Vec::new()).await.unwrap_err();
        assert!(matches!(refused, RestoreError::KeyNeeded { .. }), "{refused:?}");
    }
}

/// Goal: 20 requests for chunks are on their way at once. The server answers none of them before it has all.
#[tokio::test(flavor = "multi_thread", worker_threads = 24)]
async fn twenty_chunks_are_fetched_at_once() {
    let (kept, _) = backed_up().await;
    let waiting = Arc::new((Mutex::new(0), Condvar::new()));
    let server = Server::new(move |seen| {
        if seen.path() == "/chunk" {
            let (count, changed) = &*waiting;
            let mut count = count.lock().unwrap();
            *count += 1;
            changed.notify_all();
            let all = changed.wait_timeout_while(count, Duration::from_mins(1), |count| *count < 20);
            if all.unwrap().1.timed_out() {
                return error(500, "the others did not come");
            }
        }
        kept.lock().unwrap().answer(seen)
    });
    let store = Client::new(server, Credentials::Local).store("tank".parse().unwrap(), Namespace::root());
    let stored = store.open_stored(&snapshot()).await.unwrap();
    let digest = stored.index(&name("d.img.fidx"), usize::MAX).await.unwrap().spans().next().unwrap().digest;
    let chunks = join_all((0..20).map(|_| stored.chunk(&digest, usize::MAX))).await;
    assert!(chunks.into_iter().all(|chunk| chunk.unwrap().len() > 4 << 20));
}

#[tokio::test]
async fn a_vanished_snapshot_is_told_from_one_that_may_not_be_read() {
    let listed = json!([{ "backup-type": "host", "backup-id": "demo", "backup-time": 1_700_000_000,
        "files": [{ "filename": "index.json.blob" }], "owner": "root@pam", "protected": false, "size": 5 }]);
    let mut unfinished = listed.clone();
    unfinished[0]["files"] = json!([]);
    for (refusal, list, is_vanished) in [
        (400, Some(json!([])), true),
        (400, Some(unfinished), true),
        (400, Some(listed), false),
        (400, None, false),
        (403, Some(json!([])), false),
        (404, Some(json!([])), true),
    ] {
        let answer = list.clone();
        let server = Server::new(move |seen| match (seen.path(), &answer) {
            ("/api2/json/reader", _) => error(refusal, "refused"),
            ("/api2/json/admin/datastore/tank/snapshots", Some(list)) => data(list),
            _ => error(400, "no"),
        });
        let client = Client::new(server.clone(), Credentials::Local);
        let store = client.store("tank".parse().unwrap(), Namespace::root());
        let refused = store.open_stored(&snapshot()).await.unwrap_err();
        assert_eq!(refused.is_vanished(), is_vanished, "{refusal} {list:?}: {refused:?}");
        if refusal == 400 {
            let base = "GET /api2/json/admin/datastore/tank";
            assert_eq!(server.log()[1], format!("{base}/snapshots?backup-id=demo&backup-type=host"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_without_a_manifest_has_vanished() {
    let (kept, store) = backed_up().await;
    kept.lock().unwrap().blobs.remove("index.json.blob");
    assert!(store.open_stored(&snapshot()).await.unwrap_err().is_vanished());
    let restore = store.open_snapshot(&snapshot(), TransferLimits::default()).await.unwrap_err();
    assert!(matches!(restore, RestoreError::Request(error) if error.is_not_found()));
}
