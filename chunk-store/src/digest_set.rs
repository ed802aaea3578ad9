//! A compact set of digests: the referenced chunks of a whole store in memory.

use crate::digest::Digest;

/// Bits of a digest's hash that choose its table; the rest is kept in the table.
const TABLE_BITS: u32 = 16;

/// Bits of a digest's hash that are kept in its slot.
const REST_BITS: u32 = 64 - TABLE_BITS - 1;

/// One slot: zero if empty, else the rest of the hash (never zero) above the visited bit, little endian.
type Slot = [u8; 6];

/// Slots of a table that just received its first digest.
const SLOTS_MIN: usize = 4;

/// Digests whose slots are fetched together, so that their cache misses overlap.
const FETCH_BATCH: usize = 16;

/// A set of digests that keeps 63 bits of each, in 7 to 9 bytes a digest.
///
/// What it answers: "certainly not in the set" or "in the set". A false match needs two digests whose keyed hashes
/// agree in 63 bits: among 100 million digests that happens to one foreign digest in 90 billion, and nobody who does
/// not know the key can bring it about. The collector uses the set so that a false match only keeps garbage.
///
/// # Limits
/// 65,536 tables of 24 bytes (1.5 MiB, from the first insert on), then 6 bytes a slot at a load between 0.70 and
/// 0.875: 6.9 to 8.6 bytes a digest. A table grows by a quarter, and one at a time, so growth needs no second copy of
/// the set. Measured with 100 million digests: 7.96 bytes a digest, and 9.2 bytes of resident memory in all, 0.86 GiB.
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
    /// Empty until the first insert, then one for each value of the top `TABLE_BITS` bits.
    tables: Vec<Table>,
    len: u64,
    visited: u64,
}

/// Where a digest belongs.
#[derive(Clone, Copy)]
struct Place {
    table: usize,
    rest: u64,
}

/// Linear probing; the home slot grows with the rest of the hash, so a table is copied nearly in order when it grows.
#[derive(Clone, Default)]
struct Table {
    slots: Box<[Slot]>,
    len: u32,
}

impl DigestSet {
    /// Makes an empty set; `key` must be unknown to whoever chooses the digests.
    ///
    /// The instant at which the set is made, in nanoseconds, is a good key for digests that were stored before it.
    pub const fn with_key(key: u64) -> Self {
        Self { key, tables: Vec::new(), len: 0, visited: 0 }
    }

    /// Adds `digest`; returns whether it is new.
    pub fn insert(&mut self, digest: &Digest) -> bool {
        let place = self.place(digest);
        self.insert_at(place)
    }

    /// Adds every digest of `digests`; returns how many were new.
    ///
    /// Several times faster than one [`insert`](Self::insert) after the other on a set that exceeds the processor's
    /// caches.
    pub fn insert_all(&mut self, digests: &[Digest]) -> u64 {
        let before = self.len;
        self.allocate();
        let mut places = [Place { table: 0, rest: 0 }; FETCH_BATCH];
        let mut fetched = [0_u64; FETCH_BATCH];
        for batch in digests.chunks(FETCH_BATCH) {
            for (place, digest) in places.iter_mut().zip(batch) {
                *place = self.place(digest);
            }
            // These loads do not depend on each other, so the processor waits for all of them at once.
            for (slot, place) in fetched.iter_mut().zip(&places[..batch.len()]) {
                *slot = self.tables[place.table].home_slot(place.rest);
            }
            for (slot, place) in fetched.iter().zip(&places[..batch.len()]) {
                // Nothing is ever removed, so a digest found at its home needs no second look.
                if slot >> 1 != place.rest {
                    self.insert_at(*place);
                }
            }
        }
        self.len - before
    }

    /// Returns whether `digest` was added (or, very rarely, another one that looks the same).
    pub fn contains(&self, digest: &Digest) -> bool {
        let place = self.place(digest);
        self.tables.get(place.table).is_some_and(|table| table.find(place.rest).is_ok())
    }

    /// Marks `digest` as visited if it is in the set; returns whether it is.
    ///
    /// Lets one set answer a second question: which of its digests were met afterwards.
    pub fn visit(&mut self, digest: &Digest) -> bool {
        let place = self.place(digest);
        self.visit_at(place)
    }

    fn visit_at(&mut self, place: Place) -> bool {
        let Some(table) = self.tables.get_mut(place.table) else { return false };
        let Ok(slot) = table.find(place.rest) else { return false };
        let value = decode(table.slots[slot]);
        if value & 1 == 0 {
            table.slots[slot] = encode(value | 1);
            self.visited += 1;
        }
        true
    }

