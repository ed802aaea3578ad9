//! A session's calls: what works, and every way to get them wrong.

use bytes::Bytes;
use coldkeep_chunk_store::blob::{Blob, Compression, CryptKey};
use coldkeep_chunk_store::{CheckedChunk, Digest, Inserted};
use coldkeep_datastore::index::FixedIndex;
use coldkeep_datastore::manifest::{VerifyResult, VerifyState};
use coldkeep_datastore::{
    ArchiveName, BackupError, BackupWriter, IndexKind, IndexTotals, Manifest, Namespace, WRITERS_MAX,
};

use crate::support::{chunk, image_csum, name, read_all, snapshot, stream, upload_manifest, upload_stream};

const DYNAMIC: IndexKind = IndexKind::Dynamic;
const FIXED: IndexKind = IndexKind::Fixed;
const MIB4: usize = 4 << 20;
const FIRST: &str = "vm/100/2026-01-01T00:00:00Z";
const SECOND: &str = "vm/100/2026-01-02T00:00:00Z";

fn block(fill: u8) -> Vec<u8> {
    vec![fill; MIB4]
}

async fn upload(writer: &BackupWriter, wid: u32, kind: IndexKind, data: &[u8]) -> Digest {
    writer.upload_chunk(wid, kind, chunk(data)).await.unwrap();
    Digest::of(data)
}

#[tokio::test]
async fn what_was_backed_up_is_restored() {
    let fixture = super::fixture().await;
    let made = fixture.backup("host/x/2026-01-01T00:00:00Z", &[b"hello ", b"world", b"hello "]).await;
    assert_eq!(fixture.restore(&made, "stream.bin.didx").await, b"hello worldhello ");
    let manifest = fixture.store.manifest(&Namespace::root(), &made).await.unwrap();
    let stats = manifest.chunk_upload_stats().unwrap();
    assert_eq!((stats.count, stats.size, stats.duplicates), (3, 17, 1));
    assert!(stats.compressed_size > 0);
    let left: Vec<_> = std::fs::read_dir(fixture.path(&made.to_string())).unwrap().collect();
    assert_eq!(left.len(), 2, "index and manifest, no temporary file: {left:?}");
}

#[tokio::test]
async fn an_upload_cannot_call_itself_verified() {
    let fixture = super::fixture().await;
    let writer = fixture.begin(FIRST).await;
    upload_stream(&writer, "s.bin.didx", &[b"data"]).await;
    let mut manifest = Manifest::new(writer.snapshot());
    manifest.set_verify_state(&VerifyState { state: VerifyResult::Ok, upid: "UPID:mine:".into() });
    let blob = manifest.to_blob().unwrap().into_bytes();
    writer.upload_blob(&ArchiveName::manifest(), blob).await.unwrap();
    writer.finish().await.unwrap();
    let made = fixture.store.manifest(&Namespace::root(), writer.snapshot()).await.unwrap();
    assert_eq!(made.verify_state(), None);
}

#[tokio::test]
async fn an_image_is_written_in_any_order_and_reused_by_checksum() {
    let fixture = super::fixture().await;
    let size = MIB4 as u64 * 2 + 3;
    let writer = fixture.begin(FIRST).await;
    let wid = writer.create_fixed(&name("disk.img.fidx"), Some(size), None).await.unwrap();
    let zeros = upload(&writer, wid, FIXED, &block(0)).await;
    let ones = upload(&writer, wid, FIXED, &block(1)).await;
    let tail = upload(&writer, wid, FIXED, b"end").await;
    let at = |n: usize| (MIB4 * n) as u64;
    writer.append(wid, FIXED, &[(tail, at(2)), (zeros, at(0)), (ones, at(1))]).await.unwrap();
    let csum = image_csum(&[zeros, ones, tail]);
    writer.close_fixed(wid, IndexTotals { chunk_count: 3, size, csum }).await.unwrap();
    upload_manifest(&writer, &["disk.img.fidx"], fixture.store.folder()).await;
    writer.finish().await.unwrap();

    let writer = fixture.begin(SECOND).await;
    let wid = writer.create_fixed(&name("disk.img.fidx"), Some(size), Some(csum)).await.unwrap();
    let twos = upload(&writer, wid, FIXED, &block(2)).await;
    writer.append(wid, FIXED, &[(twos, at(0))]).await.unwrap();
    // A chunk of the previous index may be moved: the reuse made it known.
    writer.append(wid, FIXED, &[(zeros, at(1))]).await.unwrap();
    let csum = image_csum(&[twos, zeros, tail]);
    writer.close_fixed(wid, IndexTotals { chunk_count: 2, size: 0, csum }).await.unwrap();
    upload_manifest(&writer, &["disk.img.fidx"], fixture.store.folder()).await;
    writer.finish().await.unwrap();
    let image = fixture.restore(&snapshot(SECOND), "disk.img.fidx").await;
    assert_eq!(image, [block(2), block(0), b"end".to_vec()].concat());
}

