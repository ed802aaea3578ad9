//! Inserting: H4, H5, H8, H17, H22, H32, H37, and what is waited for or refused.

mod classes;
mod interleaved;
mod touched;

use bytes::Bytes;

use super::*;
use crate::backend::Fault;
use crate::bucket::{Batch, Candidate, Closed, Condemned};
use crate::checked::CheckedChunk;
use crate::dir::{Marks, NewMarker};
use crate::session::{CacheUse, Session};
use crate::store::{InsertError, Inserted};
use crate::testing::{Room, Which};

const DAY: Duration = Duration::from_hours(24);

fn plain(data: &[u8], compression: Compression) -> CheckedChunk {
    let blob = Blob::encode(data, compression).unwrap();
    CheckedChunk::check(Digest::of(data), data.len() as u64, blob.into_bytes()).unwrap()
}

fn chunk(data: &[u8]) -> CheckedChunk {
    plain(data, Compression::None)
}

async fn session(store: &Arc<Store>) -> Session {
    store.begin_session(CacheUse::Keep).await.unwrap()
}

async fn marks(store: &Store, digest: &Digest) -> Marks {
    let held = store.locks.lock(digest).await;
    store.dir.marks(&held, vec![*digest]).await.unwrap()[0]
}

/// Lets other tasks run for as long as they can without an event from outside.
async fn settle_down() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

type Insert = JoinHandle<(Session, Result<Inserted, InsertError>)>;

/// Inserts in a session of its own, which is given back.
fn spawn_insert(store: &Arc<Store>, chunk: CheckedChunk) -> Insert {
    let store = Arc::clone(store);
    tokio::spawn(async move {
        let session = session(&store).await;
        let inserted = store.insert(&session, chunk).await;
        (session, inserted)
    })
}

impl Scene {
    async fn opened() -> (Self, Arc<Store>) {
        let scene = Self::new();
        let store = scene.open(&scene.dir).await;
        (scene, store)
    }

    fn object(&self, digest: &Digest) -> Option<Bytes> {
        self.backend.inner().object(key_of(digest).as_str())
    }

    /// Returns how many times chunks were fetched.
    fn fetches(&self) -> usize {
        let log = self.backend.log();
        let is_fetch = |request: &&crate::testing::Request| {
            request.kind == RequestKind::Get && request.keys.iter().any(|key| key.starts_with(".chunks/"))
        };
        log.iter().filter(is_fetch).count()
    }

    async fn condemned(&self, store: &Store, digest: Digest) -> (Batch, Condemned) {
        let run = store.begin_run(Duration::ZERO, Duration::ZERO).await.unwrap();
        let answer = self.backend.inner().head(&key_of(&digest)).await.unwrap();
        let written_at = answer.value.map(|object| object.modified_at);
        let mut batch = Batch::default();
        let decisions = store.condemn(&run, &mut batch, &[Candidate { digest, written_at }]).await.unwrap();
        (batch, decisions[0])
    }
}

#[tokio::test]
async fn h04_a_failed_upload_leaves_another_one_its_protection() {
    let (scene, store) = Scene::opened().await;
    let mut held = scene.backend.hold_after(Which::every(RequestKind::PutNew));
    let inserts = [spawn_insert(&store, chunk(b"abc")), spawn_insert(&store, chunk(b"abc"))];
    let (one, other) = (held.arrived().await, held.arrived().await);
    one.lose();
    settle_down().await;
    assert!(marks(&store, &Digest::of(b"abc")).await.upload_started_at.is_some());
    other.release();
    let mut stored = 0;
    for insert in inserts {
        stored += usize::from(insert.await.unwrap().1.is_ok());
    }
    assert_eq!(stored, 1, "one lost its reply, the other is not harmed");
    assert!(marks(&store, &Digest::of(b"abc")).await.upload_started_at.is_none());
}

#[tokio::test]
async fn h05_uploads_of_one_chunk_at_a_time_all_succeed() {
    let (scene, store) = Scene::opened().await;
    let mut held = scene.backend.hold_before(Which::every(RequestKind::PutNew));
    let inserts: Vec<Insert> = (0..8).map(|_| spawn_insert(&store, chunk(b"abc"))).collect();
    let mut requests = Vec::new();
    for _ in &inserts {
        requests.push(held.arrived().await);
    }
    requests.into_iter().rev().for_each(crate::testing::HeldRequest::release);
    let mut new = 0;
    for insert in inserts {
        new += usize::from(insert.await.unwrap().1.unwrap() != Inserted::Known);
    }
    assert_eq!(new, 1);
}

