//! H37: a blob that the server cannot check neither claims nor poisons a plain chunk.

use super::*;
use crate::blob::CryptKey;

const DATA: &[u8] = b"plain data";

/// A chunk that claims the digest of plain data; nobody without its key can tell.
fn claim(iv: u8) -> CheckedChunk {
    let blob = Blob::encode_with(DATA, Compression::None, &CryptKey::new([1; 32]), [iv; 16]).unwrap();
    CheckedChunk::check(Digest::of(DATA), DATA.len() as u64, blob.into_bytes()).unwrap()
}

fn digest() -> Digest {
    Digest::of(DATA)
}

async fn forget_class(store: &Store) {
    let held = store.locks.lock(&digest()).await;
    store.dir.remove_markers(&held, vec![digest()]).await.unwrap();
    let marker = NewMarker { digest: digest(), content: None, class: None, at: store.clock.now() };
    store.dir.place_marker(&held, marker).await.unwrap();
}

async fn class(store: &Store) -> Option<ChunkClass> {
    marks(store, &digest()).await.marker.unwrap().class
}

fn is_refused(inserted: &Result<Inserted, InsertError>) -> bool {
    matches!(inserted, Err(InsertError::ClassMismatch { stored: ChunkClass::Plain, .. }))
}

#[tokio::test]
async fn h37_a_plain_chunk_cannot_be_claimed_by_what_nobody_can_check() {
    for cache in [CacheUse::Keep, CacheUse::Skip] {
        let (scene, store) = Scene::opened().await;
        let session = store.begin_session(cache).await.unwrap();
        store.insert(&session, chunk(DATA)).await.unwrap();
        let stored = scene.object(&digest());
        assert!(is_refused(&store.insert(&session, claim(1)).await));
        // After a rebuild the object itself tells, also a damaged one.
        forget_class(&store).await;
        assert!(is_refused(&store.insert(&session, claim(1)).await));
        assert_eq!(scene.object(&digest()), stored);
        scene.backend.inner().corrupt(key_of(&digest()).as_str());
        assert!(is_refused(&store.insert(&session, claim(1)).await));
        // As does that of a chunk without marker.
        scene.backend.inner().place(key_of(&digest()).as_str(), stored.clone().unwrap());
        let held = store.locks.lock(&digest()).await;
        store.dir.remove_markers(&held, vec![digest()]).await.unwrap();
        drop(held);
        assert!(is_refused(&store.insert(&session, claim(1)).await));
        assert_eq!(scene.object(&digest()), stored);
    }
}

#[tokio::test]
async fn h37_a_plain_chunk_takes_the_place_of_a_claim() {
    for cache in [CacheUse::Keep, CacheUse::Skip] {
        for is_forgotten in [false, true] {
            let (scene, store) = Scene::opened().await;
            let claimant = store.begin_session(CacheUse::Keep).await.unwrap();
            store.insert(&claimant, claim(1)).await.unwrap();
            assert_eq!(class(&store).await, Some(ChunkClass::Encrypted));
            if is_forgotten {
                forget_class(&store).await;
            }
            let session = store.begin_session(cache).await.unwrap();
            assert!(matches!(store.insert(&session, chunk(DATA)).await.unwrap(), Inserted::New { .. }));
            assert_eq!(scene.object(&digest()).as_ref(), Some(chunk(DATA).blob().as_bytes()));
            assert_eq!(class(&store).await, Some(ChunkClass::Plain));
            assert_eq!(store.load(&digest()).await.unwrap().class(), ChunkClass::Plain);
        }
    }
}

#[tokio::test]
async fn h37_an_upload_of_one_class_waits_for_one_of_the_other() {
    let (scene, store) = Scene::opened().await;
    let mut held = scene.backend.hold_before(Which::next(RequestKind::Put).key(key_of(&digest())));
    let claimant = spawn_insert(&store, claim(1));
    let request = held.arrived().await;
    let honest = spawn_insert(&store, chunk(DATA));
    settle_down().await;
    assert!(!honest.is_finished(), "whose object the claimant's marker would speak of");
    request.release();
    claimant.await.unwrap().1.unwrap();
    honest.await.unwrap().1.unwrap();
    assert_eq!(scene.object(&digest()).as_ref(), Some(chunk(DATA).blob().as_bytes()));
    assert_eq!(class(&store).await, Some(ChunkClass::Plain));
}