    /// Marks every digest of `digests` that is in the set as visited; returns for each whether it is, in their order.
    ///
    /// Faster than one [`visit`](Self::visit) after the other in the way in which [`insert_all`](Self::insert_all) is.
    pub fn visit_all(&mut self, digests: &[Digest]) -> Vec<bool> {
        if self.tables.is_empty() {
            return vec![false; digests.len()];
        }
        let mut found = Vec::with_capacity(digests.len());
        let mut places = [Place { table: 0, rest: 0 }; FETCH_BATCH];
        let mut fetched = [0_u64; FETCH_BATCH];
        for batch in digests.chunks(FETCH_BATCH) {
            for (place, digest) in places.iter_mut().zip(batch) {
                *place = self.place(digest);
            }
            // As in `insert_all`: the processor waits for all of them at once.
            for (slot, place) in fetched.iter_mut().zip(&places[..batch.len()]) {
                *slot = self.tables[place.table].home_slot(place.rest);
            }
            for (slot, place) in fetched.iter().zip(&places[..batch.len()]) {
                // One that was visited before and is at its home needs no second look.
                found.push(*slot == place.rest << 1 | 1 || self.visit_at(*place));
            }
        }
        found
    }

    /// Returns whether `digest` is in the set and was never visited.
    pub fn is_unvisited(&self, digest: &Digest) -> bool {
        let place = self.place(digest);
        let Some(table) = self.tables.get(place.table) else { return false };
        table.find(place.rest).is_ok_and(|slot| decode(table.slots[slot]) & 1 == 0)
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
        let slots: usize = self.tables.iter().map(|table| table.slots.len()).sum();
        (self.tables.capacity() * size_of::<Table>() + slots * size_of::<Slot>()) as u64
    }

    fn place(&self, digest: &Digest) -> Place {
        let hash = keyed_hash(self.key, digest);
        let rest = (hash >> 1) & ((1 << REST_BITS) - 1);
        // Zero marks an empty slot.
        Place { table: (hash >> (64 - TABLE_BITS)) as usize, rest: rest.max(1) }
    }

    fn allocate(&mut self) {
        if self.tables.is_empty() {
            self.tables.resize_with(1 << TABLE_BITS, Table::default);
        }
    }