#[tokio::test]
async fn a_reuse_needs_the_right_checksum_size_and_a_previous_index() {
    let fixture = super::fixture().await;
    let writer = fixture.begin(FIRST).await;
    let file = name("disk.img.fidx");
    let no_base = writer.create_fixed(&file, Some(3), Some(Digest::of(b""))).await.unwrap_err();
    assert!(matches!(no_base, BackupError::NoPrevious { .. }), "{no_base}");
    let wid = writer.create_fixed(&file, Some(3), None).await.unwrap();
    let tail = upload(&writer, wid, FIXED, b"end").await;
    writer.append(wid, FIXED, &[(tail, 0)]).await.unwrap();
    let csum = image_csum(&[tail]);
    writer.close_fixed(wid, IndexTotals { chunk_count: 1, size: 3, csum }).await.unwrap();
    upload_manifest(&writer, &["disk.img.fidx"], fixture.store.folder()).await;
    writer.finish().await.unwrap();

    let writer = fixture.begin(SECOND).await;
    let no_size = writer.create_fixed(&file, None, Some(csum)).await.unwrap_err();
    assert!(matches!(no_size, BackupError::ReuseWithoutSize { .. }), "{no_size}");
    let wrong = writer.create_fixed(&file, Some(3), Some(Digest::of(b"x"))).await.unwrap_err();
    assert!(matches!(wrong, BackupError::Index { .. }), "{wrong}");
    let size = writer.create_fixed(&file, Some(4), Some(csum)).await.unwrap_err();
    assert!(matches!(size, BackupError::Index { .. }), "{size}");
    let absent = writer.create_fixed(&name("other.img.fidx"), Some(3), Some(csum)).await.unwrap_err();
    assert!(matches!(absent, BackupError::NoPreviousFile { .. }), "{absent}");
    // None of the refused calls left a writer or a name behind.
    assert_eq!(writer.create_fixed(&file, Some(3), Some(csum)).await.unwrap(), 2);
}

#[tokio::test]
async fn chunks_of_a_fetched_index_are_known_and_their_lengths_too() {
    let fixture = super::fixture().await;
    fixture.backup(FIRST, &[b"aaa", b"bbbb"]).await;
    let writer = fixture.begin(SECOND).await;
    let wid = writer.create_dynamic(&name("stream.bin.didx")).await.unwrap();
    let (entries, totals) = stream(&[b"aaa", b"bbbb"]);
    let refused = writer.append(wid, DYNAMIC, &entries).await.unwrap_err();
    assert!(
        matches!(refused, BackupError::UnknownChunk { .. }),
        "known to the store is not enough: {refused}"
    );
    let fetched = writer.previous_file(&name("stream.bin.didx")).await.unwrap();
    let stored = std::fs::read(fixture.path(FIRST).join("stream.bin.didx")).unwrap();
    assert_eq!(read_all(fetched).await, stored);
    writer.append(wid, DYNAMIC, &entries).await.unwrap();
    writer.close_dynamic(wid, totals).await.unwrap();
    upload_manifest(&writer, &["stream.bin.didx"], fixture.store.folder()).await;
    writer.finish().await.unwrap();
    assert_eq!(fixture.restore(&snapshot(SECOND), "stream.bin.didx").await, b"aaabbbb");
}

#[tokio::test]
async fn previous_files_come_from_the_last_good_backup_only() {
    let fixture = super::fixture().await;
    let writer = fixture.begin(FIRST).await;
    assert_eq!(writer.previous_time(), None);
    let none = writer.previous_file(&ArchiveName::manifest()).await.unwrap_err();
    assert!(matches!(none, BackupError::NoPrevious { .. }), "{none}");
    drop(writer);
    let first = fixture.backup("vm/101/2026-01-01T00:00:00Z", &[b"a"]).await;
    let writer = fixture.begin("vm/101/2026-01-02T00:00:00Z").await;
    let manifest = read_all(writer.previous_file(&ArchiveName::manifest()).await.unwrap()).await;
    assert_eq!(Manifest::from_blob(&Blob::parse(manifest.into()).unwrap()).unwrap().snapshot(), first);
    let absent = writer.previous_file(&name("no.didx")).await.unwrap_err();
    assert!(matches!(absent, BackupError::NoPreviousFile { .. }), "{absent}");
}