#[tokio::test]
async fn h37_a_claim_that_was_fetched_before_it_was_replaced_is_not_cached() {
    let (scene, store) = Scene::opened().await;
    let session = store.begin_session(CacheUse::Skip).await.unwrap();
    store.insert(&session, claim(1)).await.unwrap();
    let mut held = scene.backend.hold_after(Which::next(RequestKind::Get));
    let load = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.load(&digest()).await })
    };
    let request = held.arrived().await;
    store.insert(&session, chunk(DATA)).await.unwrap();
    request.release();
    load.await.unwrap().unwrap();
    assert_eq!(store.load(&digest()).await.unwrap().class(), ChunkClass::Plain);
}

#[tokio::test]
async fn encrypted_chunks_of_one_digest_are_one_chunk_whatever_their_key() {
    let (scene, store) = Scene::opened().await;
    let session = session(&store).await;
    store.insert(&session, claim(1)).await.unwrap();
    let stored = scene.object(&digest());
    assert_eq!(store.insert(&session, claim(2)).await.unwrap(), Inserted::Known);
    forget_class(&store).await;
    assert_eq!(store.insert(&session, claim(2)).await.unwrap(), Inserted::Known);
    assert_eq!(scene.object(&digest()), stored);
    assert_eq!(class(&store).await, Some(ChunkClass::Encrypted));
    assert_eq!(store.dir.read(EntryName::chunk(digest())).await.unwrap(), stored, "as the bucket has it");
}

#[tokio::test]
async fn encrypted_chunks_of_different_length_are_not_one_chunk() {
    let (_, store) = Scene::opened().await;
    let session = session(&store).await;
    store.insert(&session, claim(1)).await.unwrap();
    forget_class(&store).await;
    let other =
        Blob::encode_with(b"longer than it", Compression::None, &CryptKey::new([1; 32]), [3; 16]).unwrap();
    let other = CheckedChunk::check(digest(), 14, other.into_bytes()).unwrap();
    let error = store.insert(&session, other).await.unwrap_err();
    assert!(matches!(error, InsertError::LengthMismatch { .. }), "{error}");
}

#[tokio::test]
async fn a_known_object_of_unknown_class_is_looked_at_and_not_sent_again() {
    let (scene, store) = Scene::opened().await;
    let session = session(&store).await;
    store.insert(&session, chunk(DATA)).await.unwrap();
    forget_class(&store).await;
    assert_eq!(store.insert(&session, chunk(DATA)).await.unwrap(), Inserted::Known);
    assert_eq!(class(&store).await, Some(ChunkClass::Plain));
    assert_eq!((scene.backend.requests(RequestKind::PutNew), scene.fetches()), (1, 0));
}

/// Goal: a claim whose session failed cannot land on the plain chunk that somebody uploads since.
/// Method: all attempts of its put are lost, of a new object or in the place of a bad one, and land after the plain chunk.
#[tokio::test]
async fn h37_a_claim_that_lands_late_replaces_no_plain_chunk() {
    for replaces in [false, true] {
        let (scene, store) = Scene::opened().await;
        if replaces {
            scene.backend.inner().place(key_of(&digest()).as_str(), "rotten");
        }
        // The one that finds the bad object takes no effect.
        let which = Which::next(RequestKind::Put).key(key_of(&digest())).after(usize::from(replaces));
        let mut held = scene.backend.hold_before(which);
        let (claimed, late) = tokio::join!(spawn_insert(&store, claim(1)), async {
            held.arrived().await.lose_now_land_later()
        });
        // A bad object that is still there is tried again.
        assert_eq!(claimed.unwrap().1.is_ok(), replaces);
        scene.backend.clear_rules();
        let plain = store.begin_session(CacheUse::Skip).await.unwrap();
        store.insert(&plain, chunk(DATA)).await.unwrap();
        let _ = late.land().await;
        assert_eq!(store.load(&digest()).await.unwrap().class(), ChunkClass::Plain, "{replaces}");
        // The last attempt of this one bears no condition (R3).
        let log = scene.backend.log();
        let unconditional = log.iter().filter(|request| request.kind == RequestKind::PutNew).count();
        assert_eq!(unconditional, usize::from(!replaces));
    }
}

