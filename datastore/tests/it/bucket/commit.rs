//! Commits, failures and retries, with answers that get lost and effects that come late.

use std::sync::Arc;
use std::time::Duration;

use coldkeep_chunk_store::Digest;
use coldkeep_chunk_store::backend::Fault;
use coldkeep_chunk_store::testing::{HeldRequest, RequestKind, Which};
use coldkeep_datastore::{
    BackupError, BackupRequest, BeginError, IndexKind, Namespace, VerifyControl, VerifyOutcome, VerifyTask,
};

use crate::support::{Fixture, START, name, request, snapshot, upload_manifest, upload_stream};

const FIRST: &str = "host/x/2026-01-01T00:00:00Z";
const SECOND: &str = "host/x/2026-01-02T00:00:00Z";

async fn upload(fixture: &Fixture, text: &str, chunks: &[&[u8]]) -> coldkeep_datastore::BackupWriter {
    let writer = fixture.begin(text).await;
    upload_stream(&writer, "stream.bin.didx", chunks).await;
    upload_manifest(&writer, &["stream.bin.didx"], fixture.store.folder()).await;
    writer
}

/// Takes every attempt of a call away, and gives back the effect of the first.
async fn lose_all(mut held: coldkeep_chunk_store::testing::Held) -> coldkeep_chunk_store::testing::Late {
    let late = held.arrived().await.lose_now_land_later();
    // Whoever is left repeats it; the test ends by ending the call.
    tokio::spawn(async move {
        loop {
            HeldRequest::lose(held.arrived().await);
        }
    });
    late
}

#[tokio::test]
async fn everything_is_in_the_bucket_before_the_manifest() {
    let fixture = Fixture::in_bucket().await;
    let writer = fixture.begin(FIRST).await;
    upload_stream(&writer, "stream.bin.didx", &[b"one"]).await;
    assert_eq!(fixture.keys(".cnt/").await, [format!(".cnt/{FIRST}/stream.bin.didx")], "at the close");
    let blob = coldkeep_chunk_store::blob::Blob::encode(b"x", coldkeep_chunk_store::blob::Compression::Zstd);
    writer.upload_blob(&name("a.conf.blob"), blob.unwrap().into_bytes()).await.unwrap();
    assert_eq!(fixture.keys(&format!(".cnt/{FIRST}/")).await.len(), 2, "at the upload");
    upload_manifest(&writer, &["stream.bin.didx"], fixture.store.folder()).await;
    assert_eq!(fixture.keys(".cnt/").await.len(), 2, "owner and manifest wait for the commit");
    writer.finish().await.unwrap();
    assert_eq!(fixture.keys(".cnt/").await.len(), 4);
    let puts: Vec<String> = fixture
        .backend()
        .log()
        .into_iter()
        .filter(|request| request.kind == RequestKind::Put)
        .flat_map(|request| request.keys)
        .filter(|key| key.starts_with(".cnt/"))
        .collect();
    assert_eq!(puts[2..], [".cnt/host/x/owner".to_owned(), format!(".cnt/{FIRST}/index.json.blob")]);
}

#[tokio::test]
async fn an_index_that_the_bucket_does_not_take_is_not_closed() {
    let fixture = Fixture::in_bucket().await;
    let writer = fixture.begin(FIRST).await;
    let wid = writer.create_dynamic(&name("a.didx")).await.unwrap();
    writer.upload_chunk(wid, IndexKind::Dynamic, crate::support::chunk(b"one")).await.unwrap();
    let (entries, totals) = crate::support::stream(&[b"one"]);
    writer.append(wid, IndexKind::Dynamic, &entries).await.unwrap();
    fixture.backend().fail(Which::every(RequestKind::Put), Fault::Full, false);
    let refused = writer.close_dynamic(wid, totals).await.unwrap_err();
    assert!(refused.is_storage_full(), "{refused}");
    assert!(matches!(writer.finish().await, Err(BackupError::NoFiles)));
    fixture.backend().clear_rules();
    // The name is free again.
    upload_stream(&writer, "a.didx", &[b"one"]).await;
}

