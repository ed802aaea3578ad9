//! Signing keys and their cache.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Most keys kept at once. A client needs one, and a second around midnight or for requests whose signing time their caller fixed;
/// the others serve clones that sign for further regions or accounts.
const KEYS_MAX: usize = 8;

/// What a signing key is made of, besides the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scope<'a> {
    /// `YYYYMMDD`.
    pub(super) day: &'a str,
    pub(super) region: &'a str,
    pub(super) service: &'static str,
}

/// Signs for one secret, day, region and service. Wiped from memory on drop; `Debug` shows nothing of it.
#[derive(Clone)]
pub(super) struct SigningKey(Zeroizing<[u8; 32]>);

impl SigningKey {
    /// Derives the key (S3 API reference, "Signature Calculations for the Authorization Header", task 3).
    pub(super) fn derive(secret_key: &str, scope: Scope<'_>) -> SigningKey {
        let prefixed = Zeroizing::new(["AWS4", secret_key].concat());
        let mut key = SigningKey(Zeroizing::new(sign(prefixed.as_bytes(), [scope.day])));
        for part in [scope.region, scope.service, "aws4_request"] {
            key = SigningKey(Zeroizing::new(key.sign([part])));
        }
        key
    }

    /// Returns the HMAC of `parts`, one after the other.
    pub(super) fn sign<const N: usize>(&self, parts: [&str; N]) -> [u8; 32] {
        sign(&*self.0, parts)
    }
}

fn sign<const N: usize>(key: &[u8], parts: [&str; N]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("invariant: HMAC takes a key of any length");
    for part in parts {
        mac.update(part.as_bytes());
    }
    mac.finalize().into_bytes().into()
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").finish_non_exhaustive()
    }
}

/// The keys used last, shared by clones, so that a client derives one a day instead of one a request.
#[derive(Clone, Default)]
pub(super) struct KeyCache {
    entries: Arc<Mutex<Vec<Entry>>>,
}

struct Entry {
    // The access key does not enter the derivation; the secret does, so a rotated secret never meets its predecessor's key.
    secret_key: Zeroizing<String>,
    day: String,
    region: String,
    service: &'static str,
    key: SigningKey,
}

impl Entry {
    fn is_for(&self, secret_key: &str, scope: Scope<'_>) -> bool {
        let own = Scope { day: &self.day, region: &self.region, service: self.service };
        own == scope && *self.secret_key == secret_key
    }
}

impl KeyCache {
    /// Returns the key for `scope`, derived now if it is not among the last ones derived.
    pub(super) fn key(&self, secret_key: &str, scope: Scope<'_>) -> SigningKey {
        if let Some(entry) = self.lock().iter().find(|entry| entry.is_for(secret_key, scope)) {
            return entry.key.clone();
        }
        // Derived without the lock: two callers may do it at once and get the same key.
        let key = SigningKey::derive(secret_key, scope);
        let entry = Entry {
            secret_key: Zeroizing::new(secret_key.to_owned()),
            day: scope.day.to_owned(),
            region: scope.region.to_owned(),
            service: scope.service,
            key: key.clone(),
        };
        let mut entries = self.lock();
        if !entries.iter().any(|entry| entry.is_for(secret_key, scope)) {
            // The newest stand first; the oldest goes.
            entries.truncate(KEYS_MAX - 1);
            entries.insert(0, entry);
        }
        key
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for KeyCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyCache").field("keys", &self.lock().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    fn scope<'a>(day: &'a str, region: &'a str) -> Scope<'a> {
        Scope { day, region, service: "iam" }
    }

    // The derived key that the AWS General Reference prints ("Deriving the signing key", examples).
    #[test]
    fn the_published_key_is_derived() {
        let key = SigningKey::derive(SECRET, scope("20150830", "us-east-1"));
        let hex = key.0.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        assert_eq!(hex, "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
    }

    #[test]
    fn clones_share_keys_and_every_part_of_the_scope_counts() {
        let cache = KeyCache::default();
        let clone = cache.clone();
        let asked = [
            ("one", scope("20150830", "us-east-1")),
            ("two", scope("20150830", "us-east-1")),
            ("one", scope("20150831", "us-east-1")),
            ("one", scope("20150830", "us-east-2")),
            ("one", Scope { service: "s3", ..scope("20150830", "us-east-1") }),
        ];
        for (idx, (secret, scope)) in asked.into_iter().enumerate() {
            let expected = SigningKey::derive(secret, scope);
            for cache in [&cache, &clone] {
                assert_eq!(*cache.key(secret, scope).0, *expected.0);
                assert_eq!(cache.lock().len(), idx + 1);
            }
        }
    }

    #[test]
    fn the_oldest_key_makes_room() {
        let cache = KeyCache::default();
        let days: Vec<String> = (0..KEYS_MAX + 3).map(|day| format!("201508{day:02}")).collect();
        for day in &days {
            cache.key(SECRET, scope(day, "us-east-1"));
        }
        let entries = cache.lock();
        let kept: Vec<&str> = entries.iter().rev().map(|entry| entry.day.as_str()).collect();
        assert_eq!(kept, days[3..].iter().map(String::as_str).collect::<Vec<_>>());
    }

    #[test]
    fn debug_shows_no_key() {
        let cache = KeyCache::default();
        let key = cache.key(SECRET, scope("20150830", "us-east-1"));
        assert_eq!(format!("{key:?} {cache:?}"), "SigningKey { .. } KeyCache { keys: 1, .. }");
    }
}
