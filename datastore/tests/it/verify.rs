//! Verification: each kind of damage is found, named, recorded, and nothing else is touched.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use coldkeep_chunk_store::Digest;
use coldkeep_chunk_store::blob::{Blob, Compression, CryptKey};
use coldkeep_chunk_store::testing::{HeldRequest, RequestKind, Which};
use coldkeep_datastore::manifest::VerifyResult;
use coldkeep_datastore::{
    ArchiveName, Defect, Namespace, SnapshotName, VerifyControl, VerifyOutcome, VerifyTask,
};

use crate::support::{Fixture, name, upload_manifest, upload_stream};

const FIRST: &str = "host/x/2026-01-01T00:00:00Z";

fn task() -> VerifyTask {
    VerifyTask::new("UPID:x:".into(), Arc::new(VerifyControl::default()))
}

fn chunk_path(fixture: &Fixture, data: &[u8]) -> PathBuf {
    let digest = Digest::of(data).to_string();
    fixture.path(&format!(".chunks/{}/{digest}", &digest[..4]))
}

async fn verify(fixture: &Fixture, snapshot: &SnapshotName) -> Vec<Defect> {
    match fixture.store.verify_snapshot(&Namespace::root(), snapshot, &mut task()).await.unwrap() {
        VerifyOutcome::Whole => Vec::new(),
        VerifyOutcome::Defective { count, defects } => {
            assert_eq!(count, defects.len() as u64);
            defects
        }
        other => panic!("{other:?}"),
    }
}