/// Goal: a manifest that lands after its session failed harms nobody (R10, I1).
/// Method: hold the put, let the session fail, look what the collector is told, then let it land and restore.
#[tokio::test]
async fn h25_the_chunks_of_a_manifest_that_may_still_land_stay_referenced() {
    let fixture = Fixture::in_bucket().await;
    let writer = upload(&fixture, FIRST, &[b"one", b"two"]).await;
    let manifest = format!(".cnt/{FIRST}/index.json.blob");
    let held = fixture.backend().hold_before(Which::every(RequestKind::Put).key(&manifest));
    let (finished, late) = tokio::join!(writer.finish(), lose_all(held));
    assert!(finished.is_err());
    writer.abort().await.unwrap();
    drop(writer);
    fixture.backend().clear_rules();
    assert!(!fixture.path(FIRST).exists(), "gone on disk at once");

    let foreseen = fixture.store.unfinished(START).await.unwrap();
    assert_eq!((foreseen.clearable.len(), foreseen.in_use), (0, 1), "its path is closed (R19)");
    let cleared = fixture.store.clear_unfinished(START, &|| false).await.unwrap();
    assert_eq!((cleared.snapshots, cleared.in_use), (0, 1), "its path is closed (R19)");
    assert!(fixture.references().await.contains(&Digest::of(b"two")));
    let retry = fixture.store.begin_backup(request(FIRST)).await.unwrap_err();
    assert!(retry.is_in_use() && retry.to_string().contains("may still take effect"), "{retry}");
    late.land().await.unwrap();
    assert_eq!(fixture.with_bucket_alone().await.check_whole().await, 1);
}

/// Goal: as above, on a machine that was set back to an image of before the session: its journal knows nothing of the
/// manifest that may still land, and its token is right.
#[tokio::test]
async fn h25_a_disk_from_before_the_session_leaves_it_its_index_until_nothing_can_land() {
    let fixture = Fixture::in_bucket().await;
    let image = fixture.image();
    let writer = upload(&fixture, FIRST, &[b"one", b"two"]).await;
    let manifest = format!(".cnt/{FIRST}/index.json.blob");
    let held = fixture.backend().hold_before(Which::every(RequestKind::Put).key(&manifest));
    let (finished, late) = tokio::join!(writer.finish(), lose_all(held));
    assert!(finished.is_err());
    writer.abort().await.unwrap();
    drop(writer);
    fixture.backend().clear_rules();

    let restored = fixture.restored(image).await;
    let foreseen = restored.store.unfinished(START).await.unwrap();
    assert_eq!((foreseen.clearable.len(), foreseen.in_use), (0, 1));
    let cleared = restored.store.clear_unfinished(START, &|| false).await.unwrap();
    assert_eq!((cleared.snapshots, cleared.in_use), (0, 1));
    assert!(restored.references().await.contains(&Digest::of(b"two")));
    late.land().await.unwrap();
    // The next backup comes when nothing can land any more, which no client waits for in the first half minute.
    restored.clock.advance(Duration::from_secs(30));
    restored.backup(SECOND, &[b"three"]).await;
    assert_eq!(restored.with_bucket_alone().await.check_whole().await, 2);
}

/// Goal: a verification that waits for requests from before can be stopped.
/// Method: it waits for the bucket's date, which does not come.
#[tokio::test]
async fn a_verification_that_waits_to_record_what_it_found_can_be_stopped() {
    let fixture = Fixture::in_bucket().await;
    let made = fixture.backup(FIRST, &[b"one"]).await;
    let restored = fixture.restored(fixture.image()).await;
    let mut held = restored.backend().hold_before(Which::next(RequestKind::Head).key(".generation"));
    let control = Arc::new(VerifyControl::default());
    let mut task = VerifyTask::new("UPID:x:".into(), Arc::clone(&control));
    let cancel = async {
        let _head = held.arrived().await;
        control.cancel();
        std::future::pending::<()>().await;
    };
    let root = Namespace::root();
    let outcome = tokio::select! {
        outcome = restored.store.verify_snapshot(&root, &made, &mut task) => outcome.unwrap(),
        () = cancel => unreachable!(),
    };
    assert!(matches!(outcome, VerifyOutcome::Cancelled), "{outcome:?}");
}

