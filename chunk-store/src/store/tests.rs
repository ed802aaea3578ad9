use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

use super::state::UNSAVED_MAX;
use super::*;
use crate::CheckedChunk;
use crate::blob::{ChunkClass, Compression, CryptKey};
use crate::dir::Shard;
use crate::testing::{ManualClock, MemoryDir};

const DAY: Duration = Duration::from_hours(24);

fn manual_clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(StoreTime::from_unix(1_700_000_000, 0)))
}

fn plain(data: &[u8]) -> CheckedChunk {
    let blob = Blob::encode(data, Compression::Zstd).unwrap();
    CheckedChunk::check(Digest::of(data), data.len() as u64, blob.into_bytes()).unwrap()
}

/// A blob that claims `digest` although nobody without the key can say what is in it.
fn encrypted(digest: Digest, data: &[u8]) -> CheckedChunk {
    let blob = Blob::encode_with(data, Compression::None, &CryptKey::new([1; 32]), [2; 16]).unwrap();
    CheckedChunk::check(digest, data.len() as u64, blob.into_bytes()).unwrap()
}

/// A store on a real folder with a clock of its own.
struct Fixture {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
}

impl Fixture {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), clock: manual_clock() }
    }

    async fn open(&self) -> Arc<ChunkStore> {
        ChunkStore::open(self.folder.path(), StoreOptions::new(self.clock.clone())).await.unwrap()
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.folder.path().join(format!(".chunks/{}/{digest}", Shard(digest.prefix())))
    }

    /// Replaces the content as power loss does: the name and its times survive, the data does not.
    fn tear(&self, digest: Digest, content: &[u8]) {
        let path = self.path(digest);
        let metadata = std::fs::metadata(&path).unwrap();
        std::fs::write(&path, content).unwrap();
        let (atime, mtime) = (
            filetime::FileTime::from_last_access_time(&metadata),
            filetime::FileTime::from_last_modification_time(&metadata),
        );
        filetime::set_file_times(&path, atime, mtime).unwrap();
    }
}

async fn memory_store() -> (Arc<ManualClock>, ChunkStore<MemoryDir>) {
    let clock = manual_clock();
    let store = ChunkStore::open_dir(MemoryDir::new(), StoreOptions::new(clock.clone())).await.unwrap();
    (clock, store)
}

#[tokio::test]
async fn an_inserted_chunk_can_be_read_and_is_known_the_second_time() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    let session = store.begin_session().await.unwrap();
    let chunk = plain(&vec![7; 100_000]);
    let encoded_bytes = chunk.blob().encoded_len() as u64;
    assert_eq!(store.insert(&session, chunk.clone()).await.unwrap(), Inserted::New { encoded_bytes });
    assert_eq!(store.insert(&session, chunk.clone()).await.unwrap(), Inserted::Known);
    assert_eq!(store.load(&chunk.digest()).await.unwrap().decode(100_000).unwrap(), vec![7; 100_000]);
    assert_eq!(store.stored_len(&chunk.digest()).await.unwrap(), Some(encoded_bytes));
    assert!(matches!(store.load(&Digest::of(b"x")).await, Err(LoadError::Missing { .. })));
}

#[tokio::test]
async fn insert_of_known_digest_touches_it() {
    let (clock, store) = memory_store().await;
    let chunk = plain(b"abc");
    let first = store.begin_session().await.unwrap();
    store.insert(&first, chunk.clone()).await.unwrap();
    drop(first);
    clock.advance(10 * DAY);
    let second = store.begin_session().await.unwrap();
    assert_eq!(store.insert(&second, chunk.clone()).await.unwrap(), Inserted::Known);
    let listed = store.list(vec![Shard(chunk.digest().prefix())]).await.unwrap();
    assert!(listed[0].used_at >= second.started_at());
}

