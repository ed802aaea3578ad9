//! Validated names: past these types no code handles raw strings or joins raw paths.
//!
//! Every type here is made by a fallible `FromStr` (grammar: spec `formats.md` §11) and shows itself in the form that
//! the protocol and the folder layout use.

mod archive;
mod backup_id;
mod error;
mod filter;
mod namespace;
mod owner;
mod remote;
mod snapshot;
mod store;
mod time;

pub use archive::{ArchiveKind, ArchiveName};
pub use backup_id::BackupId;
pub use error::NameError;
pub use filter::{FilterError, GroupFilter, GroupFilters};
pub use namespace::Namespace;
pub use owner::Owner;
pub use remote::RemoteName;
pub use snapshot::{BackupType, GroupName, SnapshotName};
pub use store::StoreName;
pub use time::BackupTime;
pub(crate) use time::date_of_days;

use std::ops::RangeInclusive;

/// Longest backup id and archive name in bytes: a file name holds 255, and temporary names add a few.
pub(crate) const FILE_NAME_BYTES_MAX: usize = 200;

/// Checks the "safe id" grammar and the length (spec `formats.md` §11).
fn check_safe_id(what: &'static str, text: &str, allowed: RangeInclusive<usize>) -> Result<(), NameError> {
    if !allowed.contains(&text.len()) {
        return Err(NameError::Length {
            what,
            length: text.len(),
            min: *allowed.start(),
            max: *allowed.end(),
        });
    }
    let first_is_safe =
        text.as_bytes().first().is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let rest_is_safe =
        text.bytes().skip(1).all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    if first_is_safe && rest_is_safe {
        Ok(())
    } else {
        Err(NameError::Characters { what, text: error::excerpt(text) })
    }
}

/// Implements `Display`, `AsRef<str>`, `Serialize` and `Deserialize` for a newtype over a string with `FromStr`.
macro_rules! text_newtype {
    ($name:ident) => {
        impl $name {
            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        $crate::name::serde_as_text!($name);
    };
}

/// Implements `Serialize` and `Deserialize` through `Display` and `FromStr`.
macro_rules! serde_as_text {
    ($name:ident) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

use {serde_as_text, text_newtype};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_tricks_are_no_safe_ids() {
        for text in ["..", ".", ".hidden", "a/b", "a\0b", "-a", "é", "a b", "a\n", "a:b", "a\\b", "日本"] {
            let refused = check_safe_id("name", text, 1..=200);
            assert!(matches!(refused, Err(NameError::Characters { .. })), "{text:?}: {refused:?}");
        }
    }

    #[test]
    fn length_is_bounded_both_ways() {
        assert!(matches!(check_safe_id("name", "", 1..=3), Err(NameError::Length { length: 0, .. })));
        assert!(matches!(check_safe_id("name", "abcd", 1..=3), Err(NameError::Length { length: 4, .. })));
        assert_eq!(check_safe_id("name", "_a.-", 1..=4), Ok(()));
    }
}
