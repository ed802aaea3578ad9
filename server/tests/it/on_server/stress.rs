//! Many writers of the same chunks, for a while, with and without collections.
//!
//! Goal: uploads of one chunk by many sessions at once, aborted ones and such without cache among them, evictions, prunes
//! and collections all the while, lose nothing. Method: eight writers that share most of their chunks, half of whose
//! sessions end in the middle, and readers, on a cache that holds a fraction; beside them prunes, and collections without
//! grace or margin, one after the other. Then the cache is deleted, all that was committed is verified and restored from the
//! bucket alone, and one more collection leaves exactly what the snapshots refer to. `COLDKEEP_STRESS_SECONDS` says for how
//! long they write.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use coldkeep_client::{PruneKeep, ReaderSession, Store};
use coldkeep_datastore::SnapshotName;
use coldkeep_s3_testbed::Choices;
use tokio::sync::RwLock;

use super::{TIME, lose_folder};
use crate::kill::setting;
use crate::live::Live;
use crate::material::{
    BACKUP, Chunk, Listed, append, backup_path, dynamic_csum, finish, noise, offsets, open_dynamic,
};
use crate::site::{Site, archive, assert_verifies, collect, group, small, snapshot};
use crate::wire::{Session, Wire};

/// A few per cent of what is written.
const CACHE_BYTES: u64 = 512 << 10;
const ARCHIVE: &str = "a.bin.didx";
/// Chunks of a backup.
const CHUNKS: usize = 40;
/// Chunks that all writers choose from, at all times.
const COMMON: usize = 60;
/// After so many sessions there are new chunks for all writers to meet at.
const SESSIONS_AN_EPOCH: u64 = 6;
/// Snapshots of each writer that a prune keeps.
const SNAPSHOTS_KEPT: u64 = 1;
/// Snapshots that are restored in the end.
const SAMPLES: usize = 30;

/// How long a busy machine may take for what a run must have seen.
const PATIENCE: Duration = Duration::from_mins(2);

/// How many work on the store at once.
#[derive(Clone, Copy)]
pub(super) struct Load {
    pub(super) writers: u64,
    pub(super) readers: u64,
}

/// What all of them know.
pub(super) struct Shared {
    committed: Mutex<BTreeMap<SnapshotName, Vec<u64>>>,
    next_time: AtomicI64,
    sessions: AtomicU64,
    aborted: AtomicUsize,
    restored: AtomicUsize,
    collections: AtomicUsize,
    pruned: AtomicUsize,
    until: Instant,
    cleaning: Cleaning,
    /// Held by a reader until it has a snapshot open, and by a prune: what is open is not removed.
    pruning: RwLock<()>,
}

impl Shared {
    fn for_seconds(seconds: u64, cleaning: Cleaning) -> Arc<Self> {
        Arc::new(Self {
            committed: Mutex::default(),
            next_time: AtomicI64::new(0),
            sessions: AtomicU64::new(0),
            aborted: AtomicUsize::new(0),
            restored: AtomicUsize::new(0),
            collections: AtomicUsize::new(0),
            pruned: AtomicUsize::new(0),
            until: Instant::now() + Duration::from_secs(seconds),
            cleaning,
            pruning: RwLock::default(),
        })
    }

    /// Tells whether all may end: the time is over and everything that a run is about has happened at least once, which takes a
    /// busy machine longer.
    pub(super) fn is_over(&self) -> bool {
        let late = Instant::now().checked_duration_since(self.until);
        late.is_some_and(|late| self.has_seen_all() || late > PATIENCE)
    }

    fn has_seen_all(&self) -> bool {
        let seen = |counter: &AtomicUsize| counter.load(Ordering::Relaxed) > 0;
        let is_cleaned = || seen(&self.collections) && seen(&self.pruned);
        seen(&self.aborted) && !self.committed().is_empty() && (self.cleaning == Cleaning::No || is_cleaned())
    }

    fn committed(&self) -> BTreeMap<SnapshotName, Vec<u64>> {
        self.committed.lock().unwrap().clone()
    }
}

