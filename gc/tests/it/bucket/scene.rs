//! A bucket with everything in it that a run may meet, and what must hold of it at any time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use coldkeep_chunk_store::backend::ObjectKey;
use coldkeep_chunk_store::blob::ChunkClass;
use coldkeep_chunk_store::bucket::{BucketOptions, BucketStore, Holder};
use coldkeep_chunk_store::dir::{
    ChunkDir as _, Durability, EntryKind, EntryName, MarkerDir as _, Marks, NewEntry, NewMarker,
};
use coldkeep_chunk_store::testing::{ManualClock, MemoryDir, StagedBackend, TestRandom};
use coldkeep_chunk_store::{DigestGuard, DigestLocks};
use coldkeep_gc::testing::{MemoryReadError, MemoryReferences};
use coldkeep_gc::{CollectError, Control, End, Options, Report, SweepTarget, collect};
use tokio::task::JoinHandle;

use super::sessions::{Use, Used, use_chunks};
use crate::fixture::{START, chunk, digest};

pub(crate) type Store = BucketStore<MemoryDir, StagedBackend>;
pub(crate) type RunResult = Result<Report, CollectError<<Store as SweepTarget>::Error, MemoryReadError>>;

pub(crate) const DAY: Duration = Duration::from_hours(24);
/// How far the clocks go each time that everybody waits.
const STEP: Duration = Duration::from_secs(5);

// What is in a filled scene, all of it a day old.

/// The index of the filled scene.
pub(crate) const INDEX: &str = "host/a/1/root.didx";
/// Chunks that the index names, one cached and one not.
pub(crate) const KEPT: [u32; 2] = [0, 1];
/// Named by the index; its marker is missing.
pub(crate) const UNMARKED: u32 = 2;
/// Named by the index; its object is missing, its marker stands (hazard H16).
pub(crate) const LOST: u32 = 3;
/// Chunks that nobody needs, one cached and one not.
pub(crate) const GARBAGE: u32 = 4;
pub(crate) const UNCACHED: u32 = 5;
/// An object without marker that nobody needs.
pub(crate) const STRAY: u32 = 6;
/// A marker without object that nobody needs.
pub(crate) const HOLLOW: u32 = 7;
/// An object and an upload marker: a crash came between upload and marker (hazard H8).
pub(crate) const CUT_SHORT: u32 = 8;
/// An upload marker alone.
const STARTED: u32 = 9;
/// A chunk that nobody has.
pub(crate) const NEW: u32 = 10;
/// Numbers of all chunks of the tests are below it.
const CHUNKS: u32 = 32;

/// A bucket, a directory, the clocks of both, and who uses them. Time stands still unless a test moves it.
pub(crate) struct Scene {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) backend_clock: Arc<ManualClock>,
    pub(crate) backend: StagedBackend,
    pub(crate) dir: MemoryDir,
    pub(crate) store: Arc<Store>,
    pub(crate) references: Arc<MemoryReferences>,
    /// Sessions that insert or reference a chunk.
    pub(crate) uses: Vec<JoinHandle<Used>>,
    /// The chunks that each index names.
    indexes: BTreeMap<String, Vec<u32>>,
    /// Chunks that the bucket lost behind everybody's back, until a session is told that it has them.
    pub(crate) lost: BTreeSet<u32>,
    /// What a directory in memory takes as proof that lock(d) is held. It keeps nobody out.
    pub(crate) proof: DigestGuard,
}

impl Scene {
    pub(crate) async fn empty() -> Self {
        let clock = Arc::new(ManualClock::at(START));
        let backend_clock = Arc::new(ManualClock::at(START));
        let backend = StagedBackend::new(Arc::clone(&backend_clock) as _);
        let dir = MemoryDir::new();
        let store = BucketStore::open(dir.clone(), backend.clone(), options(&clock), None).await.unwrap();
        store.finish_rebuild().await.unwrap();
        let (store, references) = (Arc::new(store), Arc::default());
        let (uses, indexes, lost) = Default::default();
        let proof = DigestLocks::new().lock_all((0..CHUNKS).map(digest).collect::<Vec<_>>().iter()).await;
        Self { clock, backend_clock, backend, dir, store, references, uses, indexes, lost, proof }
    }

