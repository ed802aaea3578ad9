//! One bit for each chunk, set from any thread.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bits that can only be set; all are clear at first.
#[derive(Debug)]
pub(crate) struct Bits(Vec<AtomicU64>);

impl Bits {
    pub(crate) fn new(count: u64) -> Bits {
        Bits((0..count.div_ceil(64)).map(|_| AtomicU64::new(0)).collect())
    }

    pub(crate) fn is_set(&self, number: u64) -> bool {
        let (word, bit) = place(number);
        self.0[word].load(Ordering::Acquire) & bit != 0
    }

    pub(crate) fn set(&self, number: u64) {
        let (word, bit) = place(number);
        self.0[word].fetch_or(bit, Ordering::AcqRel);
    }

    pub(crate) fn count_set(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.load(Ordering::Acquire).count_ones())).sum()
    }
}

fn place(number: u64) -> (usize, u64) {
    ((number / 64) as usize, 1 << (number % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bit_is_set_alone() {
        let bits = Bits::new(130);
        bits.set(0);
        bits.set(129);
        let set: Vec<u64> = (0..130).filter(|number| bits.is_set(*number)).collect();
        assert_eq!(set, [0, 129]);
        assert_eq!(bits.count_set(), 2);
    }
}
