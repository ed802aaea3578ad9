//! Hazards of DESIGN §5 on the real code; each test fails when its rule is switched off (`cargo xtask mutants`).

use std::time::Duration;

use coldkeep_chunk_store::Digest;
use coldkeep_datastore::{BackupError, BackupRequest, IndexKind, Namespace};

use crate::support::{Fixture, name, request, snapshot, stream, upload_manifest};

const FIRST: &str = "host/x/2026-01-01T00:00:00Z";
const SECOND: &str = "host/x/2026-01-02T00:00:00Z";

/// Goal: a chunk taken over from the previous snapshot survives the attempt to remove that snapshot and a collection,
/// both before the commit (R5, R13).
/// Method: fetch and append, try to forget, collect without grace, append the rest, collect again, commit, restore.
#[tokio::test]
async fn h07_a_reused_chunk_survives_prune_and_collection_before_the_commit() {
    let fixture = Fixture::new().await;
    let data: [&[u8]; 2] = [b"aaa", b"bbb"];
    let base = fixture.backup(FIRST, &data).await;
    fixture.clock.advance(Duration::from_hours(24));

    let writer = fixture.begin(SECOND).await;
    fixture.clock.advance(Duration::from_mins(1));
    writer.previous_file(&name("stream.bin.didx")).await.unwrap();
    let wid = writer.create_dynamic(&name("stream.bin.didx")).await.unwrap();
    let (entries, totals) = stream(&data);
    writer.append(wid, IndexKind::Dynamic, &entries[..1]).await.unwrap();
    // Refused, or not; what counts is what comes out.
    let _ = fixture.store.forget(&Namespace::root(), &base).await;
    fixture.collect().await;
    writer.append(wid, IndexKind::Dynamic, &entries[1..]).await.unwrap();
    fixture.collect().await;
    writer.close_dynamic(wid, totals).await.unwrap();
    upload_manifest(&writer, &["stream.bin.didx"], fixture.store.folder()).await;
    writer.finish().await.unwrap();
    assert_eq!(fixture.restore(&snapshot(SECOND), "stream.bin.didx").await, b"aaabbb");
}

/// Goal: the refresh alone, without the lock on the base, keeps a chunk from the collector (R5).
/// Method: remove the base's folder behind the store's back once its chunk was appended, then collect.
#[tokio::test]
async fn h07_an_appended_chunk_stays_though_nothing_else_names_it() {
    let fixture = Fixture::new().await;
    fixture.backup(FIRST, &[b"aaa"]).await;
    fixture.clock.advance(Duration::from_hours(24));
    let writer = fixture.begin(SECOND).await;
    writer.previous_file(&name("stream.bin.didx")).await.unwrap();
    let wid = writer.create_dynamic(&name("stream.bin.didx")).await.unwrap();
    writer.append(wid, IndexKind::Dynamic, &stream(&[b"aaa"]).0).await.unwrap();
    std::fs::remove_dir_all(fixture.path(FIRST)).unwrap();
    assert_eq!(fixture.collect().await, 0);
    assert!(fixture.store.chunks().load(&Digest::of(b"aaa")).await.is_ok());
    writer.abort().await.unwrap();
    assert_eq!(fixture.collect().await, 1, "without the session it is garbage");
}

/// Goal: the chunks of a reused index are refreshed before the reuse is acknowledged (R5).
/// Method: as above, with `reuse-csum` in place of an append.
#[tokio::test]
async fn h07_a_reused_index_holds_its_chunks() {
    let fixture = Fixture::new().await;
    let writer = fixture.begin(FIRST).await;
    let wid = writer.create_fixed(&name("a.fidx"), Some(3), None).await.unwrap();
    writer.upload_chunk(wid, IndexKind::Fixed, crate::support::chunk(b"aaa")).await.unwrap();
    let digest = Digest::of(b"aaa");
    writer.append(wid, IndexKind::Fixed, &[(digest, 0)]).await.unwrap();
    let csum = crate::support::image_csum(&[digest]);
    let totals = coldkeep_datastore::IndexTotals { chunk_count: 1, size: 3, csum };
    writer.close_fixed(wid, totals).await.unwrap();
    upload_manifest(&writer, &["a.fidx"], fixture.store.folder()).await;
    writer.finish().await.unwrap();
    drop(writer);
    fixture.clock.advance(Duration::from_hours(24));
    let writer = fixture.begin(SECOND).await;
    writer.create_fixed(&name("a.fidx"), Some(3), Some(csum)).await.unwrap();
    std::fs::remove_dir_all(fixture.path(FIRST)).unwrap();
    assert_eq!(fixture.collect().await, 0);
}

/// Goal: nobody gets at another group's chunk by naming its digest in an index (R17).
/// Method: a stranger appends the digest of a chunk that the store has, and reads it back if that is accepted.
#[tokio::test]
async fn h34_an_index_cannot_name_a_chunk_that_its_session_never_had() {
    let fixture = Fixture::new().await;
    fixture.backup(FIRST, &[b"secret"]).await;
    let stranger =
        BackupRequest { caller: "al@pbs".parse().unwrap(), ..request("host/mine/2026-01-01T00:00:00Z") };
    let writer = fixture.store.begin_backup(stranger).await.unwrap();
    let wid = writer.create_dynamic(&name("a.didx")).await.unwrap();
    let refused = writer.append(wid, IndexKind::Dynamic, &[(Digest::of(b"secret"), 0)]).await;
    assert!(matches!(refused, Err(BackupError::UnknownChunk { .. })), "{refused:?}");
}

/// Goal: nobody can commit a reused index whose chunks were not refreshed, whatever the client sends unasked (R5).
/// Method: give the reuse up while its first step on a disk is queued, then close its writer by the number that it would
/// have got.
#[test]
fn h07_a_reuse_that_was_given_up_leaves_no_writer() {
    // One thread for file work, which is held up meanwhile: what is queued there ends in the order in which it came.
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let fixture = Fixture::new().await;
        let writer = fixture.begin(FIRST).await;
        let wid = writer.create_fixed(&name("a.fidx"), Some(3), None).await.unwrap();
        writer.upload_chunk(wid, IndexKind::Fixed, crate::support::chunk(b"aaa")).await.unwrap();
        writer.append(wid, IndexKind::Fixed, &[(Digest::of(b"aaa"), 0)]).await.unwrap();
        let csum = crate::support::image_csum(&[Digest::of(b"aaa")]);
        let totals = coldkeep_datastore::IndexTotals { chunk_count: 1, size: 3, csum };
        writer.close_fixed(wid, totals).await.unwrap();
        upload_manifest(&writer, &["a.fidx"], fixture.store.folder()).await;
        writer.finish().await.unwrap();
        drop(writer);

        let writer = fixture.begin(SECOND).await;
        let file = name("a.fidx");
        let (go_on, wait) = std::sync::mpsc::channel::<()>();
        let blocked = tokio::task::spawn_blocking(move || wait.recv());
        {
            let mut reuse = std::pin::pin!(writer.create_fixed(&file, Some(3), Some(csum)));
            tokio::select! {
                biased;
                wid = &mut reuse => panic!("{wid:?}"),
                () = std::future::ready(()) => {}
            }
        }
        go_on.send(()).unwrap();
        blocked.await.unwrap().unwrap();
        tokio::task::spawn_blocking(|| ()).await.unwrap();
        let nothing_appended = coldkeep_datastore::IndexTotals { chunk_count: 0, ..totals };
        let closed = writer.close_fixed(1, nothing_appended).await;
        assert!(matches!(closed, Err(BackupError::UnknownWriter { .. })), "{closed:?}");
    });
}
