//! Backups, restores and collections, all at once, over a line that fails all the time.
//!
//! Goal: between 5 and 30 per cent of all requests fail, are cut, stall, or take effect without an answer or later, and yet
//! backups complete and restore (but for the few in which one request fails six times), a collection takes nothing that is
//! needed, and the server sends less than twice the requests that the same work takes without faults. Method: rounds of the
//! same work behind a proxy, the first of them undisturbed, the others with other odds each. In each, two backups share most of their chunks, a restore goes on beside
//! them, and in the middle of it snapshots are removed and collected some of whose chunks the two are uploading again; what
//! was late until then lands at that moment, of the round before, too. In some rounds the collection cannot list at all: it
//! must fail then (I6), and any that fails, for the backend alone. Then the folder is deleted, everything is verified from
//! the bucket alone, and one more collection leaves exactly what the snapshots refer to. `COLDKEEP_FAULT_ROUNDS` and
//! `COLDKEEP_FAULT_SEED` choose how often and which.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use coldkeep_client::{Store, TaskError};
use coldkeep_datastore::SnapshotName;
use coldkeep_s3_testbed::{
    Answer as BackendAnswer, Choices, Fault, FaultKind, FaultProxy, Odds, RequestHead,
};
use coldkeep_server::api::chain;
use http::StatusCode;

use super::{Scene, TIME, collect_all, lose_folder, names};
use crate::kill::setting;
use crate::live::Live;
use crate::material::{
    BACKUP, Chunk, append, backup_path, dynamic_csum, manifest, noise, offsets, open_dynamic, put_blob,
};
use crate::site::{archive, assert_verifies, collect, small, snapshot};
use crate::wire::{Answer, Session, Wire};

const ARCHIVE: &str = "a.bin.didx";
/// Less than a backup: restores read from the bucket.
const CACHE_BYTES: u64 = 512 << 10;
/// Chunks that all backups have.
const COMMON: u64 = 20;
/// Chunks that only the two backups of a round have.
const SHARED: u64 = 30;
/// Chunks that only one backup has.
const OWN: u64 = 30;
/// Chunks of a snapshot that goes, which are backed up again at that moment.
const AGAIN: usize = 10;
/// Snapshots that stay when a round removes what is older.
const KEPT: usize = 2;
/// Requests of a round before its removals and its collection: a third of those without faults.
const MIDDLE: usize = 80;
/// Undisturbed rounds: such that fill the store, and such that count.
const FIRST: usize = 3;
const UNDISTURBED: usize = 4;
/// In requests of a thousand: the least and the most that get a fault.
const FAULTS: (usize, usize) = (50, 300);
/// Kinds of faults that [`Odds::in_all`] draws in equal parts.
const KINDS: u16 = 12;
/// Of each kind that may last until the client gives the attempt up there are few.
const STALLS: u16 = 1;
/// Late effects come after so many further requests at most, unless what is late is let go before.
const LATE_AFTER_MAX: usize = 200;
/// Longest round: a chunk whose delete is in doubt keeps its upload waiting for seconds, a stalled request for half a minute.
const ROUND_WITHIN: Duration = Duration::from_mins(5);
/// In one round of so many the collection cannot list.
const CUT_OFF_ONE_IN: usize = 5;
/// Longest series of failed backups or restores.
const ATTEMPTS_MAX: usize = 4;
/// At most one in so many of them fails in the whole campaign.
const AGAIN_ONE_IN: usize = 10;
/// At least one in so many disturbed collections comes to its end.
const COMPLETE_ONE_IN: usize = 2;
/// What an error says that the backend is to blame for.
const OF_BACKEND: [&str; 4] = [
    "the backend does not answer or fails inside",
    "the backend asks for fewer requests",
    "it expired before the backend took it",
    "the answer is not one of S3",
];

fn chunk(number: u64) -> Chunk {
    Chunk::of(noise(number + 5_000_000, 20_000))
}

/// This many in a thousand in all; on a server that refuses no request for its age nothing arrives late, for there it would
/// be carried out whenever it comes (assumption 2 of `docs/correctness.md`), and on one without checksums no answer claims a
/// shorter length: two such cuts of one chunk look like damage in the store.
fn odds(per_mille: u16, late_after: usize) -> Odds {
    let share = per_mille / KINDS;
    let odds = Odds::in_all(per_mille).late_after(late_after);
    // What every client survives without noticing makes room for what none does.
    let odds = odds.with(FaultKind::CloseAfter, 0).with(FaultKind::Continues, 0);
    let odds = odds.with(FaultKind::LostReply, 2 * share).with(FaultKind::AnswerAfter, 2 * share);
    let odds = [FaultKind::Delay, FaultKind::StallBody, FaultKind::StallUpload]
        .into_iter()
        .fold(odds, |odds, kind| odds.with(kind, STALLS));
    let mut never = Vec::new();
    if !Live::any().bounds_requests() {
        never.extend([FaultKind::Late, FaultKind::Delay]);
    }
    if !Live::any().sends_checksums() {
        never.push(FaultKind::WrongLength);
    }
    never.into_iter().fold(odds, |odds, kind| odds.with(kind, 0))
}

