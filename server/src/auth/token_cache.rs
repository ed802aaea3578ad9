//! Remembers which token secrets were found right, so that Argon2 runs once per token and not once per request.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::AuthId;

/// Most tokens remembered: as many as there may be.
const ENTRIES_MAX: usize = 10_000;
/// Most tokens of one user, as many as there may be at a time: whoever makes and removes tokens pushes out own ones only.
const ENTRIES_PER_USER_MAX: usize = 64;

/// A bounded memory of secrets, one for each token, kept as keyed hashes only; the key lives as long as the process.
pub(super) struct TokenCache {
    key: Zeroizing<[u8; 32]>,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    by_token: HashMap<AuthId, Entry>,
    /// How many there ever were.
    count: u64,
}

struct Entry {
    hash: [u8; 32],
    /// The oldest has the least.
    number: u64,
}

impl TokenCache {
    pub(super) fn new() -> Result<Self, getrandom::Error> {
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(key.as_mut())?;
        Ok(Self { key, entries: Mutex::default() })
    }

    /// Tells whether `secret` was found to match `stored`, the hash that the token has now.
    pub(super) fn knows(&self, token: &AuthId, stored: &str, secret: &str) -> bool {
        let hash = self.hash(stored, secret);
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.by_token.get(token).is_some_and(|known| known.hash[..].ct_eq(&hash[..]).into())
    }

    /// Remembers that `secret` of this token matches `stored`.
    pub(super) fn remember(&self, token: &AuthId, stored: &str, secret: &str) {
        let hash = self.hash(stored, secret);
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).add(token, hash);
    }

    fn hash(&self, stored: &str, secret: &str) -> [u8; 32] {
        let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.key[..]);
        let mut mac = mac.expect("invariant: HMAC takes keys of any length");
        mac.update(&(stored.len() as u64).to_le_bytes());
        mac.update(stored.as_bytes());
        mac.update(secret.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

impl Entries {
    fn add(&mut self, token: &AuthId, hash: [u8; 32]) {
        if !self.by_token.contains_key(token) {
            let of_user = self.by_token.keys().filter(|other| other.user() == token.user()).count();
            let oldest = if of_user >= ENTRIES_PER_USER_MAX {
                self.oldest(|other| other.user() == token.user())
            } else if self.by_token.len() >= ENTRIES_MAX {
                self.oldest(|_| true)
            } else {
                None
            };
            if let Some(oldest) = oldest {
                self.by_token.remove(&oldest);
            }
        }
        self.count += 1;
        self.by_token.insert(token.clone(), Entry { hash, number: self.count });
    }

    fn oldest(&self, is_meant: impl Fn(&AuthId) -> bool) -> Option<AuthId> {
        let meant = self.by_token.iter().filter(|(token, _)| is_meant(token));
        meant.min_by_key(|(_, entry)| entry.number).map(|(token, _)| token.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(user: usize, name: usize) -> AuthId {
        format!("u{user}@pbs!t{name}").parse().unwrap()
    }

    fn len(cache: &TokenCache) -> usize {
        cache.entries.lock().unwrap().by_token.len()
    }

    #[test]
    fn a_secret_is_known_for_its_token_and_stored_hash_only() {
        let (cache, mine) = (TokenCache::new().unwrap(), token(1, 1));
        cache.remember(&mine, "hash", "secret");
        assert!(cache.knows(&mine, "hash", "secret"));
        assert!(!cache.knows(&token(1, 2), "hash", "secret"));
        for (stored, secret) in [("hash2", "secret"), ("hash", "secre"), ("hashs", "ecret")] {
            assert!(!cache.knows(&mine, stored, secret));
        }
        cache.remember(&mine, "hash", "secret");
        cache.remember(&mine, "new hash", "new secret");
        assert!(cache.knows(&mine, "new hash", "new secret") && !cache.knows(&mine, "hash", "secret"));
        assert_eq!(len(&cache), 1);
    }

    #[test]
    fn the_memory_is_bounded_and_users_push_out_their_own_tokens_first() {
        let cache = TokenCache::new().unwrap();
        let knows = |token: &AuthId| cache.knows(token, "hash", "secret");
        cache.remember(&token(0, 0), "hash", "secret");
        (0..=ENTRIES_PER_USER_MAX).for_each(|i| cache.remember(&token(1, i), "hash", "secret"));
        assert!(knows(&token(0, 0)) && !knows(&token(1, 0)) && knows(&token(1, 1)));
        assert_eq!(len(&cache), 1 + ENTRIES_PER_USER_MAX);
        (2..=ENTRIES_MAX).for_each(|user| cache.remember(&token(user, 0), "hash", "secret"));
        assert!(!knows(&token(0, 0)) && knows(&token(ENTRIES_MAX, 0)));
        assert_eq!(len(&cache), ENTRIES_MAX);
    }
}