/// Goal: nobody is served a claim in the place of the plain chunk that replaced it.
/// Method: power loss brings the claim's marker back, with its cached content.
#[tokio::test]
async fn h37_a_cached_claim_that_power_loss_brings_back_is_not_served() {
    let (scene, store) = Scene::opened().await;
    store.insert(&session(&store).await, claim(1)).await.unwrap();
    store.dir.sync().await.unwrap();
    store.insert(&session(&store).await, chunk(DATA)).await.unwrap();
    drop(store);
    scene.dir.lose_power();
    let cached = scene.dir.content(EntryName::chunk(digest())).unwrap();
    assert_eq!(&cached, claim(1).blob().as_bytes());
    let store = scene.open(&scene.dir).await;
    for _ in 0..2 {
        assert_eq!(store.load(&digest()).await.unwrap(), *chunk(DATA).blob());
    }
}

#[tokio::test]
async fn what_is_cached_of_an_encrypted_chunk_is_compared_once_after_an_unclean_end() {
    let (scene, store) = Scene::opened().await;
    store.insert(&session(&store).await, claim(1)).await.unwrap();
    let ask = async |store: &Store| {
        let before = scene.backend.requests(RequestKind::Head);
        for _ in 0..2 {
            assert_eq!(store.load(&digest()).await.unwrap(), *claim(1).blob());
        }
        scene.backend.requests(RequestKind::Head) - before
    };
    drop(store);
    let store = scene.open(&scene.dir).await;
    assert_eq!(ask(&store).await, 1);
    store.close().await.unwrap();
    drop(store);
    let store = scene.open(&scene.dir).await;
    assert_eq!((ask(&store).await, scene.fetches()), (0, 0));
}

/// Goal: where puts bear no condition, a claim takes the place of no object all the same.
/// Method: a plain or encrypted object without marker, as power loss leaves it, on a server that ignores conditions.
#[tokio::test]
async fn h37_a_claim_replaces_no_object_without_marker_where_no_condition_is_heeded() {
    for stored in [chunk(DATA), claim(1)] {
        let scene = Scene::new();
        scene.backend.ignore_conditions();
        let store = scene.try_open(&scene.dir, "one", |options| options.swaps_atomically = false).await;
        let store = Arc::new(store.unwrap());
        store.finish_rebuild().await.unwrap();
        let content = stored.blob().as_bytes().clone();
        scene.backend.inner().place(key_of(&digest()).as_str(), content.clone());
        let inserted = store.insert(&session(&store).await, claim(2)).await;
        match stored.blob().class() {
            ChunkClass::Plain => assert!(is_refused(&inserted)),
            ChunkClass::Encrypted => assert_eq!(inserted.unwrap(), Inserted::Known),
        }
        assert_eq!(scene.object(&digest()), Some(content));
    }
}

/// R3: a put that got no answer is no failure if its object is there.
#[tokio::test]
async fn h32_an_encrypted_chunk_whose_put_got_no_answer_is_found() {
    let (scene, store) = Scene::opened().await;
    let session = session(&store).await;
    scene.backend.lose_replies(Which::next(RequestKind::Put).key(key_of(&digest())));
    store.insert(&session, claim(1)).await.unwrap();
    assert_eq!(scene.object(&digest()).as_ref(), Some(claim(1).blob().as_bytes()));
    assert_eq!(class(&store).await, Some(ChunkClass::Encrypted));
}

/// Goal: whoever was told of a chunk that went bad does not commit with what an encrypted upload puts in its place (I3, H37).
/// Method: the object of an encrypted chunk goes bad, and another session puts something else under its digest.
#[tokio::test]
async fn h37_what_replaces_a_bad_encrypted_object_fails_the_sessions_that_were_told_of_it() {
    let (scene, store) = Scene::opened().await;
    let told = session(&store).await;
    store.insert(&told, claim(1)).await.unwrap();
    let mut bad = claim(1).blob().as_bytes().to_vec();
    *bad.last_mut().unwrap() ^= 1;
    scene.backend.inner().place(key_of(&digest()).as_str(), bad);
    store.dir.remove_markers(&store.locks.lock(&digest()).await, vec![digest()]).await.unwrap();
    let other = session(&store).await;
    assert!(matches!(store.insert(&other, claim(2)).await, Ok(Inserted::New { .. })));
    assert_eq!(scene.object(&digest()), Some(claim(2).blob().as_bytes().clone()));
    told.check_alive().unwrap_err();
    other.check_alive().unwrap();
}