/// A failure must be the backend's.
fn assert_of_backend(what: &str, why: &str) {
    assert!(OF_BACKEND.iter().any(|text| why.contains(text)), "{what} failed, not for the backend: {why}");
}

/// A backup to be made.
struct Planned {
    id: String,
    time: i64,
    numbers: Vec<u64>,
}

impl Planned {
    /// Makes the backup; one request of which six attempts fail one after the other ends it, and it is made anew, in another
    /// group. Returns what is committed, and what is not.
    async fn make(&self, wire: &Wire) -> (SnapshotName, Vec<SnapshotName>) {
        let mut failed = Vec::new();
        for attempt in 0..ATTEMPTS_MAX {
            let id = format!("{}-{attempt}", self.id);
            let name = snapshot(&id, self.time);
            let session = wire.upgrade(&backup_path(&id, self.time, ""), BACKUP).await;
            let session = session.unwrap_or_else(|answer| panic!("{}", answer.text()));
            let written = self.write(&session, &id).await;
            session.drop_connection().await;
            let Err(why) = written else { return (name, failed) };
            println!("a backup failed: {why}");
            assert_of_backend("a backup", &why);
            failed.push(name);
        }
        panic!("a backup failed {ATTEMPTS_MAX} times");
    }

    async fn write(&self, session: &Session, id: &str) -> Result<(), String> {
        let wid = open_dynamic(session, ARCHIVE).await;
        let chunks: Vec<Chunk> = self.numbers.iter().map(|number| chunk(*number)).collect();
        for chunk in &chunks {
            good(&chunk.upload(session, "dynamic", wid).await)?;
        }
        let chunks: Vec<&Chunk> = chunks.iter().collect();
        let (starts, size) = offsets(&chunks);
        good(&session.put_json("/dynamic_index", &append(wid, &chunks, &starts)).await)?;
        let (csum, count) = (dynamic_csum(&chunks), chunks.len());
        let close = format!("/dynamic_close?chunk-count={count}&csum={csum}&size={size}&wid={wid}");
        good(&session.post(&close).await)?;
        let manifest = manifest(id, self.time, &[(ARCHIVE, csum, size)]);
        good(&put_blob(session, "index.json.blob", manifest).await)?;
        good(&session.post("/finish").await)
    }
}

fn good(answer: &Answer) -> Result<(), String> {
    if answer.status == StatusCode::OK { Ok(()) } else { Err(answer.text()) }
}

/// What came of a round.
#[derive(Debug, Default)]
struct Tally {
    /// Backups and restores that failed and were made again.
    again: usize,
    forgotten: usize,
    /// Removals that failed, or that a request in doubt keeps closed (R19).
    not_forgotten: usize,
    completed: usize,
    /// Chunks that collections removed, those that failed included.
    removed: u64,
    /// Why collections failed, each as often.
    failed: BTreeMap<String, usize>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.again += other.again;
        self.forgotten += other.forgotten;
        self.not_forgotten += other.not_forgotten;
        self.completed += other.completed;
        self.removed += other.removed;
        for (why, count) in other.failed {
            *self.failed.entry(why).or_default() += count;
        }
    }

    fn tell(&self, rounds: usize) {
        let Self { again, forgotten, not_forgotten, completed, removed, failed } = self;
        println!("{again} of {} backups and restores made again", 3 * rounds);
        println!("{forgotten} snapshots forgotten, {not_forgotten} times not");
        println!("{completed} of {rounds} collections came to their end; {removed} chunks removed by all");
        for (why, count) in failed {
            println!("{count} ended with: {why}");
        }
    }

    /// Removes a snapshot, or tries to; whether it is gone.
    async fn forget(&mut self, store: &Store, name: &SnapshotName) -> bool {
        let Err(error) = store.forget(name).await else {
            self.forgotten += 1;
            return true;
        };
        self.not_forgotten += 1;
        let why = chain(&error);
        if !why.contains("cannot be used yet") {
            assert_of_backend("a removal", &why);
        }
        // One that lost its manifest before a request failed for good is gone, and what is left of it goes with a collection.
        // The others are forgotten in a later round.
        !names(store).await.contains(name)
    }

    /// Collects. A listing that fails for good ends a run (I6); what it has removed by then was garbage.
    async fn collect(&mut self, store: &Store) {
        match collect(store).await {
            Ok(()) => self.completed += 1,
            Err(error) => {
                assert!(matches!(error, TaskError::Failed { .. }), "{error:?}");
                let why = chain(&error);
                assert_of_backend("a collection", &why);
                *self.failed.entry(why).or_default() += 1;
            }
        }
        let report = store.gc_history(None).await.unwrap().swap_remove(0).report;
        // It is null if the run did not begin.
        self.removed += report["removed"]["count"].as_u64().unwrap_or(0);
        assert_eq!(report["missing"]["chunks"].as_u64().unwrap_or(0), 0, "{report}");
    }
}

