//! Argon2id hashes of passwords and of token secrets.

use std::fmt::Write;
use std::sync::Arc;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

/// Longest password or secret looked at, in bytes.
pub const PASSWORD_BYTES_MAX: usize = 1024;
/// Memory of one hash, in KiB: OWASP's first recommendation for Argon2id, together with two passes and one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Most memory that a stored hash may ask for, in KiB.
const MEMORY_KIB_MAX: u32 = 64 * 1024;
/// Blocks that memory is taken for, of 1 KiB each; what a hash does not use is never touched. The C library's allocator hands
/// out whatever is larger than 32 MiB as pages of its own (mallopt(3), `M_MMAP_THRESHOLD`). After less than that was freed it
/// would keep everything of that size for later, in the arena of every thread: one login made a server that takes backups
/// a hundred MiB larger.
const BLOCKS_RESERVED: usize = 33 * 1024;
/// How many hashes are computed at once; together with their memory this bounds what a flood of logins can take.
const CONCURRENT_MAX: usize = 2;
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

/// Computes and checks hashes on blocking threads, a few at a time.
#[derive(Debug, Clone)]
pub struct PasswordHasher {
    permits: Arc<Semaphore>,
}

/// A password could not be hashed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordError {
    /// It is too short or too long.
    #[error("password has {bytes} bytes; {min} to {PASSWORD_BYTES_MAX} are allowed")]
    Length {
        /// Its length.
        bytes: usize,
        /// The least length.
        min: usize,
    },
    /// The system gave no random bytes.
    #[error("no random bytes")]
    Random(#[source] getrandom::Error),
    /// The hash could not be computed.
    #[error("cannot compute an Argon2 hash")]
    Hash(#[source] argon2::Error),
    /// The thread that computed it was lost.
    #[error("hashing was cut short")]
    Lost,
}

impl PasswordHasher {
    /// Makes a hasher.
    pub fn new() -> Self {
        Self { permits: Arc::new(Semaphore::new(CONCURRENT_MAX)) }
    }

    /// Hashes a new password with a random salt, as text in PHC form.
    ///
    /// # Errors
    /// [`PasswordError`].
    ///
    /// # Cancel safety
    /// Dropping the future wastes the work.
    pub async fn hash(&self, password: Zeroizing<String>) -> Result<String, PasswordError> {
        let bytes = password.len();
        if bytes == 0 || bytes > PASSWORD_BYTES_MAX {
            return Err(PasswordError::Length { bytes, min: 1 });
        }
        self.run(move || hash(&password)).await
    }

    /// Tells whether `password` is the one that `stored` was made from. `None` as `stored` costs the same time and is
    /// never right, so that nobody learns from the time whether a user exists.
    ///
    /// # Errors
    /// [`PasswordError::Hash`] if the stored hash asks for something unreasonable.
    ///
    /// # Cancel safety
    /// Dropping the future wastes the work.
    pub async fn verify(
        &self,
        password: Zeroizing<String>,
        stored: Option<String>,
    ) -> Result<bool, PasswordError> {
        if password.len() > PASSWORD_BYTES_MAX {
            return Ok(false);
        }
        self.run(move || match stored {
            Some(stored) => verify(&password, &stored),
            None => hash(&password).map(|_| false),
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| PasswordError::Lost)?;
        // The permit goes with the thread, so that a caller who goes away does not let another one in early.
        let work = move || {
            let _permit = permit;
            work()
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| PasswordError::Lost)?
    }
}

impl Default for PasswordHasher {
    fn default() -> Self {
        Self::new()
    }
}

/// Makes a password or token secret of 128 random bits, in the form of a UUID.
pub(crate) fn random_secret() -> Result<Zeroizing<String>, PasswordError> {
    let mut bytes = Zeroizing::new([0_u8; 16]);
    getrandom::fill(bytes.as_mut()).map_err(PasswordError::Random)?;
    let mut text = Zeroizing::new(String::with_capacity(36));
    for (i, byte) in bytes.iter().enumerate() {
        let dash = if matches!(i, 4 | 6 | 8 | 10) { "-" } else { "" };
        // Writing to a string cannot fail.
        let _ = write!(text, "{dash}{byte:02x}");
    }
    Ok(text)
}

fn hash(password: &str) -> Result<String, PasswordError> {
    let mut salt = [0_u8; SALT_BYTES];
    getrandom::fill(&mut salt).map_err(PasswordError::Random)?;
    let hash = compute(password, &salt, (MEMORY_KIB, PASSES, LANES))?;
    let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash));
    Ok(format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}${salt}${hash}"))
}

