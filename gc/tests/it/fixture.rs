//! The same store three times, in memory, on a disk and in a bucket, so that each claim is shown on all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use coldkeep_chunk_store::blob::{Blob, Compression};
use coldkeep_chunk_store::dir::{EntryKind, EntryName};
use coldkeep_chunk_store::testing::ManualClock;
use coldkeep_chunk_store::{CheckedChunk, ChunkStore, Digest, Session, StoreOptions, StoreTime};
use coldkeep_gc::testing::MemoryStore;
use coldkeep_gc::{Description, Options, Page, Removal, Repair, RunTimes, SweepTarget};
use tempfile::TempDir;

pub(crate) const HOUR: Duration = Duration::from_hours(1);

/// A wall clock in 2023.
pub(crate) const START: StoreTime = StoreTime::from_unix(1_700_000_000, 0);

/// A grace of one hour and no margin.
pub(crate) fn options() -> Options {
    Options::default().with_grace(HOUR).with_margin(Duration::ZERO)
}

pub(crate) fn content(number: u32) -> String {
    format!("content of chunk {number}")
}

pub(crate) fn digest(number: u32) -> Digest {
    Digest::of(content(number).as_bytes())
}

/// The chunk of a number, as it is uploaded.
pub(crate) fn chunk(number: u32) -> CheckedChunk {
    let body = Blob::encode(content(number).as_bytes(), Compression::None).unwrap().into_bytes();
    CheckedChunk::check(digest(number), content(number).len() as u64, body).unwrap()
}

/// A store that a test fills.
pub(crate) trait Fixture {
    type Target: SweepTarget;
    /// How much older than the cutoff something is at least for the store to be sure of it.
    const AGE_MIN: Duration = Duration::from_nanos(1);
    /// Whether a temporary file that is younger than the cutoff may belong to somebody.
    const KEEPS_YOUNG_TEMPORARIES: bool = true;
    /// The call from which on a listing fails that is to fail late.
    const LISTS_FAIL_FROM: usize;

    async fn new() -> Self;
    fn target(&self) -> &Self::Target;
    /// Stores chunks 0 to `count` in a session that ends.
    async fn fill(&self, count: u32);
    async fn holds(&self, digest: &Digest) -> bool;
    /// Puts a file that is no chunk, used now.
    async fn put_file(&self, name: EntryName);
    async fn holds_file(&self, name: EntryName) -> bool;
    async fn lose(&self, digest: &Digest);
    fn advance(&self, duration: Duration);
}

pub(crate) struct InMemory {
    pub(crate) store: MemoryStore,
}

impl Fixture for InMemory {
    type Target = MemoryStore;
    const LISTS_FAIL_FROM: usize = 7;

    async fn new() -> Self {
        Self { store: MemoryStore::at(START) }
    }

    fn target(&self) -> &MemoryStore {
        &self.store
    }

    async fn fill(&self, count: u32) {
        for number in 0..count {
            self.store.put(EntryName::chunk(digest(number)), 100);
        }
    }

    async fn holds(&self, digest: &Digest) -> bool {
        self.store.holds(EntryName::chunk(*digest))
    }

    async fn put_file(&self, name: EntryName) {
        self.store.put(name, 100);
    }

    async fn holds_file(&self, name: EntryName) -> bool {
        self.store.holds(name)
    }

    async fn lose(&self, digest: &Digest) {
        self.store.lose(EntryName::chunk(*digest));
    }

    fn advance(&self, duration: Duration) {
        self.store.advance(duration);
    }
}

pub(crate) struct OnDisk {
    pub(crate) store: Arc<ChunkStore>,
    pub(crate) clock: Arc<ManualClock>,
    folder: TempDir,
}

impl OnDisk {
    pub(crate) async fn insert(&self, session: &Session, number: u32) {
        self.store.insert(session, chunk(number)).await.unwrap();
    }

    fn path(&self, name: EntryName) -> std::path::PathBuf {
        self.folder.path().join(".chunks").join(name.shard().to_string()).join(name.to_string())
    }

    /// Leaves of a chunk what power loss may: a name, and the times of a file that is empty.
    pub(crate) fn tear(&self, digest: &Digest) {
        let path = self.path(EntryName::chunk(*digest));
        let metadata = std::fs::metadata(&path).unwrap();
        let times = std::fs::FileTimes::new()
            .set_accessed(metadata.accessed().unwrap())
            .set_modified(metadata.modified().unwrap());
        let file = std::fs::File::create(&path).unwrap();
        file.set_times(times).unwrap();
    }

    /// Ends the store as a crash does, and opens it again.
    pub(crate) async fn reopen(self) -> Self {
        let Self { store, clock, folder } = self;
        drop(store);
        let store = ChunkStore::open(folder.path(), StoreOptions::new(clock.clone())).await.unwrap();
        Self { store, clock, folder }
    }
}

impl Fixture for OnDisk {
    type Target = ChunkStore;
    const LISTS_FAIL_FROM: usize = 0;

    async fn new() -> Self {
        // Memory where there is such a disk: it keeps times as any other and costs no syncs.
        let folder =
            tempfile::Builder::new().tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let clock = Arc::new(ManualClock::at(START));
        let store = ChunkStore::open(folder.path(), StoreOptions::new(clock.clone())).await.unwrap();
        Self { store, clock, folder }
    }

    fn target(&self) -> &ChunkStore {
        &self.store
    }

    async fn fill(&self, count: u32) {
        let session = self.store.begin_session().await.unwrap();
        for number in 0..count {
            self.insert(&session, number).await;
        }
    }

