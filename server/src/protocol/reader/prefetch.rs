//! Fetching chunks from a bucket before a reader asks for them.
//!
//! Stock clients restore one chunk after the other, so that each would cost a whole round trip to the bucket. The session
//! knows the indexes that were downloaded: while requests follow the order of one, the chunks after the one that was asked
//! for are brought into the cache meanwhile. How far ahead grows with each request in order, so that random access, as of
//! a mounted image, fetches little in vain.

use std::sync::{Arc, Mutex, PoisonError};

use coldkeep_chunk_store::Digest;
use coldkeep_chunk_store::bucket::BucketStore;
use tokio::task::JoinSet;

/// Most chunks that are fetched ahead: 64 MiB of a usual image, and enough for 300 MiB/s at 200 ms a request.
const AHEAD_MAX: usize = 16;
/// What a chunk takes, at most, in a usual image.
const CHUNK_BYTES: u64 = 4 << 20;
/// Most of the cache, as a divisor, that chunks fetched ahead may take: they must not push each other out.
const CACHE_SHARE: u64 = 4;
/// Most indexes whose order is kept.
const INDEXES_MAX: usize = 4;
/// Most chunks of an index whose order is kept: 32 MiB of digests.
pub(super) const CHUNKS_MAX: usize = 1 << 20;

/// What a session fetches ahead.
pub(super) struct Prefetch {
    store: Arc<BucketStore>,
    ahead_max: usize,
    orders: Mutex<Vec<Order>>,
    /// Fetches under way; they end with the session.
    fetches: Mutex<JoinSet<()>>,
}

impl Prefetch {
    /// Makes it for a store; `None` if its cache is too small to be worth it.
    pub(super) fn new(store: &Arc<BucketStore>) -> Option<Self> {
        let share = store.status().cache_bytes_max / CACHE_SHARE / CHUNK_BYTES;
        let ahead_max = usize::try_from(share).unwrap_or(usize::MAX).min(AHEAD_MAX);
        (ahead_max > 0).then(|| Self {
            store: Arc::clone(store),
            ahead_max,
            orders: Mutex::default(),
            fetches: Mutex::default(),
        })
    }

    /// Takes the order of the chunks of an index that was downloaded.
    pub(super) fn follow(&self, digests: Vec<Digest>) {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        if orders.len() == INDEXES_MAX {
            orders.remove(0);
        }
        orders.push(Order::new(digests));
    }

    /// Notes a request, and fetches what is likely to be asked for next.
    pub(super) fn note_request(&self, digest: &Digest) {
        let due = {
            let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
            // The index downloaded last is the one that is being restored, mostly.
            let due = orders.iter_mut().rev().find_map(|order| order.advance(digest, self.ahead_max));
            due.unwrap_or_default()
        };
        let mut fetches = self.fetches.lock().unwrap_or_else(PoisonError::into_inner);
        while fetches.try_join_next().is_some() {}
        for digest in due {
            // Also where requests jump about, no more than this is under way.
            if fetches.len() >= 2 * self.ahead_max {
                break;
            }
            let store = Arc::clone(&self.store);
            fetches.spawn(async move {
                // Whoever asks for the chunk meets the error again, and is told of it.
                if let Err(error) = store.prefetch(&digest).await {
                    tracing::debug!(%digest, error = %crate::api::chain(&error), "cannot fetch ahead");
                }
            });
        }
    }
}

/// The order of one index, and where its reader is.
struct Order {
    digests: Vec<Digest>,
    /// Where the next request is expected.
    next: usize,
    /// Up to where chunks were asked for.
    fetched: usize,
    /// How far ahead to fetch at the next request in order.
    ahead: usize,
}

impl Order {
    fn new(digests: Vec<Digest>) -> Self {
        Self { digests, next: 0, fetched: 0, ahead: 1 }
    }

    /// Notes a request; returns what is to be fetched now, or `None` if the chunk is not in this index.
    fn advance(&mut self, digest: &Digest, ahead_max: usize) -> Option<Vec<Digest>> {
        // A few requests at once may come in any order, and chunks that are the same as one before are left out.
        let near = self.next.saturating_sub(ahead_max)..(self.next + 2 * ahead_max).min(self.digests.len());
        let found = self.digests[near.clone()].iter().position(|one| one == digest);
        let Some(offset) = found else {
            let at = self.digests.iter().position(|one| one == digest)?;
            (self.next, self.fetched, self.ahead) = (at + 1, at + 1, 1);
            return Some(Vec::new());
        };
        let at = near.start + offset;
        self.ahead = (2 * self.ahead).min(ahead_max);
        self.next = self.next.max(at + 1);
        let start = self.fetched.max(at + 1);
        let end = (self.next + self.ahead).min(self.digests.len());
        self.fetched = self.fetched.max(end);
        Some(self.digests.get(start..end).unwrap_or_default().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digests(count: u64) -> Vec<Digest> {
        (0..count).map(|n| Digest::of(&n.to_le_bytes())).collect()
    }

    #[test]
    fn requests_in_order_run_ever_further_ahead_and_fetch_each_chunk_once() {
        let all = digests(40);
        let mut order = Order::new(all.clone());
        let mut fetched = Vec::new();
        let mut counts = Vec::new();
        for digest in &all {
            let due = order.advance(digest, 16).unwrap();
            counts.push(due.len());
            fetched.extend(due);
        }
        assert_eq!(counts[..6], [2, 3, 5, 9, 1, 1]);
        assert_eq!(fetched, all[1..], "a chunk was fetched twice or not at all");
    }

    #[test]
    fn jumps_fetch_nothing_until_requests_follow_each_other_again() {
        let all = digests(1000);
        let mut order = Order::new(all.clone());
        for at in [500, 100, 900] {
            assert_eq!(order.advance(&all[at], 16), Some(Vec::new()));
        }
        assert_eq!(order.advance(&all[901], 16), Some(all[902..904].to_vec()));
        assert_eq!(order.advance(&Digest::of(b"other"), 16), None);
    }

    #[test]
    fn requests_that_overtake_each_other_count_as_in_order() {
        let all = digests(100);
        let mut order = Order::new(all.clone());
        let mut fetched = Vec::new();
        for at in [1, 0, 3, 2, 5, 4, 7, 6] {
            fetched.extend(order.advance(&all[at], 4).unwrap());
        }
        let mut unique = fetched.clone();
        unique.dedup();
        assert_eq!(fetched.len(), unique.len());
        assert!(fetched.contains(&all[10]), "the pipe ran empty");
    }
}