/// H2: the sweep decides, then an insert dedups against the chunk, then the removal lands. The removal must see the
/// insert's refresh.
#[tokio::test]
async fn h02_a_chunk_touched_after_the_sweep_decided_is_kept() {
    for reference in [false, true] {
        let fixture = Fixture::new();
        let store = fixture.open().await;
        let chunk = plain(b"abc");
        let session = store.begin_session().await.unwrap();
        store.insert(&session, chunk.clone()).await.unwrap();
        drop(session);
        fixture.clock.advance(10 * DAY);
        let run = store.begin_run(DAY, Duration::ZERO).await.unwrap();
        let listed = store.list(vec![Shard(chunk.digest().prefix())]).await.unwrap();
        assert!(listed[0].used_at < run.cutoff(), "the sweep would condemn it");
        let late = store.begin_session().await.unwrap();
        if reference {
            store.touch(&late, &[chunk.digest()]).await.unwrap();
        } else {
            assert_eq!(store.insert(&late, chunk.clone()).await.unwrap(), Inserted::Known);
        }
        assert!(matches!(store.remove(&run, &[listed[0].name]).await[..], [Ok(false)]));
        store.load(&chunk.digest()).await.unwrap();
    }
}

#[tokio::test]
async fn unused_chunks_and_leftovers_are_removed() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    let chunk = plain(b"abc");
    store.insert(&store.begin_session().await.unwrap(), chunk.clone()).await.unwrap();
    let leftover = EntryName::new(chunk.digest(), EntryKind::Temporary);
    std::fs::write(fixture.path(chunk.digest()).with_file_name(leftover.to_string()), b"half").unwrap();
    fixture.clock.step_wall(StoreTime::from_unix(4_000_000_000, 0));
    let run = store.begin_run(DAY, Duration::ZERO).await.unwrap();
    let names = [EntryName::chunk(chunk.digest()), leftover];
    assert!(matches!(store.remove(&run, &names).await[..], [Ok(true), Ok(true)]));
    assert_eq!(store.list(vec![Shard(chunk.digest().prefix())]).await.unwrap(), []);
}

#[tokio::test]
async fn a_reference_to_a_missing_chunk_is_refused_by_name() {
    let (_, store) = memory_store().await;
    let session = store.begin_session().await.unwrap();
    let chunk = plain(b"abc");
    store.insert(&session, chunk.clone()).await.unwrap();
    let missing = Digest::of(b"missing");
    let refused = store.touch(&session, &[chunk.digest(), missing]).await;
    assert!(matches!(refused, Err(TouchError::Missing { digest }) if digest == missing));
}

/// H13: the clock steps back during a session, or before a run. Uses must not look older than they are.
#[tokio::test]
async fn h13_a_clock_that_steps_back_hides_no_use() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    let session = store.begin_session().await.unwrap();
    fixture.clock.step_wall(StoreTime::from_unix(1_000_000_000, 0));
    let chunk = plain(b"abc");
    store.insert(&session, chunk.clone()).await.unwrap();
    let run = store.begin_run(Duration::ZERO, Duration::ZERO).await.unwrap();
    assert!(matches!(store.remove(&run, &[EntryName::chunk(chunk.digest())]).await[..], [Ok(false)]));
    let started_at = session.started_at();
    store.close().await.unwrap();
    drop((run, session, store));
    // The step survives a restart, too: the saved clock is the floor.
    assert!(fixture.open().await.now() > started_at);
}

#[tokio::test]
async fn collection_is_refused_where_times_are_not_kept() {
    let (_, store) = memory_store().await;
    store.dir().fail(&["keeps_times"]);
    let refused = store.begin_run(Duration::ZERO, Duration::ZERO).await;
    assert!(matches!(refused, Err(RunError::TimesNotKept)));
    store.dir().fail(&[]);
    let _run = store.begin_run(Duration::ZERO, Duration::ZERO).await.unwrap();
    assert!(matches!(store.begin_run(Duration::ZERO, Duration::ZERO).await, Err(RunError::Busy)));
}