/// Goal: a bucket that is down does not keep a collection busy with each of the snapshots to be cleared.
#[tokio::test]
async fn clearing_ends_with_the_third_failure_in_a_row() {
    let fixture = Fixture::in_bucket().await;
    // Each in a group of its own, which would else go with the first.
    let abort_in = async |group: &str| {
        let writer = upload(&fixture, &format!("host/{group}/2026-01-01T00:00:00Z"), &[b"one"]).await;
        writer.abort().await.unwrap();
    };
    for group in ["a", "b", "c", "d", "e"] {
        abort_in(group).await;
    }
    fixture.backend().fail(Which::next(RequestKind::Delete), Fault::Denied, false);
    let cleared = fixture.store.clear_unfinished(START, &|| false).await.unwrap();
    assert_eq!((cleared.snapshots, cleared.errors.len()), (4, 1), "one failure says nothing of the others");
    for group in ["b", "c", "d", "e"] {
        abort_in(group).await;
    }
    fixture.backend().fail(Which::every(RequestKind::Delete), Fault::Unavailable, false);
    let cleared = fixture.store.clear_unfinished(START, &|| false).await.unwrap();
    assert_eq!((cleared.snapshots, cleared.errors.len()), (0, 3));
    fixture.backend().clear_rules();
    assert_eq!(fixture.store.clear_unfinished(START, &|| false).await.unwrap().snapshots, 5);
}

#[tokio::test]
async fn what_a_disk_from_before_knows_nothing_of_is_cleared_when_nothing_can_land() {
    let fixture = Fixture::in_bucket().await;
    let image = fixture.image();
    let writer = upload(&fixture, FIRST, &[b"one"]).await;
    writer.abort().await.unwrap();
    drop(writer);
    let restored = fixture.restored(image).await;
    assert_eq!(restored.store.clear_unfinished(START, &|| false).await.unwrap().in_use, 1);
    fixture.expire();
    let foreseen = restored.store.unfinished(START).await.unwrap();
    assert_eq!((foreseen.clearable.len(), foreseen.in_use), (1, 0));
    let cleared = restored.store.clear_unfinished(START, &|| false).await.unwrap();
    assert_eq!((cleared.snapshots, cleared.in_use), (1, 0));
    // An end in order leaves nothing that could land.
    restored.store.chunks().as_bucket().unwrap().close().await.unwrap();
    let reopened = restored.reopen().await;
    let writer = upload(&reopened, SECOND, &[b"one"]).await;
    writer.abort().await.unwrap();
    drop(writer);
    assert_eq!(reopened.store.clear_unfinished(START, &|| false).await.unwrap().snapshots, 1);
}

/// Goal: a snapshot whose local copy was lost while the store was open stays, whatever goes of its group (I1).
#[tokio::test]
async fn a_snapshot_that_only_the_bucket_has_survives_the_removal_of_the_others() {
    for whole_group in [false, true] {
        let fixture = Fixture::in_bucket().await;
        let root = Namespace::root();
        fixture.backup(FIRST, &[b"one"]).await;
        fixture.backup(SECOND, &[b"two"]).await;
        std::fs::remove_dir_all(fixture.path(FIRST)).unwrap();
        if whole_group {
            let removed = fixture.store.forget_group(&root, &snapshot(FIRST).group, true).await.unwrap();
            assert_eq!((removed.removed_snapshots, removed.removed_groups), (1, 0));
        } else {
            fixture.store.forget(&root, &snapshot(SECOND)).await.unwrap();
        }
        let alone = fixture.with_bucket_alone().await;
        assert_eq!(alone.check_whole().await, 1);
        assert_eq!(alone.restore(&snapshot(FIRST), "stream.bin.didx").await, b"one");
        assert_eq!(
            alone.store.owner(&root, &snapshot(FIRST).group).await.unwrap(),
            "root@pam".parse().unwrap()
        );
    }
}

