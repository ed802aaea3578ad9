//! Parameters that several endpoints share, and what they name together.

use coldkeep_datastore::{
    ArchiveName, BackupId, BackupTime, BackupType, GroupName, Namespace, SnapshotName, StoreName,
};

use crate::api::{ApiError, Kind, Param, Params};

/// The datastore, a component of the path.
pub(crate) const STORE: Param =
    Param::required("store", Kind::name::<StoreName>("datastore name"), "Name of the datastore.");
/// The namespace.
pub(crate) const NS: Param =
    Param::optional("ns", Kind::name::<Namespace>("namespace"), "Namespace; absent or empty for the root.");
/// The type of a group.
pub(crate) const BACKUP_TYPE: Param = Param::required(
    "backup-type",
    Kind::name::<BackupType>("backup type"),
    "Type of the group: `vm`, `ct` or `host`.",
);
/// The id of a group.
pub(crate) const BACKUP_ID: Param =
    Param::required("backup-id", Kind::name::<BackupId>("backup id"), "Id of the group within its type.");
/// The time of a snapshot.
pub(crate) const BACKUP_TIME: Param =
    Param::required("backup-time", UNIX_TIME, "Time of the snapshot, in seconds since the Unix epoch.");
/// [`BACKUP_TYPE`] where it may be absent.
pub(crate) const BACKUP_TYPE_OPTIONAL: Param =
    Param::optional("backup-type", Kind::name::<BackupType>("backup type"), "Only groups of this type.");
/// [`BACKUP_ID`] where it may be absent.
pub(crate) const BACKUP_ID_OPTIONAL: Param =
    Param::optional("backup-id", Kind::name::<BackupId>("backup id"), "Only groups of this id.");
/// A file of a snapshot.
pub(crate) const FILE_NAME: Param = Param::required(
    "file-name",
    Kind::name::<ArchiveName>("archive name"),
    "Name of the file, with its suffix `.fidx`, `.didx` or `.blob`.",
);
/// How far a call goes down into namespaces.
pub(crate) const MAX_DEPTH: Param = Param::with_default(
    "max-depth",
    Kind::Integer { min: 0, max: Namespace::DEPTH_MAX as i64 },
    "7",
    "How many levels of namespaces below `ns` are included.",
);
/// Times, in seconds since the Unix epoch.
pub(crate) const UNIX_TIME: Kind = Kind::Integer { min: 1, max: 253_402_300_799 };

/// Returns the namespace; the root where it is absent.
pub(crate) fn namespace(params: &Params) -> Result<Namespace, ApiError> {
    Ok(params.find("ns")?.unwrap_or_default())
}

/// Returns the group that type and id name.
pub(crate) fn group(params: &Params) -> Result<GroupName, ApiError> {
    Ok(GroupName::new(params.get("backup-type")?, params.get("backup-id")?))
}

/// Returns the snapshot that type, id and time name.
pub(crate) fn snapshot(params: &Params) -> Result<SnapshotName, ApiError> {
    let time = BackupTime::from_unix(params.get("backup-time")?).map_err(|error| ApiError::failed(&error))?;
    Ok(SnapshotName::new(group(params)?, time))
}