#[tokio::test]
async fn entries_before_a_refused_one_stay_appended() {
    let fixture = super::fixture().await;
    let writer = fixture.begin(FIRST).await;
    let wid = writer.create_dynamic(&name("a.didx")).await.unwrap();
    let (a, b) = (upload(&writer, wid, DYNAMIC, b"aaa").await, upload(&writer, wid, DYNAMIC, b"bb").await);
    let gap = writer.append(wid, DYNAMIC, &[(a, 0), (b, 4)]).await.unwrap_err();
    assert!(matches!(gap, BackupError::Offset { end: 3, offset: 4, .. }), "{gap}");
    let unknown = writer.append(wid, DYNAMIC, &[(b, 3), (Digest::of(b"x"), 5)]).await.unwrap_err();
    assert!(matches!(unknown, BackupError::UnknownChunk { .. }), "{unknown}");
    writer.append(wid, DYNAMIC, &[(a, 5)]).await.unwrap();
    let (_, totals) = stream(&[b"aaa", b"bb", b"aaa"]);
    writer.close_dynamic(wid, totals).await.unwrap();
}

#[tokio::test]
async fn a_close_with_wrong_totals_is_refused_and_the_writer_is_gone() {
    let fixture = super::fixture().await;
    let writer = fixture.begin(FIRST).await;
    let (entries, right) = stream(&[b"aaa"]);
    let wrong = [
        IndexTotals { chunk_count: 2, ..right },
        IndexTotals { size: 4, ..right },
        IndexTotals { csum: Digest::of(b""), ..right },
    ];
    for totals in wrong {
        let wid = writer.create_dynamic(&name("a.didx")).await.unwrap();
        upload(&writer, wid, DYNAMIC, b"aaa").await;
        writer.append(wid, DYNAMIC, &entries).await.unwrap();
        assert!(writer.close_dynamic(wid, totals).await.is_err(), "{totals:?}");
        let gone = writer.close_dynamic(wid, right).await.unwrap_err();
        assert!(matches!(gone, BackupError::UnknownWriter { .. }), "{gone}");
    }
    assert_eq!(
        std::fs::read_dir(fixture.path(FIRST)).unwrap().count(),
        0,
        "nothing is left of a refused index"
    );
    // The session goes on, and the name is free again.
    upload_stream(&writer, "a.didx", &[b"aaa"]).await;
    let taken = writer.create_dynamic(&name("a.didx")).await.unwrap_err();
    assert!(matches!(taken, BackupError::NameInUse { .. }), "{taken}");
}

#[tokio::test]
async fn an_empty_stream_is_an_index_without_entries() {
    let fixture = super::fixture().await;
    let writer = fixture.begin(FIRST).await;
    upload_stream(&writer, "a.didx", &[]).await;
    let wid = writer.create_dynamic(&name("b.didx")).await.unwrap();
    let wrong = IndexTotals { chunk_count: 0, size: 1, csum: Digest::of(b"") };
    writer.close_dynamic(wid, wrong).await.unwrap_err();
}

#[tokio::test]
async fn a_fixed_index_must_be_whole_at_its_close() {
    let fixture = super::fixture().await;
    let writer = fixture.begin(FIRST).await;
    let size = 2 * MIB4 as u64;
    let wid = writer.create_fixed(&name("a.fidx"), Some(size), None).await.unwrap();
    let zeros = upload(&writer, wid, FIXED, &block(0)).await;
    for offset in [1, size, u64::MAX] {
        let refused = writer.append(wid, FIXED, &[(zeros, offset)]).await.unwrap_err();
        assert!(matches!(refused, BackupError::Index { .. }), "{offset}: {refused}");
    }
    // The same position twice: the count is right, the other position is empty.
    writer.append(wid, FIXED, &[(zeros, 0), (zeros, 0)]).await.unwrap();
    let csum = image_csum(&[zeros, zeros]);
    let hole = writer.close_fixed(wid, IndexTotals { chunk_count: 2, size, csum }).await.unwrap_err();
    assert!(matches!(hole, BackupError::Index { .. }), "{hole}");
}

