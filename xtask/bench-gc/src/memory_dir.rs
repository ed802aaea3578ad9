//! A directory of markers by formula: a bit for each chunk.
//!
//! It does what a collection asks of a directory. What only backups and restores do is refused, so that nobody measures them by mistake.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use coldkeep_chunk_store::blob::BlobKind;
use coldkeep_chunk_store::dir::{
    ChunkDir, DirError, Durability, Entry, EntryKind, EntryName, EntryStat, Marker, MarkerDir, Marks,
    NewEntry, NewMarker, Shard, StateFile,
};
use coldkeep_chunk_store::{Digest, DigestGuard, StoreTime};

use crate::bits::Bits;
use crate::objects::Objects;
use crate::store::{generation_state, used_at};

/// Markers of all objects, each empty and last used when its object was written; a clone is another handle of them.
#[derive(Debug, Clone)]
pub(crate) struct MemoryMarkers {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    objects: Objects,
    used_at: StoreTime,
    removed: Bits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<StateFile, Bytes>,
    written: BTreeMap<&'static str, u64>,
}

impl MemoryMarkers {
    /// Makes the markers, with a state that fits the bucket.
    pub(crate) fn new(objects: Objects) -> MemoryMarkers {
        let files = BTreeMap::from([(StateFile::Generation, generation_state())]);
        let shared = Shared {
            objects,
            used_at: used_at(),
            removed: Bits::new(objects.count()),
            state: Mutex::new(State { files, ..State::default() }),
        };
        MemoryMarkers { shared: Arc::new(shared) }
    }

    /// What was written so far, and how often: state files by their names, removals of markers as `markers`.
    pub(crate) fn written(&self) -> BTreeMap<&'static str, u64> {
        self.state().written.clone()
    }

    /// How many markers were removed.
    pub(crate) fn removed(&self) -> u64 {
        self.shared.removed.count_set()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_written(&self, what: &'static str) {
        *self.state().written.entry(what).or_default() += 1;
    }

    /// The number of the chunk whose marker this is, if it is there.
    fn find(&self, name: EntryName) -> Option<u64> {
        let number = self.shared.objects.number_of(&name.digest).filter(|_| name.kind == EntryKind::Chunk);
        number.filter(|number| !self.shared.removed.is_set(*number))
    }

    fn stat_of_marker(&self) -> EntryStat {
        EntryStat { len: 0, used_at: self.shared.used_at, written_at: self.shared.used_at }
    }

    /// The numbers of all chunks of a prefix folder.
    fn numbers(&self, shard: Shard) -> std::ops::Range<u64> {
        let first_from = |shard: u64| self.shared.objects.first_from(shard << 48);
        let next = u64::from(shard.0) + 1;
        let end = if next > u64::from(u16::MAX) { self.shared.objects.count() } else { first_from(next) };
        first_from(u64::from(shard.0))..end
    }

    fn names_of(&self, shards: &[Shard]) -> impl Iterator<Item = EntryName> {
        let numbers = shards.iter().flat_map(|shard| self.numbers(*shard));
        let there = numbers.filter(|number| !self.shared.removed.is_set(*number));
        there.map(|number| EntryName::chunk(self.shared.objects.digest(number)))
    }

    fn remove(&self, name: EntryName) {
        if let Some(number) = self.find(name) {
            self.shared.removed.set(number);
        }
    }
}

fn refused<T>(action: &'static str) -> Result<T, DirError> {
    Err(DirError::new(action, "the markers of a benchmark", io::ErrorKind::Unsupported.into()))
}

impl ChunkDir for MemoryMarkers {
    async fn stat(
        &self,
        _: &DigestGuard,
        name: EntryName,
    ) -> Result<Option<(EntryStat, Option<BlobKind>)>, DirError> {
        Ok(self.find(name).map(|_| (self.stat_of_marker(), None)))
    }

    async fn touch(
        &self,
        _: &DigestGuard,
        _: Vec<EntryName>,
        _: StoreTime,
    ) -> Result<Vec<Option<EntryStat>>, DirError> {
        refused("touch")
    }

    async fn set_times(&self, _: &DigestGuard, _: EntryName, _: StoreTime) -> Result<(), DirError> {
        refused("touch")
    }

    async fn read(&self, name: EntryName) -> Result<Option<Bytes>, DirError> {
        Ok(self.find(name).map(|_| Bytes::new()))
    }

    async fn put(&self, _: &DigestGuard, _: NewEntry, _: Durability) -> Result<(), DirError> {
        refused("write")
    }

    async fn rename(&self, _: &DigestGuard, _: EntryName, _: EntryName) -> Result<bool, DirError> {
        refused("rename")
    }

