//! Remembers which token secrets were found right, so that Argon2 runs once per token and not once per request.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Most secrets remembered; the oldest goes first.
const ENTRIES_MAX: usize = 256;

/// A bounded memory of secrets, kept as keyed hashes only; the key lives as long as the process.
pub(super) struct TokenCache {
    key: Zeroizing<[u8; 32]>,
    entries: Mutex<VecDeque<[u8; 32]>>,
}

impl TokenCache {
    pub(super) fn new() -> Result<Self, getrandom::Error> {
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(key.as_mut())?;
        Ok(Self { key, entries: Mutex::default() })
    }

    /// Tells whether `secret` was found to match `stored`. A token whose stored hash changed is a different entry.
    pub(super) fn knows(&self, stored: &str, secret: &str) -> bool {
        let entry = self.entry(stored, secret);
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.iter().fold(false, |found, known| found | bool::from(known[..].ct_eq(&entry[..])))
    }

    /// Remembers that `secret` matches `stored`.
    pub(super) fn remember(&self, stored: &str, secret: &str) {
        let entry = self.entry(stored, secret);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= ENTRIES_MAX {
            entries.pop_front();
        }
        entries.push_back(entry);
    }

    fn entry(&self, stored: &str, secret: &str) -> [u8; 32] {
        let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.key[..]);
        let mut mac = mac.expect("invariant: HMAC takes keys of any length");
        mac.update(&(stored.len() as u64).to_le_bytes());
        mac.update(stored.as_bytes());
        mac.update(secret.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_known_for_its_stored_hash_only() {
        let cache = TokenCache::new().unwrap();
        cache.remember("hash", "secret");
        assert!(cache.knows("hash", "secret"));
        assert!(
            !cache.knows("hash2", "secret")
                && !cache.knows("hash", "secre")
                && !cache.knows("hashs", "ecret")
        );
    }

    #[test]
    fn the_memory_is_bounded() {
        let cache = TokenCache::new().unwrap();
        (0..=ENTRIES_MAX).for_each(|i| cache.remember("hash", &i.to_string()));
        assert!(!cache.knows("hash", "0") && cache.knows("hash", "1"));
        assert_eq!(cache.entries.lock().unwrap().len(), ENTRIES_MAX);
    }
}