/// H37: a blob that the server cannot check must neither pass for a plain chunk nor keep its digest occupied.
#[tokio::test]
async fn h37_unchecked_blobs_do_not_claim_plain_chunks() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    let session = store.begin_session().await.unwrap();
    let chunk = plain(b"abc");
    let hostile = encrypted(chunk.digest(), b"garbage");
    store.insert(&session, chunk.clone()).await.unwrap();
    let refused = store.insert(&session, hostile.clone()).await;
    assert!(matches!(refused, Err(InsertError::ClassMismatch { stored: ChunkClass::Plain, .. })));
    assert_eq!(store.load(&chunk.digest()).await.unwrap(), *chunk.blob());

    // The other order: the plain chunk, which was checked, takes the place of the claim.
    let chunk = plain(b"def");
    store.insert(&session, encrypted(chunk.digest(), b"garbage")).await.unwrap();
    assert!(matches!(store.insert(&session, chunk.clone()).await.unwrap(), Inserted::New { .. }));
    assert_eq!(store.load(&chunk.digest()).await.unwrap(), *chunk.blob());
}

/// I1: what takes the place of a chunk that a snapshot may rely on is durable before it does.
#[tokio::test]
async fn h37_power_loss_tears_no_chunk_that_took_the_place_of_a_durable_claim() {
    let (_, store) = memory_store().await;
    let session = store.begin_session().await.unwrap();
    let chunk = plain(b"abc");
    store.insert(&session, encrypted(chunk.digest(), b"abc")).await.unwrap();
    store.sync().await.unwrap();
    store.insert(&session, chunk.clone()).await.unwrap();
    // Of each file its latest state, and of new content nothing.
    store.dir().lose_power_in_part(|count| if count > 10 { 0 } else { count - 1 });
    assert_eq!(store.load(&chunk.digest()).await.unwrap(), *chunk.blob());
}

#[tokio::test]
async fn encrypted_chunks_of_different_length_do_not_share_a_digest() {
    let (_, store) = memory_store().await;
    let session = store.begin_session().await.unwrap();
    let digest = Digest::of(b"keyed");
    store.insert(&session, encrypted(digest, b"1234")).await.unwrap();
    assert_eq!(store.insert(&session, encrypted(digest, b"4321")).await.unwrap(), Inserted::Known);
    let refused = store.insert(&session, encrypted(digest, b"12345")).await;
    assert!(matches!(refused, Err(InsertError::LengthMismatch { stored: 48, offered: 49, .. })));
}

/// H38: power loss tears a chunk whose rename survived. The next session must not dedup against it.
#[tokio::test]
async fn h38_a_torn_chunk_does_not_count_as_known_after_an_unclean_end() {
    type Tear = fn(&[u8]) -> Vec<u8>;
    let torn: [(&str, Tear); 3] = [
        ("cut to nothing", |_| Vec::new()),
        ("cut in the middle", |whole| whole[..whole.len() / 2].to_vec()),
        ("zeros of the right length", |whole| [&whole[..12], &vec![0; whole.len() - 12]].concat()),
    ];
    for (what, tear) in torn {
        let fixture = Fixture::new();
        let store = fixture.open().await;
        let session = store.begin_session().await.unwrap();
        let chunk = plain(&Digest::of(b"random").as_bytes().repeat(2));
        store.insert(&session, chunk.clone()).await.unwrap();
        drop((session, store));
        fixture.tear(chunk.digest(), &tear(chunk.blob().as_bytes()));

        let store = fixture.open().await;
        let session = store.begin_session().await.unwrap();
        let refused = store.touch(&session, &[chunk.digest()]).await;
        assert!(matches!(refused, Err(TouchError::Missing { .. })), "{what}");
        let inserted = store.insert(&session, chunk.clone()).await.unwrap();
        assert!(matches!(inserted, Inserted::New { .. }), "{what}");
        store.load(&chunk.digest()).await.unwrap();
    }
}

