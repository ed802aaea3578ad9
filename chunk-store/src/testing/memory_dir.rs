//! A chunk directory in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::call_gate::{CallGate, Gate};
use super::held_call::{HeldCalls, Stops};
use super::memory_faults::{Failing, Room};
use super::memory_files::Files;
use crate::blob::{BlobKind, ChunkClass};
use crate::dir::{ChunkDir, DirError, Durability, Entry, EntryName, EntryStat, NewEntry, Shard, StateFile};
use crate::locks::DigestGuard;
use crate::switch::is_off;
use crate::time::StoreTime;

/// A chunk directory in memory, which forgets unsynced changes on [`MemoryDir::lose_power`] and fails on demand.
///
/// A clone is another handle of the same disk: what is left to the next process when one ends. A copy of the disk is
/// made by [`MemoryDir::snapshot`].
#[derive(Debug, Clone, Default)]
pub struct MemoryDir {
    disk: Arc<Disk>,
}

#[derive(Debug, Default)]
struct Disk {
    state: Mutex<State>,
    putting: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) now: Content,
    pub(super) room: Room,
    pub(super) failing: Failing,
    stops: Stops,
    gate: Gate,
}

/// What a full disk has room for in a state file, as a directory on disk holds some back.
const STATE_BYTES_MAX: usize = 64 << 10;

#[derive(Debug, Default, Clone)]
pub(super) struct Content {
    pub(super) files: Files,
    /// The fresh set of markers, durable as soon as it is begun, unlike what is in it (R10).
    pub(super) fresh: Option<Files>,
    /// Durable as soon as it is there.
    pub(super) state: BTreeMap<StateFile, Bytes>,
}

#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) content: Bytes,
    pub(super) stat: EntryStat,
    /// The class that the file was made with, which an empty marker keeps.
    pub(super) class: Option<ChunkClass>,
}

impl MemoryDir {
    /// Makes an empty directory.
    pub fn new() -> Self {
        Self::default()
    }

