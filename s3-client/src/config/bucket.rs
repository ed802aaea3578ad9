//! Bucket names.

use std::fmt;
use std::str::FromStr;

use super::ConfigError;

/// Fewest and most bytes of a bucket name (S3 user guide, "General purpose bucket naming rules").
const NAME_BYTES: std::ops::RangeInclusive<usize> = 3..=63;
const RESERVED_PREFIXES: &[&str] = &["xn--", "sthree-", "amzn-s3-demo-"];
const RESERVED_SUFFIXES: &[&str] = &["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"];

/// Names a bucket: 3 to 63 lower-case letters, digits, `-` and `.`, by the rules of the S3 user guide.
///
/// ```
/// use coldkeep_s3_client::BucketName;
/// assert!("backups-2026".parse::<BucketName>().is_ok());
/// assert!("Backups".parse::<BucketName>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketName(String);

impl BucketName {
    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for BucketName {
    type Err = ConfigError;

    fn from_str(name: &str) -> Result<BucketName, ConfigError> {
        match broken_rule(name) {
            None => Ok(BucketName(name.to_owned())),
            Some(rule) => Err(ConfigError::InvalidBucket { name: name.chars().take(80).collect(), rule }),
        }
    }
}

fn broken_rule(name: &str) -> Option<&'static str> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    if !NAME_BYTES.contains(&bytes.len()) {
        return Some("3 to 63 characters");
    }
    if !bytes.iter().all(|byte| is_plain(*byte) || matches!(byte, b'-' | b'.')) {
        return Some("only lower-case letters, digits, `-` and `.`");
    }
    if !bytes.first().copied().is_some_and(is_plain) || !bytes.last().copied().is_some_and(is_plain) {
        return Some("a letter or digit at both ends");
    }
    if name.contains("..") {
        return Some("no two dots side by side");
    }
    if name.split('.').count() == 4 && name.split('.').all(|part| part.parse::<u8>().is_ok()) {
        return Some("not the form of an IP address");
    }
    if RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
        return Some("not a reserved prefix");
    }
    RESERVED_SUFFIXES.iter().any(|suffix| name.ends_with(suffix)).then_some("not a reserved suffix")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_names_pass() {
        for name in ["abc", "pbs-bucket", "a.b.c", "1234", &"a".repeat(63)] {
            assert_eq!(name.parse::<BucketName>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn each_rule_refuses() {
        let long = "a".repeat(64);
        let bad = [
            ("ab", "3 to 63 characters"),
            (long.as_str(), "3 to 63 characters"),
            ("a_b", "only lower-case letters, digits, `-` and `.`"),
            ("Abc", "only lower-case letters, digits, `-` and `.`"),
            ("a/b", "only lower-case letters, digits, `-` and `.`"),
            ("-abc", "a letter or digit at both ends"),
            ("abc.", "a letter or digit at both ends"),
            ("a..b", "no two dots side by side"),
            ("10.0.0.1", "not the form of an IP address"),
            ("xn--abc", "not a reserved prefix"),
            ("abc--x-s3", "not a reserved suffix"),
        ];
        for (name, expected) in bad {
            let error = name.parse::<BucketName>().unwrap_err();
            assert!(
                matches!(error, ConfigError::InvalidBucket { rule, .. } if rule == expected),
                "{name}: {error}"
            );
        }
    }
}