/// Goal: an unclean end stays remembered until the chunk was checked, however often the process restarts meanwhile.
/// Method: unclean end, clean use without touching the chunk, then touch it.
#[tokio::test]
async fn h38_a_suspect_chunk_stays_suspect_over_further_restarts() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    let chunk = plain(&[5; 1000]);
    store.insert(&store.begin_session().await.unwrap(), chunk.clone()).await.unwrap();
    drop(store);
    fixture.tear(chunk.digest(), b"torn to more than a header");
    for _ in 0..2 {
        fixture.clock.advance(DAY);
        let store = fixture.open().await;
        store.sync().await.unwrap();
        store.close().await.unwrap();
    }
    fixture.clock.advance(DAY);
    let store = fixture.open().await;
    let session = store.begin_session().await.unwrap();
    let refused = store.touch(&session, &[chunk.digest()]).await;
    assert!(matches!(refused, Err(TouchError::Missing { .. })));
}

/// Opens a store again on what is left of another one, and makes reading fail: whatever must be checked gives an error.
async fn reopen_unread(store: ChunkStore<MemoryDir>, clock: &Arc<ManualClock>) -> ChunkStore<MemoryDir> {
    let ChunkStore { dir, .. } = store;
    let store = ChunkStore::open_dir(dir, StoreOptions::new(clock.clone())).await.unwrap();
    store.dir().fail(&["read"]);
    store
}

/// Goal: a sync vouches only for writes that had ended when it began. Method: a write gets its time, another session's
/// sync passes, then the write goes on; after an unclean end its chunk must be checked.
#[tokio::test]
async fn h38_a_chunk_that_was_being_written_during_a_sync_stays_suspect() {
    let (clock, store) = memory_store().await;
    let chunk = plain(b"abc");
    {
        let session = store.begin_session().await.unwrap();
        let writes_wait = store.dir().hold_puts().await;
        let mut insert = std::pin::pin!(store.insert(&session, chunk.clone()));
        tokio::select! {
            biased;
            inserted = &mut insert => panic!("{inserted:?}"),
            () = tokio::task::yield_now() => {}
        }
        clock.advance(Duration::from_secs(1));
        store.sync().await.unwrap();
        drop(writes_wait);
        insert.await.unwrap();
    }
    let store = reopen_unread(store, &clock).await;
    let touched = store.touch(&store.begin_session().await.unwrap(), &[chunk.digest()]).await;
    assert!(matches!(touched, Err(TouchError::Dir(_))), "{touched:?}");
}

/// Goal: the span of suspect times reaches as far as the clock ran, though nobody saved it and the date was wrong.
/// Method: the date jumps ahead, a chunk is written, the process dies, the date is right again.
#[tokio::test]
async fn h38_a_chunk_written_after_the_clock_jumped_ahead_is_suspect() {
    let (clock, store) = memory_store().await;
    let chunk = plain(b"abc");
    let session = store.begin_session().await.unwrap();
    let right = clock.wall();
    clock.step_wall(right.plus(10 * DAY));
    store.insert(&session, chunk.clone()).await.unwrap();
    drop(session);
    clock.step_wall(right);
    let store = reopen_unread(store, &clock).await;
    let touched = store.touch(&store.begin_session().await.unwrap(), &[chunk.digest()]).await;
    assert!(matches!(touched, Err(TouchError::Dir(_))), "{touched:?}");
}

/// Goal: a wrong date keeps no garbage for longer than that date lasts (H30, I5).
/// Method: the date jumps ahead, a chunk is used in each way there is, the process dies, the date is right again.
#[tokio::test]
async fn h30_what_was_used_while_the_date_was_ahead_is_collected_when_it_is_right_again() {
    for reference in [false, true] {
        let (clock, store) = memory_store().await;
        let chunk = plain(b"abc");
        store.insert(&store.begin_session().await.unwrap(), chunk.clone()).await.unwrap();
        let right = clock.wall();
        {
            let session = store.begin_session().await.unwrap();
            clock.step_wall(right.plus(400 * DAY));
            if reference {
                store.touch(&session, &[chunk.digest()]).await.unwrap();
            } else {
                assert_eq!(store.insert(&session, chunk.clone()).await.unwrap(), Inserted::Known);
            }
        }
        clock.step_wall(right);
        let ChunkStore { dir, .. } = store;
        let store = ChunkStore::open_dir(dir, StoreOptions::new(clock.clone())).await.unwrap();
        clock.advance(2 * UNSAVED_MAX);
        let run = store.begin_run(Duration::ZERO, Duration::ZERO).await.unwrap();
        let removed = store.remove(&run, &[EntryName::chunk(chunk.digest())]).await;
        assert!(matches!(removed[..], [Ok(true)]), "reference: {reference}");
    }
}

