//! Random numbers as an argument, so that a simulated run repeats exactly.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use zeroize::Zeroizing;

use crate::digest::DigestBuilder;

/// A source of numbers that never repeat, not over restarts or machines either.
pub trait Random: Send + Sync + 'static {
    /// Returns the next number.
    fn next_u128(&self) -> u128;
}

/// Numbers seeded once by the system.
pub struct SystemRandom {
    seed: Zeroizing<[u8; 32]>,
    count: AtomicU64,
}

impl SystemRandom {
    /// Asks the system for a seed.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub fn new() -> io::Result<Self> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).map_err(io::Error::other)?;
        Ok(Self { seed, count: AtomicU64::new(0) })
    }
}

impl Random for SystemRandom {
    fn next_u128(&self) -> u128 {
        let mut builder = DigestBuilder::new();
        builder.update(&*self.seed);
        builder.update(&self.count.fetch_add(1, Ordering::Relaxed).to_le_bytes());
        let digest = builder.finish();
        let (number, _) = digest.as_bytes().split_at(16);
        u128::from_le_bytes(number.try_into().expect("invariant: split at 16"))
    }
}

impl std::fmt::Debug for SystemRandom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SystemRandom")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_do_not_repeat() {
        let (one, other) = (SystemRandom::new().unwrap(), SystemRandom::new().unwrap());
        let mut numbers: Vec<u128> = (0..100).flat_map(|_| [one.next_u128(), other.next_u128()]).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 200);
    }
}