    fn insert_at(&mut self, place: Place) -> bool {
        self.allocate();
        let new = self.tables[place.table].insert(place.rest);
        self.len += u64::from(new);
        new
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

impl Table {
    /// Returns the slot where `rest` stands, or the empty slot where it would be put (`None` in a table without slots).
    fn find(&self, rest: u64) -> Result<usize, Option<usize>> {
        if self.slots.is_empty() {
            return Err(None);
        }
        let mut slot = home(rest, self.slots.len());
        loop {
            // Ends: a table is never full.
            match decode(self.slots[slot]) {
                0 => return Err(Some(slot)),
                value if value >> 1 == rest => return Ok(slot),
                _ => slot = if slot + 1 == self.slots.len() { 0 } else { slot + 1 },
            }
        }
    }

    fn home_slot(&self, rest: u64) -> u64 {
        if self.slots.is_empty() { 0 } else { decode(self.slots[home(rest, self.slots.len())]) }
    }

    fn insert(&mut self, rest: u64) -> bool {
        match self.find(rest) {
            Ok(_) => return false,
            Err(Some(slot)) if (self.len as usize + 1) * 8 <= self.slots.len() * 7 => {
                self.slots[slot] = encode(rest << 1);
            }
            Err(_) => {
                self.grow();
                self.put(rest << 1);
            }
        }
        self.len += 1;
        true
    }

    fn grow(&mut self) {
        let slots_len = (self.slots.len() + self.slots.len() / 4).max(self.slots.len() + SLOTS_MIN);
        let old = std::mem::replace(&mut self.slots, vec![Slot::default(); slots_len].into_boxed_slice());
        for value in old.into_iter().map(decode).filter(|value| *value != 0) {
            self.put(value);
        }
    }

    /// Puts a value that is not in the table into a slot that is free.
    fn put(&mut self, value: u64) {
        if let Err(Some(slot)) = self.find(value >> 1) {
            self.slots[slot] = encode(value);
        }
    }
}

/// Scales `rest` to a slot number.
fn home(rest: u64, slots_len: usize) -> usize {
    ((u128::from(rest) * slots_len as u128) >> REST_BITS) as usize
}

fn decode(slot: Slot) -> u64 {
    let mut bytes = [0; 8];
    bytes[..slot.len()].copy_from_slice(&slot);
    u64::from_le_bytes(bytes)
}

fn encode(value: u64) -> Slot {
    let mut slot = Slot::default();
    slot.copy_from_slice(&value.to_le_bytes()[..size_of::<Slot>()]);
    slot
}

/// SipHash-1-3 of the whole digest (Aumasson and Bernstein, 2012; one compression and three finalisation rounds, as in
/// the standard library's hash maps).
pub(crate) fn keyed_hash(key: u64, digest: &Digest) -> u64 {
    // Any second half does: the secret of 64 bits is all that the argument needs.
    let key = [key, key.rotate_left(32) ^ 0x9e37_79b9_7f4a_7c15];
    siphash(key, digest.as_bytes())
}

fn siphash(key: [u64; 2], bytes: &[u8; 32]) -> u64 {
    let mut v = [
        key[0] ^ 0x736f_6d65_7073_6575,
        key[1] ^ 0x646f_7261_6e64_6f6d,
        key[0] ^ 0x6c79_6765_6e65_7261,
        key[1] ^ 0x7465_6462_7974_6573,
    ];
    let (words, _) = bytes.as_chunks::<8>();
    let length = (bytes.len() as u64) << 56;
    for word in words.iter().map(|word| u64::from_le_bytes(*word)).chain([length]) {
        v[3] ^= word;
        round(&mut v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    for _ in 0..3 {
        round(&mut v);
    }
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::hash::Hasher as _;

    use proptest::prelude::*;

    use super::*;

    /// A digest whose bytes a client chose: all alike but for a counter.
    fn chosen(counter: u64) -> Digest {
        let mut bytes = [0xaa; 32];
        bytes[8..16].copy_from_slice(&counter.to_le_bytes());
        Digest::from_bytes(bytes)
    }

    fn longest_walk(set: &DigestSet) -> usize {
        let mut longest = 0;
        for table in &set.tables {
            for (at, value) in
                table.slots.iter().map(|slot| decode(*slot)).enumerate().filter(|(_, value)| *value != 0)
            {
                let home = home(value >> 1, table.slots.len());
                longest = longest.max((at + table.slots.len() - home) % table.slots.len());
            }
        }
        longest
    }

    #[test]
    fn the_hash_is_siphash_1_3() {
        // The standard library's default hasher is SipHash-1-3 with a key of zero, and takes the bytes as they are.
        let bytes = std::array::from_fn(|at| at as u8);
        let mut theirs = std::hash::DefaultHasher::new();
        theirs.write(&bytes);
        assert_eq!(siphash([0, 0], &bytes), theirs.finish());
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
    fn a_digest_costs_at_most_nine_bytes_at_every_size() {
        // Goal: 100 million digests within 1 GiB. Method: few tables get what 65,536 would at that size, and the
        // memory is looked at after each digest, so that the worst moment of the growth is seen too.
        let mut table = Table::default();
        let mut worst = 0.0_f64;
        for counter in 0..3000 {
            let hash = keyed_hash(7, &chosen(counter));
            table.insert((hash >> 1) & ((1 << REST_BITS) - 1));
            if table.len >= 500 {
                let bytes = size_of::<Table>() + table.slots.len() * size_of::<Slot>();
                worst = worst.max(bytes as f64 / f64::from(table.len));
            }
        }
        assert!(worst <= 9.0, "{worst} bytes a digest");
        let mut set = DigestSet::with_key(7);
        let digests: Vec<Digest> = (0..1_000_000).map(chosen).collect();
        assert_eq!(set.insert_all(&digests), 1_000_000);
        assert!(set.memory_bytes() <= 12 * set.len(), "{} bytes", set.memory_bytes());
    }

    #[test]
    fn chosen_digests_do_not_cluster() {
        let mut set = DigestSet::with_key(0x1234_5678);
        set.insert_all(&(0..1_000_000).map(chosen).collect::<Vec<_>>());
        let fullest = set.tables.iter().map(|table| table.len).max();
        assert!(fullest < Some(60), "{fullest:?} digests in one of the tables, 15 expected");
        assert!(longest_walk(&set) < 60, "a walk of {} slots", longest_walk(&set));
    }

    #[test]
    fn a_table_far_beyond_its_share_still_answers() {
        // All digests in one table, as nobody can arrange without the key: slower growth, same answers.
        let mut table = Table::default();
        let rests: BTreeSet<u64> =
            (0..20_000).map(|counter| keyed_hash(3, &chosen(counter)) >> (64 - REST_BITS)).collect();
        for rest in &rests {
            assert!(table.insert(*rest));
        }
        assert!(rests.iter().all(|rest| table.find(*rest).is_ok()));
        assert_eq!(table.len as usize, rests.len());
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
            let mut model = BTreeSet::new();
            for batch in &batches {
                let digests: Vec<Digest> = batch.iter().map(|counter| chosen(*counter)).collect();
                let before = model.len();
                for counter in batch {
                    prop_assert_eq!(one_by_one.insert(&chosen(*counter)), model.insert(*counter));
                }
                prop_assert_eq!(set.insert_all(&digests), (model.len() - before) as u64);
            }
            let mut visited = BTreeSet::new();
            for counter in &visits {
                prop_assert_eq!(set.visit(&chosen(*counter)), model.contains(counter));
                if model.contains(counter) {
                    visited.insert(*counter);
                }
            }
            prop_assert_eq!(set.len(), model.len() as u64);
            prop_assert_eq!(set.unvisited(), (model.len() - visited.len()) as u64);
            for counter in 0..500 {
                prop_assert_eq!(set.contains(&chosen(counter)), model.contains(&counter));
                prop_assert_eq!(one_by_one.contains(&chosen(counter)), model.contains(&counter));
                let unvisited = model.contains(&counter) && !visited.contains(&counter);
                prop_assert_eq!(set.is_unvisited(&chosen(counter)), unvisited);
            }
        }
    }
}
