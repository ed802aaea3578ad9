//! Region names.

use std::fmt;
use std::str::FromStr;

use super::ConfigError;

/// Names the region that requests are signed for: 2 to 32 lower-case letters, digits, `_`, and `-` after the first.
///
/// Any such name is taken; providers invent their own (`garage`, `auto`, `us-east-1`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Region(String);

impl Region {
    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Region {
    type Err = ConfigError;

    fn from_str(name: &str) -> Result<Region, ConfigError> {
        let is_plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_';
        let valid = (2..=32).contains(&name.len())
            && name.bytes().take(1).all(|byte| is_plain(&byte))
            && name.bytes().all(|byte| is_plain(&byte) || byte == b'-');
        if valid {
            Ok(Region(name.to_owned()))
        } else {
            Err(ConfigError::InvalidRegion { name: name.chars().take(80).collect() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for name in ["us-west-1", "garage", "auto", "r1"] {
            assert_eq!(name.parse::<Region>().unwrap().as_str(), name);
        }
        for name in ["", "a", "-a", "US", "a b", "a/b", "é1", &"a".repeat(33)] {
            assert!(matches!(name.parse::<Region>(), Err(ConfigError::InvalidRegion { .. })), "{name}");
        }
    }
}
