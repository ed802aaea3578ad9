//! Digests in the order of their last use, and the bytes they stand for. Pure: values in, values out.

use crate::digest::Digest;
use crate::digest_set::keyed_hash;

/// No slot.
const NONE: u32 = u32::MAX;

/// Heads of chains when the first digest comes.
const HEADS_MIN: usize = 16;

/// Digests with the lengths of their content, the least recently used first.
///
/// Every step takes constant time on average. 48 bytes a slot and 4 to 8 a chain's head: below 60 bytes an entry, and
/// twice that at most after the slots grew, as far as the allocator touches new memory at once. Digests come from
/// outside, so their chains are chosen by a keyed hash as in [`DigestSet`](crate::DigestSet).
#[derive(Debug)]
pub(super) struct Lru {
    key: u64,
    slots: Vec<Slot>,
    /// The first slot of each chain; a power of two of them, or none.
    heads: Vec<u32>,
    /// The first unused slot; the next ones follow by `chain`.
    unused: u32,
    oldest: u32,
    newest: u32,
    count: usize,
    bytes: u64,
}

#[derive(Debug)]
struct Slot {
    digest: Digest,
    len: u32,
    older: u32,
    newer: u32,
    /// The next slot of the same chain.
    chain: u32,
}

/// The two ends of the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The least recently used, first to go.
    Oldest,
    /// The most recently used.
    Newest,
}

impl Lru {
    /// Makes an empty order; `key` must be unknown to whoever chooses the digests.
    pub(super) fn new(key: u64) -> Self {
        let (slots, heads) = (Vec::new(), Vec::new());
        Self { key, slots, heads, unused: NONE, oldest: NONE, newest: NONE, count: 0, bytes: 0 }
    }

    /// Returns the number of digests.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Returns the sum of all lengths.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the length that a digest stands for, if it is there.
    pub(super) fn len_of(&self, digest: &Digest) -> Option<u32> {
        self.find(digest).map(|at| self.slots[at as usize].len)
    }

    /// Puts a digest at an end, whether or not it is there already.
    pub(super) fn put(&mut self, digest: &Digest, len: u32, end: End) {
        let at = self.find(digest).unwrap_or_else(|| self.add(digest));
        self.set_len_at(at, len);
        self.unlink(at);
        self.link(at, end);
    }

    /// Sets the length of a digest that is there, and leaves its place.
    pub(super) fn set_len(&mut self, digest: &Digest, len: u32) {
        if let Some(at) = self.find(digest) {
            self.set_len_at(at, len);
        }
    }

    /// Makes a digest the newest if it is there; returns whether it is.
    pub(super) fn refresh(&mut self, digest: &Digest) -> bool {
        let Some(at) = self.find(digest) else { return false };
        self.unlink(at);
        self.link(at, End::Newest);
        true
    }

    /// Removes a digest; returns its length if it was there.
    pub(super) fn remove(&mut self, digest: &Digest) -> Option<u32> {
        let at = self.find(digest)?;
        let head = self.head_of(digest);
        let next = self.slots[at as usize].chain;
        if self.heads[head] == at {
            self.heads[head] = next;
        } else {
            let mut before = self.heads[head];
            while self.slots[before as usize].chain != at {
                before = self.slots[before as usize].chain;
            }
            self.slots[before as usize].chain = next;
        }
        self.unlink(at);
        let len = self.slots[at as usize].len;
        self.bytes -= u64::from(len);
        self.count -= 1;
        self.slots[at as usize].chain = self.unused;
        self.unused = at;
        Some(len)
    }

    /// Removes the oldest digest.
    pub(super) fn pop_oldest(&mut self) -> Option<(Digest, u32)> {
        let digest = self.slots.get(self.oldest as usize)?.digest;
        self.remove(&digest).map(|len| (digest, len))
    }

