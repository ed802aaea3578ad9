use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::CheckedChunk;
use crate::backend::{Fault, ObjectKey, Put, PutCondition};
use crate::blob::{Blob, Compression};
use crate::bucket::journal::{Journal, Standing};
use crate::bucket::{Batch, BatchOutcome, Candidate, Closed, Condemned, Fate, Healed};
use crate::digest::Digest;
use crate::dir::{ChunkDir, EntryKind, EntryName, MarkerDir, Marks};
use crate::session::{CacheUse, Run, SessionFailed};
use crate::store::{Inserted, Quarantined, RunError, StoreError};
use crate::testing::{RequestKind, StagedBackend, Which};

type Store = Arc<BucketStore<MemoryDir, StagedBackend>>;

const DAY: Duration = Duration::from_hours(24);
const NONE: Duration = Duration::ZERO;

/// A store with a backend that stops where the test says, and a clock on which every wait is over at once.
struct Scene {
    clock: Arc<ManualClock>,
    backend: StagedBackend,
    store: Store,
}

impl Scene {
    async fn open() -> Self {
        Self::open_with(clock()).await
    }

    /// The same with a clock that moves only when the test says so, for tests in which somebody waits.
    async fn open_standing() -> Self {
        Self::open_with(Arc::new(ManualClock::at(START))).await
    }

    async fn open_with(clock: Arc<ManualClock>) -> Self {
        let backend = StagedBackend::new(Arc::clone(&clock) as _);
        let store = open_store(MemoryDir::new(), backend.clone(), &clock).await;
        Self { clock, backend, store }
    }

    /// Stores chunks in a session of their own, and lets a day pass.
    async fn store_old(&self, data: &[&[u8]]) -> Vec<Digest> {
        let session = self.store.begin_session(CacheUse::Keep).await.unwrap();
        let mut digests = Vec::new();
        for data in data {
            self.store.insert(&session, chunk(data)).await.unwrap();
            digests.push(Digest::of(data));
        }
        drop(session);
        self.store.dir().sync().await.unwrap();
        self.clock.advance(DAY);
        digests
    }

    async fn run(&self) -> Run {
        self.store.begin_run(NONE, NONE).await.unwrap()
    }

    /// Makes candidates of digests as the listing shows their objects.
    async fn candidates(&self, digests: &[Digest]) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        for digest in digests {
            let answer = self.backend.inner().head(&key(digest)).await.unwrap();
            // The backend's clock is the store's.
            let written_at = answer.value.map(|object| object.modified_at);
            candidates.push(Candidate { digest: *digest, written_at });
        }
        candidates
    }

    /// Condemns what it can of the digests.
    async fn condemn(&self, digests: &[Digest]) -> (Batch, Vec<Condemned>) {
        let (run, mut batch) = (self.run().await, Batch::default());
        let candidates = self.candidates(digests).await;
        let decisions = self.store.condemn(&run, &mut batch, &candidates).await.unwrap();
        (batch, decisions)
    }

    /// Condemns the digests, all of which are garbage.
    async fn batch_of(&self, digests: &[Digest]) -> Batch {
        let (batch, decisions) = self.condemn(digests).await;
        assert_eq!(decisions, vec![Condemned::Yes; digests.len()]);
        batch
    }

    async fn carry_out(&self, batch: Batch) -> Counts {
        Counts::of(self.store.carry_out(batch, &|| false).await.unwrap())
    }

    /// Stores a chunk in a session of its own; returns whether that uploaded anything.
    async fn insert(&self, data: &[u8]) -> bool {
        let session = self.store.begin_session(CacheUse::Keep).await.unwrap();
        let inserted = self.store.insert(&session, chunk(data)).await.unwrap();
        session.check_alive().unwrap();
        matches!(inserted, Inserted::New { .. })
    }

    /// The same in a task.
    fn insert_in_task(&self, data: &'static [u8]) -> tokio::task::JoinHandle<Result<bool, SessionFailed>> {
        let store = Arc::clone(&self.store);
        tokio::spawn(async move {
            let session = store.begin_session(CacheUse::Keep).await.unwrap();
            let inserted = store.insert(&session, chunk(data)).await.unwrap();
            session.check_alive().map(|()| matches!(inserted, Inserted::New { .. }))
        })
    }

    /// Lets time go by until a task has ended.
    async fn let_end<T>(&self, task: &tokio::task::JoinHandle<T>) {
        for _ in 0..1000 {
            self.clock.advance(Duration::from_secs(1));
            settle_down().await;
            if task.is_finished() {
                return;
            }
        }
        panic!("it waits for ever");
    }

    async fn marks(&self, digest: &Digest) -> Marks {
        let held = self.store.locks.lock(digest).await;
        self.store.dir().marks(&held, vec![*digest]).await.unwrap()[0]
    }

    async fn has_object(&self, digest: &Digest) -> bool {
        self.backend.inner().head(&key(digest)).await.unwrap().value.is_some()
    }

    /// Checks I2, and that the chunk can be read if `is_stored`.
    async fn assert_stored(&self, digest: &Digest, is_stored: bool) {
        let (marks, has_object) = (self.marks(digest).await, self.has_object(digest).await);
        assert_eq!(has_object, is_stored);
        assert_eq!(marks.marker.is_some(), is_stored);
    }
}