    async fn remove_unused(
        &self,
        _: &DigestGuard,
        names: Vec<EntryName>,
        cutoff: StoreTime,
    ) -> Result<Vec<bool>, DirError> {
        self.note_written("markers");
        let remove = |name: EntryName| {
            let is_used = self.find(name).is_some() && self.shared.used_at >= cutoff;
            if !is_used {
                self.remove(name);
            }
            !is_used
        };
        Ok(names.into_iter().map(remove).collect())
    }

    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, DirError> {
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|error| DirError::new("work on", "the markers of a benchmark", io::Error::other(error)))
    }

    async fn shards(&self) -> Result<Vec<Shard>, DirError> {
        let has_any = |shard: &Shard| !self.numbers(*shard).is_empty();
        Ok((0..=u16::MAX).map(Shard).filter(has_any).collect())
    }

    async fn list(&self, shards: Vec<Shard>) -> Result<Vec<Entry>, DirError> {
        let stat = self.stat_of_marker();
        Ok(self.names_of(&shards).map(|name| Entry { name, stat }).collect())
    }

    async fn names(&self, shards: Vec<Shard>) -> Result<Vec<EntryName>, DirError> {
        Ok(self.names_of(&shards).collect())
    }

    async fn sync(&self) -> Result<(), DirError> {
        Ok(())
    }

    async fn check_synced(&self) -> Result<(), DirError> {
        Ok(())
    }

    async fn keeps_times(&self, _: StoreTime) -> Result<bool, DirError> {
        Ok(true)
    }

    async fn load_state(&self, file: StateFile) -> Result<Option<Bytes>, DirError> {
        Ok(self.state().files.get(&file).cloned())
    }

    async fn save_state(&self, file: StateFile, content: Bytes) -> Result<(), DirError> {
        self.note_written(file.file_name());
        self.state().files.insert(file, content);
        Ok(())
    }
}

impl MarkerDir for MemoryMarkers {
    async fn marks(&self, _: &DigestGuard, digests: Vec<Digest>) -> Result<Vec<Marks>, DirError> {
        let marker = Marker { len: 0, used_at: self.shared.used_at, class: None };
        let marks = |digest: Digest| {
            let marker = self.find(EntryName::chunk(digest)).map(|_| marker);
            Marks { marker, upload_started_at: None }
        };
        Ok(digests.into_iter().map(marks).collect())
    }

    async fn use_marker(&self, _: &DigestGuard, _: Digest, _: StoreTime) -> Result<Option<Marker>, DirError> {
        refused("touch")
    }

    async fn put_upload_marker(&self, _: &DigestGuard, _: Digest, _: StoreTime) -> Result<(), DirError> {
        refused("write")
    }

    async fn place_marker(&self, _: &DigestGuard, _: NewMarker) -> Result<(), DirError> {
        refused("write")
    }

    async fn fill_marker(&self, _: &DigestGuard, _: Digest, _: Bytes) -> Result<bool, DirError> {
        refused("fill")
    }

    async fn empty_marker(&self, _: &DigestGuard, _: Digest) -> Result<u64, DirError> {
        refused("empty")
    }

    async fn remove_markers(&self, _: &DigestGuard, digests: Vec<Digest>) -> Result<(), DirError> {
        self.note_written("markers");
        for digest in digests {
            self.remove(EntryName::chunk(digest));
        }
        Ok(())
    }

    async fn begin_fresh(&self, _: bool) -> Result<(), DirError> {
        refused("begin fresh markers beside")
    }

    async fn add_fresh(&self, _: Vec<Digest>, _: StoreTime) -> Result<(), DirError> {
        refused("add fresh markers to")
    }

    async fn sync_fresh(&self) -> Result<(), DirError> {
        refused("sync fresh markers of")
    }

    async fn switch_to_fresh(&self) -> Result<(), DirError> {
        refused("replace")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coldkeep_chunk_store::DigestLocks;

    #[tokio::test]
    async fn every_marker_is_in_its_shard_until_it_is_removed() {
        let objects = Objects::new(1000, 5);
        let markers = MemoryMarkers::new(objects);
        let mut digests = Vec::new();
        for shard in markers.shards().await.unwrap() {
            let entries = markers.list(vec![shard]).await.unwrap();
            assert!(entries.iter().all(|entry| entry.name.shard() == shard), "{shard}");
            digests.extend(entries.into_iter().map(|entry| entry.name.digest));
        }
        assert_eq!(digests, (0..1000).map(|number| objects.digest(number)).collect::<Vec<_>>());

        let held = DigestLocks::new().lock_all(&digests).await;
        markers.remove_markers(&held, vec![digests[7], digests[999]]).await.unwrap();
        let marks = markers.marks(&held, vec![digests[6], digests[7], Digest::of(b"abc")]).await.unwrap();
        assert!(marks[0].marker.is_some_and(|marker| marker.len == 0));
        assert_eq!(marks[1..], [Marks::default(); 2]);
        assert_eq!(markers.removed(), 2);
        assert_eq!(markers.list(vec![Shard(0xffff)]).await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_marker_that_was_used_since_is_not_removed() {
        let objects = Objects::new(10, 5);
        let markers = MemoryMarkers::new(objects);
        let (digest, at) = (objects.digest(4), markers.shared.used_at);
        let held = DigestLocks::new().lock(&digest).await;
        let name = EntryName::chunk(digest);
        assert_eq!(markers.remove_unused(&held, vec![name], at).await.unwrap(), [false]);
        let later = at.plus(std::time::Duration::from_nanos(1));
        assert_eq!(markers.remove_unused(&held, vec![name], later).await.unwrap(), [true]);
        assert_eq!(markers.removed(), 1);
    }
}