    /// Goes through all digests and their lengths, the oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Digest, u32)> {
        let at = |at: u32| self.slots.get(at as usize);
        std::iter::successors(at(self.oldest), move |slot| at(slot.newer))
            .map(|slot| (&slot.digest, slot.len))
    }

    fn head_of(&self, digest: &Digest) -> usize {
        keyed_hash(self.key, digest) as usize & (self.heads.len() - 1)
    }

    fn find(&self, digest: &Digest) -> Option<u32> {
        if self.heads.is_empty() {
            return None;
        }
        let mut at = self.heads[self.head_of(digest)];
        while at != NONE {
            let slot = &self.slots[at as usize];
            if slot.digest == *digest {
                return Some(at);
            }
            at = slot.chain;
        }
        None
    }

    /// Adds a digest that is not there, of no length and at no place in the order.
    fn add(&mut self, digest: &Digest) -> u32 {
        if self.count >= self.heads.len() {
            self.grow_heads();
        }
        let head = self.head_of(digest);
        let slot = Slot { digest: *digest, len: 0, older: NONE, newer: NONE, chain: self.heads[head] };
        let at = if let Some(unused) = self.slots.get_mut(self.unused as usize) {
            let at = std::mem::replace(&mut self.unused, unused.chain);
            *unused = slot;
            at
        } else {
            self.slots.push(slot);
            u32::try_from(self.slots.len() - 1).expect("invariant: 2^32 slots do not fit in any memory")
        };
        self.heads[head] = at;
        self.count += 1;
        at
    }

    fn grow_heads(&mut self) {
        let heads = (self.heads.len() * 2).max(HEADS_MIN);
        self.heads = vec![NONE; heads];
        let mut at = self.oldest;
        while at != NONE {
            let head = self.head_of(&self.slots[at as usize].digest);
            self.slots[at as usize].chain = std::mem::replace(&mut self.heads[head], at);
            at = self.slots[at as usize].newer;
        }
    }

    fn set_len_at(&mut self, at: u32, len: u32) {
        let before = std::mem::replace(&mut self.slots[at as usize].len, len);
        self.bytes = self.bytes - u64::from(before) + u64::from(len);
    }

    /// Takes a slot out of the order; one that is in no order stays so.
    fn unlink(&mut self, at: u32) {
        let Slot { older, newer, .. } = self.slots[at as usize];
        if self.oldest == at {
            self.oldest = newer;
        }
        if self.newest == at {
            self.newest = older;
        }
        if let Some(slot) = self.slots.get_mut(older as usize) {
            slot.newer = newer;
        }
        if let Some(slot) = self.slots.get_mut(newer as usize) {
            slot.older = older;
        }
        let slot = &mut self.slots[at as usize];
        (slot.older, slot.newer) = (NONE, NONE);
    }

    fn link(&mut self, at: u32, end: End) {
        let (mut older, mut newer) = (NONE, NONE);
        let neighbour = match end {
            End::Oldest => std::mem::replace(&mut self.oldest, at),
            End::Newest => std::mem::replace(&mut self.newest, at),
        };
        match (self.slots.get_mut(neighbour as usize), end) {
            (Some(slot), End::Oldest) => (slot.older, newer) = (at, neighbour),
            (Some(slot), End::Newest) => (slot.newer, older) = (at, neighbour),
            // The only one is at both ends.
            (None, _) => (self.oldest, self.newest) = (at, at),
        }
        let slot = &mut self.slots[at as usize];
        (slot.older, slot.newer) = (older, newer);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Put(u8, u32, End),
        SetLen(u8, u32),
        Refresh(u8),
        Remove(u8),
        Pop,
    }

    fn step() -> impl Strategy<Value = Step> {
        let end = prop_oneof![Just(End::Oldest), Just(End::Newest)];
        prop_oneof![
            4 => (0..40_u8, any::<u32>(), end).prop_map(|(name, len, end)| Step::Put(name, len, end)),
            1 => (0..40_u8, any::<u32>()).prop_map(|(name, len)| Step::SetLen(name, len)),
            2 => (0..40_u8).prop_map(Step::Refresh),
            2 => (0..40_u8).prop_map(Step::Remove),
            1 => Just(Step::Pop),
        ]
    }

    fn digest(name: u8) -> Digest {
        Digest::from_bytes([name; 32])
    }

    /// The same, the slow way: the oldest first.
    fn apply(model: &mut Vec<(Digest, u32)>, step: &Step) {
        let position = |model: &[(Digest, u32)], name: u8| model.iter().position(|one| one.0 == digest(name));
        match *step {
            Step::Put(name, len, end) => {
                position(model, name).map(|at| model.remove(at));
                let at = if end == End::Oldest { 0 } else { model.len() };
                model.insert(at, (digest(name), len));
            }
            Step::SetLen(name, len) => {
                if let Some(at) = position(model, name) {
                    model[at].1 = len;
                }
            }
            Step::Refresh(name) => {
                if let Some(at) = position(model, name) {
                    let one = model.remove(at);
                    model.push(one);
                }
            }
            Step::Remove(name) => {
                position(model, name).map(|at| model.remove(at));
            }
            Step::Pop => {
                if !model.is_empty() {
                    model.remove(0);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn it_is_what_a_plain_list_is(steps in prop::collection::vec(step(), 0..200)) {
            let (mut lru, mut model) = (Lru::new(5), Vec::new());
            for step in &steps {
                let before = model.clone();
                apply(&mut model, step);
                let known = |name: u8| before.iter().find(|one| one.0 == digest(name)).map(|one| one.1);
                match *step {
                    Step::Put(name, len, end) => lru.put(&digest(name), len, end),
                    Step::SetLen(name, len) => lru.set_len(&digest(name), len),
                    Step::Refresh(name) => prop_assert_eq!(lru.refresh(&digest(name)), known(name).is_some()),
                    Step::Remove(name) => prop_assert_eq!(lru.remove(&digest(name)), known(name)),
                    Step::Pop => prop_assert_eq!(lru.pop_oldest(), before.first().copied()),
                }
                prop_assert_eq!(lru.iter().map(|(digest, len)| (*digest, len)).collect::<Vec<_>>(), model.clone());
                prop_assert_eq!(lru.count(), model.len());
                prop_assert_eq!(lru.bytes(), model.iter().map(|one| u64::from(one.1)).sum::<u64>());
                for name in 0..40 {
                    let expected = model.iter().find(|one| one.0 == digest(name)).map(|one| one.1);
                    prop_assert_eq!(lru.len_of(&digest(name)), expected);
                }
            }
        }
    }

    #[test]
    fn a_slot_is_small_and_is_used_again() {
        assert_eq!(std::mem::size_of::<Slot>(), 48);
        let mut lru = Lru::new(0);
        for name in 0..=255 {
            lru.put(&digest(name), 1, End::Newest);
            if name >= 4 {
                lru.pop_oldest();
            }
        }
        assert_eq!((lru.count(), lru.slots.len()), (4, 5));
    }
}