/// Goal: only what the bucket calls unfinished is removed as such (I1).
#[tokio::test]
async fn a_snapshot_whose_local_manifest_is_lost_is_not_unfinished() {
    let fixture = Fixture::in_bucket().await;
    let root = Namespace::root();
    fixture.backup(FIRST, &[b"one"]).await;
    std::fs::remove_file(fixture.path(FIRST).join("index.json.blob")).unwrap();
    assert!(!fixture.store.forget_unfinished(&root, &snapshot(FIRST)).await.unwrap());
    let foreseen = fixture.store.unfinished(START).await.unwrap();
    assert_eq!((foreseen.clearable.len(), foreseen.in_use), (0, 0));
    assert_eq!(fixture.store.clear_unfinished(START, &|| false).await.unwrap().snapshots, 0);
    // One that was never finished, which only the disk has.
    std::fs::create_dir(fixture.path(SECOND)).unwrap();
    let foreseen = fixture.store.unfinished(START).await.unwrap();
    assert_eq!(foreseen.clearable, [(root.clone(), snapshot(SECOND))].into());
    assert!(fixture.store.forget_unfinished(&root, &snapshot(SECOND)).await.unwrap());
    std::fs::create_dir(fixture.path(SECOND)).unwrap();
    assert_eq!(fixture.store.clear_unfinished(START, &|| false).await.unwrap().snapshots, 1);
    assert!(!fixture.path(SECOND).exists());
    assert_eq!(fixture.with_bucket_alone().await.check_whole().await, 1);
}

/// Goal: a manifest that lands after its session failed makes a snapshot that has an owner.
#[tokio::test]
async fn a_group_keeps_its_owner_as_long_as_a_manifest_of_it_may_land() {
    let fixture = Fixture::in_bucket().await;
    let root = Namespace::root();
    fixture.backup(FIRST, &[b"one"]).await;
    let writer = upload(&fixture, SECOND, &[b"two"]).await;
    let manifest = format!(".cnt/{SECOND}/index.json.blob");
    let held = fixture.backend().hold_before(Which::every(RequestKind::Put).key(&manifest));
    let (finished, late) = tokio::join!(writer.finish(), lose_all(held));
    assert!(finished.is_err());
    writer.abort().await.unwrap();
    drop(writer);
    fixture.backend().clear_rules();
    fixture.store.forget(&root, &snapshot(FIRST)).await.unwrap();
    late.land().await.unwrap();
    let alone = fixture.with_bucket_alone().await;
    assert_eq!(alone.check_whole().await, 1);
    assert_eq!(alone.store.owner(&root, &snapshot(SECOND).group).await.unwrap(), "root@pam".parse().unwrap());
}

/// Goal: a snapshot that nobody was told of keeps its owner when another first backup of the group fails.
/// Method: the manifest of the first one is there and not acknowledged; that of the second is refused.
#[tokio::test]
async fn a_failed_backup_takes_no_owner_from_a_snapshot_that_nobody_was_told_of() {
    let fixture = Fixture::in_bucket().await;
    let root = Namespace::root();
    let which = |name: &str| Which::every(RequestKind::Put).key(format!(".cnt/{name}/index.json.blob"));
    let writer = upload(&fixture, FIRST, &[b"one"]).await;
    fixture.backend().lose_replies(which(FIRST));
    assert!(writer.finish().await.is_err());
    writer.abort().await.unwrap();
    drop(writer);
    let writer = upload(&fixture, SECOND, &[b"two"]).await;
    fixture.backend().fail(which(SECOND), Fault::Denied, false);
    assert!(writer.finish().await.is_err());
    writer.abort().await.unwrap();
    drop(writer);
    fixture.backend().clear_rules();
    let alone = fixture.with_bucket_alone().await;
    assert_eq!(alone.check_whole().await, 1);
    assert_eq!(alone.store.owner(&root, &snapshot(FIRST).group).await.unwrap(), "root@pam".parse().unwrap());
}