    /// Makes a scene with one of everything, all of it durable.
    pub(crate) async fn filled() -> Self {
        let mut scene = Self::empty().await;
        scene.lost.extend([LOST, HOLLOW]);
        for number in [KEPT[0], KEPT[1], UNMARKED, GARBAGE, UNCACHED, STRAY, CUT_SHORT] {
            scene.place_object(number);
        }
        for number in [KEPT[0], KEPT[1], LOST, GARBAGE, UNCACHED, HOLLOW] {
            scene.place_marker(number, Some(ChunkClass::Plain)).await;
        }
        for number in [GARBAGE, KEPT[0]] {
            scene.store.load(&digest(number)).await.unwrap();
            scene.backend.inner().place(&key(EntryName::new(digest(number), EntryKind::Bad(0))), "bad");
        }
        for number in [CUT_SHORT, STARTED] {
            let at = scene.store.clock().now();
            scene.dir.put_upload_marker(&scene.proof, digest(number), at).await.unwrap();
        }
        scene.put_file(EntryName::new(digest(GARBAGE), EntryKind::Temporary)).await;
        scene.add_index(INDEX, &[KEPT[0], KEPT[1], UNMARKED, LOST]);
        scene.dir.sync().await.unwrap();
        scene.advance(DAY);
        scene
    }

    /// Opens the store anew, as after a crash; time goes by if that has to wait.
    pub(crate) async fn reopen(&mut self) {
        let opening = BucketStore::open(self.dir.clone(), self.backend.clone(), options(&self.clock), None);
        let store = self.let_end(tokio::spawn(opening)).await.unwrap();
        if store.is_rebuilding() {
            store.finish_rebuild().await.unwrap();
        }
        self.store = Arc::new(store);
    }

    pub(crate) fn advance(&self, duration: Duration) {
        self.backend_clock.advance(duration);
        self.clock.advance(duration);
    }

    /// Lets time go by until a task has ended.
    pub(crate) async fn let_end<T>(&self, task: JoinHandle<T>) -> T {
        for _ in 0..400 {
            settle_down().await;
            if task.is_finished() {
                return task.await.unwrap();
            }
            self.advance(STEP);
        }
        panic!("it waits for ever");
    }

    /// Lets a session of its own insert or reference chunks, as far as nothing keeps it waiting.
    pub(crate) async fn begin<const N: usize>(&mut self, how: Use, numbers: [u32; N]) {
        self.uses.push(tokio::spawn(use_chunks(Arc::clone(&self.store), how, numbers.to_vec())));
        settle_down().await;
    }

    pub(crate) fn place_object(&self, number: u32) {
        self.backend.inner().place(&object_key(number), chunk(number).blob().as_bytes().clone());
    }

    pub(crate) async fn place_marker(&self, number: u32, class: Option<ChunkClass>) {
        let marker = NewMarker { digest: digest(number), content: None, class, at: self.store.clock().now() };
        self.dir.place_marker(&self.proof, marker).await.unwrap();
    }

    /// Puts a local file that is no marker, used now.
    pub(crate) async fn put_file(&self, name: EntryName) {
        let entry = NewEntry { name, content: "left over".into(), at: self.store.clock().now() };
        self.dir.put(&self.proof, entry, Durability::Deferred).await.unwrap();
    }

    pub(crate) fn has_object(&self, number: u32) -> bool {
        self.backend.inner().object(&object_key(number)).is_some()
    }

    pub(crate) async fn marks(&self, number: u32) -> Marks {
        self.dir.marks(&self.proof, vec![digest(number)]).await.unwrap()[0]
    }

    /// Returns whether the bucket has the chunk and it can be read.
    pub(crate) async fn is_stored(&self, number: u32) -> bool {
        self.has_object(number) && self.store.load(&digest(number)).await.is_ok()
    }

    /// Begins a run without grace and margin.
    pub(crate) fn spawn_run(&self, control: &Control) -> JoinHandle<RunResult> {
        let (store, references) = (Arc::clone(&self.store), Arc::clone(&self.references));
        let control = control.clone();
        tokio::spawn(async move { collect(&*store, &*references, &no_grace(), &control).await })
    }

    /// Makes a run that nobody disturbs.
    pub(crate) async fn run_with(&self, options: Options) -> RunResult {
        let (store, references) = (Arc::clone(&self.store), Arc::clone(&self.references));
        let run = async move { collect(&*store, &*references, &options, &Control::new()).await };
        self.let_end(tokio::spawn(run)).await
    }

