//! Names of entries.

use std::fmt;

use super::error::EncodeError;
use super::item::NAME_BYTES_MAX;

/// The name of an entry in its directory: 1 to 4,096 bytes without slash or zero, neither `.` nor `..` (spec `pxar.md` §2.1). The bytes
/// need not be text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(Box<[u8]>);

impl FileName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`EncodeError::Name`].
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, EncodeError> {
        let bytes = bytes.into();
        if Self::is_possible(&bytes) {
            Ok(Self(bytes.into()))
        } else {
            let shown = &bytes[..bytes.len().min(256)];
            Err(EncodeError::Name { name: String::from_utf8_lossy(shown).into_owned() })
        }
    }

    fn is_possible(bytes: &[u8]) -> bool {
        let is_relative = matches!(bytes, b"." | b"..");
        let has_wrong = bytes.iter().any(|byte| matches!(byte, b'/' | 0));
        (1..=NAME_BYTES_MAX).contains(&bytes.len()) && !is_relative && !has_wrong
    }

    /// Returns the bytes.
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(&self.0).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let long = vec![b'a'; NAME_BYTES_MAX + 1];
        for name in [&b""[..], b".", b"..", b"a/b", b"/", b"a\0", &long] {
            assert!(matches!(FileName::new(name), Err(EncodeError::Name { .. })), "{name:?}");
        }
        for name in [&b"..."[..], b"a", b"\xff\xfe", b" ", &long[1..]] {
            assert_eq!(FileName::new(name).unwrap().as_bytes(), name);
        }
    }
}
