//! Numbers for tests: the same ones in every run.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::random::Random;

/// Counts upwards from a seed, which tells the sources of one test apart.
#[derive(Debug, Default)]
pub struct TestRandom {
    seed: u64,
    count: AtomicU64,
}

impl TestRandom {
    /// Starts the numbers of `seed`.
    pub fn new(seed: u64) -> Self {
        Self { seed, count: AtomicU64::new(0) }
    }
}

impl Random for TestRandom {
    fn next_u128(&self) -> u128 {
        u128::from(self.seed) << 64 | u128::from(self.count.fetch_add(1, Ordering::Relaxed))
    }
}
