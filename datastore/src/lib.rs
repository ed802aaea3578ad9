//! Snapshots of deduplicated backups: namespaces, groups, indexes, manifests, verification.

mod backup;
mod file;
pub mod index;
mod lock;
pub mod manifest;
pub mod name;
pub mod prune;
mod reader;
mod store;
mod stored_file;
mod tree;
mod verify;

pub use backup::{BackupError, BackupRequest, BackupWriter, BeginError, WRITERS_MAX};
pub use index::{ChunkSpan, IndexKind, IndexTotals};
pub use manifest::Manifest;
pub use name::{
    ArchiveKind, ArchiveName, BackupId, BackupTime, BackupType, GroupName, NameError, Namespace, Owner,
    SnapshotName, StoreName,
};
pub use reader::{ReadError, SnapshotReader};
pub use store::{Datastore, IndexRead, OpenError, ReferenceError, Usage};
pub use stored_file::StoredFile;
pub use tree::{DeleteStats, FileEntry, GroupInfo, IndexFile, IndexPlace, SnapshotInfo, TreeError};
pub use verify::{Defect, VerifyControl, VerifyError, VerifyOutcome, VerifyTask};
