//! One of the tables of a set: linear probing over slots of six bytes, kept in order.

use super::memory::Memory;

/// Bits of a rest that choose the run; what is left is kept in the slot.
const RUN_BITS: u32 = 4;

/// Bits of a rest that are kept in its slot.
const KEPT_BITS: u32 = 47;

/// Bits of a hash that a table tells apart: those of its run, and those in its slot.
pub(super) const REST_BITS: u32 = RUN_BITS + KEPT_BITS;

const RUNS: usize = 1 << RUN_BITS;

/// Bytes of a slot: zero if empty, else the kept bits (never zero) above the visited bit, little endian.
const SLOT: usize = 6;

/// What a slot is read with; the bytes behind the last slot let it be read so too.
const WORD: usize = size_of::<u64>();

/// Homes of a run that just received its first digest, and the least that it grows by.
const HOMES_MIN: usize = 4;

/// Most slots at the end of a new run for what its last homes cannot take. At the highest load a run needs more than these
/// once in 100,000 runs (a queue with random arrivals and constant service), and then grows early.
const SPARE_MAX: usize = 32;

/// Digests whose slots are fetched together, so that their cache misses overlap.
const FETCH_BATCH: usize = 16;

/// A table: 16 runs of equal length, each with homes, chosen by the kept bits in proportion, and some spare slots after
/// them. Within a run the digests stand in order, each at its home or, without a gap, behind it; the last slot of each run
/// is always empty. So a walk ends at the first slot that is empty or holds more, and a table is copied in one pass when
/// it grows.
#[derive(Clone, Default)]
pub(super) struct Table {
    slots: Memory,
    homes: usize,
    spare: usize,
    len: usize,
}

/// What stands where a walk ended.
#[derive(Clone, Copy)]
struct Found {
    slot: usize,
    value: u64,
}

