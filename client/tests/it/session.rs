//! Upgraded sessions: a whole backup and its restore over the wire.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use coldkeep_chunk_store::Digest;
use coldkeep_client::{BackupError, Client, Credentials, ImageSource, RestoreError, TransferLimits};
use coldkeep_datastore::Namespace;
use http::StatusCode;

use super::kept::{Kept, noise, serve, snapshot};
use super::server::{Server, error, ok};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_comes_back_and_a_second_one_sends_no_chunk() {
    let kept = Arc::new(Mutex::new(Kept::default()));
    let (server, store) = serve(&kept);
    let image = [noise(9 << 20, 1), vec![0; 8 << 20], noise(77, 2)].concat();
    let stream = noise(11 << 20, 3);
    for round in 0..2 {
        let session = store.begin_backup(&snapshot(), TransferLimits::default()).await.unwrap();
        assert_eq!(session.previous_backup_time().is_some(), round == 1);
        let source = ImageSource::reader(std::io::Cursor::new(image.clone()), image.len() as u64);
        let uploaded = session.upload_image(&"d.img.fidx".parse().unwrap(), source).await.unwrap();
        assert_eq!((uploaded.size, uploaded.is_incremental), (image.len() as u64, round == 1));
        let reader = std::io::Cursor::new(stream.clone());
        session.upload_stream(&"s.bin.didx".parse().unwrap(), reader).await.unwrap();
        session
            .upload_blob(&"y.conf.blob".parse().unwrap(), Bytes::from_static(b"key = value"))
            .await
            .unwrap();
        let counted = session.progress().snapshot();
        assert_eq!(counted.read_bytes, (image.len() + stream.len() + 11) as u64);
        assert_eq!(counted.transferred_bytes == 11, round == 1, "{counted:?}");
        let manifest = session.finish().await.unwrap();
        let names: Vec<_> = manifest.files().iter().map(|file| file.filename.as_str()).collect();
        assert_eq!(names, ["d.img.fidx", "s.bin.didx", "y.conf.blob"]);
        kept.lock().unwrap().entries.clear();
        kept.lock().unwrap().names.clear();
    }
    let log = server.log();
    assert!(log.contains(
        &"GET /api2/json/backup?backup-id=demo&backup-time=1700000000&backup-type=host&store=tank".to_owned()
    ));

    let reader = store.open_snapshot(&snapshot(), TransferLimits::default()).await.unwrap();
    let file = tempfile::tempfile().unwrap();
    reader.restore_to_file(&"d.img.fidx".parse().unwrap(), file.try_clone().unwrap()).await.unwrap();
    let mut restored = vec![0; image.len()];
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut restored, 0).unwrap();
    assert!(restored == image && file.metadata().unwrap().len() == image.len() as u64);
    let restored = reader.restore_to_writer(&"s.bin.didx".parse().unwrap(), Vec::new()).await.unwrap();
    assert!(restored == stream);
    assert_eq!(reader.load_blob(&"y.conf.blob".parse().unwrap()).await.unwrap(), "key = value");
    let missing = reader.load_blob(&"z.conf.blob".parse().unwrap()).await.unwrap_err();
    assert!(matches!(missing, RestoreError::NoArchive { .. }));
    let restored = reader.restore_to_writer(&"y.conf.blob".parse().unwrap(), Vec::new()).await.unwrap();
    assert_eq!(restored, b"key = value");
}

