//! Which markers hold content, how much of it, and which of it goes next (R6, hazard H14).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Mutex as AsyncMutex;

use super::lru::{End, Lru};
use crate::digest::Digest;
use crate::switch::is_off;

/// The cache's order and size. The truth are the markers; this says which to empty first without asking the disk.
///
/// What it says of a digest is changed under lock(d) only, so that it agrees with the marker; only recency changes
/// without. After an unclean end they may differ until the markers were scanned.
#[derive(Debug)]
pub(super) struct Cache {
    capacity_bytes: u64,
    state: Mutex<State>,
    hits: AtomicU64,
    misses: AtomicU64,
    failures: AtomicU64,
    wrong_bodies: AtomicU64,
    /// The order may differ from the markers.
    pub(super) needs_scan: AtomicBool,
    /// Replacements of the file take turns.
    pub(super) saving: AsyncMutex<()>,
}

#[derive(Debug)]
struct State {
    order: Lru,
    /// Chosen to be evicted, until it is certain.
    leaving: BTreeMap<Digest, u32>,
    /// Number of changes so far, and at the last save.
    changes: u64,
    saved: u64,
}

/// Sizes and counters of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct CacheCounts {
    /// Bytes of cached content.
    pub(super) bytes: u64,
    /// Most bytes of cached content.
    pub(super) bytes_max: u64,
    /// Number of chunks with cached content.
    pub(super) chunks: u64,
    /// Loads that the cache served.
    pub(super) hits: u64,
    /// Loads that went to the backend.
    pub(super) misses: u64,
    /// Reads, fills and evictions that the local disk refused.
    pub(super) failures: u64,
    /// Bodies from the backend that failed their check.
    pub(super) wrong_bodies: u64,
}

impl Cache {
    /// Makes an empty cache of at most `capacity_bytes`; 0 caches nothing.
    pub(super) fn new(capacity_bytes: u64, set_key: u64) -> Self {
        let state = State { order: Lru::new(set_key), leaving: BTreeMap::new(), changes: 0, saved: 0 };
        Self {
            capacity_bytes,
            state: Mutex::new(state),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            wrong_bodies: AtomicU64::new(0),
            needs_scan: AtomicBool::new(true),
            saving: AsyncMutex::default(),
        }
    }

    /// Returns whether content of this length is cached at all; else markers are placed empty.
    pub(super) fn takes(&self, len: u64) -> bool {
        len <= self.capacity_bytes && self.capacity_bytes > 0
    }

    /// Returns the most bytes of cached content.
    pub(super) fn capacity_bytes(&self) -> u64 {
        self.capacity_bytes
    }

    /// Returns the length of a digest's content as far as it is known.
    pub(super) fn len_of(&self, digest: &Digest) -> Option<u64> {
        let state = self.lock();
        state.order.len_of(digest).or_else(|| state.leaving.get(digest).copied()).map(u64::from)
    }

    /// Notes a load that the cache served. The caller need not hold lock(d): what is unknown, or on its way out for
    /// certain, stays so.
    pub(super) fn hit(&self, digest: &Digest) {
        self.hits.fetch_add(1, Ordering::Relaxed);
        let mut state = self.lock();
        state.changes += 1;
        if let Some(len) = state.leaving.remove(digest) {
            state.order.put(digest, len, End::Newest);
        } else {
            state.order.refresh(digest);
        }
    }

    /// Notes a load that goes to the backend.
    pub(super) fn miss(&self) {
        self.misses.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes a file operation that failed and fails nobody.
    pub(super) fn failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes a body from the backend that failed its check.
    pub(super) fn wrong_body(&self) {
        self.wrong_bodies.fetch_add(1, Ordering::Relaxed);
    }

    /// Records that the marker of a digest has `len` bytes of content, 0 if there is none, and puts it at an end. The
    /// caller holds lock(d).
    pub(super) fn record(&self, digest: &Digest, len: u64, end: End) {
        let mut state = self.lock();
        state.changes += 1;
        state.leaving.remove(digest);
        // Chunks have 16 MiB; whatever else stands there is the first to go.
        match u32::try_from(len).unwrap_or(u32::MAX) {
            0 => drop(state.order.remove(digest)),
            len => state.order.put(digest, len, end),
        }
    }

    /// Makes the length of a digest's content right and leaves its place; one that was not known becomes the oldest. The
    /// caller holds lock(d).
    pub(super) fn correct(&self, digest: &Digest, len: u64) {
        let mut state = self.lock();
        if len > 0 && state.order.len_of(digest).is_some() {
            state.changes += 1;
            state.order.set_len(digest, u32::try_from(len).unwrap_or(u32::MAX));
            return;
        }
        drop(state);
        self.record(digest, len, End::Oldest);
    }

    /// Forgets a digest whose marker was removed or set aside. The caller holds lock(d).
    pub(super) fn remove(&self, digest: &Digest) {
        self.record(digest, 0, End::Oldest);
    }

    /// Forgets everything: fresh markers, all of them empty, took the place of the old ones. Nobody else is there.
    pub(super) fn clear(&self) {
        self.needs_scan.store(false, Ordering::Release);
        let mut state = self.lock();
        state.changes += 1;
        state.leaving.clear();
        while state.order.pop_oldest().is_some() {}
    }

    /// Chooses what to evict next, if there is more than `floor` bytes of content.
    pub(super) fn next_victim(&self, floor: u64) -> Option<Victim<'_>> {
        let mut state = self.lock();
        if state.order.bytes() <= floor {
            return None;
        }
        let (digest, len) = state.order.pop_oldest()?;
        state.changes += 1;
        state.leaving.insert(digest, len);
        Some(Victim { cache: self, digest })
    }