#[tokio::test]
async fn a_fixed_index_takes_one_short_chunk_and_no_long_one() {
    let fixture = super::fixture().await;
    let writer = fixture.begin(FIRST).await;
    let wid = writer.create_fixed(&name("a.fidx"), None, None).await.unwrap();
    upload(&writer, wid, FIXED, b"short").await;
    upload(&writer, wid, FIXED, b"short").await;
    let second = writer.upload_chunk(wid, FIXED, chunk(b"other")).await.unwrap_err();
    assert!(matches!(second, BackupError::SecondShortChunk { .. }), "{second}");
    let long = writer.upload_chunk(wid, FIXED, chunk(&vec![0; MIB4 + 1])).await.unwrap_err();
    assert!(matches!(long, BackupError::ChunkTooLong { .. }), "{long}");
    let kind = writer.upload_chunk(wid, DYNAMIC, chunk(b"x")).await.unwrap_err();
    assert!(matches!(kind, BackupError::WrongKind { .. }), "{kind}");
    let wid = writer.upload_chunk(wid + 1, FIXED, chunk(b"x")).await.unwrap_err();
    assert!(matches!(wid, BackupError::UnknownWriter { .. }), "{wid}");
}

#[tokio::test]
async fn an_encrypted_chunk_keeps_the_length_it_was_announced_with() {
    let fixture = super::fixture().await;
    let writer = fixture.begin(FIRST).await;
    let wid = writer.create_dynamic(&name("a.didx")).await.unwrap();
    let key = CryptKey::new([1; 32]);
    let data = vec![0; 1000];
    let body = Blob::encode_with(&data, Compression::Zstd, &key, [2; 16]).unwrap().into_bytes();
    let encrypted = |plain_len| CheckedChunk::check(key.digest(&data), plain_len, body.clone()).unwrap();
    let first = writer.upload_chunk(wid, DYNAMIC, encrypted(1000)).await.unwrap();
    assert!(matches!(first, Inserted::New { .. }));
    assert_eq!(writer.upload_chunk(wid, DYNAMIC, encrypted(1000)).await.unwrap(), Inserted::Known);
    let other = writer.upload_chunk(wid, DYNAMIC, encrypted(999)).await.unwrap_err();
    assert!(matches!(other, BackupError::LengthConflict { .. }), "{other}");
}

#[tokio::test]
async fn names_must_have_the_suffix_of_the_call_and_writers_are_counted() {
    let fixture = super::fixture().await;
    let writer = fixture.begin(FIRST).await;
    assert!(matches!(writer.create_dynamic(&name("a.fidx")).await, Err(BackupError::Suffix { .. })));
    assert!(matches!(
        writer.create_fixed(&name("a.blob"), None, None).await,
        Err(BackupError::Suffix { .. })
    ));
    let blob = Blob::encode(b"x", Compression::None).unwrap().into_bytes();
    assert!(matches!(writer.upload_blob(&name("a.didx"), blob).await, Err(BackupError::Suffix { .. })));
    for wid in 1..=WRITERS_MAX {
        assert_eq!(writer.create_dynamic(&name(&format!("{wid}.didx"))).await.unwrap(), wid);
    }
    assert!(matches!(writer.create_dynamic(&name("a.didx")).await, Err(BackupError::TooManyWriters)));
    let open = writer.finish().await.unwrap_err();
    assert!(matches!(open, BackupError::StillOpen { open: 256 }), "{open}");
}

#[tokio::test]
async fn blobs_are_checked_and_replaced() {
    let fixture = super::fixture().await;
    let writer = fixture.begin(FIRST).await;
    let file = name("a.conf.blob");
    let mut body = Blob::encode(b"one", Compression::None).unwrap().into_bytes().to_vec();
    body[8] ^= 1;
    for damaged in [body, b"no blob at all".to_vec(), Vec::new(), vec![0; (16 << 20) + 45]] {
        assert!(matches!(writer.upload_blob(&file, damaged.into()).await, Err(BackupError::Tree(_))));
    }
    for content in [b"one", b"two"] {
        let body = Blob::encode(content, Compression::None).unwrap().into_bytes();
        writer.upload_blob(&file, body).await.unwrap();
    }
    let stored = std::fs::read(fixture.path(FIRST).join("a.conf.blob")).unwrap();
    assert_eq!(Blob::parse(stored.into()).unwrap().decode(10).unwrap(), Bytes::from_static(b"two"));
}