#[tokio::test]
async fn what_was_written_between_two_unclean_ends_and_synced_is_not_suspect() {
    let (clock, store) = memory_store().await;
    let (first, synced, last) = (plain(b"abc"), plain(b"def"), plain(b"ghi"));
    store.insert(&store.begin_session().await.unwrap(), first.clone()).await.unwrap();
    let ChunkStore { dir, .. } = store;
    clock.advance(DAY);
    let store = ChunkStore::open_dir(dir, StoreOptions::new(clock.clone())).await.unwrap();
    clock.advance(DAY);
    store.insert(&store.begin_session().await.unwrap(), synced.clone()).await.unwrap();
    clock.advance(DAY);
    store.sync().await.unwrap();
    store.insert(&store.begin_session().await.unwrap(), last.clone()).await.unwrap();
    let store = reopen_unread(store, &clock).await;
    let session = store.begin_session().await.unwrap();
    store.touch(&session, &[synced.digest()]).await.unwrap();
    for suspect in [first, last] {
        assert!(store.touch(&session, &[suspect.digest()]).await.is_err());
    }
}

#[tokio::test]
async fn an_end_with_an_open_session_is_not_clean() {
    let (clock, store) = memory_store().await;
    let chunk = plain(b"abc");
    let session = store.begin_session().await.unwrap();
    store.close().await.unwrap();
    store.insert(&session, chunk.clone()).await.unwrap();
    drop(session);
    let store = reopen_unread(store, &clock).await;
    assert!(store.touch(&store.begin_session().await.unwrap(), &[chunk.digest()]).await.is_err());
}

#[tokio::test]
async fn a_store_whose_clock_file_is_lost_follows_no_clean_end() {
    let (_, store) = memory_store().await;
    assert!(!store.suspects.follows_clean_end());
    store.close().await.unwrap();
    let ChunkStore { dir, .. } = store;
    let options = StoreOptions::new(manual_clock());
    assert!(ChunkStore::open_dir(dir, options).await.unwrap().suspects.follows_clean_end());
}

#[tokio::test]
async fn at_level_file_nothing_before_the_last_commit_is_suspect() {
    let clock = manual_clock();
    let options = StoreOptions::new(clock.clone()).with_sync_level(SyncLevel::File);
    let store = ChunkStore::open_dir(MemoryDir::new(), options).await.unwrap();
    let chunk = plain(b"abc");
    store.insert(&store.begin_session().await.unwrap(), chunk.clone()).await.unwrap();
    store.sync().await.unwrap();
    let store = reopen_unread(store, &clock).await;
    store.touch(&store.begin_session().await.unwrap(), &[chunk.digest()]).await.unwrap();
}

#[tokio::test]
async fn a_good_suspect_chunk_is_read_once_and_then_trusted() {
    let clock = manual_clock();
    let dir = MemoryDir::new();
    let store = ChunkStore::open_dir(dir, StoreOptions::new(clock.clone())).await.unwrap();
    let chunk = plain(b"abc");
    store.insert(&store.begin_session().await.unwrap(), chunk.clone()).await.unwrap();
    let ChunkStore { dir, .. } = store;
    clock.advance(DAY);
    let store = ChunkStore::open_dir(dir, StoreOptions::new(clock.clone())).await.unwrap();
    let session = store.begin_session().await.unwrap();
    clock.advance(DAY);
    store.touch(&session, &[chunk.digest()]).await.unwrap();
    store.dir().fail(&["read"]);
    store.touch(&session, &[chunk.digest()]).await.unwrap();
}

