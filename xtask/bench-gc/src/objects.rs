//! The chunks of a synthetic store, by formula: however many there are, none of them takes memory.

use coldkeep_chunk_store::{DIGEST_BYTES, Digest};

/// Chunks whose digests are spread evenly and ascend with their number, so that a range of keys is a range of numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Objects {
    count: u64,
    garbage_percent: u64,
    /// Between the first 64 bits of two neighbours.
    step: u64,
}

impl Objects {
    /// Takes so many chunks, some of them garbage: that many of each hundred in a row.
    pub(crate) fn new(count: u64, garbage_percent: u64) -> Objects {
        Objects { count, garbage_percent, step: u64::MAX / count.max(1) }
    }

    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    /// The first 64 bits are the place in the order, the others look random.
    pub(crate) fn digest(&self, number: u64) -> Digest {
        let mut bytes = [0; DIGEST_BYTES];
        let (words, _) = bytes.as_chunks_mut::<8>();
        words[0] = (number * self.step).to_be_bytes();
        for (word, salt) in words[1..].iter_mut().zip(1..) {
            *word = mixed(number * 3 + salt).to_le_bytes();
        }
        Digest::from_bytes(bytes)
    }

    /// The number of a chunk; `None` for a digest that is none of ours.
    pub(crate) fn number_of(&self, digest: &Digest) -> Option<u64> {
        let number = leading(digest) / self.step;
        (number < self.count && self.digest(number) == *digest).then_some(number)
    }

    /// The first chunk whose digest begins with these 64 bits or more; the number of chunks if there is none.
    pub(crate) fn first_from(&self, leading: u64) -> u64 {
        leading.div_ceil(self.step).min(self.count)
    }

    /// The first chunk for which `is_before` does not hold; it holds for all chunks up to one and for none behind.
    pub(crate) fn first_where_not(&self, is_before: impl Fn(u64) -> bool) -> u64 {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if is_before(middle) { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// Whether no index names the chunk.
    pub(crate) fn is_garbage(&self, number: u64) -> bool {
        (number + 1) * self.garbage_percent / 100 > number * self.garbage_percent / 100
    }

    /// Between 1 and 2 MiB.
    pub(crate) fn bytes(number: u64) -> u64 {
        (1 << 20) + mixed(number) % (1 << 20)
    }
}

fn leading(digest: &Digest) -> u64 {
    let (words, _) = digest.as_bytes().as_chunks::<8>();
    u64::from_be_bytes(words[0])
}

/// The finaliser of `SplitMix64` (Steele, Lea and Flood, 2014).
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_ascend_and_lead_back_to_their_numbers() {
        for count in [1, 7, 1000, 65_537] {
            let objects = Objects::new(count, 5);
            let digests: Vec<Digest> = (0..count).map(|number| objects.digest(number)).collect();
            assert!(digests.is_sorted_by(|one, next| one < next));
            for (number, digest) in (0..).zip(&digests) {
                assert_eq!(objects.number_of(digest), Some(number));
            }
        }
        let objects = Objects::new(1000, 5);
        assert_eq!(objects.number_of(&Objects::new(1001, 5).digest(7)), None);
        assert_eq!(objects.number_of(&Digest::from_bytes([0xff; 32])), None);
    }

    #[test]
    fn a_place_in_the_order_is_found() {
        let objects = Objects::new(10_000, 5);
        for first_byte in 0..=255_u8 {
            let leading = u64::from(first_byte) << 56;
            let number = objects.first_from(leading);
            let is_before = |number| objects.digest(number).as_bytes()[0] < first_byte;
            assert_eq!(number, (0..10_000).find(|number| !is_before(*number)).unwrap());
            assert_eq!(number, objects.first_where_not(is_before));
        }
        assert_eq!(objects.first_from(u64::MAX), 10_000);
        assert_eq!(objects.first_where_not(|_| true), 10_000);
    }

    #[test]
    fn so_much_of_each_hundred_is_garbage() {
        for percent in [0, 5, 50, 100] {
            let objects = Objects::new(1000, percent);
            let garbage = (300..400).filter(|number| objects.is_garbage(*number)).count();
            assert_eq!(garbage as u64, percent);
        }
    }
}