/// The chunk of this number, of 16 to 64 KiB.
fn chunk(number: u64) -> Chunk {
    let len = (16 << 10) + Choices::new(number).below(48 << 10);
    Chunk::of(noise(number + 1, len))
}

/// Chooses the chunks of a backup: a third that every one has, a third that is new to all writers, the rest from many.
fn choose(choices: &mut Choices, session: u64) -> Vec<u64> {
    let epoch = session / SESSIONS_AN_EPOCH;
    let mut number = |_| match choices.below(3) {
        0 => choices.below(COMMON) as u64,
        1 => 1_000 + epoch * 20 + choices.below(20) as u64,
        _ => 1_000 + choices.below(20 * (epoch as usize + 1)) as u64,
    };
    (0..CHUNKS).map(&mut number).collect()
}

async fn write(wire: Wire, shared: Arc<Shared>, writer: u64, mut choices: Choices) {
    let id = format!("w{writer}");
    loop {
        let time = TIME + shared.next_time.fetch_add(1, Ordering::Relaxed);
        let numbers = choose(&mut choices, shared.sessions.fetch_add(1, Ordering::Relaxed));
        let more = if choices.below(3) == 0 { "&no-cache=true" } else { "" };
        let session = begin(&wire, &backup_path(&id, time, more)).await;
        let uploading = upload(&session, &numbers);
        // Every second session ends in the middle: chunks and indexes on their way, or all but the commit done.
        if choices.below(2) == 0 {
            let moment = Duration::from_millis(choices.below(400) as u64);
            let _ = tokio::time::timeout(moment, uploading).await;
            session.drop_connection().await;
            shared.aborted.fetch_add(1, Ordering::Relaxed);
        } else {
            let listed = uploading.await;
            {
                // Known to be committed before a prune can remove it.
                let _nobody_prunes = shared.pruning.read().await;
                finish(&session, &id, time, &[listed]).await.ok();
                shared.committed.lock().unwrap().insert(snapshot(&id, time), numbers);
            }
            session.drop_connection().await;
        }
        if shared.is_over() {
            return;
        }
    }
}