#[tokio::test]
async fn synced_chunks_are_not_suspect_after_an_unclean_end() {
    let clock = manual_clock();
    let store = ChunkStore::open_dir(MemoryDir::new(), StoreOptions::new(clock.clone())).await.unwrap();
    let (synced, unsynced) = (plain(b"abc"), plain(b"def"));
    let session = store.begin_session().await.unwrap();
    store.insert(&session, synced.clone()).await.unwrap();
    store.sync().await.unwrap();
    store.insert(&session, unsynced.clone()).await.unwrap();
    drop(session);
    let ChunkStore { dir, .. } = store;
    dir.lose_power();
    let store = ChunkStore::open_dir(dir, StoreOptions::new(clock)).await.unwrap();
    let session = store.begin_session().await.unwrap();
    store.dir().fail(&["read"]);
    store.touch(&session, &[synced.digest()]).await.unwrap();
    assert!(matches!(store.touch(&session, &[unsynced.digest()]).await, Err(TouchError::Missing { .. })));
}

#[tokio::test]
async fn an_encoded_chunk_is_checked_by_crc_and_the_digest_is_left_to_its_reader() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    let (chunk, other) = (plain(b"abc"), plain(b"another"));
    let session = store.begin_session().await.unwrap();
    let missing = store.load_encoded(&chunk.digest()).await;
    assert!(matches!(missing, Err(LoadError::Missing { .. })));
    store.insert(&session, chunk.clone()).await.unwrap();
    assert_eq!(store.load_encoded(&chunk.digest()).await.unwrap(), *chunk.blob());
    let mut flipped = chunk.blob().as_bytes().to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    for torn in [&flipped[..], &flipped[..7], b""] {
        fixture.tear(chunk.digest(), torn);
        assert!(matches!(store.load_encoded(&chunk.digest()).await, Err(LoadError::Corrupt { .. })));
    }
    fixture.tear(chunk.digest(), other.blob().as_bytes());
    assert_eq!(store.load_encoded(&chunk.digest()).await.unwrap(), *other.blob());
    assert!(matches!(store.load(&chunk.digest()).await, Err(LoadError::Corrupt { .. })));
}

/// H29, H31: a corrupt chunk is set aside only after two complete bad reads, and whoever relies on it must not commit.
#[tokio::test]
async fn h29_setting_a_chunk_aside_fails_the_sessions_that_rely_on_it() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    let chunk = plain(b"abc");
    let relies = store.begin_session().await.unwrap();
    let other = store.begin_session().await.unwrap();
    store.insert(&relies, chunk.clone()).await.unwrap();
    assert_eq!(store.quarantine(&chunk.digest()).await.unwrap(), Quarantined::Good);
    for number in 0..2 {
        fixture.tear(chunk.digest(), b"something else entirely");
        assert!(matches!(store.load(&chunk.digest()).await, Err(LoadError::Corrupt { .. })));
        let set_aside = store.quarantine(&chunk.digest()).await.unwrap();
        assert_eq!(set_aside, Quarantined::SetAside { number, failed_sessions: 1 });
        assert_eq!(store.quarantine(&chunk.digest()).await.unwrap(), Quarantined::Missing);
        store.insert(&relies, chunk.clone()).await.unwrap();
    }
    assert!(relies.check_alive().is_err());
    assert!(other.check_alive().is_ok());
}

/// Goal: a session that relies on a corrupt chunk fails even if whoever sets the chunk aside goes away in the middle, so
/// that the rename happens and nothing after it. Method: the session must have failed before the rename.
#[tokio::test]
async fn h29_sessions_fail_before_their_chunk_goes() {
    let (_, store) = memory_store().await;
    let chunk = plain(b"abc");
    let session = store.begin_session().await.unwrap();
    store.insert(&session, chunk.clone()).await.unwrap();
    let held = store.locks.lock(&chunk.digest()).await;
    let content = Bytes::from_static(b"something else entirely");
    let damaged = crate::dir::NewEntry { name: EntryName::chunk(chunk.digest()), content, at: store.now() };
    store.dir().put(&held, damaged, Durability::Deferred).await.unwrap();
    drop(held);
    store.dir().fail(&["rename"]);
    store.quarantine(&chunk.digest()).await.unwrap_err();
    assert!(session.check_alive().is_err());
}

