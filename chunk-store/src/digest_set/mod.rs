//! A compact set of digests: the referenced chunks of a whole store in memory.

mod builder;
mod hash;
mod memory;
mod table;

pub use self::builder::DigestSetBuilder;
pub(crate) use self::hash::keyed_hash;

use self::table::{REST_BITS, Table};
use crate::digest::Digest;

/// Bits of a digest's hash that choose its table.
const TABLE_BITS: u32 = 8;

const TABLES: usize = 1 << TABLE_BITS;

/// Digests whose slots are fetched together, so that their cache misses overlap.
const FETCH_BATCH: usize = 16;

/// A set of digests that keeps 59 bits of each, in 7 to 9 bytes a digest.
///
/// What it answers: "certainly not in the set" or "in the set". A false match needs two digests whose keyed hashes
/// agree in 59 bits: among 100 million digests that happens to one foreign digest in 5 billion, and nobody who does not
/// know the key can bring it about. The collector uses the set so that a false match only keeps garbage, and only until
/// the next run, which has another key. Readers and verification ask such sets what they may read and what they know to be
/// good: sets of a million digests at most times, of which a foreign one is mistaken for a member once in 500 billion
/// questions.
///
/// # Limits
/// 256 tables, made with the first insert (about 0.2 MiB), then 6 bytes a slot at a load between 0.70 and 0.84: 7.2 to
/// 8.8 bytes a digest from ten million on. A table grows by a fifth, and one at a time, so growth needs no second copy of
/// the set. Measured with 50 million digests that came through a [`DigestSetBuilder`]: 7.5 bytes a digest, and at the peak
/// of the filling 8.2 bytes of resident memory with one thread and 8.5 with four.
///
/// Digests come from outside, and a client that encrypts chooses them freely. Tables and slots are therefore chosen by
/// a keyed hash (SipHash-1-3) over the whole digest, with a key that the clients do not know when they choose: without
/// it nobody can aim many digests at one place, so each step stays short. Use a new key for each set.
///
/// The set holds no ambient randomness: the same key and the same calls give the same set.
///
/// # Examples
/// ```
/// use coldkeep_chunk_store::{Digest, DigestSet};
///
/// let mut referenced = DigestSet::with_key(0x5eed);
/// assert!(referenced.insert(&Digest::of(b"abc")));
/// assert!(!referenced.insert(&Digest::of(b"abc")), "already there");
/// assert!(referenced.contains(&Digest::of(b"abc")));
/// assert!(!referenced.contains(&Digest::of(b"def")));
/// ```
#[derive(Clone)]
pub struct DigestSet {
    key: u64,
    /// Empty until the first insert, then one for each value of the top bits of a hash.
    tables: Vec<Table>,
    len: u64,
    visited: u64,
}

impl DigestSet {
    /// Makes an empty set; `key` must be unknown to whoever chooses the digests.
    ///
    /// The instant at which the set is made, in nanoseconds, is a good key for digests that were stored before it.
    pub const fn with_key(key: u64) -> Self {
        Self { key, tables: Vec::new(), len: 0, visited: 0 }
    }

    /// Adds `digest`; returns whether it is new.
    ///
    /// To add many million, use a [`DigestSetBuilder`].
    pub fn insert(&mut self, digest: &Digest) -> bool {
        self.insert_hash(keyed_hash(self.key, digest))
    }

    fn insert_hash(&mut self, hash: u64) -> bool {
        if self.tables.is_empty() {
            self.tables.resize_with(TABLES, Table::default);
        }
        let is_new = self.tables[table_of(hash)].insert(rest_of(hash));
        self.len += u64::from(is_new);
        is_new
    }

    /// Adds every digest of `digests`; returns how many were new.
    ///
    /// Faster than one [`insert`](Self::insert) after the other on a set that exceeds the processor's caches.
    pub fn insert_all(&mut self, digests: &[Digest]) -> u64 {
        let before = self.len;
        self.for_each(digests, |set, hash, value| {
            // Nothing is ever removed, so a digest found at its home needs no second look.
            if !Table::is_at_home(value, rest_of(hash)) {
                set.insert_hash(hash);
            }
        });
        self.len - before
    }