    /// Lets everything end that waits only for time, and checks that nothing promised is lost (I1, I2, I3). Returns the chunks
    /// that sessions which go on were told of; these sessions have committed by then.
    pub(crate) async fn assert_nothing_lost(&mut self) -> Vec<u32> {
        let mut alive = Vec::new();
        for task in std::mem::take(&mut self.uses) {
            let used = self.let_end(task).await;
            if used.session.check_alive().is_ok() {
                alive.push(used);
            }
        }
        self.let_limbo_end().await;
        for number in self.referenced().difference(&self.lost) {
            assert!(self.is_stored(*number).await, "I1: chunk {number} of a snapshot is lost");
        }
        let told: Vec<u32> = alive.iter().flat_map(|used| used.told.iter().copied()).collect();
        for number in &told {
            assert!(self.is_stored(*number).await, "I3: chunk {number} is lost, and a session goes on");
        }
        for name in self.local_files().await {
            let is_true = self.backend.inner().object(&key(name)).is_some()
                || self.lost.iter().any(|number| digest(*number) == name.digest);
            assert!(is_true || name.kind != EntryKind::Chunk, "I2: {name} stands for no object");
        }
        for number in &told {
            self.commit(*number);
        }
        told
    }

    /// Ends the scene: after [`Self::assert_nothing_lost`] one more run leaves exactly what snapshots name (I5).
    pub(crate) async fn assert_clean_end(&mut self) {
        self.assert_nothing_lost().await;
        self.advance(DAY);
        let report = self.run_with(no_grace()).await.unwrap();
        assert_eq!(report.end, End::Completed);
        let is_there = |name: &EntryName| self.backend.inner().object(&key(*name)).is_some();
        let names =
            |kind| self.referenced().into_iter().map(move |number| EntryName::new(digest(number), kind));
        let chunks: BTreeSet<EntryName> = names(EntryKind::Chunk).filter(is_there).collect();
        let bad = names(EntryKind::Bad(0)).filter(is_there);
        let expected = chunks.iter().copied().chain(bad).map(key);
        let expected = expected.chain([".generation", ".in-use"].map(str::to_owned)).collect();
        assert_eq!(
            BTreeSet::from_iter(self.backend.inner().keys()),
            expected,
            "I5: objects and nothing else"
        );
        assert_eq!(self.local_files().await, chunks, "I5: markers and nothing else");
    }

    /// Adds a snapshot that names a chunk which its session was told of.
    fn commit(&mut self, number: u32) {
        self.add_index(&index_name(number), &[number]);
        self.lost.remove(&number);
    }

    pub(crate) fn add_index(&mut self, index: &str, numbers: &[u32]) {
        self.references.add(index, numbers.iter().copied().map(digest));
        self.indexes.insert(index.to_owned(), numbers.to_vec());
    }

    pub(crate) fn forget_index(&mut self, index: &str) {
        self.references.forget(index);
        self.indexes.remove(index);
    }

    pub(crate) fn referenced(&self) -> BTreeSet<u32> {
        self.indexes.values().flatten().copied().collect()
    }

    /// Removes the snapshots of all sessions but those of the filled scene.
    pub(crate) fn forget_committed(&mut self) {
        let names: Vec<String> = self.indexes.keys().filter(|name| *name != INDEX).cloned().collect();
        for name in names {
            self.forget_index(&name);
        }
    }

    /// Lets time go by until the outcome of every delete is certain.
    async fn let_limbo_end(&self) {
        for _ in 0..400 {
            if self.store.status().journal.journalled == 0 {
                return;
            }
            self.advance(STEP);
            self.store.tick().await.unwrap();
        }
        panic!("the journal is never settled");
    }

    pub(crate) async fn local_files(&self) -> BTreeSet<EntryName> {
        let shards = self.dir.shards().await.unwrap();
        self.dir.names(shards).await.unwrap().into_iter().collect()
    }
}

fn options(clock: &Arc<ManualClock>) -> BucketOptions {
    // Other tokens after each restart.
    static SEED: AtomicU64 = AtomicU64::new(1);
    let holder = Holder { host: "one".to_owned(), process: 7, id: "id of one".to_owned() };
    let seed = SEED.fetch_add(1, Ordering::Relaxed);
    BucketOptions::new(Arc::clone(clock) as _, Arc::new(TestRandom::new(seed)), holder)
}

/// What safety does not rest on (R13).
pub(crate) fn no_grace() -> Options {
    Options::default().with_grace(Duration::ZERO).with_margin(Duration::ZERO)
}

fn index_name(number: u32) -> String {
    format!("host/b/{number}/root.didx")
}

pub(crate) fn key(name: EntryName) -> String {
    ObjectKey::of_entry(name).to_string()
}

pub(crate) fn object_key(number: u32) -> String {
    key(EntryName::chunk(digest(number)))
}

/// Lets every task run for as long as it can without time and without the test.
pub(crate) async fn settle_down() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}
