//! Snapshots, groups and times as people write them.

use std::str::FromStr;

use anyhow::{Context, Result, bail};
use coldkeep_client::Store;
use coldkeep_datastore::{BackupTime, GroupName, NameError, SnapshotName};
use serde_json::{Value, json};

/// A group or one of its snapshots: `host/web1` or `host/web1/2026-01-31T12:00:00Z`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// All snapshots of a source.
    Group(GroupName),
    /// One snapshot.
    Snapshot(SnapshotName),
}

impl FromStr for Place {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        // No backup id holds a slash.
        if text.split('/').count() > 2 {
            text.parse().map(Self::Snapshot)
        } else {
            text.parse().map(Self::Group)
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Group(group) => group.fmt(f),
            Self::Snapshot(snapshot) => snapshot.fmt(f),
        }
    }
}

impl Place {
    /// Returns the snapshot, of a group the newest finished one.
    pub(crate) async fn snapshot(self, store: &Store) -> Result<SnapshotName> {
        let group = match self {
            Self::Snapshot(snapshot) => return Ok(snapshot),
            Self::Group(group) => group,
        };
        let newest =
            store.newest(&group).await.with_context(|| format!("cannot list the snapshots of {group}"))?;
        match newest {
            Some(snapshot) => Ok(snapshot),
            None => bail!("group {group} has no finished snapshot"),
        }
    }
}

/// Parses `2026-01-31T12:00:00Z` or seconds since 1970.
pub(crate) fn parse_time(text: &str) -> Result<BackupTime, NameError> {
    match text.parse::<i64>() {
        Ok(seconds) => BackupTime::from_unix(seconds),
        Err(_) => text.parse(),
    }
}

/// Parses when a user or token stops being valid, into seconds since 1970: `never` (0), a day, which begins where the command
/// runs, an instant as RFC 3339 has it, or the seconds themselves.
pub(crate) fn parse_expiry(text: &str) -> Result<i64, String> {
    let bad = || format!("{text:?} is neither never nor a date as 2027-01-31 or 2027-01-31T12:00:00Z");
    let seconds = if text == "never" {
        0
    } else if let Ok(seconds) = text.parse::<i64>() {
        seconds
    } else if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        instant.as_second()
    } else {
        let day: jiff::civil::Date = jiff::civil::Date::strptime("%Y-%m-%d", text).map_err(|_| bad())?;
        day.to_zoned(jiff::tz::TimeZone::system()).map_err(|_| bad())?.timestamp().as_second()
    };
    if seconds < 0 { Err(bad()) } else { Ok(seconds) }
}

/// Returns the three fields that name a snapshot in JSON, as everywhere in the protocol.
pub(crate) fn snapshot_fields(snapshot: &SnapshotName) -> Value {
    json!({
        "backup-type": snapshot.group.ty.as_str(),
        "backup-id": snapshot.group.id,
        "backup-time": snapshot.time,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_and_snapshots_are_told_apart() {
        let group: Place = "host/web1".parse().unwrap();
        assert!(matches!(&group, Place::Group(_)));
        assert_eq!(group.to_string(), "host/web1");
        let snapshot: Place = "vm/100/2023-11-14T22:13:20Z".parse().unwrap();
        assert!(matches!(&snapshot, Place::Snapshot(_)));
        for bad in
            ["", "host", "host/", "host/a/yesterday", "host/a/2023-11-14T22:13:20Z/x", "other/a", "host/a/"]
        {
            assert!(bad.parse::<Place>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn times_are_written_in_two_ways() {
        assert_eq!(parse_time("1700000000").unwrap(), parse_time("2023-11-14T22:13:20Z").unwrap());
        assert!(parse_time("0").is_err() && parse_time("now").is_err());
    }

    #[test]
    fn the_end_of_a_validity_is_a_day_an_instant_or_never() {
        assert_eq!(parse_expiry("never"), Ok(0));
        assert_eq!(parse_expiry("1700000000"), Ok(1_700_000_000));
        assert_eq!(parse_expiry("2023-11-14T23:13:20+01:00"), Ok(1_700_000_000));
        let day = parse_expiry("2023-11-14").unwrap();
        assert!((1_699_920_000 - 14 * 3600..=1_699_920_000 + 14 * 3600).contains(&day), "{day}");
        for bad in ["", "tomorrow", "2023-13-01", "2023-11-14T22", "-5", "1900-01-01"] {
            assert!(parse_expiry(bad).is_err(), "{bad:?}");
        }
    }
}
