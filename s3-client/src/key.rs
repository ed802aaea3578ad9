//! Object keys.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Most bytes of a key (S3 user guide, "Naming Amazon S3 objects").
pub const KEY_BYTES_MAX: usize = 1024;

/// Names an object within its bucket: 1 to 1024 bytes of UTF-8, whatever they are.
///
/// S3 allows spaces, `+`, `%`, dots, doubled and leading slashes, and this client sends them as they are. Not every server does: lower-case
/// hexadecimal digits below a short prefix work everywhere, see the probe for the others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(Box<str>);

/// The text cannot be a key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("an object key has 1 to {KEY_BYTES_MAX} bytes, not {bytes}")]
pub struct InvalidKey {
    /// How many it has.
    pub bytes: usize,
}

impl ObjectKey {
    /// Checks a key.
    ///
    /// # Errors
    /// [`InvalidKey`] if it is empty or too long.
    pub fn new(key: impl Into<Box<str>>) -> Result<ObjectKey, InvalidKey> {
        let key = key.into();
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(InvalidKey { bytes: key.len() });
        }
        Ok(ObjectKey(key))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ObjectKey {
    type Err = InvalidKey;

    fn from_str(key: &str) -> Result<ObjectKey, InvalidKey> {
        ObjectKey::new(key)
    }
}

impl AsRef<str> for ObjectKey {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_length_matters() {
        for key in ["a", "/", "//a b+%~/../é", &"x".repeat(1024)] {
            assert_eq!(ObjectKey::new(key).unwrap().as_str(), key);
        }
        for key in ["", &"x".repeat(1025), &"ä".repeat(513)] {
            assert_eq!(ObjectKey::new(key), Err(InvalidKey { bytes: key.len() }));
        }
    }
}