/// Begins a session; the group is free a moment after the last one ended.
async fn begin(wire: &Wire, path: &str) -> Session {
    let mut refusal = String::new();
    for _ in 0..400 {
        match wire.upgrade(path, BACKUP).await {
            Ok(session) => return session,
            Err(answer) => refusal = answer.text(),
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{path} was refused for 10 s: {refusal}");
}

/// Uploads the chunks, some at once and the same one more than once, and closes their index.
async fn upload(session: &Session, numbers: &[u64]) -> Listed {
    let wid = open_dynamic(session, ARCHIVE).await;
    let chunks: Vec<_> = numbers.iter().map(|number| chunk(*number)).collect();
    // Each of the four has every fourth.
    let upload = async |first: usize| {
        for chunk in chunks.iter().skip(first).step_by(4) {
            assert_eq!(chunk.upload(session, "dynamic", wid).await.data(), chunk.digest.to_string());
        }
    };
    tokio::join!(upload(0), upload(1), upload(2), upload(3));
    let chunks: Vec<_> = chunks.iter().collect();
    let (starts, size) = offsets(&chunks);
    session.put_json("/dynamic_index", &append(wid, &chunks, &starts)).await.ok();
    let (csum, count) = (dynamic_csum(&chunks), chunks.len());
    session.post(&format!("/dynamic_close?chunk-count={count}&csum={csum}&size={size}&wid={wid}")).await.ok();
    (ARCHIVE, csum, size)
}

async fn read(store: Store, shared: Arc<Shared>, mut choices: Choices) {
    while !shared.is_over() {
        let committed = shared.committed();
        if committed.is_empty() {
            tokio::time::sleep(Duration::from_millis(25)).await;
            continue;
        }
        let choice = choices.below(committed.len());
        let pruning = shared.pruning.read().await;
        // What a prune removed meanwhile is no longer there.
        let committed = shared.committed();
        let Some((name, numbers)) = committed.iter().nth(choice) else { continue };
        let reader = store.open_snapshot(name, small()).await.unwrap();
        drop(pruning);
        assert_content(&reader, numbers).await;
        shared.restored.fetch_add(1, Ordering::Relaxed);
    }
}

async fn assert_restores(store: &Store, name: &SnapshotName, numbers: &[u64]) {
    assert_content(&store.open_snapshot(name, small()).await.unwrap(), numbers).await;
}

async fn assert_content(reader: &ReaderSession, numbers: &[u64]) {
    let name = reader.snapshot();
    let content = reader.restore_to_writer(&archive(ARCHIVE), Vec::new()).await;
    let content = content.unwrap_or_else(|error| panic!("{name}: {error:?}"));
    let expected: Vec<u8> = numbers.iter().flat_map(|number| chunk(*number).plain).collect();
    assert!(content == expected, "{name} came back other than it was");
}

/// Collects, one run after the other.
async fn collect_again_and_again(store: Store, shared: Arc<Shared>) {
    while !shared.is_over() {
        collect(&store).await.unwrap();
        shared.collections.fetch_add(1, Ordering::Relaxed);
    }
}

/// Keeps the newest snapshots of each writer.
async fn prune_again_and_again(store: Store, shared: Arc<Shared>, writers: u64, mut choices: Choices) {
    let keep = PruneKeep { keep_last: Some(SNAPSHOTS_KEPT), ..PruneKeep::default() };
    while !shared.is_over() {
        let writer = group(&format!("w{}", choices.below(writers as usize)));
        {
            let _no_reader_opens = shared.pruning.write().await;
            // A writer that has nothing yet has no group.
            let verdicts = store.prune(&writer, &keep, false).await.unwrap_or_default();
            let mut committed = shared.committed.lock().unwrap();
            for verdict in verdicts.iter().filter(|verdict| !verdict.keep) {
                let name = SnapshotName::new(verdict.group.clone(), verdict.backup_time);
                shared.pruned.fetch_add(usize::from(committed.remove(&name).is_some()), Ordering::Relaxed);
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Whether prunes and collections go on beside the writers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cleaning {
    No,
    Yes,
}

/// Lets all of them work for as long as the environment says, and returns what they know.
async fn run(site: &Site, cleaning: Cleaning, choices: &mut Choices) -> Arc<Shared> {
    let shared = begin_run(cleaning);
    let load = Load { writers: 8, readers: 2 };
    work(site, load, &shared, choices).await;
    shared
}

pub(super) fn begin_run(cleaning: Cleaning) -> Arc<Shared> {
    let seconds = setting("COLDKEEP_STRESS_SECONDS").unwrap_or(5);
    println!("COLDKEEP_STRESS_SECONDS={seconds}");
    Shared::for_seconds(seconds, cleaning)
}

/// Lets them work until the run is over.
pub(super) async fn work(site: &Site, load: Load, shared: &Arc<Shared>, choices: &mut Choices) {
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..load.writers {
        let wire = site.wire().await;
        tasks.spawn(write(wire, Arc::clone(shared), writer, Choices::new(choices.number())));
    }
    for _ in 0..load.readers {
        tasks.spawn(read(site.store(), Arc::clone(shared), Choices::new(choices.number())));
    }
    if shared.cleaning == Cleaning::Yes {
        tasks.spawn(collect_again_and_again(site.store(), Arc::clone(shared)));
        let pruning = Choices::new(choices.number());
        tasks.spawn(prune_again_and_again(site.store(), Arc::clone(shared), load.writers, pruning));
    }
    tasks.join_all().await;
    let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    println!(
        "{} committed, {} pruned, {} aborted, {} restored, {} collections",
        shared.committed().len() + count(&shared.pruned),
        count(&shared.pruned),
        count(&shared.aborted),
        count(&shared.restored),
        count(&shared.collections),
    );
    assert!(count(&shared.aborted) > 0 && !shared.committed().is_empty());
}

pub(super) fn seed() -> Choices {
    let seed = setting("COLDKEEP_STRESS_SEED").unwrap_or(0x00c0_1dbe);
    println!("COLDKEEP_STRESS_SEED={seed}");
    Choices::new(seed)
}

/// Compares the store with what was committed, and the data with what it was made of.
pub(super) async fn assert_whole(site: &Site, shared: &Shared, choices: &mut Choices) {
    let (store, committed) = (site.store(), shared.committed());
    let listed = store.snapshots(None, None).await.unwrap();
    assert!(
        listed.iter().all(coldkeep_client::SnapshotItem::is_finished),
        "an unfinished snapshot is visible"
    );
    let mut names: Vec<_> = listed.iter().map(coldkeep_client::SnapshotItem::name).collect();
    names.sort_unstable();
    assert!(names.iter().eq(committed.keys()), "{names:?} instead of {:?}", committed.keys());
    assert_verifies(&store).await;
    for _ in 0..SAMPLES.min(committed.len()) {
        let (name, numbers) = committed.iter().nth(choices.below(committed.len())).unwrap();
        assert_restores(&store, name, numbers).await;
    }
}

/// One more collection leaves exactly what the snapshots refer to (I5).
pub(super) async fn assert_nothing_is_left_over(site: &Site, live: Option<&Live>, shared: &Shared) {
    let store = site.store();
    // Objects are dated in whole seconds, and what was written less than three of them ago may be in use.
    tokio::time::sleep(Duration::from_secs(4)).await;
    collect(&store).await.unwrap();
    let runs = store.gc_history(None).await.unwrap();
    let last = &runs[0].report;
    for (what, expected) in [("pending", 0), ("in_limbo", 0), ("failed", 0)] {
        assert_eq!(last[what]["count"], expected, "{what}: {last}");
    }
    // Of all collections: each looked at the whole store.
    assert!(runs.iter().all(|run| run.report["missing"]["chunks"] == 0), "{runs:?}");
    let numbers: BTreeSet<u64> = shared.committed().into_values().flatten().collect();
    let wanted: BTreeSet<String> = numbers.iter().map(|number| chunk(*number).digest.to_string()).collect();
    let stored = site.stored_chunks(live).await;
    assert_eq!(stored.len(), wanted.len());
    assert!(stored == wanted, "{:?} are left over", stored.difference(&wanted));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_under_stress_is_in_the_bucket() {
    let mut choices = seed();
    let mut site = Site::in_bucket(Live::any(), CACHE_BYTES);
    let shared = run(&site, Cleaning::No, &mut choices).await;
    let status = site.store().status().await.unwrap().bucket.unwrap();
    assert!(status["cache"]["bytes"].as_u64() <= status["cache"]["bytes-max"].as_u64(), "{status}");
    lose_folder(&mut site);
    assert_whole(&site, &shared, &mut choices).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn collections_under_stress_take_nothing_from_a_bucket_that_is_needed_and_leave_nothing_else() {
    let mut choices = seed();
    let mut site = Site::in_bucket(Live::any(), CACHE_BYTES);
    let shared = run(&site, Cleaning::Yes, &mut choices).await;
    assert!(shared.collections.load(Ordering::Relaxed) > 0 && shared.pruned.load(Ordering::Relaxed) > 0);
    lose_folder(&mut site);
    assert_whole(&site, &shared, &mut choices).await;
    assert_nothing_is_left_over(&site, Some(Live::any()), &shared).await;
    assert_whole(&site, &shared, &mut choices).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn collections_under_stress_take_nothing_from_a_filesystem_that_is_needed_and_leave_nothing_else() {
    let mut choices = seed();
    let mut site = Site::on_filesystem();
    let shared = run(&site, Cleaning::Yes, &mut choices).await;
    assert!(shared.collections.load(Ordering::Relaxed) > 0 && shared.pruned.load(Ordering::Relaxed) > 0);
    site.stop();
    site.start();
    assert_whole(&site, &shared, &mut choices).await;
    assert_nothing_is_left_over(&site, None, &shared).await;
    assert_whole(&site, &shared, &mut choices).await;
}
