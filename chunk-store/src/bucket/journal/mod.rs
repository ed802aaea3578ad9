//! The journal: which digests are condemned, journalled or in limbo, and which paths are closed (R4, R7, R8, R9, R19).
//!
//! In memory under one `std` mutex that is never held across an await; on disk as one small file that is replaced whole,
//! synced. What is on disk is always at least as careful as what was sent: an entry is saved before its first delete
//! leaves, and taken out after its outcome is certain.

mod format;
mod open_batch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use format::JournalError;
pub(crate) use open_batch::OpenBatch;
use tokio::sync::{Mutex as AsyncMutex, Notify};

use crate::digest::Digest;
use crate::dir::{ChunkDir, DirError, StateFile};
use crate::switch::is_off;
use crate::time::StoreTime;

/// Names an entry of the journal while the store is open.
pub(crate) type EntryId = u64;

/// Deletes that were, or are about to be, sent with one expiry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The digests whose objects they name.
    pub(crate) digests: BTreeSet<Digest>,
    /// The instant of the backend's clock after which it refuses them.
    pub(crate) expires_at: StoreTime,
    /// The generation token that was to be reached before the first of them left.
    pub(crate) token: String,
    /// The outcome is not certain: the entry is settled when the expiry has passed, and not before (R9).
    pub(crate) in_limbo: bool,
}

/// Until when a path below `.cnt/` is closed (R19).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathState {
    /// Somebody works on it.
    Claimed,
    /// A request for it may still take effect until then, in the backend's clock.
    Closed(StoreTime),
}

/// How a digest stands in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Not at all.
    Free,
    /// In an open batch (R8).
    Condemned,
    /// In an entry that is not settled (R8).
    Journalled,
}

/// Watches over an upload from its upload marker on (R4).
#[derive(Debug)]
pub(crate) struct UploadWatch {
    journal: Arc<Mutex<State>>,
    digest: Digest,
    was_journalled: Arc<AtomicBool>,
}

impl UploadWatch {
    /// Returns whether the digest was in the journal at any time since: then the acknowledgement does not count.
    pub(crate) fn was_journalled(&self) -> bool {
        self.was_journalled.load(Ordering::Acquire)
    }
}

impl Drop for UploadWatch {
    fn drop(&mut self) {
        let mut state = lock(&self.journal);
        if let Some(watches) = state.uploads.get_mut(&self.digest) {
            watches.retain(|watch| !Arc::ptr_eq(watch, &self.was_journalled));
            if watches.is_empty() {
                state.uploads.remove(&self.digest);
            }
        }
    }
}

/// Stands among the paths, which all lie below `.cnt/`, and closes each of them.
const EARLIER: &str = "earlier";

