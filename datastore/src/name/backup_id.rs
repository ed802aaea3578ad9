//! The id of a backed-up machine within its type.

use std::cmp::Ordering;
use std::str::FromStr;

use super::{FILE_NAME_BYTES_MAX, NameError, check_safe_id, text_newtype};

/// Id of a backup group within its type: a safe id of at most 200 characters (the file system's limit less a margin).
///
/// Ordered as lists show it: numbers first, by value; the rest by bytes (spec `formats.md` §11).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BackupId(String);

text_newtype!(BackupId);

impl FromStr for BackupId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check_safe_id("backup id", text, 1..=FILE_NAME_BYTES_MAX)?;
        Ok(Self(text.to_owned()))
    }
}

impl Ord for BackupId {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_kind = match (self.0.parse::<u64>(), other.0.parse::<u64>()) {
            (Ok(own), Ok(others)) => own.cmp(&others),
            (Ok(_), Err(_)) => Ordering::Less,
            (Err(_), Ok(_)) => Ordering::Greater,
            (Err(_), Err(_)) => Ordering::Equal,
        };
        // Bytes decide between `1` and `01`, so that the order agrees with equality.
        by_kind.then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for BackupId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_first_and_by_value() {
        let mut ids: Vec<BackupId> =
            ["b", "100", "20", "a", "020"].iter().map(|id| id.parse().unwrap()).collect();
        ids.sort();
        assert_eq!(ids.iter().map(BackupId::as_str).collect::<Vec<_>>(), ["020", "20", "100", "a", "b"]);
    }

    #[test]
    fn an_id_fits_a_file_name() {
        assert!("a".repeat(200).parse::<BackupId>().is_ok());
        assert!(matches!("a".repeat(300).parse::<BackupId>(), Err(NameError::Length { length: 300, .. })));
    }
}
