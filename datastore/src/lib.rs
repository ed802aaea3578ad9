//! Snapshots of deduplicated backups: namespaces, groups, indexes, manifests, verification.

mod file;
pub mod index;
pub mod manifest;
pub mod name;

pub use file::FileError;
pub use manifest::Manifest;
pub use name::{
    ArchiveKind, ArchiveName, BackupId, BackupTime, BackupType, GroupName, NameError, Namespace, Owner,
    SnapshotName, StoreName,
};
