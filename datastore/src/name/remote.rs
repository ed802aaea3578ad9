//! The name of another server.

use std::str::FromStr;

use super::{NameError, check_safe_id, text_newtype};

/// Name of a remote, another server that backups are pulled from or pushed to: a safe id of 3 to 32 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RemoteName(String);

text_newtype!(RemoteName);

impl FromStr for RemoteName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check_safe_id("remote name", text, 3..=32)?;
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_to_thirty_two_safe_characters() {
        assert!("off-site".parse::<RemoteName>().is_ok());
        for text in ["ab", &"a".repeat(33), "a/b", "...", "a:b"] {
            assert!(text.parse::<RemoteName>().is_err(), "{text}");
        }
    }
}