/// What is there, and what comes next.
struct Work {
    scene: Scene,
    committed: BTreeMap<SnapshotName, Vec<u64>>,
    /// Backups that failed. A manifest without an answer may be there all the same.
    failed: BTreeMap<SnapshotName, Vec<u64>>,
    round: u64,
}

impl Work {
    /// The two backups of a round: common chunks, shared ones, such of the snapshots that go, and their own, the second in
    /// reverse, so that they meet.
    fn plan(&mut self, going: &[SnapshotName]) -> [Planned; 2] {
        let (round, first) = (self.round, COMMON + self.round * (SHARED + 2 * OWN));
        self.round += 1;
        let theirs = |name| self.committed[name].iter().copied().filter(|number| *number >= COMMON);
        let again: Vec<u64> = going.iter().flat_map(|name| theirs(name).step_by(4).take(AGAIN)).collect();
        [0, 1].map(|writer| {
            let own = first + SHARED + writer * OWN;
            let all = (0..COMMON).chain(first..first + SHARED).chain(again.iter().copied());
            let mut numbers: Vec<u64> = all.chain(own..own + OWN).collect();
            if writer == 1 {
                numbers.reverse();
            }
            Planned { id: format!("g{round:04}-{writer}"), time: TIME + round as i64, numbers }
        })
    }

    /// Two backups, a restore, and removals with a collection, all at once; returns how many requests they took.
    async fn go_on(&mut self) -> (usize, Tally) {
        let before = self.scene.proxy.seen().len();
        let store = self.scene.site.store();
        let wire = self.scene.site.wire().await;
        let mut names = self.committed.keys().cloned();
        let going: Vec<SnapshotName> =
            names.by_ref().take(self.committed.len().saturating_sub(KEPT)).collect();
        let staying = names.next();
        let planned = self.plan(&going);
        let restore = async {
            match &staying {
                Some(name) => restore(&store, name, &self.committed[name]).await,
                None => 0,
            }
        };
        let clean = async {
            self.scene.proxy.arrived(before + MIDDLE).await;
            self.scene.proxy.release_all();
            let (mut tally, mut gone) = (Tally::default(), Vec::new());
            for name in &going {
                if tally.forget(&store, name).await {
                    gone.push(name.clone());
                }
            }
            tally.collect(&store).await;
            (tally, gone)
        };
        let all = async { tokio::join!(planned[0].make(&wire), planned[1].make(&wire), restore, clean) };
        let all = Box::pin(all);
        let (one, other, restored_again, (mut tally, gone)) =
            tokio::time::timeout(ROUND_WITHIN, all).await.expect("a round neither failed nor ended");
        tally.again += restored_again + one.1.len() + other.1.len();
        self.committed.retain(|name, _| !gone.contains(name));
        for ((name, failed), planned) in [one, other].into_iter().zip(planned) {
            self.failed.extend(failed.into_iter().map(|name| (name, planned.numbers.clone())));
            self.committed.insert(name, planned.numbers);
        }
        (self.scene.proxy.seen().len() - before, tally)
    }

    /// Rounds without faults; returns how many requests one takes in the mean.
    async fn go_on_undisturbed(&mut self) -> f64 {
        let mut requests = 0;
        for round in 0..FIRST + UNDISTURBED {
            let (taken, tally) = self.go_on().await;
            println!("undisturbed: {taken} requests, {tally:?}");
            assert_eq!((tally.again, tally.completed, tally.not_forgotten), (0, 1, 0), "{tally:?}");
            requests += if round < FIRST { 0 } else { taken };
        }
        requests as f64 / UNDISTURBED as f64
    }