/// Goal: nobody becomes the owner of what another one backed up (R17).
/// Method: the manifest of a first backup is there and not acknowledged, or still on its way, when somebody else backs up that group.
#[tokio::test]
async fn a_group_of_which_nobody_was_told_stays_its_owners() {
    for has_landed in [true, false] {
        let fixture = Fixture::in_bucket().await;
        let manifest = format!(".cnt/{FIRST}/index.json.blob");
        let which = Which::every(RequestKind::Put).key(&manifest);
        let writer = upload(&fixture, FIRST, &[b"one"]).await;
        let late = if has_landed {
            fixture.backend().lose_replies(which);
            assert!(writer.finish().await.is_err());
            None
        } else {
            let held = fixture.backend().hold_before(which);
            let (finished, late) = tokio::join!(writer.finish(), lose_all(held));
            assert!(finished.is_err());
            Some(late)
        };
        writer.abort().await.unwrap();
        drop(writer);
        fixture.backend().clear_rules();
        let mut request = crate::support::request(SECOND);
        request.caller = "other@pbs".parse().unwrap();
        let refused = fixture.store.begin_backup(request.clone()).await.unwrap_err();
        assert!(matches!(refused, BeginError::NotOwner { .. }), "{has_landed}: {refused}");
        // The owner goes on.
        fixture.begin(SECOND).await.abort().await.unwrap();
        match late {
            Some(late) => drop(late.land().await),
            None => fixture.expire(),
        }
        let alone = fixture.with_bucket_alone().await;
        assert_eq!(alone.check_whole().await, 1);
        let refused = alone.store.begin_backup(request).await.unwrap_err();
        assert!(matches!(refused, BeginError::NotOwner { .. }), "{has_landed}: {refused}");
    }
}

/// Goal: what a removal left on the disk is no reason to touch the bucket (I1).
/// Method: the local copy of a group's only snapshot is gone, and a hidden folder lies where it was.
#[tokio::test]
async fn a_hidden_folder_takes_nothing_from_the_bucket() {
    let fixture = Fixture::in_bucket().await;
    let image = fixture.image();
    let writer = upload(&fixture, FIRST, &[b"one"]).await;
    writer.finish().await.unwrap();
    drop(writer);
    let restored = fixture.restored(image).await;
    let before = restored.keys(".cnt/").await;
    let root = Namespace::root();
    let group = snapshot(FIRST).group;
    std::fs::remove_dir_all(restored.path(FIRST)).unwrap();
    std::fs::create_dir_all(restored.path(&format!("{group}/.removing-2026-01-09T00:00:00Z"))).unwrap();
    assert!(restored.store.snapshots(&root, None, None).await.unwrap().is_empty());
    restored.store.clear_unfinished(START, &|| false).await.unwrap();
    assert!(!restored.path(&format!("{group}/.removing-2026-01-09T00:00:00Z")).exists());
    assert_eq!(restored.keys(".cnt/").await, before);
    assert_eq!(restored.with_bucket_alone().await.check_whole().await, 1);
}

#[tokio::test]
async fn what_failed_sessions_left_is_cleared_when_nothing_can_land_any_more() {
    let fixture = Fixture::in_bucket().await;
    let writer = upload(&fixture, FIRST, &[b"one"]).await;
    let manifest = format!(".cnt/{FIRST}/index.json.blob");
    let held = fixture.backend().hold_before(Which::every(RequestKind::Put).key(&manifest));
    let (finished, late) = tokio::join!(writer.finish(), lose_all(held));
    assert!(finished.is_err());
    writer.abort().await.unwrap();
    drop(writer);
    fixture.backend().clear_rules();
    fixture.expire();
    assert_eq!(late.land().await.unwrap_err().fault, Fault::Expired);
    let running = fixture.begin(SECOND).await;
    upload_stream(&running, "a.didx", &[b"two"]).await;
    // The path is open as soon as the backend's date was seen.
    fixture.store.chunks().as_bucket().unwrap().settle_expired().await.unwrap();
    let foreseen = fixture.store.unfinished(START).await.unwrap();
    assert_eq!(foreseen.clearable.into_iter().collect::<Vec<_>>(), [(Namespace::root(), snapshot(FIRST))]);
    assert_eq!(foreseen.in_use, 1);
    assert!(!fixture.keys(&format!(".cnt/{FIRST}/")).await.is_empty(), "it only looked");
    let cleared = fixture.store.clear_unfinished(START, &|| false).await.unwrap();
    assert_eq!((cleared.snapshots, cleared.in_use), (1, 1), "a session that runs is left alone");
    assert!(fixture.keys(&format!(".cnt/{FIRST}/")).await.is_empty());
    assert_eq!(fixture.keys(&format!(".cnt/{SECOND}/")).await.len(), 1);
}