/// How many digests of a batch came to each fate.
#[derive(Debug, PartialEq, Default)]
struct Counts {
    deleted: u64,
    rescued: u64,
    in_limbo: u64,
    unsent: u64,
    refused: Vec<(Digest, String)>,
}

impl Counts {
    fn of(outcome: BatchOutcome) -> Self {
        let mut counts = Self::default();
        for (digest, fate) in outcome {
            match fate {
                Fate::Deleted => counts.deleted += 1,
                Fate::Rescued => counts.rescued += 1,
                Fate::InLimbo => counts.in_limbo += 1,
                Fate::Unsent => counts.unsent += 1,
                Fate::Refused { reason, is_unclear } => {
                    counts.in_limbo += u64::from(is_unclear);
                    counts.refused.push((digest, reason));
                }
            }
        }
        counts
    }
}

fn chunk(data: &[u8]) -> CheckedChunk {
    let blob = Blob::encode(data, Compression::None).unwrap();
    CheckedChunk::check(Digest::of(data), data.len() as u64, blob.into_bytes()).unwrap()
}

fn key(digest: &Digest) -> ObjectKey {
    ObjectKey::of_entry(EntryName::chunk(*digest))
}

/// Lets other tasks run for as long as they can without an event from outside.
async fn settle_down() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn h01_an_object_whose_upload_is_not_over_is_not_condemned() {
    let scene = Scene::open().await;
    let mut held = scene.backend.hold_after(Which::next(RequestKind::PutNew));
    let insert = scene.insert_in_task(b"abc");
    let upload = held.arrived().await;
    scene.clock.advance(DAY);
    let digest = Digest::of(b"abc");
    assert!(scene.has_object(&digest).await && scene.marks(&digest).await.marker.is_none());
    let (_, decisions) = scene.condemn(&[digest]).await;
    assert_eq!(decisions, [Condemned::InUse]);
    upload.release();
    assert_eq!(insert.await.unwrap(), Ok(true));
    scene.assert_stored(&digest, true).await;
}

#[tokio::test]
async fn h02_a_chunk_used_after_it_was_condemned_is_taken_out_of_the_batch() {
    let scene = Scene::open().await;
    let digests = scene.store_old(&[b"abc", b"def"]).await;
    let batch = scene.batch_of(&digests).await;
    assert!(!scene.insert(b"abc").await);
    let outcome = scene.carry_out(batch).await;
    assert_eq!(outcome, Counts { deleted: 1, rescued: 1, ..Counts::default() });
    scene.assert_stored(&digests[0], true).await;
    scene.assert_stored(&digests[1], false).await;
}

#[tokio::test]
async fn h02_an_insert_while_the_delete_is_on_its_way_waits_and_uploads_anew() {
    let scene = Scene::open_standing().await;
    let digests = scene.store_old(&[b"abc"]).await;
    let batch = scene.batch_of(&digests).await;
    let mut held = scene.backend.hold_before(Which::next(RequestKind::Delete));
    let uploads = scene.backend.requests(RequestKind::PutNew);
    let delete = async {
        let delete = held.arrived().await;
        let insert = scene.insert_in_task(b"abc");
        settle_down().await;
        assert_eq!(scene.backend.requests(RequestKind::PutNew), uploads, "it waits");
        delete.release();
        [insert]
    };
    let (outcome, [insert]) = tokio::join!(scene.carry_out(batch), delete);
    assert_eq!(outcome.deleted, 1);
    scene.let_end(&insert).await;
    assert_eq!(insert.await.unwrap(), Ok(true));
    scene.assert_stored(&digests[0], true).await;
}