#[tokio::test]
async fn h31_a_failed_read_is_no_corruption() {
    let (_, store) = memory_store().await;
    let chunk = plain(b"abc");
    store.insert(&store.begin_session().await.unwrap(), chunk.clone()).await.unwrap();
    store.dir().fail(&["read"]);
    store.quarantine(&chunk.digest()).await.unwrap_err();
    assert!(matches!(store.load(&chunk.digest()).await, Err(LoadError::Dir(_))));
    store.dir().fail(&[]);
    store.load(&chunk.digest()).await.unwrap();
}

#[tokio::test]
async fn a_store_has_one_owner() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    let refused = ChunkStore::open(fixture.folder.path(), StoreOptions::new(fixture.clock.clone())).await;
    assert!(refused.is_err_and(|error| error.is_owned()));
    drop(store);
    fixture.open().await;
}

#[tokio::test]
async fn a_damaged_clock_file_is_an_error_that_says_so() {
    let fixture = Fixture::new();
    drop(fixture.open().await);
    std::fs::write(fixture.folder.path().join(".coldkeep/clock"), b"{").unwrap();
    let refused = ChunkStore::open(fixture.folder.path(), StoreOptions::new(fixture.clock.clone())).await;
    assert!(matches!(refused, Err(OpenError::State { .. })));
}

#[tokio::test]
async fn a_failed_write_is_reported_and_leaves_nothing_known() {
    let (_, store) = memory_store().await;
    let chunk = plain(b"abc");
    let session = store.begin_session().await.unwrap();
    store.dir().fail(&["put"]);
    assert!(matches!(store.insert(&session, chunk.clone()).await, Err(InsertError::Dir(_))));
    store.dir().fail(&["sync"]);
    assert!(matches!(store.touch(&session, &[chunk.digest()]).await, Err(TouchError::Missing { .. })));
    store.sync().await.unwrap_err();
}

#[tokio::test]
async fn every_sync_level_stores_readable_chunks() {
    for level in [SyncLevel::None, SyncLevel::Filesystem, SyncLevel::File] {
        let fixture = Fixture::new();
        let options = StoreOptions::new(fixture.clock.clone()).with_sync_level(level);
        let store = ChunkStore::open(fixture.folder.path(), options).await.unwrap();
        let chunk = plain(b"abc");
        store.insert(&store.begin_session().await.unwrap(), chunk.clone()).await.unwrap();
        store.sync().await.unwrap();
        store.load(&chunk.digest()).await.unwrap();
    }
}

/// Goal: a chunk that a killed process left in the page cache is durable before another session relies on it, whatever
/// the sync level. Method: write deferred, end uncleanly without power loss, reopen at level `file`, lose power.
#[tokio::test]
async fn what_a_killed_process_wrote_is_made_durable_at_the_next_open() {
    let clock = manual_clock();
    let store = ChunkStore::open_dir(MemoryDir::new(), StoreOptions::new(clock.clone())).await.unwrap();
    let chunk = plain(b"abc");
    store.insert(&store.begin_session().await.unwrap(), chunk.clone()).await.unwrap();
    let ChunkStore { dir, .. } = store;
    let options = StoreOptions::new(clock).with_sync_level(SyncLevel::File);
    let store = ChunkStore::open_dir(dir, options).await.unwrap();
    assert_eq!(
        store.insert(&store.begin_session().await.unwrap(), chunk.clone()).await.unwrap(),
        Inserted::Known
    );
    store.sync().await.unwrap();
    store.dir().lose_power();
    store.load(&chunk.digest()).await.unwrap();
}

#[tokio::test]
async fn at_level_file_nothing_is_committed_after_a_failed_sync() {
    let options = StoreOptions::new(manual_clock()).with_sync_level(SyncLevel::File);
    let store = ChunkStore::open_dir(MemoryDir::new(), options).await.unwrap();
    store.sync().await.unwrap();
    store.dir().fail(&["check_synced"]);
    store.sync().await.unwrap_err();
}