async fn recorded(fixture: &Fixture, snapshot: &SnapshotName) -> Option<VerifyResult> {
    let manifest = fixture.store.manifest(&Namespace::root(), snapshot).await.unwrap();
    manifest.verify_state().map(|state| state.state)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_snapshot_is_recorded_as_whole_and_its_chunks_are_read_once() {
    let fixture = Fixture::new().await;
    let first = fixture.backup(FIRST, &[b"one", b"two", b"one"]).await;
    let second = fixture.backup("host/x/2026-01-02T00:00:00Z", &[b"two", b"three"]).await;
    let control = Arc::new(VerifyControl::default());
    let mut task = VerifyTask::new("UPID:x:".into(), control.clone());
    for snapshot in [&first, &second] {
        let outcome = fixture.store.verify_snapshot(&Namespace::root(), snapshot, &mut task).await.unwrap();
        assert!(matches!(outcome, VerifyOutcome::Whole), "{outcome:?}");
        assert_eq!(recorded(&fixture, snapshot).await, Some(VerifyResult::Ok));
    }
    assert_eq!(control.chunks(), 3);
    assert!(control.bytes() > 0);
}

#[tokio::test]
async fn corrupt_and_missing_chunks_are_named_and_heal_with_the_next_backup() {
    let fixture = Fixture::new().await;
    let made = fixture.backup(FIRST, &[b"one", b"two", b"three"]).await;
    let corrupt = chunk_path(&fixture, b"one");
    let mut content = std::fs::read(&corrupt).unwrap();
    *content.last_mut().unwrap() ^= 1;
    std::fs::write(&corrupt, content).unwrap();
    std::fs::remove_file(chunk_path(&fixture, b"two")).unwrap();
    let defects = verify(&fixture, &made).await;
    let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
    assert!(
        matches!(&defects[..], [
        Defect::ChunkCorrupt { digest, .. },
        Defect::ChunkMissing { digest: other, .. },
    ] if *digest == one && *other == two),
        "{defects:?}"
    );
    assert_eq!(recorded(&fixture, &made).await, Some(VerifyResult::Failed));
    assert!(!corrupt.exists() && corrupt.with_extension("0.bad").exists());

    let next = fixture.backup("host/x/2026-01-02T00:00:00Z", &[b"one", b"two", b"three"]).await;
    assert!(verify(&fixture, &next).await.is_empty());
    assert!(verify(&fixture, &made).await.is_empty(), "uploading anew healed the older one too");
    assert_eq!(recorded(&fixture, &made).await, Some(VerifyResult::Ok));
}

#[tokio::test]
async fn damaged_and_missing_files_are_named() {
    let fixture = Fixture::new().await;
    let writer = fixture.begin(FIRST).await;
    let files = ["a.didx", "b.didx", "c.didx", "d.conf.blob", "e.conf.blob", "f.conf.blob"];
    for file in &files[..3] {
        upload_stream(&writer, file, &[b"one", b"two"]).await;
    }
    for file in &files[3..] {
        let body = Blob::encode(file.as_bytes(), Compression::None).unwrap().into_bytes();
        writer.upload_blob(&name(file), body).await.unwrap();
    }
    upload_manifest(&writer, &files, fixture.store.folder()).await;
    writer.finish().await.unwrap();
    let made = writer.snapshot().clone();
    assert!(verify(&fixture, &made).await.is_empty());
    let folder = fixture.path(FIRST);
    let cut = std::fs::read(folder.join("a.didx")).unwrap();
    std::fs::write(folder.join("a.didx"), &cut[..cut.len() - 1]).unwrap();
    std::fs::remove_file(folder.join("b.didx")).unwrap();
    let mut swapped = std::fs::read(folder.join("c.didx")).unwrap();
    let (one, two) = (swapped[4104..4136].to_vec(), swapped[4144..4176].to_vec());
    swapped[4104..4136].copy_from_slice(&two);
    swapped[4144..4176].copy_from_slice(&one);
    std::fs::write(folder.join("c.didx"), swapped).unwrap();
    std::fs::write(folder.join("d.conf.blob"), b"other").unwrap();
    std::fs::remove_file(folder.join("e.conf.blob")).unwrap();
    let defects = verify(&fixture, &made).await;
    assert!(
        matches!(
            &defects[..],
            [
                Defect::Index { .. },
                Defect::FileMissing { .. },
                Defect::FileDiffers { .. },
                Defect::FileDiffers { .. },
                Defect::FileMissing { .. },
            ]
        ),
        "{defects:?}"
    );
}

#[tokio::test]
async fn a_chunk_of_the_wrong_length_or_class_is_found() {
    let fixture = Fixture::new().await;
    let made = fixture.backup(FIRST, &[b"four", b"five"]).await;
    // An index that claims one byte less for the first chunk: written by hand, the session would not.
    let path = fixture.path(FIRST).join("stream.bin.didx");
    let mut index = std::fs::read(&path).unwrap();
    index[4096] = 3;
    std::fs::write(&path, index).unwrap();
    // A chunk that is encrypted in a snapshot that is not.
    let blob = Blob::encode_with(b"five", Compression::None, &CryptKey::new([1; 32]), [2; 16]).unwrap();
    std::fs::write(chunk_path(&fixture, b"five"), blob.as_bytes()).unwrap();
    let defects = verify(&fixture, &made).await;
    assert!(
        matches!(
            &defects[..],
            [Defect::FileDiffers { .. }, Defect::ChunkDiffers { .. }, Defect::ChunkDiffers { .. },]
        ),
        "{defects:?}"
    );
}

#[tokio::test]
async fn a_chunk_that_cannot_be_read_is_a_defect_stays_and_does_not_stop_the_others() {
    let fixture = Fixture::new().await;
    let made = fixture.backup(FIRST, &[b"one", b"two", b"three", b"one"]).await;
    std::fs::remove_file(chunk_path(&fixture, b"three")).unwrap();
    let path = chunk_path(&fixture, b"one");
    let content = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let (one, three) = (Digest::of(b"one"), Digest::of(b"three"));
    let defects = verify(&fixture, &made).await;
    assert!(
        matches!(&defects[..], [
            Defect::ChunkUnreadable { digest, .. },
            Defect::ChunkMissing { digest: other, .. },
            ..
        ] if *digest == one && *other == three),
        "{defects:?}"
    );
    assert_eq!(recorded(&fixture, &made).await, Some(VerifyResult::Failed));
    assert!(path.is_dir() && !path.with_extension("0.bad").exists());
    std::fs::remove_dir(&path).unwrap();
    std::fs::write(&path, content).unwrap();
    let next = fixture.backup("host/x/2026-01-02T00:00:00Z", &[b"three"]).await;
    assert!(verify(&fixture, &next).await.is_empty());
    assert!(verify(&fixture, &made).await.is_empty());
    assert_eq!(recorded(&fixture, &made).await, Some(VerifyResult::Ok));
}

#[tokio::test]
async fn open_snapshots_are_skipped_cancelled_tasks_record_nothing_and_a_damaged_manifest_is_reported() {
    let fixture = Fixture::new().await;
    let made = fixture.backup(FIRST, &[b"one"]).await;
    let root = Namespace::root();
    let writer = fixture.begin("host/x/2026-01-02T00:00:00Z").await;
    let skipped = fixture.store.verify_snapshot(&root, writer.snapshot(), &mut task()).await.unwrap();
    assert!(matches!(skipped, VerifyOutcome::Skipped));
    drop(writer);
    let control = Arc::new(VerifyControl::default());
    control.cancel();
    let mut cancelled = VerifyTask::new("UPID:x:".into(), control);
    let outcome = fixture.store.verify_snapshot(&root, &made, &mut cancelled).await.unwrap();
    assert!(matches!(outcome, VerifyOutcome::Cancelled));
    assert_eq!(recorded(&fixture, &made).await, None);
    std::fs::write(fixture.path(FIRST).join(ArchiveName::MANIFEST), "no blob").unwrap();
    assert!(matches!(&verify(&fixture, &made).await[..], [Defect::Manifest(_)]));
    assert!(!fixture.store.snapshots(&root, None, None).await.unwrap()[0].is_finished());
}

#[tokio::test]
async fn what_is_read_takes_its_time_and_a_stop_is_not_waited_for() {
    let fixture = Fixture::new().await;
    let made = fixture.backup(FIRST, &[b"one"]).await;
    let root = Namespace::root();
    for stops in [false, true] {
        let control = Arc::new(VerifyControl::default());
        let mut task = VerifyTask::new("UPID:x:".into(), control.clone()).with_rate(NonZeroU64::MIN);
        let mut verifying = pin!(fixture.store.verify_snapshot(&root, &made, &mut task));
        tokio::select! {
            outcome = &mut verifying => panic!("it did not wait: {outcome:?}"),
            () = fixture.clock.sleeping(1) => {}
        }
        assert_eq!(control.chunks(), 1);
        if stops {
            control.cancel();
            assert!(matches!(verifying.await.unwrap(), VerifyOutcome::Cancelled));
        } else {
            fixture.clock.advance(Duration::from_secs(control.bytes()));
            assert!(matches!(verifying.await.unwrap(), VerifyOutcome::Whole));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_chunks_are_read_at_once_as_is_said() {
    let fixture = Fixture::in_bucket().await;
    let chunks: &[&[u8]] = &[b"one", b"two", b"three", b"four", b"five"];
    let made = fixture.backup(FIRST, chunks).await;
    let fixture = fixture.with_bucket_alone().await;
    let gets = Which::every(RequestKind::Get).about(|key| key.starts_with(".chunks/")).always();
    let mut held = fixture.backend().hold_before(gets);
    let store = Arc::clone(&fixture.store);
    let verifying = tokio::spawn(async move {
        let mut task = task().with_parallel(3);
        store.verify_snapshot(&Namespace::root(), &made, &mut task).await
    });
    let mut arrived = Vec::new();
    for _ in 0..3 {
        arrived.push(tokio::time::timeout(Duration::from_secs(30), held.arrived()).await.unwrap());
    }
    assert!(held.try_arrived().is_none(), "more are read at once");
    fixture.backend().clear_rules();
    drop(held);
    arrived.into_iter().for_each(HeldRequest::release);
    assert!(matches!(verifying.await.unwrap().unwrap(), VerifyOutcome::Whole));
}

#[tokio::test]
async fn a_snapshot_that_is_gone_before_its_turn_is_no_failure() {
    let fixture = Fixture::new().await;
    let made = fixture.backup(FIRST, &[b"one"]).await;
    fixture.store.forget(&Namespace::root(), &made).await.unwrap();
    let outcome = fixture.store.verify_snapshot(&Namespace::root(), &made, &mut task()).await.unwrap();
    assert!(matches!(outcome, VerifyOutcome::Skipped), "{outcome:?}");
}