#[tokio::test]
async fn h03_an_object_found_there_already_is_not_condemned_before_the_insert_ends() {
    let scene = Scene::open().await;
    let content = chunk(b"abc").blob().clone().into_bytes();
    let digest = Digest::of(b"abc");
    let put = Put { key: key(&digest), content, condition: PutCondition::Always, validity: None };
    scene.backend.inner().put(put).await.unwrap();
    scene.clock.advance(DAY);
    let mut held = scene.backend.hold_after(Which::next(RequestKind::PutNew));
    let insert = scene.insert_in_task(b"abc");
    let found = held.arrived().await;
    let (_, decisions) = scene.condemn(&[digest]).await;
    assert_eq!(decisions, [Condemned::InUse]);
    found.release();
    insert.await.unwrap().unwrap();
    scene.assert_stored(&digest, true).await;
}

#[tokio::test]
async fn h09_power_loss_brings_no_marker_back_over_nothing() {
    let scene = Scene::open().await;
    let digests = scene.store_old(&[b"abc"]).await;
    let batch = scene.batch_of(&digests).await;
    assert_eq!(scene.carry_out(batch).await.deleted, 1);
    scene.store.dir().lose_power();
    scene.assert_stored(&digests[0], false).await;
    let journal = Journal::load(scene.store.dir()).await.unwrap();
    assert_eq!(journal.counts().journalled, 0);
}

/// Goal: the journal is not settled before the markers are gone for good, not by the passing of time either.
/// Method: the sync fails, or the future is dropped before it; then all requests expire.
#[tokio::test]
async fn h09_limbo_does_not_end_before_the_removal_of_markers_is_durable() {
    let scene = Scene::open().await;
    let digests = scene.store_old(&[b"abc"]).await;
    let batch = scene.batch_of(&digests).await;
    scene.store.dir().fail(&["sync"]);
    assert!(scene.store.carry_out(batch, &|| false).await.is_err());
    scene.clock.advance(DAY);
    assert!(scene.store.expire_by_date().await.is_err());
    assert_eq!(scene.store.journal.standing(&digests[0]), Standing::Journalled);
    scene.store.dir().fail(&[]);
    scene.store.expire_by_date().await.unwrap();
    assert_eq!(scene.store.journal.standing(&digests[0]), Standing::Free);
    scene.store.dir().lose_power();
    scene.assert_stored(&digests[0], false).await;
}

#[tokio::test]
async fn h10_a_delete_without_an_answer_never_lands_on_a_chunk_uploaded_again() {
    let scene = Scene::open().await;
    let digests = scene.store_old(&[b"abc"]).await;
    let batch = scene.batch_of(&digests).await;
    let mut held = scene.backend.hold_before(Which::next(RequestKind::Delete));
    let lose = async { held.arrived().await.lose_now_land_later() };
    let (outcome, late) = tokio::join!(scene.carry_out(batch), lose);
    assert_eq!(outcome, Counts { in_limbo: 1, ..Counts::default() });
    let saved = Journal::load(scene.store.dir()).await.unwrap();
    assert_eq!(saved.counts().in_limbo, 1);
    // The insert waits until the delete has expired.
    scene.insert(b"abc").await;
    assert!(late.land().await.is_err());
    scene.assert_stored(&digests[0], true).await;
}

#[tokio::test]
async fn h21_a_first_attempt_that_lands_late_is_feared_even_if_the_second_one_succeeded() {
    let scene = Scene::open().await;
    let digests = scene.store_old(&[b"abc"]).await;
    let batch = scene.batch_of(&digests).await;
    let mut held = scene.backend.hold_before(Which::next(RequestKind::Delete));
    let repeat = async { held.arrived().await.repeat_now_land_later() };
    let (outcome, late) = tokio::join!(scene.carry_out(batch), repeat);
    assert_eq!(outcome.in_limbo, 1);
    assert!(scene.insert(b"abc").await);
    assert!(late.land().await.is_err());
    scene.assert_stored(&digests[0], true).await;
}