/// The journal of one store.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    state: Arc<Mutex<State>>,
    /// Replacements of the file take turns.
    saving: AsyncMutex<()>,
    /// Told whenever an entry is settled or a path is opened again.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    next_id: EntryId,
    entries: BTreeMap<EntryId, Entry>,
    /// The entry of each journalled digest.
    journalled: BTreeMap<Digest, EntryId>,
    /// Digests of open batches.
    condemned: BTreeSet<Digest>,
    uploads: BTreeMap<Digest, Vec<Arc<AtomicBool>>>,
    /// Entries in limbo that must not be settled before the removal of their markers is durable.
    unsynced: BTreeSet<EntryId>,
    paths: BTreeMap<String, PathState>,
    /// Something was taken out since the file was last written.
    is_stale: bool,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Journal {
    /// Reads the journal as the last owner left it; see [`Self::replay`].
    pub(crate) async fn load<D: ChunkDir>(dir: &D) -> Result<Self, JournalLoadError> {
        match dir.load_state(StateFile::Journal).await? {
            Some(content) => Ok(Self::parse(&content)?),
            None => Ok(Self::default()),
        }
    }

    /// Reads the journal's file.
    pub(super) fn parse(file: &[u8]) -> Result<Self, JournalError> {
        let (entries, paths) = format::decode(file)?;
        let journal = Self::default();
        {
            let mut state = lock(&journal.state);
            for entry in entries {
                state.add(entry);
            }
            state.paths = paths;
        }
        Ok(journal)
    }

    /// Writes the journal's file.
    pub(super) fn encode(&self) -> Vec<u8> {
        let state = lock(&self.state);
        format::encode(state.entries.values(), &state.paths)
    }

    /// Saves the journal, synced.
    pub(crate) async fn save<D: ChunkDir>(&self, dir: &D) -> Result<(), DirError> {
        let _turn = self.saving.lock().await;
        // Encoded after the turn came: the last file written is never the older one.
        lock(&self.state).is_stale = false;
        let content = self.encode();
        let saved = dir.save_state(StateFile::Journal, content.into()).await;
        if saved.is_err() {
            lock(&self.state).is_stale = true;
        }
        saved
    }

    /// Returns whether the file says more than is true: what is settled or free, and was to be saved some time.
    pub(crate) fn is_stale(&self) -> bool {
        lock(&self.state).is_stale
    }

    /// Puts every entry in limbo, and closes every path that was claimed until `paths_until` (R7, R19); returns all
    /// digests of the journal, whose markers must go before the store is used. The caller saves.
    pub(crate) fn replay(&self, paths_until: StoreTime) -> Vec<Digest> {
        let mut state = lock(&self.state);
        for entry in state.entries.values_mut() {
            entry.in_limbo = true;
        }
        for path in state.paths.values_mut() {
            if *path == PathState::Claimed {
                *path = PathState::Closed(paths_until);
            }
        }
        state.journalled.keys().copied().collect()
    }

    /// Forgets everything (R10: after a rebuild nothing of it can still take effect). The caller saves.
    pub(crate) fn discard(&self) {
        *lock(&self.state) = State::default();
        self.changed.notify_waiters();
    }

    /// Returns how a digest stands. The caller holds lock(d).
    pub(crate) fn standing(&self, digest: &Digest) -> Standing {
        lock(&self.state).standing(digest)
    }

    /// Takes a digest out of the batch that it is in, if that is not journalled yet (R8); returns how it stands then,
    /// free or journalled. The caller holds lock(d).
    pub(crate) fn rescue(&self, digest: &Digest) -> Standing {
        let mut state = lock(&self.state);
        if is_off("r8") {
            return Standing::Free;
        }
        state.condemned.remove(digest);
        state.standing(digest)
    }

    /// Puts a free digest into the open batch; returns whether it was free. The caller holds lock(d).
    pub(crate) fn condemn(&self, digest: &Digest) -> bool {
        let mut state = lock(&self.state);
        state.standing(digest) == Standing::Free && state.condemned.insert(*digest)
    }

    /// Makes an entry of those digests of a batch that are still condemned; returns it with its number, or `None` if
    /// none is left. From here on inserts of them wait, and uploads under way start over (R4, R8). The caller saves
    /// before it sends anything.
    pub(crate) fn enter(
        &self,
        digests: &[Digest],
        expires_at: StoreTime,
        token: String,
    ) -> Option<(EntryId, BTreeSet<Digest>)> {
        let mut state = lock(&self.state);
        let digests: BTreeSet<Digest> =
            digests.iter().filter(|digest| state.condemned.remove(digest)).copied().collect();
        if digests.is_empty() {
            return None;
        }
        let entry = Entry { digests: digests.clone(), expires_at, token, in_limbo: false };
        Some((state.add(entry), digests))
    }

    /// Takes digests out of an entry, or all of it if `digests` is `None`: their outcome is certain. The caller saves
    /// some time.
    pub(crate) fn settle(&self, id: EntryId, digests: Option<&BTreeSet<Digest>>) {
        {
            let mut state = lock(&self.state);
            let Some(entry) = state.entries.get_mut(&id) else { return };
            let settled = match digests {
                None => std::mem::take(&mut entry.digests),
                Some(digests) => {
                    let (settled, left) =
                        std::mem::take(&mut entry.digests).into_iter().partition(|d| digests.contains(d));
                    entry.digests = left;
                    settled
                }
            };
            if entry.digests.is_empty() {
                state.entries.remove(&id);
            }
            state.is_stale = true;
            for digest in settled {
                state.journalled.remove(&digest);
            }
        }
        self.changed.notify_waiters();
    }

    /// Puts what is left of an entry in limbo (R9). The caller saves, synced.
    pub(crate) fn put_in_limbo(&self, id: EntryId) {
        if let Some(entry) = lock(&self.state).entries.get_mut(&id) {
            entry.in_limbo = true;
        }
        self.changed.notify_waiters();
    }

    /// Puts an entry in limbo the removal of whose markers is not known to be durable: it is not settled before
    /// [`Self::note_synced`], else a marker could come back over nothing (hazard H9).
    pub(crate) fn put_in_limbo_unsynced(&self, id: EntryId) {
        lock(&self.state).unsynced.insert(id);
        self.put_in_limbo(id);
    }

    /// Returns the entries in limbo that wait for a sync of the directory.
    pub(crate) fn unsynced(&self) -> Vec<EntryId> {
        lock(&self.state).unsynced.iter().copied().collect()
    }

    /// Notes that the directory was synced since [`Self::unsynced`] returned `ids`.
    pub(crate) fn note_synced(&self, ids: &[EntryId]) {
        let mut state = lock(&self.state);
        for id in ids {
            state.unsynced.remove(id);
        }
    }

    /// Settles the entries in limbo, and opens the paths, whose expiry is before `date` less `margin` (R9); returns
    /// whether there were any. The caller saves some time.
    pub(crate) fn expire(&self, date: StoreTime, margin: Duration) -> bool {
        let passed = date.minus(margin);
        let expired: Vec<EntryId> = {
            let mut state = lock(&self.state);
            let before = state.paths.len();
            state.paths.retain(|_, path| !matches!(path, PathState::Closed(until) if *until < passed));
            let entries = state.entries.iter();
            let over = |id: &EntryId, entry: &Entry| {
                entry.in_limbo && entry.expires_at < passed && !state.unsynced.contains(id)
            };
            let ids: Vec<_> = entries.filter(|(id, entry)| over(id, entry)).map(|(id, _)| *id).collect();
            state.is_stale |= state.paths.len() < before;
            if ids.is_empty() && state.paths.len() < before {
                self.changed.notify_waiters();
                return true;
            }
            ids
        };
        for id in &expired {
            self.settle(*id, None);
        }
        !expired.is_empty()
    }

    /// Returns the latest expiry of the entry of a digest if it is in limbo.
    pub(crate) fn limbo_of(&self, digest: &Digest) -> Option<StoreTime> {
        let state = lock(&self.state);
        let entry = state.entries.get(state.journalled.get(digest)?)?;
        entry.in_limbo.then_some(entry.expires_at)
    }

    /// Returns the numbers of entries and digests in the journal, and of those in limbo.
    pub(crate) fn counts(&self) -> JournalCounts {
        let state = lock(&self.state);
        let in_limbo = state.entries.values().filter(|entry| entry.in_limbo);
        JournalCounts {
            journalled: state.journalled.len(),
            in_limbo: in_limbo.map(|entry| entry.digests.len()).sum(),
            closed_paths: state.paths.keys().filter(|path| *path != EARLIER).count(),
        }
    }

    /// Starts to watch over an upload (R4). The caller holds lock(d) and has found the digest free.
    pub(crate) fn watch_upload(&self, digest: Digest) -> UploadWatch {
        let was_journalled = Arc::new(AtomicBool::new(false));
        lock(&self.state).uploads.entry(digest).or_default().push(Arc::clone(&was_journalled));
        UploadWatch { journal: Arc::clone(&self.state), digest, was_journalled }
    }

    /// Returns a future that ends at the next change; enable it before looking at what may change.
    pub(crate) fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    /// Claims a path if nobody works on it or on one around or inside it, and none of these is closed (R19). The caller
    /// saves before it sends anything.
    pub(crate) fn claim_path(&self, path: &str) -> Result<(), (String, PathState)> {
        let mut state = lock(&self.state);
        if let Some((other, path_state)) = state.in_the_way(path).filter(|_| !is_off("r19")) {
            return Err((other.to_owned(), path_state));
        }
        state.paths.insert(path.to_owned(), PathState::Claimed);
        Ok(())
    }

    /// Closes every path until requests of which this journal knows nothing can take no effect any more. The caller saves.
    pub(crate) fn close_earlier(&self, until: StoreTime) {
        let mut state = lock(&self.state);
        let known = match state.paths.get(EARLIER) {
            Some(PathState::Closed(known)) => until.max(*known),
            _ => until,
        };
        state.paths.insert(EARLIER.to_owned(), PathState::Closed(known));
    }

    /// Returns until when requests may take effect of which this journal knows nothing; see [`Self::close_earlier`].
    pub(crate) fn earlier_until(&self) -> Option<StoreTime> {
        match lock(&self.state).paths.get(EARLIER)? {
            PathState::Closed(until) => Some(*until),
            PathState::Claimed => None,
        }
    }

    /// Returns whether [`Self::claim_path`] would succeed.
    pub(crate) fn is_path_free(&self, path: &str) -> bool {
        lock(&self.state).in_the_way(path).is_none()
    }

    /// Returns until when a path, or one around or inside it, is closed, and which one is so for the longest time.
    pub(crate) fn closed_until(&self, path: &str) -> Option<(String, StoreTime)> {
        let state = lock(&self.state);
        let met = state.paths.iter().filter(|(other, _)| meets(path, other) || *other == EARLIER);
        let closed = met.filter_map(|(other, path_state)| match path_state {
            PathState::Claimed => None,
            PathState::Closed(until) => Some((other, *until)),
        });
        let (other, until) = closed.max_by_key(|(_, until)| *until)?;
        Some((if other == EARLIER { path } else { other }.to_owned(), until))
    }

    /// Gives a path free, or closes it until `closed_until` if a request for it may still take effect. The caller saves:
    /// synced in the second case, some time in the first.
    pub(crate) fn release_path(&self, path: &str, closed_until: Option<StoreTime>) {
        {
            let mut state = lock(&self.state);
            state.is_stale = true;
            match closed_until.filter(|_| !is_off("r19")) {
                Some(until) => state.paths.insert(path.to_owned(), PathState::Closed(until)),
                None => state.paths.remove(path),
            };
        }
        self.changed.notify_waiters();
    }
}