/// R4 at level `file`: what was acknowledged survives power loss without any sync.
#[tokio::test]
async fn level_file_makes_each_chunk_durable() {
    let clock = manual_clock();
    let options = StoreOptions::new(clock).with_sync_level(SyncLevel::File);
    let store = ChunkStore::open_dir(MemoryDir::new(), options).await.unwrap();
    let chunk = plain(b"abc");
    store.insert(&store.begin_session().await.unwrap(), chunk.clone()).await.unwrap();
    store.dir().lose_power();
    store.load(&chunk.digest()).await.unwrap();
}

/// R4: a chunk comes into being, and is replaced, by one rename; whoever is reading it meanwhile sees one or the other.
#[tokio::test]
async fn a_replaced_chunk_stays_whole_for_whoever_is_reading_it() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    let session = store.begin_session().await.unwrap();
    let chunk = plain(b"abc");
    let claim = encrypted(chunk.digest(), b"garbage");
    store.insert(&session, claim.clone()).await.unwrap();
    let mut reader = std::fs::File::open(fixture.path(chunk.digest())).unwrap();
    assert!(matches!(store.insert(&session, chunk.clone()).await.unwrap(), Inserted::New { .. }));
    let mut seen = Vec::new();
    std::io::Read::read_to_end(&mut reader, &mut seen).unwrap();
    assert_eq!(seen, claim.blob().as_bytes()[..]);
    assert_eq!(store.load(&chunk.digest()).await.unwrap(), *chunk.blob());
}

#[tokio::test]
async fn a_file_that_is_no_blob_is_replaced() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    let session = store.begin_session().await.unwrap();
    let chunk = plain(b"abc");
    std::fs::create_dir_all(fixture.path(chunk.digest()).parent().unwrap()).unwrap();
    for content in [&b""[..], b"short", b"long enough for a header but no blob"] {
        std::fs::write(fixture.path(chunk.digest()), Bytes::from_static(content)).unwrap();
        assert!(matches!(store.insert(&session, chunk.clone()).await.unwrap(), Inserted::New { .. }));
        assert_eq!(store.load(&chunk.digest()).await.unwrap(), *chunk.blob());
    }
}

/// Goal: a file that cannot be removed keeps no other in place (hazard H18).
/// Method: a folder lies where a chunk should be.
#[tokio::test]
async fn a_file_that_cannot_be_removed_keeps_no_other_in_place() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    let chunks: Vec<_> = [b"abc", b"def", b"ghi"].map(|data| plain(data)).into();
    let session = store.begin_session().await.unwrap();
    for chunk in &chunks {
        store.insert(&session, chunk.clone()).await.unwrap();
    }
    drop(session);
    let stuck = fixture.path(chunks[1].digest());
    std::fs::remove_file(&stuck).unwrap();
    std::fs::create_dir(&stuck).unwrap();
    fixture.clock.advance(2 * DAY);
    let run = store.begin_run(DAY, Duration::ZERO).await.unwrap();
    // Of this moment, and so in use: long ago it was not.
    filetime::set_file_times(&stuck, filetime::FileTime::zero(), filetime::FileTime::zero()).unwrap();
    let names: Vec<_> = chunks.iter().map(|chunk| EntryName::chunk(chunk.digest())).collect();
    let outcomes = store.remove(&run, &names).await;
    assert!(matches!(outcomes[..], [Ok(true), Err(StoreError::Dir(_)), Ok(true)]), "{outcomes:?}");
    assert!(!fixture.path(chunks[2].digest()).exists() && stuck.exists());
}

/// Goal: whoever was told of a chunk that is bad does not commit with what an encrypted upload puts in its place (I3, H37).
#[tokio::test]
async fn h37_what_replaces_a_bad_encrypted_chunk_fails_the_sessions_that_were_told_of_it() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    let (told, other) = (store.begin_session().await.unwrap(), store.begin_session().await.unwrap());
    let digest = Digest::of(b"keyed");
    store.insert(&told, encrypted(digest, b"abc")).await.unwrap();
    fixture.tear(digest, b"");
    store.insert(&other, encrypted(digest, b"def")).await.unwrap();
    told.check_alive().unwrap_err();
    other.check_alive().unwrap();
}