/// Goal: nobody gets at another group's chunk by naming its digest in an index (R17), in a bucket neither.
/// Method: a stranger appends the digest of a chunk that the store has.
#[tokio::test]
async fn h34_in_a_bucket_too_an_index_cannot_name_a_chunk_that_its_session_never_had() {
    let fixture = Fixture::in_bucket().await;
    fixture.backup(FIRST, &[b"secret"]).await;
    let stranger =
        BackupRequest { caller: "al@pbs".parse().unwrap(), ..request("host/mine/2026-01-01T00:00:00Z") };
    let writer = fixture.store.begin_backup(stranger).await.unwrap();
    let wid = writer.create_dynamic(&name("a.didx")).await.unwrap();
    let refused = writer.append(wid, IndexKind::Dynamic, &[(Digest::of(b"secret"), 0)]).await;
    assert!(matches!(refused, Err(BackupError::UnknownChunk { .. })), "{refused:?}");
}

/// Goal: a late put of a failed session's index never replaces that of the retry with the same time (R19).
/// Method: the first session's put is held and given up; the retry is refused until it has expired, and then is whole.
#[tokio::test]
async fn h35_a_retry_with_the_same_time_meets_no_late_put() {
    let fixture = Fixture::in_bucket().await;
    let writer = fixture.begin(FIRST).await;
    let index = format!(".cnt/{FIRST}/stream.bin.didx");
    let held = fixture.backend().hold_before(Which::every(RequestKind::Put).key(&index));
    let wid = writer.create_dynamic(&name("stream.bin.didx")).await.unwrap();
    writer.upload_chunk(wid, IndexKind::Dynamic, crate::support::chunk(b"old")).await.unwrap();
    let (entries, totals) = crate::support::stream(&[b"old"]);
    writer.append(wid, IndexKind::Dynamic, &entries).await.unwrap();
    let (closed, late) = tokio::join!(writer.close_dynamic(wid, totals), lose_all(held));
    assert!(closed.is_err());
    writer.abort().await.unwrap();
    drop(writer);
    fixture.backend().clear_rules();

    let retry = fixture.store.begin_backup(request(FIRST)).await;
    if retry.as_ref().is_err_and(BeginError::is_in_use) {
        fixture.expire();
    }
    drop(retry);
    fixture.backup(FIRST, &[b"new"]).await;
    // On a backend without conditional puts nothing else would stop it.
    fixture.backend().ignore_conditions();
    let _ = late.land().await;
    let alone = fixture.with_bucket_alone().await;
    assert_eq!(alone.restore(&snapshot(FIRST), "stream.bin.didx").await, b"new");
    assert_eq!(alone.check_whole().await, 1);
}

#[tokio::test]
async fn a_retry_with_the_same_time_begins_on_a_clean_path() {
    let fixture = Fixture::in_bucket().await;
    let writer = fixture.begin(FIRST).await;
    upload_stream(&writer, "other.didx", &[b"old"]).await;
    writer.abort().await.unwrap();
    drop(writer);
    let writer = fixture.begin(FIRST).await;
    assert!(fixture.keys(".cnt/").await.is_empty());
    writer.abort().await.unwrap();
    drop(writer);
    fixture.backup(SECOND, &[b"new"]).await;
    // Behind the tree's back, as a manifest that landed late.
    let bucket = fixture.store.chunks().as_bucket().unwrap();
    let third = "host/x/2026-01-03T00:00:00Z";
    let claim = bucket.claim(&format!(".cnt/{third}")).await.unwrap();
    let key = coldkeep_chunk_store::backend::ObjectKey::new(format!(".cnt/{third}/index.json.blob")).unwrap();
    claim.put_new(&key, "x".into()).await.unwrap();
    claim.release().await.unwrap();
    let refused = fixture.store.begin_backup(request(third)).await.unwrap_err();
    assert!(matches!(refused, BeginError::Exists { .. }), "{refused}");
    assert!(!fixture.path(third).exists());
}