    /// Returns whether `digest` was added (or, very rarely, another one that looks the same).
    pub fn contains(&self, digest: &Digest) -> bool {
        let hash = keyed_hash(self.key, digest);
        self.tables.get(table_of(hash)).is_some_and(|table| table.contains(rest_of(hash)))
    }

    /// Marks `digest` as visited if it is in the set; returns whether it is.
    ///
    /// Lets one set answer a second question: which of its digests were met afterwards.
    pub fn visit(&mut self, digest: &Digest) -> bool {
        self.visit_hash(keyed_hash(self.key, digest))
    }

    fn visit_hash(&mut self, hash: u64) -> bool {
        let visit = self.tables.get_mut(table_of(hash)).and_then(|table| table.visit(rest_of(hash)));
        self.visited += u64::from(visit == Some(true));
        visit.is_some()
    }

    /// Marks every digest of `digests` that is in the set as visited; returns for each whether it is, in their order.
    ///
    /// Faster than one [`visit`](Self::visit) after the other on a set that exceeds the processor's caches.
    pub fn visit_all(&mut self, digests: &[Digest]) -> Vec<bool> {
        let mut found = Vec::with_capacity(digests.len());
        self.for_each(digests, |set, hash, value| {
            // One that was visited before and is at its home needs no second look.
            found.push(Table::is_visited(value, rest_of(hash)) || set.visit_hash(hash));
        });
        found
    }

    /// Calls `each` with the hash of every digest and what stands at its home.
    fn for_each(&mut self, digests: &[Digest], mut each: impl FnMut(&mut Self, u64, u64)) {
        let mut hashes = [0; FETCH_BATCH];
        let mut fetched = [0; FETCH_BATCH];
        for batch in digests.chunks(FETCH_BATCH) {
            for (hash, digest) in hashes.iter_mut().zip(batch) {
                *hash = keyed_hash(self.key, digest);
            }
            let hashes = &hashes[..batch.len()];
            // These loads do not depend on each other, so the processor waits for all of them at once.
            for (value, hash) in fetched.iter_mut().zip(hashes) {
                let table = self.tables.get(table_of(*hash));
                *value = table.map_or(0, |table| table.at_home(rest_of(*hash)));
            }
            for (value, hash) in fetched.iter().zip(hashes) {
                each(self, *hash, *value);
            }
        }
    }

    /// Returns whether `digest` is in the set and was never visited.
    pub fn is_unvisited(&self, digest: &Digest) -> bool {
        let hash = keyed_hash(self.key, digest);
        self.tables.get(table_of(hash)).is_some_and(|table| table.is_unvisited(rest_of(hash)))
    }

    /// Returns how many distinct digests were added.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Returns whether nothing was added.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns how many digests of the set were never visited.
    pub const fn unvisited(&self) -> u64 {
        self.len - self.visited
    }

    /// Returns the bytes of memory that the set holds, without the allocator's own overhead.
    pub fn memory_bytes(&self) -> u64 {
        let slots: usize = self.tables.iter().map(Table::memory_bytes).sum();
        (self.tables.capacity() * size_of::<Table>() + slots) as u64
    }
}

impl std::fmt::Debug for DigestSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the key: a log must not tell it.
        f.debug_struct("DigestSet")
            .field("len", &self.len)
            .field("visited", &self.visited)
            .finish_non_exhaustive()
    }
}

const fn table_of(hash: u64) -> usize {
    (hash >> (64 - TABLE_BITS)) as usize
}