#[tokio::test]
async fn a_finish_that_is_too_early_leaves_the_session_open() {
    let fixture = super::fixture().await;
    let writer = fixture.begin(FIRST).await;
    assert!(matches!(writer.finish().await, Err(BackupError::NoFiles)));
    upload_stream(&writer, "a.didx", &[b"one"]).await;
    assert!(matches!(writer.finish().await, Err(BackupError::NoManifest)));
    let garbage = Blob::encode(b"{}", Compression::None).unwrap().into_bytes();
    writer.upload_blob(&ArchiveName::manifest(), garbage).await.unwrap();
    assert!(matches!(writer.finish().await, Err(BackupError::Manifest(_))));
    let wid = writer.create_dynamic(&name("b.didx")).await.unwrap();
    upload_manifest(&writer, &["a.didx"], fixture.store.folder()).await;
    assert!(matches!(writer.finish().await, Err(BackupError::StillOpen { open: 1 })));
    assert!(!fixture.path(FIRST).join(ArchiveName::MANIFEST).exists(), "no manifest before the commit");
    let (entries, totals) = stream(&[b"one"]);
    writer.append(wid, DYNAMIC, &entries).await.unwrap();
    writer.close_dynamic(wid, totals).await.unwrap();
    writer.finish().await.unwrap();
    let twice = writer.finish().await.unwrap_err();
    assert!(twice.is_session_over(), "{twice}");
    assert!(writer.create_dynamic(&name("c.didx")).await.unwrap_err().is_session_over());
    writer.abort().await.unwrap();
    assert_eq!(
        fixture.restore(&snapshot(FIRST), "a.didx").await,
        b"one",
        "an abort after the commit does nothing"
    );
}

#[tokio::test]
async fn a_finished_session_gives_its_locks_free_before_it_is_dropped() {
    let fixture = super::fixture().await;
    let writer = fixture.begin(FIRST).await;
    upload_stream(&writer, "a.didx", &[b"one"]).await;
    upload_manifest(&writer, &["a.didx"], fixture.store.folder()).await;
    writer.finish().await.unwrap();
    let next = fixture.begin(SECOND).await;
    assert_eq!(next.previous_time(), Some(writer.snapshot().time));
}

