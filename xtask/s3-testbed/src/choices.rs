//! Choices that follow from a seed.

/// A small generator (`SplitMix64`; Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014): the same choices on
/// every machine.
#[derive(Debug, Clone)]
pub struct Choices(u64);

impl Choices {
    /// The choices of this seed.
    pub fn new(seed: u64) -> Choices {
        Choices(seed)
    }

    /// Chooses among all numbers; as a seed it makes choices that have nothing to do with these.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Chooses a number below `bound`.
    ///
    /// # Panics
    /// Where `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.number() % bound as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_published_ones() {
        // The first outputs of SplitMix64 for seed 1234567 (Rosetta Code, "Pseudo-random numbers/Splitmix64").
        let mut choices = Choices::new(1_234_567);
        assert_eq!(
            [choices.number(), choices.number()],
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]
        );
    }

    #[test]
    fn every_number_below_the_bound_comes() {
        let mut choices = Choices::new(1);
        let numbers: Vec<usize> = (0..1000).map(|_| choices.below(3)).collect();
        assert!((0..3).all(|number| numbers.contains(&number)) && numbers.iter().all(|number| *number < 3));
    }
}