impl Table {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.slots.len()
    }

    pub(super) const fn slots(&self) -> usize {
        RUNS * self.stride()
    }

    /// Adds `rest`; returns whether it is new.
    pub(super) fn insert(&mut self, rest: u64) -> bool {
        let kept = kept(rest);
        loop {
            if self.slots.is_empty() {
                self.grow();
            }
            let found = self.seek(rest);
            if found.value >> 1 == kept {
                return false;
            }
            let guard = (run(rest) + 1) * self.stride() - 1;
            let mut free = found.slot;
            while decode(&self.slots, free) != 0 {
                free += 1;
            }
            // 0.84 of the homes at most.
            if free == guard || (self.len + 1) * 25 > self.homes * RUNS * 21 {
                self.grow();
                continue;
            }
            self.slots.copy_within(found.slot * SLOT..free * SLOT, (found.slot + 1) * SLOT);
            encode(&mut self.slots, found.slot, kept << 1);
            self.len += 1;
            return true;
        }
    }

    /// Adds all `rests`; returns how many were new.
    pub(super) fn insert_all(&mut self, rests: &[u64]) -> usize {
        let before = self.len;
        let mut fetched = [0; FETCH_BATCH];
        for batch in rests.chunks(FETCH_BATCH) {
            self.fetch(batch, &mut fetched);
            for (value, rest) in fetched.iter().zip(batch) {
                // Nothing is ever removed, so a digest found at its home needs no second look.
                if !Self::is_at_home(*value, *rest) {
                    self.insert(*rest);
                }
            }
        }
        self.len - before
    }

    pub(super) fn contains(&self, rest: u64) -> bool {
        !self.slots.is_empty() && self.seek(rest).value >> 1 == kept(rest)
    }

    /// Returns whether `rest` is in the table and was never visited.
    pub(super) fn is_unvisited(&self, rest: u64) -> bool {
        !self.slots.is_empty() && self.seek(rest).value == kept(rest) << 1
    }

    /// Marks `rest` as visited; `None` if it is not in the table, else whether this was its first visit.
    pub(super) fn visit(&mut self, rest: u64) -> Option<bool> {
        if self.slots.is_empty() {
            return None;
        }
        let Found { slot, value } = self.seek(rest);
        if value >> 1 != kept(rest) {
            return None;
        }
        encode(&mut self.slots, slot, value | 1);
        Some(value & 1 == 0)
    }

    /// Returns what stands at the home of `rest`: zero if nothing does.
    pub(super) fn at_home(&self, rest: u64) -> u64 {
        if self.slots.is_empty() { 0 } else { decode(&self.slots, self.home(rest)) }
    }

    /// Returns whether `value` is `rest`, visited or not.
    pub(super) const fn is_at_home(value: u64, rest: u64) -> bool {
        value >> 1 == kept(rest)
    }

    /// Returns whether `value` is `rest`, visited before.
    pub(super) const fn is_visited(value: u64, rest: u64) -> bool {
        value == kept(rest) << 1 | 1
    }

    /// Reads the home slots of a batch. The loads do not depend on each other, so the processor waits for all at once.
    fn fetch(&self, batch: &[u64], fetched: &mut [u64; FETCH_BATCH]) {
        for (value, rest) in fetched.iter_mut().zip(batch) {
            *value = self.at_home(*rest);
        }
    }

    const fn stride(&self) -> usize {
        self.homes + self.spare
    }

    fn home(&self, rest: u64) -> usize {
        run(rest) * self.stride() + scale(kept(rest), self.homes)
    }

    /// Walks from the home of `rest` to the first slot that is empty or holds it or more.
    fn seek(&self, rest: u64) -> Found {
        let least = kept(rest) << 1;
        let mut slot = self.home(rest);
        loop {
            let value = decode(&self.slots, slot);
            // Ends: the last slot of a run is empty.
            if value == 0 || value >= least {
                return Found { slot, value };
            }
            slot += 1;
        }
    }

    fn grow(&mut self) {
        let is_crowded = self.len * 2 >= self.homes * RUNS;
        let homes = if is_crowded { self.homes + (self.homes / 5).max(HOMES_MIN) } else { self.homes };
        // A run may fill up long before its table only if somebody aims at it, for which they would need the key.
        let mut spare = if is_crowded { (homes / 8).clamp(HOMES_MIN, SPARE_MAX) } else { self.spare * 2 };
        loop {
            if let Some(slots) = self.copy(homes, spare) {
                (self.slots, self.homes, self.spare) = (slots, homes, spare);
                return;
            }
            spare *= 2;
        }
    }

    /// Returns the slots for so many homes; `None` if one of the runs needs more spare slots.
    fn copy(&self, homes: usize, spare: usize) -> Option<Memory> {
        let stride = homes + spare;
        let mut slots = Memory::zeroed(RUNS * stride * SLOT + (WORD - SLOT));
        if self.slots.is_empty() {
            return Some(slots);
        }
        for run in 0..RUNS {
            let old = &self.slots[run * self.stride() * SLOT..];
            let new = &mut slots[run * stride * SLOT..];
            let mut next = 0;
            for slot in 0..self.stride() {
                let value = decode(old, slot);
                if value == 0 {
                    continue;
                }
                let slot = scale(value >> 1, homes).max(next);
                next = slot + 1;
                if next == stride {
                    return None;
                }
                // The slots behind are still empty, so the bytes beyond this one may be cleared.
                new[slot * SLOT..slot * SLOT + WORD].copy_from_slice(&value.to_le_bytes());
            }
        }
        Some(slots)
    }
}

const fn run(rest: u64) -> usize {
    (rest >> KEPT_BITS) as usize
}

const fn kept(rest: u64) -> u64 {
    let kept = rest & ((1 << KEPT_BITS) - 1);
    // Zero marks an empty slot.
    if kept == 0 { 1 } else { kept }
}

/// Scales kept bits to the number of a home.
const fn scale(kept: u64, homes: usize) -> usize {
    ((kept as u128 * homes as u128) >> KEPT_BITS) as usize
}

fn decode(slots: &[u8], slot: usize) -> u64 {
    let word = &slots[slot * SLOT..slot * SLOT + WORD];
    let word = word.first_chunk().expect("invariant: the slice has the length of a word");
    u64::from_le_bytes(*word) & ((1 << (8 * SLOT)) - 1)
}

