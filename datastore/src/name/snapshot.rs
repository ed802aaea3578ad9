//! Groups and snapshots.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::excerpt;
use super::{BackupId, BackupTime, NameError, serde_as_text};

/// What kind of source a group backs up; ordered as lists show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BackupType {
    /// A container (`ct`).
    Ct,
    /// A host, or any folder or file of it (`host`).
    Host,
    /// A virtual machine (`vm`).
    Vm,
}

impl BackupType {
    /// All types, in order.
    pub const ALL: [Self; 3] = [Self::Ct, Self::Host, Self::Vm];

    /// Returns the name used in the protocol and as a folder.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ct => "ct",
            Self::Host => "host",
            Self::Vm => "vm",
        }
    }
}

impl fmt::Display for BackupType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for BackupType {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let known = Self::ALL.into_iter().find(|ty| ty.as_str() == text);
        known.ok_or_else(|| NameError::Type { text: excerpt(text) })
    }
}

serde_as_text!(BackupType);

/// All snapshots of one source, within a namespace.
///
/// Shown as `host/id`; serialized as the protocol's pair `backup-type`, `backup-id`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupName {
    /// The kind of source.
    #[serde(rename = "backup-type")]
    pub ty: BackupType,
    /// The source's id within its type.
    #[serde(rename = "backup-id")]
    pub id: BackupId,
}

impl GroupName {
    /// Joins type and id.
    pub const fn new(ty: BackupType, id: BackupId) -> Self {
        Self { ty, id }
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ty, self.id)
    }
}

impl FromStr for GroupName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let malformed = || NameError::Form { text: excerpt(text), form: "type/id" };
        let (ty, id) = text.split_once('/').ok_or_else(malformed)?;
        Ok(Self { ty: ty.parse()?, id: id.parse()? })
    }
}

/// One backup of a group.
///
/// Shown as `host/id/2023-11-14T22:13:20Z`; serialized as the protocol's triple `backup-type`, `backup-id`,
/// `backup-time`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SnapshotName {
    /// The group.
    #[serde(flatten)]
    pub group: GroupName,
    /// The time that the client gave to the backup.
    #[serde(rename = "backup-time")]
    pub time: BackupTime,
}

impl SnapshotName {
    /// Joins group and time.
    pub const fn new(group: GroupName, time: BackupTime) -> Self {
        Self { group, time }
    }
}

impl fmt::Display for SnapshotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.group, self.time)
    }
}

impl FromStr for SnapshotName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let malformed = || NameError::Form { text: excerpt(text), form: "type/id/time" };
        let (group, time) = text.rsplit_once('/').ok_or_else(malformed)?;
        Ok(Self { group: group.parse()?, time: time.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_show_as_they_parse() {
        let text = "host/demo/2023-11-14T22:13:20Z";
        let snapshot: SnapshotName = text.parse().unwrap();
        assert_eq!(snapshot.to_string(), text);
        let json = serde_json::to_string(&snapshot).unwrap();
        assert_eq!(json, r#"{"backup-type":"host","backup-id":"demo","backup-time":1700000000}"#);
        assert_eq!(serde_json::from_str::<SnapshotName>(&json).unwrap(), snapshot);
    }

    #[test]
    fn malformed_snapshots_are_refused() {
        for text in
            ["", "host", "host/a", "pxe/a/2023-11-14T22:13:20Z", "host/a/b/2023-11-14T22:13:20Z", "host/../x"]
        {
            assert!(text.parse::<SnapshotName>().is_err(), "{text}");
        }
        assert_eq!("x/1".parse::<GroupName>(), Err(NameError::Type { text: "x".into() }));
        assert!(matches!("host".parse::<GroupName>(), Err(NameError::Form { .. })));
    }

    #[test]
    fn groups_are_ordered_by_type_then_id() {
        let mut groups: Vec<GroupName> =
            ["vm/2", "host/a", "vm/10", "ct/9"].iter().map(|group| group.parse().unwrap()).collect();
        groups.sort();
        let shown: Vec<String> = groups.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["ct/9", "host/a", "vm/2", "vm/10"]);
    }
}