    async fn holds(&self, digest: &Digest) -> bool {
        self.store.load(digest).await.is_ok()
    }

    async fn put_file(&self, name: EntryName) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, Bytes::from_static(b"left over")).unwrap();
        let now = self.store.now();
        let now = filetime::FileTime::from_unix_time(now.unix_seconds(), now.subsec_nanos());
        filetime::set_file_times(&path, now, now).unwrap();
    }

    async fn holds_file(&self, name: EntryName) -> bool {
        self.path(name).exists()
    }

    async fn lose(&self, digest: &Digest) {
        std::fs::remove_file(self.path(EntryName::chunk(*digest))).unwrap();
    }

    fn advance(&self, duration: Duration) {
        self.clock.advance(duration);
    }
}

/// Runs a claim on each of the stores.
macro_rules! on_each {
    ($($claim:ident),+ $(,)?) => {
        mod in_memory {
            $(#[tokio::test] async fn $claim() { super::$claim::<crate::fixture::InMemory>().await; })+
        }
        mod on_disk {
            $(#[tokio::test] async fn $claim() { super::$claim::<crate::fixture::OnDisk>().await; })+
        }
        mod in_bucket {
            $(#[tokio::test] async fn $claim() { super::$claim::<crate::bucket::InBucket>().await; })+
        }
    };
}
pub(crate) use on_each;

/// Lets something happen at chosen moments of a sweep, or lets it fail there.
pub(crate) struct Meddle<'a, T: SweepTarget, F> {
    pub(crate) target: &'a T,
    /// Called before each call of the target; an error is what the call then answers.
    pub(crate) hook: F,
    pub(crate) calls: AtomicUsize,
}

/// A moment of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    Shards,
    List,
    Remove,
    Look,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum MeddleError<E> {
    #[error("input/output error")]
    Injected,
    #[error(transparent)]
    Target(E),
}

impl<'a, T: SweepTarget, F> Meddle<'a, T, F> {
    pub(crate) fn new(target: &'a T, hook: F) -> Self {
        Self { target, hook, calls: AtomicUsize::new(0) }
    }

    /// Returns how many moments there were so far.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

impl<T, F, R> Meddle<'_, T, F>
where
    T: SweepTarget,
    F: Fn(Moment, usize) -> R + Send + Sync,
    R: Future<Output = bool> + Send,
{
    async fn at(&self, moment: Moment) -> Result<(), MeddleError<T::Error>> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        if (self.hook)(moment, call).await { Ok(()) } else { Err(MeddleError::Injected) }
    }
}

impl<T, F, R> SweepTarget for Meddle<'_, T, F>
where
    T: SweepTarget,
    F: Fn(Moment, usize) -> R + Send + Sync,
    R: Future<Output = bool> + Send,
{
    type Run = T::Run;
    type Shard = T::Shard;
    type Entry = T::Entry;
    type Error = MeddleError<T::Error>;

    const REMOVAL_MAX: usize = T::REMOVAL_MAX;
    const REMOVALS: usize = T::REMOVALS;
    const LISTINGS: usize = T::LISTINGS;

    fn monotonic(&self) -> Duration {
        self.target.monotonic()
    }

    async fn sleep(&self, duration: Duration) {
        self.target.sleep(duration).await;
    }

    async fn begin_run(&self, grace: Duration, margin: Duration) -> Result<T::Run, Self::Error> {
        self.target.begin_run(grace, margin).await.map_err(MeddleError::Target)
    }

    fn times(run: &T::Run) -> RunTimes {
        T::times(run)
    }

    async fn shards(&self, run: &T::Run) -> Result<Vec<T::Shard>, Self::Error> {
        self.at(Moment::Shards).await?;
        self.target.shards(run).await.map_err(MeddleError::Target)
    }

    async fn list(&self, run: &T::Run, shard: T::Shard) -> Result<Page<Self>, Self::Error> {
        self.at(Moment::List).await?;
        let page = self.target.list(run, shard).await.map_err(MeddleError::Target)?;
        Ok(Page { entries: page.entries, rest: page.rest })
    }

    fn describe(entry: &T::Entry) -> Description {
        T::describe(entry)
    }

    async fn remove(
        &self,
        run: &T::Run,
        batch: Vec<T::Entry>,
        is_cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<Removal>, Self::Error> {
        self.at(Moment::Remove).await?;
        self.target.remove(run, batch, is_cancelled).await.map_err(MeddleError::Target)
    }

    async fn preview(&self, run: &T::Run, batch: &[T::Entry]) -> Result<Vec<Removal>, Self::Error> {
        self.target.preview(run, batch).await.map_err(MeddleError::Target)
    }

    async fn heal(&self, run: &T::Run, digest: &Digest, is_referenced: bool) -> Result<Repair, Self::Error> {
        self.target.heal(run, digest, is_referenced).await.map_err(MeddleError::Target)
    }

    async fn preview_heal(
        &self,
        run: &T::Run,
        digest: &Digest,
        is_referenced: bool,
    ) -> Result<Repair, Self::Error> {
        self.target.preview_heal(run, digest, is_referenced).await.map_err(MeddleError::Target)
    }

    async fn is_stored(&self, digest: &Digest) -> Result<bool, Self::Error> {
        self.at(Moment::Look).await?;
        self.target.is_stored(digest).await.map_err(MeddleError::Target)
    }
}

/// Names of a bad copy and a temporary file of a chunk.
pub(crate) fn side_files(number: u32) -> (EntryName, EntryName) {
    (EntryName::new(digest(number), EntryKind::Bad(0)), EntryName::new(digest(number), EntryKind::Temporary))
}