const fn rest_of(hash: u64) -> u64 {
    (hash >> (64 - TABLE_BITS - REST_BITS)) & ((1 << REST_BITS) - 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// A digest whose bytes a client chose: all alike but for a counter.
    pub(super) fn chosen(counter: u64) -> Digest {
        let mut bytes = [0xaa; 32];
        bytes[8..16].copy_from_slice(&counter.to_le_bytes());
        Digest::from_bytes(bytes)
    }

    #[test]
    fn an_empty_set_holds_nothing_and_costs_nothing() {
        let mut set = DigestSet::with_key(1);
        assert!(
            set.is_empty()
                && !set.contains(&chosen(0))
                && !set.visit(&chosen(0))
                && !set.is_unvisited(&chosen(0))
        );
        assert_eq!((set.memory_bytes(), set.insert_all(&[])), (0, 0));
    }

    #[test]
    fn visits_are_counted_once_and_survive_growth() {
        let mut set = DigestSet::with_key(1);
        set.insert_all(&(0..1000).map(chosen).collect::<Vec<_>>());
        for counter in (0..500).chain(0..500) {
            assert!(set.visit(&chosen(counter)));
        }
        set.insert_all(&(0..200_000).map(chosen).collect::<Vec<_>>());
        assert_eq!((set.len(), set.unvisited()), (200_000, 199_500));
        // Some visited before, some not, some not there.
        let mut copy = set.clone();
        let met = copy.visit_all(&(400..600).chain(199_990..200_010).map(chosen).collect::<Vec<_>>());
        assert!(met[..210].iter().all(|is_in| *is_in) && !met[210..].iter().any(|is_in| *is_in));
        assert_eq!(copy.unvisited(), 199_500 - 100 - 10);
        assert_eq!(DigestSet::with_key(1).visit_all(&[chosen(0)]), [false]);
        assert!(
            !set.is_unvisited(&chosen(499))
                && set.is_unvisited(&chosen(500))
                && !set.is_unvisited(&chosen(200_000))
        );
    }

    #[test]
    fn a_small_set_takes_little() {
        let mut set = DigestSet::with_key(7);
        set.insert_all(&(0..1000).map(chosen).collect::<Vec<_>>());
        assert!(set.memory_bytes() <= 256 << 10, "{} bytes", set.memory_bytes());
        set.insert_all(&(0..1_000_000).map(chosen).collect::<Vec<_>>());
        assert_eq!(set.len(), 1_000_000);
        assert!(set.memory_bytes() <= 10 * set.len(), "{} bytes", set.memory_bytes());
    }

    #[test]
    fn chosen_digests_do_not_cluster() {
        let mut set = DigestSet::with_key(0x1234_5678);
        set.insert_all(&(0..1_000_000).map(chosen).collect::<Vec<_>>());
        let fullest = set.tables.iter().map(Table::len).max();
        assert!(fullest < Some(4400), "{fullest:?} digests in one of the tables, 3906 expected");
        let longest = set.tables.iter().map(Table::longest_walk).max();
        assert!(longest < Some(60), "a walk of {longest:?} slots");
    }

    proptest! {
        #[test]
        fn agrees_with_a_tree_set(
            key: u64,
            batches in prop::collection::vec(prop::collection::vec(0_u64..400, 0..100), 0..20),
            visits in prop::collection::vec(0_u64..500, 0..200),
        ) {
            let mut set = DigestSet::with_key(key);
            let mut one_by_one = DigestSet::with_key(key);
            let builder = DigestSetBuilder::with_key(key);
            let mut model = BTreeSet::new();
            for batch in &batches {
                let digests: Vec<Digest> = batch.iter().map(|counter| chosen(*counter)).collect();
                let before = model.len();
                for counter in batch {
                    prop_assert_eq!(one_by_one.insert(&chosen(*counter)), model.insert(*counter));
                }
                prop_assert_eq!(set.insert_all(&digests), (model.len() - before) as u64);
                builder.insert_all(&digests);
            }
            let built = builder.finish();
            let mut visited = BTreeSet::new();
            for counter in &visits {
                prop_assert_eq!(set.visit(&chosen(*counter)), model.contains(counter));
                if model.contains(counter) {
                    visited.insert(*counter);
                }
            }
            prop_assert_eq!(set.len(), model.len() as u64);
            prop_assert_eq!(built.len(), model.len() as u64);
            prop_assert_eq!(set.unvisited(), (model.len() - visited.len()) as u64);
            for counter in 0..500 {
                prop_assert_eq!(set.contains(&chosen(counter)), model.contains(&counter));
                prop_assert_eq!(one_by_one.contains(&chosen(counter)), model.contains(&counter));
                prop_assert_eq!(built.is_unvisited(&chosen(counter)), model.contains(&counter));
                let unvisited = model.contains(&counter) && !visited.contains(&counter);
                prop_assert_eq!(set.is_unvisited(&chosen(counter)), unvisited);
            }
        }
    }
}