    /// Copies the disk as it is now, as an image of it made while it is in use.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        let copy = State { now: self.lock().now.clone(), ..State::default() };
        Self { disk: Arc::new(Disk { state: Mutex::new(copy), ..Disk::default() }) }
    }

    /// Puts the content of an image in the place of what this disk holds.
    pub fn restore(&self, image: &Self) {
        let now = image.lock().now.clone();
        self.lock().now = now;
    }

    /// Returns to the last synced content.
    pub fn lose_power(&self) {
        self.lose_power_in_part(|_| 0);
    }

    /// Loses any part of what was not synced. Of each file that was changed since the last sync, `choose` is given the number
    /// of states that it was in since, the synced one first, and picks the one that it comes back in; then, of one with new
    /// content, it is given that content's length plus one and picks how much of it is left.
    pub fn lose_power_in_part(&self, mut choose: impl FnMut(usize) -> usize) {
        let now = &mut self.lock().now;
        now.files.lose_power(&mut choose);
        now.fresh.iter_mut().for_each(|fresh| fresh.lose_power(&mut choose));
    }

    /// Cuts the content of a file to `len` bytes, as a crash or a bad disk may do; returns whether there was so much.
    pub fn tear(&self, name: EntryName, len: usize) -> bool {
        self.lock().now.files.tear(name, len)
    }

    /// Returns the facts about a file, behind the back of whoever uses the directory.
    pub fn entry(&self, name: EntryName) -> Option<Entry> {
        self.lock().now.files.get(&name).map(|file| Entry { name, stat: file.stat })
    }

    /// Returns all files, ascending, behind the back of whoever uses the directory.
    pub fn entries(&self) -> Vec<Entry> {
        self.lock().now.files.iter().map(|(name, file)| Entry { name: *name, stat: file.stat }).collect()
    }

    /// Has every later call pass `gate` before it has any effect; `None` opens the way.
    pub fn set_gate(&self, gate: Option<Arc<dyn CallGate>>) {
        self.lock().gate = Gate(gate);
    }

    /// Lets every put wait, before it has any effect, until the returned guard is dropped.
    pub async fn hold_puts(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.disk.putting.lock().await
    }

    /// Lets the call after `skipped` others wait, before it has any effect, until the test releases it.
    pub fn hold_call(&self, skipped: usize) -> HeldCalls {
        self.lock().stops.add(skipped)
    }

    /// Forgets which calls were to wait. One that waits stays so.
    pub fn hold_no_call(&self) {
        self.lock().stops = Stops::default();
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.disk.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn call(&self, method: &'static str) -> Result<MutexGuard<'_, State>, DirError> {
        let (stop, pass) = {
            let mut state = self.lock();
            (state.stops.enter(method), state.gate.pass(method))
        };
        if let Some(stop) = stop {
            stop.released().await;
        }
        if let Some(pass) = pass {
            pass.await;
        }
        let state = self.lock();
        state.failing.check(method)?;
        Ok(state)
    }
}

impl Content {
    /// Returns the files of some shards, one shard after the other.
    fn entries(&self, shards: &[Shard]) -> Vec<Entry> {
        let files = shards.iter().flat_map(|shard| {
            let files = self.files.iter().filter(move |(name, _)| name.shard() == *shard);
            files.map(|(name, file)| Entry { name: *name, stat: file.stat })
        });
        files.collect()
    }
}

pub(super) fn assert_held(held: &DigestGuard, name: EntryName) {
    assert!(held.covers(&name.digest), "lock(d) of {name} is not held");
}

impl ChunkDir for MemoryDir {
    async fn stat(
        &self,
        held: &DigestGuard,
        name: EntryName,
    ) -> Result<Option<(EntryStat, Option<BlobKind>)>, DirError> {
        assert_held(held, name);
        let state = self.call("stat").await?;
        Ok(state.now.files.get(&name).map(|file| (file.stat, BlobKind::from_magic(&file.content))))
    }

    async fn touch(
        &self,
        held: &DigestGuard,
        names: Vec<EntryName>,
        at: StoreTime,
    ) -> Result<Vec<Option<EntryStat>>, DirError> {
        let mut state = self.call("touch").await?;
        let touch = |name: EntryName| {
            assert_held(held, name);
            let stat = &mut state.now.files.get_mut(&name)?.stat;
            let before = *stat;
            stat.used_at = at;
            Some(before)
        };
        let touched = names.into_iter().map(touch).collect();
        state.failing.done("touch", touched)
    }

    async fn set_times(&self, held: &DigestGuard, name: EntryName, at: StoreTime) -> Result<(), DirError> {
        assert_held(held, name);
        let mut state = self.call("set_times").await?;
        let missing = || DirError::new("touch", name.to_string(), io::ErrorKind::NotFound.into());
        let stat = &mut state.now.files.get_mut(&name).ok_or_else(missing)?.stat;
        (stat.used_at, stat.written_at) = (at, at);
        Ok(())
    }

    async fn read(&self, name: EntryName) -> Result<Option<Bytes>, DirError> {
        Ok(self.call("read").await?.now.files.get(&name).map(|file| file.content.clone()))
    }

    async fn put(&self, held: &DigestGuard, entry: NewEntry, durability: Durability) -> Result<(), DirError> {
        assert_held(held, entry.name);
        let _turn = self.disk.putting.lock().await;
        let mut state = self.call("put").await?;
        // Also what replaces a file is written beside it first.
        if state.room == Room::Nothing || (state.room != Room::Plenty && !entry.content.is_empty()) {
            return Err(DirError::new("write", entry.name.to_string(), io::ErrorKind::StorageFull.into()));
        }
        let stat = EntryStat { len: entry.content.len() as u64, used_at: entry.at, written_at: entry.at };
        let file = File { content: entry.content, stat, class: None };
        state.now.files.insert(entry.name, file);
        if durability == Durability::Immediate {
            state.now.files.sync_one(&entry.name);
        }
        state.failing.done("put", ())
    }

    async fn rename(&self, held: &DigestGuard, from: EntryName, to: EntryName) -> Result<bool, DirError> {
        assert_held(held, from);
        assert_held(held, to);
        let mut state = self.call("rename").await?;
        let Some(file) = state.now.files.remove(&from) else { return Ok(false) };
        state.now.files.insert(to, file);
        state.failing.done("rename", true)
    }

    async fn remove_unused(
        &self,
        held: &DigestGuard,
        names: Vec<EntryName>,
        cutoff: StoreTime,
    ) -> Result<Vec<bool>, DirError> {
        let mut state = self.call("remove_unused").await?;
        let remove = |name: EntryName| {
            assert_held(held, name);
            let used = state.now.files.get(&name).is_some_and(|file| file.stat.used_at >= cutoff);
            if used && !is_off("r7") {
                return false;
            }
            let removed = state.now.files.remove(&name);
            state.make_room(removed.map_or(0, |file| file.stat.len));
            true
        };
        let removed = names.into_iter().map(remove).collect();
        state.failing.done("remove_unused", removed)
    }

    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, DirError> {
        Ok(work())
    }

    async fn shards(&self) -> Result<Vec<Shard>, DirError> {
        let state = self.call("shards").await?;
        Ok(state.now.files.keys().map(EntryName::shard).collect::<BTreeSet<_>>().into_iter().collect())
    }

    async fn list(&self, shards: Vec<Shard>) -> Result<Vec<Entry>, DirError> {
        Ok(self.call("list").await?.now.entries(&shards))
    }

    async fn names(&self, shards: Vec<Shard>) -> Result<Vec<EntryName>, DirError> {
        let state = self.call("names").await?;
        Ok(state.now.entries(&shards).into_iter().map(|entry| entry.name).collect())
    }

    async fn sync(&self) -> Result<(), DirError> {
        let mut state = self.call("sync").await?;
        state.now.files.sync();
        state.now.fresh.iter_mut().for_each(Files::sync);
        Ok(())
    }

    async fn check_synced(&self) -> Result<(), DirError> {
        self.call("check_synced").await.map(drop)
    }

    async fn keeps_times(&self, _at: StoreTime) -> Result<bool, DirError> {
        // Told to fail, it plays a filesystem that does not keep times.
        Ok(self.call("keeps_times").await.is_ok())
    }

    async fn load_state(&self, file: StateFile) -> Result<Option<Bytes>, DirError> {
        Ok(self.call("load_state").await?.now.state.get(&file).cloned())
    }

    async fn save_state(&self, file: StateFile, content: Bytes) -> Result<(), DirError> {
        let mut state = self.call("save_state").await?;
        if state.room != Room::Plenty && content.len() > STATE_BYTES_MAX {
            let (path, full) = (file.file_name(), io::ErrorKind::StorageFull.into());
            return Err(DirError::new("write", path, full));
        }
        state.now.state.insert(file, content);
        state.failing.done("save_state", ())
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use super::*;
    use crate::testing::check_chunk_dir;

    #[tokio::test]
    async fn conforms() {
        check_chunk_dir(&MemoryDir::new()).await;
    }

    #[tokio::test]
    async fn a_held_call_has_no_effect_until_it_is_released_and_none_if_it_is_dropped() {
        let dir = MemoryDir::new();
        let load = async || dir.load_state(StateFile::Clock).await.unwrap();
        let mut held = dir.hold_call(1);
        dir.save_state(StateFile::Clock, "one".into()).await.unwrap();
        for is_dropped in [true, false] {
            let mut save = Box::pin(dir.save_state(StateFile::Clock, "two".into()));
            assert!(futures_util::poll!(&mut save).is_pending());
            let call = held.try_arrived().unwrap();
            assert_eq!(call.method(), "save_state");
            assert_eq!(load().await.unwrap(), "one", "other calls go on");
            if is_dropped {
                drop(save);
                assert_eq!(load().await.unwrap(), "one");
                held = dir.hold_call(0);
            } else {
                call.release();
                save.await.unwrap();
                assert_eq!(load().await.unwrap(), "two");
            }
        }
    }

    /// Lets nobody through.
    struct Shut;

    impl CallGate for Shut {
        fn pass(&self, method: &'static str) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
            (method == "save_state").then(|| Box::pin(std::future::pending()) as Pin<Box<_>>)
        }
    }

    #[tokio::test]
    async fn a_call_that_waits_at_the_gate_has_no_effect() {
        let dir = MemoryDir::new();
        dir.set_gate(Some(Arc::new(Shut)));
        let mut save = Box::pin(dir.save_state(StateFile::Clock, "one".into()));
        assert!(futures_util::poll!(&mut save).is_pending());
        assert_eq!(dir.load_state(StateFile::Clock).await.unwrap(), None);
        drop(save);
        dir.set_gate(None);
        dir.save_state(StateFile::Clock, "two".into()).await.unwrap();
        assert_eq!(dir.load_state(StateFile::Clock).await.unwrap().unwrap(), "two");
    }

    #[tokio::test]
    async fn what_is_looked_at_from_outside_is_what_there_is() {
        let dir = MemoryDir::new();
        let held = crate::locks::DigestLocks::new().lock_every().await;
        let name = EntryName::chunk(crate::digest::Digest::of(b"abc"));
        let entry = NewEntry { name, content: "content".into(), at: StoreTime::EPOCH };
        dir.put(&held, entry, Durability::Deferred).await.unwrap();
        assert_eq!(dir.entries(), Vec::from_iter(dir.entry(name)));
        assert!(dir.tear(name, 4) && !dir.tear(name, 5));
        assert_eq!(dir.read(name).await.unwrap().unwrap(), "cont");
        dir.lose_power_in_part(|states| states - 1);
        assert_eq!(dir.entry(name).unwrap().stat.len, 4);
        dir.corrupt(name);
        assert_eq!(dir.content(name).unwrap(), "con\u{75}");
        assert_eq!(dir.state_file(StateFile::Clock), None);
    }
}