#[tokio::test]
async fn a_commit_that_the_bucket_refused_may_be_tried_again_in_its_session() {
    let fixture = Fixture::in_bucket().await;
    let writer = upload(&fixture, FIRST, &[b"one"]).await;
    let manifest = format!(".cnt/{FIRST}/index.json.blob");
    fixture.backend().fail(Which::every(RequestKind::Put).key(&manifest), Fault::Denied, false);
    assert!(writer.finish().await.is_err());
    assert!(!fixture.path(&manifest[5..]).exists(), "nothing on disk before the bucket has it");
    fixture.backend().clear_rules();
    writer.finish().await.unwrap();
    drop(writer);
    fixture.store.set_notes(&Namespace::root(), &snapshot(FIRST), "open again").await.unwrap();
    assert_eq!(fixture.with_bucket_alone().await.check_whole().await, 1);
}

#[tokio::test]
async fn chunks_of_a_session_without_cache_are_restored_from_the_bucket() {
    let fixture = Fixture::in_bucket().await;
    let writer =
        fixture.store.begin_backup(BackupRequest { no_cache: true, ..request(FIRST) }).await.unwrap();
    upload_stream(&writer, "stream.bin.didx", &[b"one"]).await;
    upload_manifest(&writer, &["stream.bin.didx"], fixture.store.folder()).await;
    writer.finish().await.unwrap();
    let gets = fixture.backend().requests(RequestKind::Get);
    assert_eq!(fixture.restore(&snapshot(FIRST), "stream.bin.didx").await, b"one");
    assert!(fixture.backend().requests(RequestKind::Get) > gets, "nothing was cached");
}

/// Goal: a commit that is not acknowledged leaves no snapshot that shows up later (I4).
/// Method: the manifest is put, but the token cannot be read again; then the session is given up.
#[tokio::test]
async fn a_manifest_whose_commit_was_not_acknowledged_is_taken_back() {
    let fixture = Fixture::in_bucket().await;
    let writer = upload(&fixture, FIRST, &[b"one"]).await;
    let manifest = format!(".cnt/{FIRST}/index.json.blob");
    let mut held = fixture.backend().hold_after(Which::every(RequestKind::Put).key(&manifest));
    let refuse = async {
        let put = held.arrived().await;
        fixture.backend().fail(Which::every(RequestKind::Get).key(".generation"), Fault::Denied, false);
        put.release();
    };
    let (finished, ()) = tokio::join!(writer.finish(), refuse);
    assert!(finished.is_err());
    fixture.backend().clear_rules();
    assert!(fixture.keys(".cnt/").await.contains(&manifest));
    writer.abort().await.unwrap();
    assert!(!fixture.keys(".cnt/").await.contains(&manifest));
    drop(writer);
    assert_eq!(fixture.with_bucket_alone().await.check_whole().await, 0);
}

/// Goal: a backup that failed leaves no group that belongs to whoever made it.
/// Method: the bucket takes the owner and refuses the manifest; then look from the bucket alone.
#[tokio::test]
async fn a_commit_that_failed_leaves_no_owner_behind() {
    let fixture = Fixture::in_bucket().await;
    let writer = upload(&fixture, FIRST, &[b"one"]).await;
    let manifest = format!(".cnt/{FIRST}/index.json.blob");
    fixture.backend().fail(Which::every(RequestKind::Put).key(&manifest), Fault::Denied, false);
    assert!(writer.finish().await.is_err());
    writer.abort().await.unwrap();
    drop(writer);
    fixture.backend().clear_rules();
    let alone = fixture.with_bucket_alone().await;
    assert_eq!(alone.store.groups(&Namespace::root()).await.unwrap(), []);
    assert!(alone.keys(".cnt/host/x/owner").await.is_empty());
}