fn verify(password: &str, stored: &str) -> Result<bool, PasswordError> {
    let Some((costs, salt, expected)) = parse(stored) else { return Ok(false) };
    let computed = compute(password, &salt, costs)?;
    Ok(computed[..].ct_eq(&expected).into())
}

fn compute(
    password: &str,
    salt: &[u8],
    (memory, passes, lanes): (u32, u32, u32),
) -> Result<[u8; HASH_BYTES], PasswordError> {
    let params = Params::new(memory, passes, lanes, Some(HASH_BYTES)).map_err(PasswordError::Hash)?;
    let mut hash = [0; HASH_BYTES];
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let used = argon.params().block_count();
    let mut blocks = Vec::with_capacity(BLOCKS_RESERVED.max(used));
    blocks.resize(used, Block::default());
    let hashed = argon.hash_password_into_with_memory(password.as_bytes(), salt, &mut hash, &mut blocks[..]);
    hashed.map_err(PasswordError::Hash)?;
    Ok(hash)
}

pub(super) type Parsed = ((u32, u32, u32), Vec<u8>, Vec<u8>);

/// Takes a PHC string of Argon2id apart; `None` if it is malformed or asks for more than is reasonable.
pub(super) fn parse(stored: &str) -> Option<Parsed> {
    let mut parts = stored.strip_prefix("$argon2id$v=19$")?.split('$');
    let mut costs = parts.next()?.split(',');
    let mut cost = |name: &str| costs.next()?.strip_prefix(name)?.parse::<u32>().ok();
    let costs = (cost("m=")?, cost("t=")?, cost("p=")?);
    let salt = STANDARD_NO_PAD.decode(parts.next()?).ok()?;
    let hash = STANDARD_NO_PAD.decode(parts.next()?).ok()?;
    let is_good = costs.0 <= MEMORY_KIB_MAX && costs.1 <= 16 && costs.2 <= 4 && parts.next().is_none();
    is_good.then_some((costs, salt, hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Zeroizing<String> {
        Zeroizing::new(text.to_owned())
    }

    #[tokio::test]
    async fn only_the_right_password_is_taken() {
        let hasher = PasswordHasher::new();
        let stored = hasher.hash(secret("correct horse")).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(hasher.verify(secret("correct horse"), Some(stored.clone())).await.unwrap());
        assert!(!hasher.verify(secret("correct horse "), Some(stored.clone())).await.unwrap());
        assert!(
            !hasher.verify(secret(&"x".repeat(PASSWORD_BYTES_MAX + 1)), Some(stored.clone())).await.unwrap()
        );
        assert!(!hasher.verify(secret(""), None).await.unwrap());
        assert_ne!(hasher.hash(secret("correct horse")).await.unwrap(), stored, "the salt is not random");
    }

    #[tokio::test]
    async fn empty_and_endless_passwords_cannot_be_set() {
        for bytes in [0, PASSWORD_BYTES_MAX + 1] {
            let refused = PasswordHasher::new().hash(secret(&"x".repeat(bytes))).await;
            assert!(matches!(refused, Err(PasswordError::Length { .. })));
        }
    }

    #[test]
    fn a_published_hash_is_understood() {
        // Made with the reference implementation's command line, version 20190702:
        // echo -n password | argon2 somesalt -id -t 2 -k 65536 -p 1 -e
        let stored = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert!(verify("password", stored).unwrap());
        assert!(!verify("Password", stored).unwrap());
    }

    #[test]
    fn hashes_that_ask_for_too_much_or_are_malformed_match_nothing() {
        for stored in [
            "",
            "plain",
            "$argon2id$v=19$m=9999999,t=2,p=1$c29tZXNhbHQ$AAAA",
            "$argon2i$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAA",
        ] {
            assert!(parse(stored).is_none(), "{stored}");
        }
    }

    #[test]
    fn random_secrets_look_like_uuids_and_differ() {
        let (a, b) = (random_secret().unwrap(), random_secret().unwrap());
        assert_eq!((a.len(), a.matches('-').count()), (36, 4));
        assert_ne!(*a, *b);
    }
}
