//! A store and references in memory, for tests of this crate and of others.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use coldkeep_chunk_store::dir::{EntryName, Shard};
use coldkeep_chunk_store::switch::is_off;
use coldkeep_chunk_store::{Digest, StoreTime};

use crate::references::{Outcome, References, Sink};
use crate::target::{Agreement, Description, Page, Removal, Repair, RunTimes, SweepTarget};

/// A store in memory whose clock stands still unless moved; lists a few entries at a time.
#[derive(Debug, Default)]
pub struct MemoryStore {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    files: BTreeMap<EntryName, MemoryFile>,
    now: StoreTime,
    oldest_session_at: Option<StoreTime>,
    running: bool,
}

#[derive(Debug, Clone, Copy)]
struct MemoryFile {
    size: u64,
    used_at: StoreTime,
}

impl Default for Shared {
    fn default() -> Self {
        Self { files: BTreeMap::new(), now: StoreTime::EPOCH, oldest_session_at: None, running: false }
    }
}

/// Entries of one page: few, so that a test with some chunks sees several.
const PAGE_ENTRIES: usize = 3;

impl MemoryStore {
    /// Makes an empty store at the given time.
    pub fn at(now: StoreTime) -> Self {
        let store = Self::default();
        store.lock().now = now;
        store
    }

    /// Puts a file of `size` bytes, used now.
    pub fn put(&self, name: EntryName, size: u64) {
        let mut shared = self.lock();
        let used_at = shared.now;
        shared.files.insert(name, MemoryFile { size, used_at });
    }

    /// Marks a file as used now.
    pub fn touch(&self, name: EntryName) {
        let mut shared = self.lock();
        let now = shared.now;
        if let Some(file) = shared.files.get_mut(&name) {
            file.used_at = now;
        }
    }

    /// Takes a file away, as a fault of the disk does.
    pub fn lose(&self, name: EntryName) {
        self.lock().files.remove(&name);
    }

    /// Returns whether the file is there.
    pub fn holds(&self, name: EntryName) -> bool {
        self.lock().files.contains_key(&name)
    }

    /// Lets time pass.
    pub fn advance(&self, duration: Duration) {
        let mut shared = self.lock();
        shared.now = shared.now.plus(duration);
    }

    /// Sets the start of the oldest open session.
    pub fn set_oldest_session(&self, started_at: Option<StoreTime>) {
        self.lock().oldest_session_at = started_at;
    }

