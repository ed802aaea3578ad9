//! Fills a set from many threads.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::hash::keyed_hash;
use super::table::Table;
use super::{DigestSet, TABLES, rest_of, table_of};
use crate::digest::Digest;

/// Parts of the set with a lock of their own.
const SHARDS: usize = 16;

const TABLES_PER_SHARD: usize = TABLES / SHARDS;

/// Digests that go to a shard together.
const HANDFUL: usize = 64;

/// Fewest digests that wait for their table.
const WAITING_MIN: usize = 16;

/// Most digests that wait for their table.
const WAITING_MAX: usize = 16 << 10;

/// Slots of a table for each digest that may wait for it.
const SLOTS_PER_WAITING: usize = 16;

/// Fills a [`DigestSet`] from one or more threads; made for many million digests.
///
/// Digests wait until there are enough for one table, which is then in the processor's caches for all of them. Without
/// that nearly each step would wait for memory and for the address translation.
///
/// # Limits
/// What waits takes at most 32 KiB and 0.75 bytes for each digest in the set, and 33 MiB in all, beyond what the set takes.
/// Threads share 16 locks, each held while 64 digests are noted down or some thousand go into their table.
///
/// # Examples
/// ```
/// use coldkeep_chunk_store::{Digest, DigestSetBuilder};
///
/// let builder = DigestSetBuilder::with_key(0x5eed);
/// std::thread::scope(|scope| {
///     scope.spawn(|| builder.insert_all(&[Digest::of(b"abc"), Digest::of(b"def")]));
///     scope.spawn(|| builder.insert_all(&[Digest::of(b"abc")]));
/// });
/// let referenced = builder.finish();
/// assert_eq!(referenced.len(), 2);
/// assert!(referenced.contains(&Digest::of(b"abc")));
/// ```
pub struct DigestSetBuilder {
    key: u64,
    shards: Box<[Mutex<Shard>]>,
}

/// Neighbouring tables and what waits for each of them.
#[derive(Default)]
struct Shard {
    tables: Vec<Table>,
    waiting: Vec<Vec<u64>>,
}

impl DigestSetBuilder {
    /// Makes a builder; `key` must be unknown to whoever chooses the digests, as for [`DigestSet::with_key`].
    pub fn with_key(key: u64) -> Self {
        Self { key, shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    /// Adds every digest of `digests`.
    pub fn insert_all(&self, digests: &[Digest]) {
        let mut hands = [[0; HANDFUL]; SHARDS];
        let mut held = [0; SHARDS];
        for digest in digests {
            let hash = keyed_hash(self.key, digest);
            let shard = table_of(hash) / TABLES_PER_SHARD;
            hands[shard][held[shard]] = hash;
            held[shard] += 1;
            if held[shard] == HANDFUL {
                held[shard] = 0;
                self.lock(shard).take(&hands[shard]);
            }
        }
        for (shard, hand) in hands.iter().enumerate().filter(|(shard, _)| held[*shard] > 0) {
            self.lock(shard).take(&hand[..held[shard]]);
        }
    }

    /// Does a part of what [`finish`](Self::finish) would have to do, a millisecond of work or so; returns whether something
    /// is left. For callers that must not keep their thread for long.
    pub fn settle_some(&mut self) -> bool {
        self.shards
            .iter_mut()
            .any(|shard| shard.get_mut().unwrap_or_else(PoisonError::into_inner).settle_some())
    }

    /// Returns the set of all digests that were added.
    pub fn finish(mut self) -> DigestSet {
        while self.settle_some() {}
        let mut set = DigestSet::with_key(self.key);
        for shard in self.shards {
            let mut tables = shard.into_inner().unwrap_or_else(PoisonError::into_inner).tables;
            tables.resize_with(TABLES_PER_SHARD, Table::default);
            set.tables.append(&mut tables);
        }
        set.len = set.tables.iter().map(|table| table.len() as u64).sum();
        set
    }

    fn lock(&self, shard: usize) -> MutexGuard<'_, Shard> {
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for DigestSetBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the key: a log must not tell it.
        f.debug_struct("DigestSetBuilder").finish_non_exhaustive()
    }
}

impl Shard {
    fn take(&mut self, hashes: &[u64]) {
        if self.tables.is_empty() {
            self.tables.resize_with(TABLES_PER_SHARD, Table::default);
            self.waiting.resize_with(TABLES_PER_SHARD, || Vec::with_capacity(WAITING_MIN));
        }
        for hash in hashes {
            let table = table_of(*hash) % TABLES_PER_SHARD;
            let waiting = &mut self.waiting[table];
            waiting.push(rest_of(*hash));
            if waiting.len() == waiting.capacity() {
                let table = &mut self.tables[table];
                table.insert_all(waiting);
                waiting.clear();
                let most = (table.slots() / SLOTS_PER_WAITING).clamp(WAITING_MIN, WAITING_MAX);
                if most > waiting.capacity() {
                    *waiting = Vec::with_capacity(most);
                }
            }
        }
    }

    fn settle_some(&mut self) -> bool {
        let next = self.waiting.iter_mut().zip(&mut self.tables).find(|(waiting, _)| !waiting.is_empty());
        next.is_some_and(|(waiting, table)| {
            table.insert_all(&std::mem::take(waiting));
            true
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::chosen;
    use super::*;

    #[test]
    fn threads_fill_one_set() {
        let builder = DigestSetBuilder::with_key(7);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let builder = &builder;
                scope.spawn(move || {
                    let digests: Vec<Digest> = (thread * 50_000..(thread + 2) * 50_000).map(chosen).collect();
                    for block in digests.chunks(777) {
                        builder.insert_all(block);
                    }
                });
            }
        });
        let set = builder.finish();
        assert_eq!((set.len(), set.unvisited()), (250_000, 250_000));
        assert!((0..250_000).all(|counter| set.contains(&chosen(counter))));
        assert!(!(250_000..260_000).any(|counter| set.contains(&chosen(counter))));
    }

    #[test]
    fn a_set_in_the_making_can_be_left_at_any_step() {
        let mut builder = DigestSetBuilder::with_key(7);
        assert!(!builder.settle_some());
        builder.insert_all(&(0..100).map(chosen).collect::<Vec<_>>());
        let steps = std::iter::from_fn(|| builder.settle_some().then_some(())).take(1000).count();
        assert!((50..=100).contains(&steps), "{steps} steps for 100 digests in 256 tables");
        builder.insert_all(&(50..150).map(chosen).collect::<Vec<_>>());
        assert_eq!(builder.finish().len(), 150);
        assert_eq!(DigestSetBuilder::with_key(7).finish().len(), 0);
    }
}