#[tokio::test]
async fn h18_refused_keys_are_reported_and_left_to_a_later_run() {
    let scene = Scene::open().await;
    let digests = scene.store_old(&[b"abc", b"def"]).await;
    let batch = scene.batch_of(&digests).await;
    let locked = key(&digests[0]);
    scene.backend.refuse_deletes(move |key| key == locked.as_str(), "locked");
    let outcome = scene.carry_out(batch).await;
    assert_eq!(outcome.deleted, 1);
    assert_eq!(outcome.refused, [(digests[0], "locked".to_owned())]);
    assert_eq!(scene.store.journal.counts().journalled, 0);
    assert!(scene.has_object(&digests[0]).await && scene.marks(&digests[0]).await == Marks::default());
    scene.backend.clear_rules();
    let batch = scene.batch_of(&digests[..1]).await;
    assert_eq!(scene.carry_out(batch).await.deleted, 1);
    // Requests that fail as a whole are no different, and one that expires deletes nothing.
    let digests = scene.store_old(&[b"ghi"]).await;
    for (fault, outcome) in [(Fault::Denied, (1, 0)), (Fault::Expired, (0, 1))] {
        let batch = scene.batch_of(&digests).await;
        scene.backend.fail(Which::next(RequestKind::Delete), fault, false);
        let got = scene.carry_out(batch).await;
        assert_eq!((got.refused.len() as u64, got.unsent), outcome);
    }
    // Uploaded again, it is found there.
    scene.insert(b"ghi").await;
    scene.assert_stored(&digests[0], true).await;
}

#[tokio::test]
async fn h20_the_upload_marker_of_a_very_long_upload_stays() {
    let scene = Scene::open().await;
    let mut held = scene.backend.hold_before(Which::next(RequestKind::PutNew));
    let insert = scene.insert_in_task(b"abc");
    let upload = held.arrived().await;
    scene.clock.advance(3 * DAY);
    let digest = Digest::of(b"abc");
    let (batch, decisions) = scene.condemn(&[digest]).await;
    assert_eq!(decisions, [Condemned::InUse]);
    scene.carry_out(batch).await;
    assert!(scene.marks(&digest).await.upload_started_at.is_some());
    upload.release();
    assert_eq!(insert.await.unwrap(), Ok(true));
    scene.assert_stored(&digest, true).await;
}

#[tokio::test]
async fn h08_what_a_crashed_upload_left_goes_with_the_next_run() {
    let scene = Scene::open().await;
    let mut held = scene.backend.hold_after(Which::every(RequestKind::PutNew));
    let insert = scene.insert_in_task(b"abc");
    let _upload = held.arrived().await;
    insert.abort();
    assert!(insert.await.is_err());
    scene.clock.advance(DAY);
    let digest = Digest::of(b"abc");
    let batch = scene.batch_of(&[digest]).await;
    assert_eq!(scene.carry_out(batch).await.deleted, 1);
    assert_eq!(scene.marks(&digest).await, Marks::default());
    assert!(!scene.has_object(&digest).await);
}

/// Goal: healing acts on what is there now.
/// Method: a chunk is uploaded between the effect of the HEAD and its reply.
#[tokio::test]
async fn h26_healing_does_not_remove_the_marker_of_a_chunk_uploaded_meanwhile() {
    let scene = Scene::open().await;
    let digest = Digest::of(b"abc");
    let mut held = scene.backend.hold_after(Which::next(RequestKind::Head).key(key(&digest)));
    let store = Arc::clone(&scene.store);
    let heal = tokio::spawn(async move { store.heal(&digest, true).await.unwrap() });
    let look = held.arrived().await;
    let insert = scene.insert_in_task(b"abc");
    settle_down().await;
    look.release();
    heal.await.unwrap();
    assert_eq!(insert.await.unwrap(), Ok(true));
    scene.assert_stored(&digest, true).await;
}

