//! The name of a datastore.

use std::str::FromStr;

use super::{NameError, check_safe_id, text_newtype};

/// Name of a datastore: a safe id of 3 to 32 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreName(String);

text_newtype!(StoreName);

impl FromStr for StoreName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check_safe_id("datastore name", text, 3..=32)?;
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_to_thirty_two_safe_characters() {
        assert!("default".parse::<StoreName>().is_ok());
        for text in ["ab", &"a".repeat(33), "a/b", "..."] {
            assert!(text.parse::<StoreName>().is_err(), "{text}");
        }
    }
}