/// How much is in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JournalCounts {
    /// Digests whose deletes are under way or in limbo.
    pub journalled: usize,
    /// Digests in limbo among them.
    pub in_limbo: usize,
    /// Paths that are in use or closed (R19).
    pub closed_paths: usize,
}

/// The journal cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalLoadError {
    /// A file operation failed.
    #[error(transparent)]
    Dir(#[from] DirError),
    /// The file is damaged.
    #[error(transparent)]
    Format(#[from] JournalError),
}

/// Returns whether two paths are the same or one lies inside the other.
fn meets(one: &str, other: &str) -> bool {
    let inside = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    inside(one, other) || inside(other, one)
}

impl State {
    /// Returns what stands in the way of a claim, and how (R19): a path that meets `path`, or `path` itself while all are
    /// closed.
    fn in_the_way<'a>(&'a self, path: &'a str) -> Option<(&'a str, PathState)> {
        let met = self.paths.iter().find(|(other, _)| meets(path, other));
        let met = met.map(|(other, path_state)| (other.as_str(), *path_state));
        met.or_else(|| Some((path, *self.paths.get(EARLIER)?)))
    }

    fn add(&mut self, entry: Entry) -> EntryId {
        let id = self.next_id;
        self.next_id += 1;
        for digest in &entry.digests {
            self.journalled.insert(*digest, id);
            for watch in self.uploads.get(digest).into_iter().flatten() {
                watch.store(true, Ordering::Release);
            }
        }
        self.entries.insert(id, entry);
        id
    }

    fn standing(&self, digest: &Digest) -> Standing {
        if self.journalled.contains_key(digest) {
            Standing::Journalled
        } else if self.condemned.contains(digest) {
            Standing::Condemned
        } else {
            Standing::Free
        }
    }
}

#[cfg(test)]
mod tests;