#[tokio::test]
async fn h26_healing_puts_no_marker_over_an_object_that_is_being_deleted() {
    let scene = Scene::open().await;
    let digests = scene.store_old(&[b"abc"]).await;
    let batch = scene.batch_of(&digests).await;
    let mut held = scene.backend.hold_before(Which::next(RequestKind::Delete));
    let heal = async {
        let delete = held.arrived().await;
        let healed = scene.store.heal(&digests[0], true).await.unwrap();
        delete.release();
        healed
    };
    let (_, healed) = tokio::join!(scene.carry_out(batch), heal);
    assert_eq!(healed, Healed::Nothing);
    scene.assert_stored(&digests[0], false).await;
}

#[tokio::test]
async fn healing_makes_marker_and_object_agree() {
    let scene = Scene::open().await;
    let digests = scene.store_old(&[b"abc", b"def"]).await;
    let session = scene.store.begin_session(CacheUse::Keep).await.unwrap();
    scene.store.insert(&session, chunk(b"abc")).await.unwrap();
    let other = scene.store.begin_session(CacheUse::Keep).await.unwrap();
    assert_eq!(scene.store.heal(&digests[0], true).await.unwrap(), Healed::Nothing);
    // The object vanishes behind the store's back.
    let validity = crate::backend::Validity { signed_at: scene.store.clock().now(), lasts: DAY };
    scene.backend.inner().delete(&[key(&digests[0])], validity).await.unwrap();
    let healed = scene.store.heal(&digests[0], true).await.unwrap();
    assert_eq!(healed, Healed::MarkerRemoved { failed_sessions: 1 });
    assert_eq!(session.check_alive(), Err(SessionFailed::ChunkLost { digest: digests[0] }));
    other.check_alive().unwrap();
    assert!(scene.insert(b"abc").await);
    // The marker vanishes.
    {
        let held = scene.store.locks.lock(&digests[1]).await;
        scene.store.dir().remove_markers(&held, vec![digests[1]]).await.unwrap();
    }
    assert_eq!(scene.store.heal(&digests[1], false).await.unwrap(), Healed::Nothing);
    assert_eq!(scene.store.heal(&digests[1], true).await.unwrap(), Healed::MarkerCreated);
    scene.assert_stored(&digests[1], true).await;
}

#[tokio::test]
async fn h27_a_run_that_ends_early_leaves_nothing_condemned() {
    let scene = Scene::open().await;
    let digests = scene.store_old(&[b"abc", b"def"]).await;
    drop(scene.batch_of(&digests).await);
    assert_eq!(scene.store.journal.standing(&digests[0]), Standing::Free);
    // Cancelled before anything is entered, and before anything is sent.
    for calls in [0, 1] {
        let batch = scene.batch_of(&digests).await;
        let asked = std::sync::atomic::AtomicUsize::new(0);
        let is_cancelled = || asked.fetch_add(1, Ordering::Relaxed) >= calls;
        let outcome = Counts::of(scene.store.carry_out(batch, &is_cancelled).await.unwrap());
        assert_eq!(outcome, Counts { unsent: 2, ..Counts::default() });
        assert_eq!(scene.store.journal.counts().journalled, 0);
        assert!(scene.has_object(&digests[0]).await);
    }
    scene.insert(b"abc").await;
    scene.assert_stored(&digests[0], true).await;
    let batch = scene.batch_of(&digests[1..]).await;
    assert_eq!(scene.carry_out(batch).await.deleted, 1);
}

#[tokio::test]
async fn h27_a_batch_given_up_in_mid_air_is_in_limbo_and_inserts_go_on_after_it() {
    let scene = Scene::open().await;
    let digests = scene.store_old(&[b"abc"]).await;
    let batch = scene.batch_of(&digests).await;
    let mut held = scene.backend.hold_before(Which::next(RequestKind::Delete));
    let store = Arc::clone(&scene.store);
    let task = tokio::spawn(async move { store.carry_out(batch, &|| false).await.unwrap() });
    let late = held.arrived().await.lose_now_land_later();
    task.abort();
    assert!(task.await.is_err());
    assert_eq!(scene.store.journal.counts().in_limbo, 1);
    scene.insert(b"abc").await;
    assert!(late.land().await.is_err());
    scene.assert_stored(&digests[0], true).await;
}