/// Goal: a commit whose caller went away leaves no snapshot that shows up later (I4).
/// Method: both futures are dropped when the manifest is there and the token is being read again.
#[tokio::test]
async fn a_manifest_goes_with_a_writer_that_is_dropped() {
    let fixture = Fixture::in_bucket().await;
    let writer = upload(&fixture, FIRST, &[b"one"]).await;
    let manifest = format!(".cnt/{FIRST}/index.json.blob");
    let mut put = fixture.backend().hold_after(Which::every(RequestKind::Put).key(&manifest));
    let reads_again = async {
        let put = put.arrived().await;
        let mut token = fixture.backend().hold_before(Which::every(RequestKind::Get).key(".generation"));
        put.release();
        token.arrived().await
    };
    let token = tokio::select! {
        _ = writer.finish() => panic!("it waits for the token"),
        token = reads_again => token,
    };
    drop(token);
    fixture.backend().clear_rules();
    drop(writer);
    let mut looks = 0;
    while fixture.keys(".cnt/").await.contains(&manifest) {
        looks += 1;
        assert!(looks < 10_000, "nobody takes it back");
        tokio::task::yield_now().await;
    }
    assert_eq!(fixture.with_bucket_alone().await.check_whole().await, 0);
}

/// Goal: wherever a commit is cut short, bucket and disk agree on whether there is a snapshot (I4).
/// Method: the commit is dropped after some steps, and the session aborted; what a step is, the blocking threads decide too.
#[tokio::test]
async fn a_commit_that_is_cut_short_anywhere_is_made_or_not() {
    for round in 0..96 {
        let steps = round % 8;
        let fixture = Fixture::in_bucket().await;
        let writer = upload(&fixture, FIRST, &[b"one"]).await;
        let mut ended = false;
        {
            let mut finishing = std::pin::pin!(writer.finish());
            for _ in 0..steps {
                ended = step(finishing.as_mut()).await;
                if ended {
                    break;
                }
            }
        }
        writer.abort().await.unwrap();
        drop(writer);
        let in_bucket = fixture.keys(".cnt/").await.contains(&format!(".cnt/{FIRST}/index.json.blob"));
        let on_disk = fixture.path(FIRST).join("index.json.blob").exists();
        let is_closed =
            || async { fixture.store.begin_backup(request(FIRST)).await.is_err_and(|e| e.is_in_use()) };
        assert!(in_bucket == on_disk || (!on_disk && is_closed().await), "{steps}: {in_bucket} {on_disk}");
        assert!(on_disk || !ended, "{steps}: it was acknowledged");
    }
}

/// Polls a future once, when it has something to do; returns whether it has ended.
async fn step<F: Future>(mut future: std::pin::Pin<&mut F>) -> bool {
    let mut polled = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut polled, true) {
            return std::task::Poll::Ready(false);
        }
        match future.as_mut().poll(context) {
            std::task::Poll::Ready(_) => std::task::Poll::Ready(true),
            std::task::Poll::Pending => std::task::Poll::Pending,
        }
    })
    .await
}

/// Goal: a protection is not lost to a backup (spec `s3-backend.md` §5).
/// Method: a stock server left a protected snapshot without manifest; a backup has the same time.
#[tokio::test]
async fn a_backup_does_not_take_the_place_of_what_is_protected() {
    let fixture = Fixture::in_bucket().await;
    let key = format!(".cnt/{FIRST}/.protected");
    let bucket = fixture.store.chunks().as_bucket().unwrap();
    let claim = bucket.claim(&format!(".cnt/{FIRST}")).await.unwrap();
    let object = coldkeep_chunk_store::backend::ObjectKey::new(&key).unwrap();
    claim.put_new(&object, bytes::Bytes::new()).await.unwrap();
    claim.release().await.unwrap();
    let refused = fixture.store.begin_backup(request(FIRST)).await.unwrap_err();
    assert!(matches!(refused, BeginError::Exists { .. }), "{refused}");
    assert_eq!(fixture.keys(".cnt/").await, [key]);
}