    /// Returns the time.
    pub fn now(&self) -> StoreTime {
        self.lock().now
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A run over a [`MemoryStore`].
#[derive(Debug)]
pub struct MemoryRun {
    times: RunTimes,
    shared: Arc<Mutex<Shared>>,
}

impl Drop for MemoryRun {
    fn drop(&mut self) {
        lock(&self.shared).running = false;
    }
}

/// Another run of the store is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a collection of this store is running already")]
pub struct MemoryBusy;

impl SweepTarget for MemoryStore {
    type Run = MemoryRun;
    type Shard = (Shard, Option<EntryName>);
    type Entry = Description;
    type Error = MemoryBusy;

    const REMOVAL_MAX: usize = 1000;
    const REMOVALS: usize = 1;
    const LISTINGS: usize = 4;

    fn monotonic(&self) -> Duration {
        self.lock().now.since(StoreTime::EPOCH)
    }

    /// Every wait is over at once.
    async fn sleep(&self, duration: Duration) {
        self.advance(duration);
    }

    async fn begin_run(&self, grace: Duration, margin: Duration) -> Result<MemoryRun, MemoryBusy> {
        let mut shared = self.lock();
        if std::mem::replace(&mut shared.running, true) {
            return Err(MemoryBusy);
        }
        let (started_at, oldest_session_at) = (shared.now, shared.oldest_session_at);
        let bound = started_at.minus(grace);
        let cutoff = oldest_session_at.map_or(bound, |oldest| oldest.min(bound)).minus(margin);
        let times = RunTimes { started_at, cutoff, oldest_session_at };
        Ok(MemoryRun { times, shared: Arc::clone(&self.shared) })
    }

    fn times(run: &MemoryRun) -> RunTimes {
        run.times
    }

    async fn shards(&self, _run: &MemoryRun) -> Result<Vec<Self::Shard>, MemoryBusy> {
        let mut shards: Vec<_> = self.lock().files.keys().map(|name| (name.shard(), None)).collect();
        shards.sort_unstable();
        shards.dedup();
        Ok(shards)
    }

    async fn list(&self, _run: &MemoryRun, (shard, after): Self::Shard) -> Result<Page<Self>, MemoryBusy> {
        let shared = self.lock();
        let names = shared.files.keys().filter(|name| name.shard() == shard && Some(**name) > after);
        let names: Vec<EntryName> = names.take(PAGE_ENTRIES).copied().collect();
        let rest = names.last().filter(|_| names.len() == PAGE_ENTRIES).map(|last| (shard, Some(*last)));
        let entries = names.iter().map(|name| {
            let file = shared.files[name];
            Description {
                digest: name.digest,
                kind: name.kind,
                size: file.size,
                used_at: Some(file.used_at),
                upload_started_at: None,
                modified_at: None,
                agreement: Agreement::Agrees,
            }
        });
        Ok(Page { entries: entries.collect(), rest })
    }

    fn describe(entry: &Description) -> Description {
        *entry
    }

    async fn remove(
        &self,
        run: &MemoryRun,
        batch: Vec<Description>,
        is_cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<Removal>, MemoryBusy> {
        if is_cancelled() {
            return Ok(Vec::new());
        }
        let mut shared = self.lock();
        let removals = batch.into_iter().map(|entry| {
            let name = EntryName::new(entry.digest, entry.kind);
            let used = shared.files.get(&name).is_some_and(|file| file.used_at >= run.times.cutoff);
            if used && !is_off("r7") {
                return Removal::Kept;
            }
            shared.files.remove(&name);
            Removal::Removed
        });
        Ok(removals.collect())
    }

    async fn preview(&self, _: &MemoryRun, batch: &[Description]) -> Result<Vec<Removal>, MemoryBusy> {
        Ok(vec![Removal::Removed; batch.len()])
    }

    async fn heal(&self, _: &MemoryRun, _: &Digest, _is_referenced: bool) -> Result<Repair, MemoryBusy> {
        Ok(Repair::Nothing)
    }

    async fn preview_heal(
        &self,
        _: &MemoryRun,
        _: &Digest,
        _is_referenced: bool,
    ) -> Result<Repair, MemoryBusy> {
        Ok(Repair::Nothing)
    }

    async fn is_stored(&self, digest: &Digest) -> Result<bool, MemoryBusy> {
        Ok(self.holds(EntryName::chunk(*digest)))
    }
}

/// Indexes in memory.
#[derive(Debug, Default)]
pub struct MemoryReferences {
    indexes: Mutex<BTreeMap<String, MemoryIndex>>,
    list_fails: Mutex<bool>,
}

/// What happens to whoever reads an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadFault {
    /// All of it is read.
    #[default]
    None,
    /// Reading fails in the middle.
    Unreadable,
    /// Only the first half arrives, without an error.
    CutShort,
    /// Its snapshot is removed the moment it is read.
    Removed,
    /// It cannot be found, and stays listed.
    Ghost,
    /// It is removed the moment it is read, and a new one of the same name takes its place.
    Replaced,
}

#[derive(Debug, Clone)]
struct MemoryIndex {
    digests: Vec<Digest>,
    fault: ReadFault,
}

/// Bytes of plain data that each reference of a [`MemoryReferences`] stands for.
pub const MEMORY_CHUNK_BYTES: u64 = 1000;

/// Listing or reading failed, as a test asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryReadError;

impl fmt::Display for MemoryReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("input/output error")
    }
}

impl std::error::Error for MemoryReadError {}

impl MemoryReferences {
    /// Makes references without an index.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces an index.
    pub fn add(&self, index: &str, digests: impl IntoIterator<Item = Digest>) {
        let index_content = MemoryIndex { digests: digests.into_iter().collect(), fault: ReadFault::None };
        lock(&self.indexes).insert(index.to_owned(), index_content);
    }

    /// Removes an index, as forgetting its snapshot does.
    pub fn forget(&self, index: &str) {
        lock(&self.indexes).remove(index);
    }

    /// Lets the reading of an index go wrong.
    pub fn set_fault(&self, index: &str, fault: ReadFault) {
        if let Some(index) = lock(&self.indexes).get_mut(index) {
            index.fault = fault;
        }
    }

    /// Lets listing fail, or not.
    pub fn set_list_fails(&self, fails: bool) {
        *lock(&self.list_fails) = fails;
    }
}

impl References for MemoryReferences {
    type Index = String;
    type Error = MemoryReadError;

    async fn list(&self) -> Result<Vec<String>, MemoryReadError> {
        if *lock(&self.list_fails) {
            return Err(MemoryReadError);
        }
        Ok(lock(&self.indexes).keys().cloned().collect())
    }

    async fn read(&self, index: &String, mut sink: Sink) -> Result<Outcome, MemoryReadError> {
        let mut indexes = lock(&self.indexes);
        let Some(found) = indexes.get_mut(index) else { return Ok(Outcome::Gone) };
        let references = found.digests.len() as u64;
        let read = Outcome::Read { references, data_bytes: references * MEMORY_CHUNK_BYTES };
        let half = &found.digests[..found.digests.len() / 2];
        match found.fault {
            ReadFault::None => {
                for part in found.digests.chunks(1024) {
                    if sink.push(part).is_break() {
                        break;
                    }
                }
                Ok(read)
            }
            ReadFault::Unreadable => {
                let _ = sink.push(half);
                Err(MemoryReadError)
            }
            ReadFault::CutShort => {
                let _ = sink.push(half);
                Ok(read)
            }
            ReadFault::Ghost => Ok(Outcome::Gone),
            ReadFault::Replaced => {
                found.fault = ReadFault::None;
                Ok(Outcome::Gone)
            }
            ReadFault::Removed => {
                indexes.remove(index);
                Ok(Outcome::Gone)
            }
        }
    }
}
