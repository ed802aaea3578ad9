//! Eviction: what is over the cache's bound becomes an empty marker (R6, hazard H14).

use super::BucketStore;
use super::cache::Victim;
use super::lru::End;
use crate::backend::ObjectBackend;
use crate::digest::Digest;
use crate::dir::{DirError, MarkerDir};
use crate::locks::DigestGuard;

/// After so many evictions that the disk refused, one call gives up; the next one tries others.
const FAILURES_MAX: u32 = 3;

impl<D: MarkerDir, B: ObjectBackend> BucketStore<D, B> {
    /// Records that content of `len` bytes was given to the marker of a chunk, as far as the disk had room for it, and
    /// evicts what is over the bound. Never fails the caller, who holds no guard.
    pub(super) async fn note_cached(&self, digest: &Digest, len: u64) {
        let held = self.locks.lock(digest).await;
        let has_room = self.record_cached(&held, digest).await;
        drop(held);
        self.make_room(len, has_room).await;
    }

    /// Records how much content the marker of a chunk has, and that it was just used; returns whether there is any.
    pub(super) async fn record_cached(&self, held: &DigestGuard, digest: &Digest) -> bool {
        // The disk is asked: it may have been full, or the marker may be gone by now.
        let len = match self.dir.marks(held, vec![*digest]).await {
            Ok(marks) => marks.first().and_then(|marks| marks.marker).map_or(0, |marker| marker.len),
            Err(_) => return self.count_failure(),
        };
        self.cache.record(digest, len, End::Newest);
        len > 0
    }

    /// Evicts what is over the bound after `len` bytes were cached, or to make room on a disk that had none. The caller
    /// holds no guard.
    pub(super) async fn make_room(&self, len: u64, has_room: bool) {
        if !has_room && self.cache.takes(len) {
            self.evict_some(len).await;
        }
        // In proportion to what came: a bound that was lowered much does not hold up one backup for minutes.
        self.evict(self.cache.capacity_bytes(), len.saturating_mul(2)).await;
    }

    /// Evicts at least `bytes` of content if there is that much, for a disk that is full; returns how many bytes went.
    /// The caller holds no guard.
    pub(super) async fn evict_some(&self, bytes: u64) -> u64 {
        self.evict(0, bytes).await
    }

    /// Evicts everything that is over the bound. The caller holds no guard.
    pub(super) async fn evict_excess(&self) {
        self.evict(self.cache.capacity_bytes(), u64::MAX).await;
    }

    /// Evicts while there is more than `floor` bytes of content, until `enough` bytes are gone.
    async fn evict(&self, floor: u64, enough: u64) -> u64 {
        let (mut gone, mut failures) = (0, 0);
        while gone < enough && failures < FAILURES_MAX && !self.has_ended() {
            let Some(victim) = self.cache.next_victim(floor) else { break };
            if let Ok(bytes) = self.evict_one(victim).await {
                gone += bytes;
            } else {
                self.cache.failure();
                failures += 1;
            }
        }
        gone
    }

    async fn evict_one(&self, victim: Victim<'_>) -> Result<u64, DirError> {
        let digest = victim.digest();
        let held = self.locks.lock(&digest).await;
        if self.has_ended() {
            // The order of the cache is saved as complete.
            return Ok(0);
        }
        let Some(len) = victim.confirm() else { return Ok(0) };
        let emptied = self.dir.empty_marker(&held, digest).await;
        if emptied.is_err() {
            // It still takes its place on the disk, and others are tried before it is tried again.
            self.cache.record(&digest, len, End::Newest);
        }
        emptied
    }

    /// Counts a failed file operation that fails nobody.
    pub(super) fn count_failure(&self) -> bool {
        self.cache.failure();
        false
    }
}