    /// Returns all digests and the lengths of their content, the least recently used first.
    pub(super) fn all(&self) -> Vec<(Digest, u32)> {
        let state = self.lock();
        let leaving = state.leaving.iter().map(|(digest, len)| (*digest, *len));
        leaving.chain(state.order.iter().map(|(digest, len)| (*digest, len))).collect()
    }

    /// Returns the number of changes so far.
    pub(super) fn changes(&self) -> u64 {
        self.lock().changes
    }

    /// Returns the number of changes so far if there were any since the last save.
    pub(super) fn unsaved(&self) -> Option<u64> {
        let state = self.lock();
        (state.changes != state.saved).then_some(state.changes)
    }

    /// Notes that the order was saved as it was after so many changes.
    pub(super) fn saved(&self, changes: u64) {
        self.lock().saved = changes;
    }

    /// Returns sizes and counters.
    pub(super) fn counts(&self) -> CacheCounts {
        let state = self.lock();
        CacheCounts {
            bytes: state.order.bytes(),
            bytes_max: self.capacity_bytes,
            chunks: state.order.count() as u64,
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            wrong_bodies: self.wrong_bodies.load(Ordering::Relaxed),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A digest chosen to be evicted. Dropped before [`Self::confirm`], it is the oldest again.
#[derive(Debug)]
pub(super) struct Victim<'a> {
    cache: &'a Cache,
    digest: Digest,
}

impl Victim<'_> {
    /// Returns the digest.
    pub(super) fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns the length of its content if it was neither read nor cached anew since it was chosen; from here on it is
    /// forgotten. The caller holds lock(d).
    pub(super) fn confirm(self) -> Option<u64> {
        let len = self.cache.lock().leaving.remove(&self.digest);
        if is_off("r6") {
            return Some(u64::from(len.unwrap_or(1)));
        }
        len.map(u64::from)
    }
}

impl Drop for Victim<'_> {
    fn drop(&mut self) {
        let mut state = self.cache.lock();
        if let Some(len) = state.leaving.remove(&self.digest) {
            state.order.put(&self.digest, len, End::Oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(name: u8) -> Digest {
        Digest::from_bytes([name; 32])
    }

    fn filled() -> Cache {
        let cache = Cache::new(25, 1);
        for name in 1..=3 {
            cache.record(&digest(name), 10, End::Newest);
        }
        cache
    }

    #[test]
    fn the_least_recently_used_goes_until_the_bound_is_kept() {
        let cache = filled();
        cache.hit(&digest(1));
        let victim = cache.next_victim(25).unwrap();
        assert_eq!(victim.digest(), digest(2));
        assert_eq!(victim.confirm(), Some(10));
        assert!(cache.next_victim(25).is_none());
        assert_eq!((cache.counts().bytes, cache.counts().chunks, cache.counts().hits), (20, 2, 1));
        assert_eq!(cache.all(), [(digest(3), 10), (digest(1), 10)]);
    }

    #[test]
    fn two_evictions_at_once_choose_different_victims() {
        let cache = filled();
        let one = cache.next_victim(0).unwrap();
        let other = cache.next_victim(0).unwrap();
        assert_eq!((one.digest(), other.digest()), (digest(1), digest(2)));
    }

    #[test]
    fn a_victim_that_is_used_again_stays() {
        let cache = filled();
        let victim = cache.next_victim(25).unwrap();
        cache.hit(&victim.digest());
        assert_eq!(victim.confirm(), None);
        assert_eq!(cache.all().last(), Some(&(digest(1), 10)));
        let victim = cache.next_victim(25).unwrap();
        cache.record(&victim.digest(), 12, End::Newest);
        assert_eq!(victim.confirm(), None);
        assert_eq!(cache.counts().bytes, 32);
    }

    #[test]
    fn an_eviction_that_was_given_up_changes_nothing() {
        let cache = filled();
        let before = cache.all();
        drop(cache.next_victim(0));
        assert_eq!(cache.all(), before);
    }

    #[test]
    fn a_hit_does_not_bring_back_what_is_gone() {
        let cache = filled();
        assert_eq!(cache.next_victim(0).unwrap().confirm(), Some(10));
        cache.hit(&digest(1));
        assert_eq!(cache.len_of(&digest(1)), None);
    }

    #[test]
    fn a_cache_of_no_capacity_takes_nothing() {
        assert!(!Cache::new(0, 0).takes(0));
        assert!(Cache::new(10, 0).takes(10) && !Cache::new(10, 0).takes(11));
    }
}