    /// Everything that was committed is in the bucket alone, and nothing else once more was collected.
    async fn assert_whole(mut self) {
        self.scene.proxy.clear();
        self.scene.proxy.release_all();
        lose_folder(&mut self.scene.site);
        let store = self.scene.site.store();
        assert_verifies(&store).await;
        for name in names(&store).await {
            if let Some(numbers) = self.failed.remove(&name) {
                self.committed.insert(name, numbers);
            }
        }
        for (name, numbers) in &self.committed {
            assert_eq!(restore(&store, name, numbers).await, 0, "{name}");
        }
        collect_all(&store).await;
        let numbers: BTreeSet<u64> = self.committed.values().flatten().copied().collect();
        let wanted: BTreeSet<String> =
            numbers.iter().map(|number| chunk(*number).digest.to_string()).collect();
        let stored = self.scene.site.stored_chunks(Some(Live::any())).await;
        assert!(stored == wanted, "{:?} are left over", stored.symmetric_difference(&wanted));
    }
}

/// Restores a snapshot and compares it with what it was made of; returns how often that had to be tried again.
async fn restore(store: &Store, name: &SnapshotName, numbers: &[u64]) -> usize {
    let expected: Vec<u8> = numbers.iter().flat_map(|number| chunk(*number).plain).collect();
    for attempt in 0..ATTEMPTS_MAX {
        let reader = store.open_snapshot(name, small()).await.unwrap();
        match reader.restore_to_writer(&archive(ARCHIVE), Vec::new()).await {
            Ok(content) => {
                assert!(content == expected, "{name} came back other than it was");
                return attempt;
            }
            Err(error) => {
                println!("a restore failed: {}", chain(&error));
                assert_of_backend("a restore", &chain(&error));
            }
        }
    }
    panic!("{name} was not restored {ATTEMPTS_MAX} times");
}

/// Disturbs what comes next; in a round that is cut off no listing of chunks is ever answered, either. Returns how.
fn disturb(proxy: &FaultProxy, choices: &mut Choices, is_cut_off: bool) -> String {
    let per_mille = FAULTS.0 + choices.below(FAULTS.1 - FAULTS.0);
    let late_after = 1 + choices.below(LATE_AFTER_MAX);
    proxy.clear();
    if is_cut_off {
        let lists_chunks =
            |head: &RequestHead| head.query().contains("list-type") && head.query().contains(".chunks");
        proxy.always(lists_chunks, Fault::Answer(BackendAnswer::error(503, "ServiceUnavailable")));
    }
    proxy.randomly(choices.number(), odds(per_mille as u16, late_after));
    let cut_off = if is_cut_off { ", cut off" } else { "" };
    format!("{per_mille} faults in 1000, late after {late_after}{cut_off}")
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_complete_and_nothing_is_lost_where_requests_fail_all_the_time() {
    if !Live::any().keeps_one_writers_object() {
        println!("skipped: of two puts at once this server may keep a mixture, which is a damaged chunk");
        return;
    }
    let rounds = setting("COLDKEEP_FAULT_ROUNDS").unwrap_or(3) as usize;
    let seed = setting("COLDKEEP_FAULT_SEED").unwrap_or(0x00c0_1dbe);
    println!("COLDKEEP_FAULT_ROUNDS={rounds} COLDKEEP_FAULT_SEED={seed}");
    let mut choices = Choices::new(seed);
    let mut work = Work {
        scene: Scene::with_cache(CACHE_BYTES),
        committed: BTreeMap::new(),
        failed: BTreeMap::new(),
        round: 0,
    };
    let undisturbed = work.go_on_undisturbed().await;
    let (mut disturbed, mut all) = (0, Tally::default());
    for round in 0..rounds {
        let is_cut_off = round % CUT_OFF_ONE_IN == 1;
        let how = disturb(&work.scene.proxy, &mut choices, is_cut_off);
        let began = Instant::now();
        let (requests, tally) = work.go_on().await;
        let (ratio, took) = (requests as f64 / undisturbed, began.elapsed());
        println!("round {round}: {how}: {ratio:.2} times the requests, {took:?}, {tally:?}");
        assert!(!is_cut_off || tally.completed == 0, "a collection could not list, and has not noticed (I6)");
        disturbed += requests;
        all.add(tally);
    }
    let amplification = disturbed as f64 / (undisturbed * rounds as f64);
    println!("{rounds} rounds: {amplification:.2} times the requests of undisturbed work");
    all.tell(rounds);
    assert!(amplification < 2.0, "{amplification}");
    assert!(all.again <= 1 + 3 * rounds / AGAIN_ONE_IN, "{all:?}");
    assert!(all.completed >= rounds / COMPLETE_ONE_IN, "{all:?}");
    // In a few rounds all garbage may be too young.
    assert!(all.removed > 0 || rounds < CUT_OFF_ONE_IN, "{all:?}");
    work.assert_whole().await;
}