#[tokio::test]
async fn nothing_is_sent_when_the_generation_is_lost_or_the_journal_cannot_be_saved() {
    let scene = Scene::open().await;
    let digests = scene.store_old(&[b"abc"]).await;
    let batch = scene.batch_of(&digests).await;
    scene.store.dir().fail(&["save_state"]);
    assert!(scene.store.carry_out(batch, &|| false).await.is_err());
    scene.store.dir().fail(&[]);
    assert_eq!(scene.store.journal.counts().journalled, 0);
    scene.assert_stored(&digests[0], true).await;
    let batch = scene.batch_of(&digests).await;
    let theirs = Put {
        key: ObjectKey::new(".generation").unwrap(),
        content: Bytes::from_static(b"{\"token\":\"theirs\",\"host\":\"two\"}"),
        condition: PutCondition::Always,
        validity: None,
    };
    scene.backend.inner().put(theirs).await.unwrap();
    let lost = scene.store.carry_out(batch, &|| false).await;
    assert!(matches!(lost, Err(StoreError::Closed(Closed::Superseded))));
    assert_eq!(scene.backend.requests(RequestKind::Delete), 0);
    assert!(matches!(scene.store.begin_run(NONE, NONE).await, Err(RunError::Closed(_))));
}

#[tokio::test]
async fn nothing_is_sent_after_its_expiry() {
    let scene = Scene::open().await;
    let digests = scene.store_old(&[b"abc"]).await;
    let batch = scene.batch_of(&digests).await;
    // The advance of the generation takes too long.
    let mut held = scene.backend.hold_after(Which::next(RequestKind::Put).key(".generation"));
    let delay = async {
        let advance = held.arrived().await;
        scene.clock.advance(scene.store.options.lifetimes.delete + Duration::from_secs(1));
        advance.release();
    };
    let (outcome, ()) = tokio::join!(scene.carry_out(batch), delay);
    assert_eq!(outcome, Counts { unsent: 1, ..Counts::default() });
    assert_eq!(scene.backend.requests(RequestKind::Delete), 0);
    assert!(scene.has_object(&digests[0]).await);
}

/// Replaces the object of a chunk by something that is no such chunk.
async fn corrupt(scene: &Scene, digest: &Digest) {
    let content = Bytes::from_static(b"no blob at all");
    let put = Put { key: key(digest), content, condition: PutCondition::Always, validity: None };
    scene.backend.inner().put(put).await.unwrap();
}

#[tokio::test]
async fn h29_a_session_that_relies_on_a_chunk_set_aside_fails_and_the_next_one_uploads_it() {
    let scene = Scene::open_standing().await;
    let digests = scene.store_old(&[b"abc"]).await;
    corrupt(&scene, &digests[0]).await;
    let session = scene.store.begin_session(CacheUse::Keep).await.unwrap();
    scene.store.insert(&session, chunk(b"abc")).await.unwrap();
    // Another insert comes while the chunk is being set aside.
    let mut held = scene.backend.hold_before(Which::next(RequestKind::Copy));
    let insert = async {
        let copy = held.arrived().await;
        let insert = scene.insert_in_task(b"abc");
        settle_down().await;
        copy.release();
        [insert]
    };
    let (quarantined, [insert]) = tokio::join!(scene.store.quarantine(&digests[0]), insert);
    assert_eq!(quarantined.unwrap(), Quarantined::SetAside { number: 0, failed_sessions: 1 });
    assert_eq!(session.check_alive(), Err(SessionFailed::ChunkLost { digest: digests[0] }));
    scene.let_end(&insert).await;
    assert_eq!(insert.await.unwrap(), Ok(true));
    scene.assert_stored(&digests[0], true).await;
    let bad = ObjectKey::of_entry(EntryName::new(digests[0], EntryKind::Bad(0)));
    assert_eq!(scene.backend.inner().get(&bad).await.unwrap().value.unwrap().1, "no blob at all");
    assert_eq!(scene.store.quarantine(&digests[0]).await.unwrap(), Quarantined::Good);
    // The next bad one gets the next number.
    corrupt(&scene, &digests[0]).await;
    let quarantined = scene.store.quarantine(&digests[0]).await.unwrap();
    assert!(matches!(quarantined, Quarantined::SetAside { number: 1, .. }));
    assert_eq!(scene.store.quarantine(&digests[0]).await.unwrap(), Quarantined::Missing);
}