/// Goal: over a long line a session begins two round trips earlier on the connection that listed what it reads.
#[tokio::test]
async fn a_session_begins_on_the_connection_of_the_last_call() {
    for (keeps_alive, connections) in [(true, 1), (false, 2)] {
        let server = Server::new(|seen| match seen.path() {
            "/api2/json/backup" => (StatusCode::SWITCHING_PROTOCOLS, Bytes::new()),
            "/api2/json/admin/datastore/tank/snapshots" => ok(r#"{"data":[]}"#),
            _ => error(404, "path not found"),
        });
        let server = if keeps_alive { server } else { server.closing() };
        let client = Client::new(server.clone(), Credentials::Local);
        let store = client.store("tank".parse().unwrap(), Namespace::root());
        store.snapshots(None, None).await.unwrap();
        store.begin_backup(&snapshot(), TransferLimits::default()).await.unwrap();
        assert_eq!(server.log().last().unwrap(), "GET /previous_backup_time");
        assert_eq!(server.connections(), connections);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_of_another_snapshot_is_refused() {
    let kept = Arc::new(Mutex::new(Kept::default()));
    let (_, store) = serve(&kept);
    let session = store.begin_backup(&snapshot(), TransferLimits::default()).await.unwrap();
    session.upload_blob(&"y.conf.blob".parse().unwrap(), Bytes::new()).await.unwrap();
    session.finish().await.unwrap();
    let other = "host/demo/2024-01-01T00:00:00Z".parse().unwrap();
    let refused = store.open_snapshot(&other, TransferLimits::default()).await.unwrap_err();
    assert!(matches!(refused, RestoreError::Snapshot { .. }), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_protocol_cannot_hold_is_refused_here() {
    let (_, store) = serve(&Arc::default());
    let session = store.begin_backup(&snapshot(), TransferLimits::default()).await.unwrap();
    let image = |size| ImageSource::reader(std::io::empty(), size);
    let kind = session.upload_image(&"c.bin.didx".parse().unwrap(), image(1)).await.unwrap_err();
    assert!(matches!(kind, BackupError::Kind { .. }));
    let kind = session.upload_blob(&"index.json.blob".parse().unwrap(), Bytes::new()).await.unwrap_err();
    assert!(matches!(kind, BackupError::Kind { .. }));
    let large = Bytes::from(noise(17 << 20, 1));
    let large = session.upload_blob(&"d.conf.blob".parse().unwrap(), large).await.unwrap_err();
    assert!(matches!(large, BackupError::BlobTooLarge { .. }));
    session.upload_blob(&"e.conf.blob".parse().unwrap(), Bytes::new()).await.unwrap();
    let twice = session.upload_blob(&"e.conf.blob".parse().unwrap(), Bytes::new()).await.unwrap_err();
    assert!(matches!(twice, BackupError::Twice { .. }));
    // None of these has begun anything on the server: the backup may do without them.
    assert_eq!(session.finish().await.unwrap().files().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_lacks_an_archive_is_not_finished() {
    let (server, store) = serve(&Arc::default());
    let session = store.begin_backup(&snapshot(), TransferLimits::default()).await.unwrap();
    let image = ImageSource::reader(std::io::empty(), 0);
    let empty = session.upload_image(&"a.img.fidx".parse().unwrap(), image).await.unwrap_err();
    assert!(matches!(empty, BackupError::Empty { .. }));
    session.upload_blob(&"e.conf.blob".parse().unwrap(), Bytes::new()).await.unwrap();
    let refused = session.finish().await.unwrap_err();
    assert!(matches!(&refused, BackupError::Incomplete { archive } if archive.as_str() == "a.img.fidx"));
    assert!(!server.log().iter().any(|call| call.contains("/finish")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_stream_is_an_index_without_entries() {
    let (_, store) = serve(&Arc::default());
    let session = store.begin_backup(&snapshot(), TransferLimits::default()).await.unwrap();
    let uploaded = session.upload_stream(&"b.bin.didx".parse().unwrap(), std::io::empty()).await.unwrap();
    assert_eq!((uploaded.size, uploaded.chunk_count, uploaded.csum), (0, 0, Digest::of(b"")));
}

#[tokio::test]
async fn a_refused_upgrade_gives_the_servers_reason() {
    let server = Server::new(|_| error(400, "backup group is locked"));
    let store = Client::new(server, Credentials::Local).store("tank".parse().unwrap(), Namespace::root());
    let refused = store.begin_backup(&snapshot(), TransferLimits::default()).await.unwrap_err();
    assert_eq!(refused.to_string(), "backup group is locked (400 Bad Request)");
}

#[tokio::test]
async fn an_answer_other_than_101_is_no_session() {
    let server = Server::new(|_| ok("hello"));
    let store = Client::new(server, Credentials::Local).store("tank".parse().unwrap(), Namespace::root());
    assert!(store.open_snapshot(&snapshot(), TransferLimits::default()).await.is_err());
}