#[tokio::test]
async fn h08_what_a_crash_cut_short_is_protected_found_again_and_collected_if_nobody_wants_it() {
    let (scene, store) = Scene::opened().await;
    let mut held = scene.backend.hold_after(Which::every(RequestKind::PutNew));
    let inserts = [spawn_insert(&store, chunk(b"abc")), spawn_insert(&store, chunk(b"def"))];
    let _requests = [held.arrived().await, held.arrived().await];
    inserts.iter().for_each(Insert::abort);
    settle_down().await;
    scene.backend.clear_rules();
    let [wanted, left] = [Digest::of(b"abc"), Digest::of(b"def")];
    for digest in [wanted, left] {
        let marks = marks(&store, &digest).await;
        assert!(marks.marker.is_none() && marks.upload_started_at.is_some());
    }
    drop(store);
    let store = scene.open(&scene.dir).await;
    scene.clock.advance(DAY);
    let session = session(&store).await;
    assert_eq!(store.insert(&session, chunk(b"abc")).await.unwrap(), Inserted::Known);
    assert!(has_marker(&store, &wanted).await);
    assert_eq!(scene.condemned(&store, wanted).await.1, Condemned::InUse);
    let (batch, decision) = scene.condemned(&store, left).await;
    assert_eq!(decision, Condemned::Yes);
    store.carry_out(batch, &|| false).await.unwrap();
    assert!(!scene.has_object(&left));
}

#[tokio::test]
async fn h17_a_session_without_cache_leaves_marks_that_the_sweep_respects() {
    let (scene, store) = Scene::opened().await;
    let digest = Digest::of(b"abc");
    let session = store.begin_session(CacheUse::Skip).await.unwrap();
    let mut held = scene.backend.hold_after(Which::next(RequestKind::PutNew));
    let insert = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { (store.insert(&session, chunk(b"abc")).await, session) })
    };
    let request = held.arrived().await;
    scene.clock.advance(DAY);
    assert!(marks(&store, &digest).await.upload_started_at.is_some());
    assert_eq!(scene.condemned(&store, digest).await.1, Condemned::InUse);
    request.release();
    let (inserted, _session) = insert.await.unwrap();
    assert!(matches!(inserted.unwrap(), Inserted::New { .. }));
    let marks = marks(&store, &digest).await;
    assert_eq!(marks.marker.map(|marker| (marker.len, marker.class)), Some((0, Some(ChunkClass::Plain))));
    assert_eq!(marks.upload_started_at, None);
    assert_eq!(scene.condemned(&store, digest).await.1, Condemned::InUse);
}

#[tokio::test]
async fn h22_an_acknowledgement_from_before_a_delete_does_not_count() {
    let (scene, store) = Scene::opened().await;
    let digest = Digest::of(b"abc");
    let mut held = scene.backend.hold_after(Which::next(RequestKind::PutNew));
    let insert = spawn_insert(&store, chunk(b"abc"));
    let acknowledged = held.arrived().await;
    // A batch comes and goes before the acknowledgement is processed.
    assert!(store.journal.condemn(&digest));
    let (id, _) = store.journal.enter(&[digest], START, "token".to_owned()).unwrap();
    scene.remove_chunk(&store, &digest).await;
    store.journal.settle(id, None);
    acknowledged.release();
    let (session, inserted) = insert.await.unwrap();
    assert!(matches!(inserted.unwrap(), Inserted::New { .. }));
    session.check_alive().unwrap();
    assert!(scene.has_object(&digest) && has_marker(&store, &digest).await);
    assert_eq!(scene.backend.requests(RequestKind::PutNew), 2);
}

#[tokio::test]
async fn a_chunk_in_limbo_is_waited_for_until_the_backends_clock_has_passed_the_expiry() {
    let (scene, store) = Scene::opened().await;
    let digest = Digest::of(b"abc");
    assert!(store.journal.condemn(&digest));
    let expires_at = scene.clock.wall().plus(MINUTE);
    let (id, _) = store.journal.enter(&[digest], expires_at, "token".to_owned()).unwrap();
    let insert = spawn_insert(&store, chunk(b"abc"));
    settle_down().await;
    assert!(!insert.is_finished() && scene.clock.wall() < expires_at, "deletes under way decide, not time");
    store.journal.put_in_limbo(id);
    assert!(matches!(insert.await.unwrap().1.unwrap(), Inserted::New { .. }));
    assert!(scene.clock.wall() > expires_at.plus(store.options.lifetimes.margin));
}

#[tokio::test]
async fn h32_a_bad_object_that_is_already_there_is_replaced() {
    let (scene, store) = Scene::opened().await;
    let session = session(&store).await;
    let good = chunk(b"abc").blob().as_bytes().clone();
    let digest = Digest::of(b"abc");
    let mut flipped = good.to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    for bad in [Bytes::new(), good.slice(..10), good.slice(..good.len() - 1), flipped.into()] {
        scene.remove_chunk(&store, &digest).await;
        scene.backend.inner().place(key_of(&digest).as_str(), bad);
        assert!(matches!(store.insert(&session, chunk(b"abc")).await.unwrap(), Inserted::New { .. }));
        assert_eq!(scene.object(&digest), Some(good.clone()));
    }
}