#[tokio::test]
async fn h29_a_chunk_replaced_after_it_was_found_bad_is_not_set_aside() {
    let scene = Scene::open().await;
    let digests = scene.store_old(&[b"abc"]).await;
    let good = scene.backend.inner().get(&key(&digests[0])).await.unwrap().value.unwrap().1;
    corrupt(&scene, &digests[0]).await;
    let mut held = scene.backend.hold_before(Which::next(RequestKind::Head).key(key(&digests[0])));
    let replace = async {
        let look = held.arrived().await;
        let put =
            Put { key: key(&digests[0]), content: good, condition: PutCondition::Always, validity: None };
        scene.backend.inner().put(put).await.unwrap();
        look.release();
    };
    let (quarantined, ()) = tokio::join!(scene.store.quarantine(&digests[0]), replace);
    assert_eq!(quarantined.unwrap(), Quarantined::Good);
    scene.assert_stored(&digests[0], true).await;
}

#[tokio::test]
async fn h29_a_late_delete_of_a_chunk_set_aside_does_not_hit_the_one_uploaded_again() {
    let scene = Scene::open().await;
    let digests = scene.store_old(&[b"abc"]).await;
    corrupt(&scene, &digests[0]).await;
    let mut held = scene.backend.hold_before(Which::next(RequestKind::Delete));
    let lose = async { held.arrived().await.lose_now_land_later() };
    let (quarantined, late) = tokio::join!(scene.store.quarantine(&digests[0]), lose);
    assert!(matches!(quarantined.unwrap(), Quarantined::SetAside { .. }));
    scene.insert(b"abc").await;
    let _ = late.land().await;
    scene.assert_stored(&digests[0], true).await;
}

#[tokio::test]
async fn h31_a_fetch_that_fails_or_goes_wrong_once_sets_nothing_aside() {
    let scene = Scene::open().await;
    let digests = scene.store_old(&[b"abc"]).await;
    let gets = || Which::next(RequestKind::Get).key(key(&digests[0]));
    scene.backend.fail(gets(), Fault::Unavailable, false);
    assert!(matches!(scene.store.quarantine(&digests[0]).await, Err(StoreError::Backend(_))));
    scene.backend.wrong_body(gets(), &b"torn"[..]);
    assert_eq!(scene.store.quarantine(&digests[0]).await.unwrap(), Quarantined::Good);
    scene.backend.wrong_body(gets(), &b"torn"[..]);
    scene.backend.fail(gets(), Fault::Unavailable, false);
    assert!(scene.store.quarantine(&digests[0]).await.is_err());
    scene.assert_stored(&digests[0], true).await;
}

#[tokio::test]
async fn a_full_batch_is_deleted_in_several_requests_with_one_journal_entry() {
    let scene = Scene::open().await;
    let digests: BTreeSet<Digest> = (0..2500_u32).map(|number| Digest::of(&number.to_le_bytes())).collect();
    for digest in &digests {
        let content = Bytes::from_static(b"x");
        let put = Put { key: key(digest), content, condition: PutCondition::Always, validity: None };
        scene.backend.inner().put(put).await.unwrap();
    }
    scene.clock.advance(DAY);
    let digests: Vec<Digest> = digests.into_iter().collect();
    let batch = scene.batch_of(&digests).await;
    assert_eq!(batch.digests().len(), digests.len());
    let before = scene.backend.log().len();
    assert_eq!(scene.carry_out(batch).await.deleted, 2500);
    assert_eq!(scene.backend.requests(RequestKind::Delete), 3);
    // The generation advances before the first delete leaves (R10).
    assert_eq!(scene.backend.log()[before].keys, [".generation"]);
    assert!(scene.store.carry_out(Batch::default(), &|| false).await.unwrap().is_empty());
}

#[tokio::test]
async fn one_run_at_a_time_and_none_on_a_disk_that_keeps_no_times() {
    let scene = Scene::open().await;
    let run = scene.run().await;
    assert!(matches!(scene.store.begin_run(NONE, NONE).await, Err(RunError::Busy)));
    drop(run);
    scene.store.dir().fail(&["keeps_times"]);
    assert!(matches!(scene.store.begin_run(NONE, NONE).await, Err(RunError::TimesNotKept)));
    scene.store.dir().fail(&["save_state"]);
    assert!(matches!(scene.store.begin_run(NONE, NONE).await, Err(RunError::Dir(_))));
}
