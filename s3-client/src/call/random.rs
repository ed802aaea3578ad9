//! Jitter.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Pseudo-random numbers from one seed (SplitMix64): good enough to spread retries, and the same again in a simulation.
#[derive(Debug)]
pub(crate) struct Random {
    state: AtomicU64,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random { state: AtomicU64::new(seed) }
    }

    pub(crate) fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut bits = self.state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Draws evenly between zero and `ceiling` (full jitter).
    pub(crate) fn up_to(&self, ceiling: Duration) -> Duration {
        let part = self.next() >> 11;
        ceiling.mul_f64(part as f64 / (1_u64 << 53) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_fill_the_range_and_follow_the_seed() {
        let (random, again) = (Random::new(7), Random::new(7));
        let ceiling = Duration::from_secs(1);
        let draws: Vec<_> = (0..1000).map(|_| random.up_to(ceiling)).collect();
        assert!(draws.iter().all(|draw| *draw < ceiling));
        let mean = draws.iter().sum::<Duration>().as_secs_f64() / 1000.0;
        assert!((0.45..0.55).contains(&mean), "{mean}");
        assert_eq!(draws[..10], (0..10).map(|_| again.up_to(ceiling)).collect::<Vec<_>>());
        assert_ne!(draws[0], Random::new(8).up_to(ceiling));
    }
}