#[tokio::test]
async fn h32_a_good_object_of_another_encoding_is_kept_and_cached() {
    let (scene, store) = Scene::opened().await;
    let session = session(&store).await;
    let data = vec![7; 10_000];
    let (stored, offered) = (plain(&data, Compression::Zstd), chunk(&data));
    let digest = stored.digest();
    scene.backend.inner().place(key_of(&digest).as_str(), stored.blob().as_bytes().clone());
    // One body that is damaged on its way says nothing of the object.
    scene.backend.wrong_body(Which::next(RequestKind::Get), "damaged");
    assert_eq!(store.insert(&session, offered.clone()).await.unwrap(), Inserted::Known);
    assert_eq!(scene.object(&digest).as_ref(), Some(stored.blob().as_bytes()));
    let cached = store.dir.read(EntryName::chunk(digest)).await.unwrap();
    assert_eq!(cached.as_ref(), Some(stored.blob().as_bytes()));
    // The same encoding is known by its tag, or else by its content.
    for fetches in [2, 3] {
        let held = store.locks.lock(&digest).await;
        store.dir.remove_markers(&held, vec![digest]).await.unwrap();
        drop(held);
        assert_eq!(store.insert(&session, stored.clone()).await.unwrap(), Inserted::Known);
        assert_eq!(scene.fetches(), fetches, "the two bodies of before come first");
        scene.backend.hide_tags();
    }
}

#[tokio::test]
async fn a_backend_that_is_down_is_named_and_only_what_was_not_stored_is_sent_again() {
    let (scene, store) = Scene::opened().await;
    let session = session(&store).await;
    store.insert(&session, chunk(b"abc")).await.unwrap();
    scene.backend.down();
    // What is known needs no backend.
    assert_eq!(store.insert(&session, chunk(b"abc")).await.unwrap(), Inserted::Known);
    let error = store.insert(&session, chunk(b"def")).await.unwrap_err();
    assert!(matches!(&error, InsertError::Backend(error) if error.fault == Fault::Unavailable));
    assert!(error.to_string().contains(&Digest::of(b"def").to_string()), "{error}");
    assert!(marks(&store, &Digest::of(b"def")).await.upload_started_at.is_some());
    scene.backend.up();
    let before = scene.backend.requests(RequestKind::PutNew);
    for (data, is_new) in [(b"abc", false), (b"def", true)] {
        let inserted = store.insert(&session, chunk(data)).await.unwrap();
        assert_eq!(inserted != Inserted::Known, is_new);
    }
    assert_eq!(scene.backend.requests(RequestKind::PutNew), before + 1);
}

#[tokio::test]
async fn an_upload_that_ends_after_the_bucket_was_lost_does_not_count() {
    let (scene, store) = Scene::opened().await;
    let mut held = scene.backend.hold_after(Which::next(RequestKind::PutNew));
    let insert = spawn_insert(&store, chunk(b"abc"));
    let request = held.arrived().await;
    store.supersede();
    request.release();
    let (session, inserted) = insert.await.unwrap();
    assert!(matches!(inserted, Err(InsertError::Closed(Closed::Superseded))));
    session.check_alive().unwrap_err();
    assert!(!has_marker(&store, &Digest::of(b"abc")).await);
    let error = store.insert(&session, chunk(b"def")).await.unwrap_err();
    assert!(matches!(error, InsertError::Closed(Closed::Superseded)));
}

#[tokio::test]
async fn a_full_disk_costs_cached_content_and_fails_only_when_there_is_none() {
    let (scene, store) = Scene::opened().await;
    let session = session(&store).await;
    store.insert(&session, chunk(b"abc")).await.unwrap();
    scene.dir.leave_room(Room::Nothing);
    assert!(matches!(store.insert(&session, chunk(b"def")).await.unwrap(), Inserted::New { .. }));
    assert_eq!(marks(&store, &Digest::of(b"abc")).await.marker.unwrap().len, 0);
    scene.dir.leave_room(Room::Nothing);
    assert!(store.insert(&session, chunk(b"ghi")).await.unwrap_err().is_storage_full());
}

#[tokio::test]
async fn the_status_shows_uploads_under_way() {
    let (scene, store) = Scene::opened().await;
    let mut held = scene.backend.hold_before(Which::every(RequestKind::PutNew));
    let inserts = [spawn_insert(&store, chunk(b"abc")), spawn_insert(&store, chunk(b"def"))];
    let requests = [held.arrived().await, held.arrived().await];
    let status = store.status();
    assert_eq!((status.uploads, status.upload_bytes, status.uploads_allowed), (2, 30, 16));
    drop(requests);
    for insert in inserts {
        insert.await.unwrap().1.unwrap();
    }
    assert_eq!((store.status().uploads, store.status().upload_bytes), (0, 0));
}
