//! Chunks used a moment ago: an index often names one chunk several times in a row.

use std::collections::VecDeque;

use coldkeep_chunk_store::Digest;

/// Most chunks remembered.
const ENTRIES_MAX: usize = 8;

/// Most bytes remembered.
const BYTES_MAX: usize = 16 << 20;

/// The last few values by digest, the newest at the back.
#[derive(Debug)]
pub(super) struct Recent<T> {
    entries: VecDeque<(Digest, usize, T)>,
    bytes: usize,
}

impl<T: Clone> Recent<T> {
    pub(super) const fn new() -> Self {
        Self { entries: VecDeque::new(), bytes: 0 }
    }

    /// Returns a value and makes it the newest.
    pub(super) fn find(&mut self, digest: &Digest) -> Option<T> {
        let position = self.entries.iter().position(|(known, ..)| known == digest)?;
        let entry = self.entries.remove(position)?;
        let value = entry.2.clone();
        self.entries.push_back(entry);
        Some(value)
    }

    /// Forgets the oldest values until at most `bytes` are remembered.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        while self.bytes > bytes {
            let Some((_, len, _)) = self.entries.pop_front() else { return };
            self.bytes -= len;
        }
    }

    /// Remembers a value of `len` bytes, unless it is too large.
    pub(super) fn insert(&mut self, digest: Digest, len: usize, value: T) {
        if len > BYTES_MAX {
            return;
        }
        self.shrink_to(BYTES_MAX - len);
        if self.entries.len() == ENTRIES_MAX
            && let Some((_, len, _)) = self.entries.pop_front()
        {
            self.bytes -= len;
        }
        self.bytes += len;
        self.entries.push_back((digest, len, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: u8) -> Digest {
        Digest::of(&[number])
    }

    #[test]
    fn the_oldest_goes_first_and_a_hit_makes_young() {
        let mut recent = Recent::new();
        for number in 0..8 {
            recent.insert(digest(number), 1, number);
        }
        assert_eq!(recent.find(&digest(0)), Some(0));
        recent.insert(digest(8), 1, 8);
        assert_eq!(recent.find(&digest(1)), None);
        assert_eq!(recent.find(&digest(0)), Some(0));
        assert_eq!(recent.bytes, 8);
    }

    #[test]
    fn bytes_are_bounded() {
        let mut recent = Recent::new();
        recent.insert(digest(0), 10 << 20, 0);
        recent.insert(digest(1), 10 << 20, 1);
        assert_eq!((recent.find(&digest(0)), recent.find(&digest(1))), (None, Some(1)));
        recent.insert(digest(2), BYTES_MAX + 1, 2);
        assert_eq!(recent.find(&digest(2)), None);
        recent.shrink_to(0);
        assert_eq!((recent.find(&digest(1)), recent.bytes), (None, 0));
    }
}