fn encode(slots: &mut [u8], slot: usize, value: u64) {
    slots[slot * SLOT..(slot + 1) * SLOT].copy_from_slice(&value.to_le_bytes()[..SLOT]);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::hash::keyed_hash;
    use super::super::tests::chosen;
    use super::*;

    fn values(table: &Table) -> impl Iterator<Item = (usize, u64)> {
        (0..table.slots()).map(|slot| (slot, decode(&table.slots, slot))).filter(|(_, value)| *value != 0)
    }

    fn rest(counter: u64) -> u64 {
        keyed_hash(7, &chosen(counter)) >> (64 - REST_BITS)
    }

    /// What each operation relies on.
    fn check(table: &Table) {
        let mut last = None;
        for (slot, value) in values(table) {
            let run = slot / table.stride();
            let home = run * table.stride() + scale(value >> 1, table.homes);
            assert!(home <= slot && slot + 1 < (run + 1) * table.stride(), "{slot} is no place for {value}");
            assert!((home..slot).all(|before| decode(&table.slots, before) != 0), "a gap before {slot}");
            assert!(last < Some((run, value)), "{slot} is out of order");
            last = Some((run, value));
        }
        assert_eq!(values(table).count(), table.len);
    }

    impl Table {
        pub(in super::super) fn longest_walk(&self) -> usize {
            let walk = |(slot, value): (usize, u64)| slot % self.stride() - scale(value >> 1, self.homes);
            values(self).map(walk).max().unwrap_or(0)
        }
    }

    #[test]
    fn a_digest_costs_at_most_nine_bytes_at_every_size() {
        // Looked at after each digest, so that the worst moment of the growth is seen too.
        let mut table = Table::default();
        let mut worst = 0.0_f64;
        for counter in 0..300_000 {
            table.insert(rest(counter));
            if table.len >= 40_000 {
                worst = worst.max(table.memory_bytes() as f64 / table.len as f64);
            }
        }
        assert!(worst <= 8.8, "{worst} bytes a digest");
        check(&table);
    }

    #[test]
    fn digests_aimed_at_one_home_find_room_all_the_same() {
        // As nobody can arrange without the key.
        let mut table = Table::default();
        for rest in (1..5000).rev() {
            assert!(table.insert(rest));
        }
        check(&table);
        assert!((1..5000).all(|rest| table.contains(rest) && !table.insert(rest)));
        assert!(!table.contains(5000));
        assert!(table.memory_bytes() < 4 << 20, "{} bytes", table.memory_bytes());
    }

    #[test]
    fn the_least_and_the_greatest_rest_have_a_place() {
        let mut table = Table::default();
        let greatest = (1 << REST_BITS) - 1;
        assert!(table.insert(0) && table.insert(greatest));
        check(&table);
        assert!(table.contains(0) && table.contains(greatest) && !table.contains(greatest - 1));
    }

    /// Anywhere, or crowded at the beginning of the first run or the end of the last.
    fn any_rest() -> impl Strategy<Value = u64> {
        const END: u64 = 1 << REST_BITS;
        prop_oneof![0..END, 1..300_u64, END - 300..END]
    }

    proptest! {
        #[test]
        fn agrees_with_a_tree_set(
            rests in prop::collection::vec(any_rest(), 0..600),
            visits in prop::collection::vec(0_usize..600, 0..50),
        ) {
            let mut table = Table::default();
            let mut model = BTreeSet::new();
            for rest in &rests {
                prop_assert_eq!(table.insert(*rest), model.insert((run(*rest), kept(*rest))));
            }
            check(&table);
            let mut at_once = Table::default();
            prop_assert_eq!(at_once.insert_all(&rests), model.len());
            check(&at_once);
            let mut visited = BTreeSet::new();
            for rest in visits.iter().filter_map(|at| rests.get(*at)) {
                prop_assert_eq!(table.visit(*rest), Some(visited.insert((run(*rest), kept(*rest)))));
            }
            check(&table);
            for rest in rests {
                prop_assert!(table.contains(rest) && at_once.is_unvisited(rest));
                let is_visited = visited.contains(&(run(rest), kept(rest)));
                prop_assert_eq!(table.is_unvisited(rest), !is_visited);
                let other = rest ^ 1 << 20;
                prop_assert_eq!(table.contains(other), model.contains(&(run(other), kept(other))));
                prop_assert_eq!(table.visit(other).is_some(), table.contains(other));
            }
        }
    }
}
