//! Snapshots of deduplicated backups: namespaces, groups, indexes, manifests, verification.

mod file;
pub mod index;
mod lock;
pub mod manifest;
pub mod name;
pub mod prune;
mod store;
mod tree;

pub use index::{ChunkSpan, IndexKind, IndexTotals};
pub use manifest::Manifest;
pub use name::{
    ArchiveKind, ArchiveName, BackupId, BackupTime, BackupType, GroupName, NameError, Namespace, Owner,
    SnapshotName, StoreName,
};
pub use store::{Datastore, IndexRead, OpenError, ReferenceError, Usage};
pub use tree::{DeleteStats, FileEntry, GroupInfo, IndexFile, IndexPlace, SnapshotInfo, TreeError};