#[tokio::test]
async fn a_dropped_session_leaves_no_snapshot_no_group_and_no_lock() {
    let fixture = super::fixture().await;
    let writer = fixture.begin(FIRST).await;
    upload_stream(&writer, "a.didx", &[b"one"]).await;
    writer.create_dynamic(&name("b.didx")).await.unwrap();
    upload_manifest(&writer, &["a.didx"], fixture.store.folder()).await;
    drop(writer);
    // The removal runs on its own; the group's lock is free when it is done.
    let writer = loop {
        match fixture.store.begin_backup(crate::support::request(FIRST)).await {
            Ok(writer) => break writer,
            Err(error) if error.is_in_use() => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    };
    writer.abort().await.unwrap();
    assert!(!fixture.path("vm/100").exists());
    assert!(fixture.store.snapshots(&Namespace::root(), None, None).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_aborted_session_keeps_a_group_with_other_snapshots() {
    let fixture = super::fixture().await;
    fixture.backup(FIRST, &[b"one"]).await;
    let writer = fixture.begin(SECOND).await;
    writer.abort().await.unwrap();
    assert!(writer.upload_blob(&name("a.blob"), Bytes::new()).await.unwrap_err().is_session_over());
    assert!(fixture.path("vm/100/owner").exists() && !fixture.path(SECOND).exists());
}

#[tokio::test]
async fn a_chunk_that_is_gone_fails_the_session_and_its_base_heals_with_the_next_backup() {
    let fixture = super::fixture().await;
    fixture.backup(FIRST, &[b"aaa", b"bbb"]).await;
    fixture.lose(&Digest::of(b"bbb")).await;
    let writer = fixture.begin(SECOND).await;
    let upid = "UPID:pbs1:000004D2:0000A1B2:00000001:6553F100:backup:default:root@pam:";
    writer.set_task(upid);
    let wid = writer.create_dynamic(&name("stream.bin.didx")).await.unwrap();
    writer.previous_file(&name("stream.bin.didx")).await.unwrap();
    let (entries, _) = stream(&[b"aaa", b"bbb"]);
    let lost = writer.append(wid, DYNAMIC, &entries).await.unwrap_err();
    assert!(matches!(lost, BackupError::ChunkLost { .. }) && lost.is_session_over(), "{lost}");
    assert!(writer.finish().await.unwrap_err().is_session_over());
    assert!(!fixture.path(SECOND).exists());
    let manifest = fixture.store.manifest(&Namespace::root(), &snapshot(FIRST)).await.unwrap();
    let expected = VerifyState { state: VerifyResult::Failed, upid: upid.to_owned() };
    assert_eq!(manifest.verify_state(), Some(expected));
    // The next backup does not build on it, but must still be younger.
    let writer = fixture.begin(SECOND).await;
    assert_eq!(writer.previous_time(), None);
    drop(writer);
}

#[tokio::test]
async fn a_chunk_found_corrupt_before_the_commit_fails_it() {
    let fixture = super::fixture().await;
    let writer = fixture.begin(FIRST).await;
    upload_stream(&writer, "a.didx", &[b"one"]).await;
    upload_manifest(&writer, &["a.didx"], fixture.store.folder()).await;
    let digest = Digest::of(b"one");
    fixture.damage(&digest).await;
    fixture.store.chunks().quarantine(&digest).await.unwrap();
    let failed = writer.finish().await.unwrap_err();
    assert!(matches!(failed, BackupError::Failed(_)) && failed.is_session_over(), "{failed}");
    assert!(!fixture.path("vm/100").exists(), "the manifest was there and went again");
}

#[tokio::test]
async fn a_snapshot_whose_base_vanished_is_not_committed() {
    let fixture = super::fixture().await;
    fixture.backup(FIRST, &[b"one"]).await;
    let writer = fixture.begin(SECOND).await;
    upload_stream(&writer, "a.didx", &[b"one"]).await;
    upload_manifest(&writer, &["a.didx"], fixture.store.folder()).await;
    std::fs::remove_dir_all(fixture.path(FIRST)).unwrap();
    let gone = writer.finish().await.unwrap_err();
    assert!(matches!(gone, BackupError::PreviousGone { .. }), "{gone}");
}

#[tokio::test]
async fn appends_sent_at_once_are_applied_in_their_order() {
    let fixture = super::fixture().await;
    let data: Vec<Vec<u8>> = (0..200_u8).map(|n| vec![n; 10]).collect();
    let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    fixture.backup(FIRST, &data).await;
    let writer = fixture.begin(SECOND).await;
    let wid = writer.create_dynamic(&name("stream.bin.didx")).await.unwrap();
    writer.previous_file(&name("stream.bin.didx")).await.unwrap();
    let (entries, totals) = stream(&data);
    // The first half must be refreshed, the second too; neither may overtake.
    let (first, second) = entries.split_at(150);
    let (first, second) =
        tokio::join!(writer.append(wid, DYNAMIC, first), writer.append(wid, DYNAMIC, second));
    first.unwrap();
    second.unwrap();
    writer.close_dynamic(wid, totals).await.unwrap();
}

#[tokio::test]
async fn the_stored_fixed_index_is_what_the_format_says() {
    let fixture = super::fixture().await;
    let writer = fixture.begin(FIRST).await;
    let wid = writer.create_fixed(&name("a.fidx"), Some(3), None).await.unwrap();
    let digest = upload(&writer, wid, FIXED, b"abc").await;
    writer.append(wid, FIXED, &[(digest, 0)]).await.unwrap();
    assert!(fixture.path(FIRST).join("a.tmp_fidx").exists());
    let totals = IndexTotals { chunk_count: 1, size: 3, csum: image_csum(&[digest]) };
    writer.close_fixed(wid, totals).await.unwrap();
    let index = FixedIndex::parse(&std::fs::read(fixture.path(FIRST).join("a.fidx")).unwrap()).unwrap();
    assert_eq!((index.size(), index.header().csum), (3, totals.csum));
    assert_eq!(index.header().chunk_size, MIB4 as u64);
    assert_ne!(index.header().uuid, [0; 16]);
}

#[tokio::test]
async fn a_refused_commit_leaves_no_manifest_even_if_the_rest_cannot_be_removed() {
    let fixture = super::fixture().await;
    let writer = fixture.begin(FIRST).await;
    upload_stream(&writer, "a.didx", &[b"one"]).await;
    upload_manifest(&writer, &["a.didx"], fixture.store.folder()).await;
    let digest = Digest::of(b"one");
    fixture.damage(&digest).await;
    fixture.store.chunks().quarantine(&digest).await.unwrap();
    // Nothing is removed where a link stands for a folder.
    std::fs::rename(fixture.path("vm"), fixture.path("moved")).unwrap();
    std::os::unix::fs::symlink("moved", fixture.path("vm")).unwrap();
    writer.finish().await.unwrap_err();
    assert!(fixture.path(FIRST).join("a.didx").exists());
    assert!(!fixture.path(FIRST).join(ArchiveName::MANIFEST).exists());
}
