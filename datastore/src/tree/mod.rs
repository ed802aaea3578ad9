//! The snapshot tree on disk; everything here blocks.

mod change;
mod info;
mod kept_infos;
mod layout;
mod leftovers;
mod listing;
mod meta;
mod remove;
mod walk;

pub(crate) use change::{Change, Turns};
pub use info::{FileEntry, GroupInfo, SnapshotInfo};
pub(crate) use info::{file_entries, group_info, snapshot_info};
pub(crate) use kept_infos::KeptInfos;
pub(crate) use layout::Layout;
pub(crate) use leftovers::Leftovers;
pub(crate) use listing::{
    Newest, check_namespace, groups, is_finished, namespaces, newest_finished, snapshots,
};
pub(crate) use meta::{
    check_group, check_snapshot, checked_blob, group_notes, is_protected, load_manifest, parse_owner,
    read_owner,
};
pub(crate) use remove::{
    is_group_empty, is_unfinished, remove_group_if_empty, remove_hidden, remove_namespace, remove_snapshot,
};
pub use walk::{IndexFile, IndexPlace};
pub(crate) use walk::{finished_indexes, index_files, kind_of};

use coldkeep_chunk_store::bucket::PathError;
use coldkeep_chunk_store::dir::DirError;

use crate::file::is_missing;
use crate::manifest::ManifestError;
use crate::name::{ArchiveName, GroupName, NameError, Namespace, SnapshotName};

/// Something in the snapshot tree that cannot be found, read, changed or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// There is no such namespace.
    #[error("no namespace {ns:?} in this datastore", ns = ns.as_str())]
    NoNamespace {
        /// The namespace.
        ns: Namespace,
    },
    /// There is no such group.
    #[error("no group {group} in namespace {ns:?}", ns = ns.as_str())]
    NoGroup {
        /// The namespace.
        ns: Namespace,
        /// The group.
        group: GroupName,
    },
    /// There is no such snapshot.
    #[error("no snapshot {snapshot} in namespace {ns:?}", ns = ns.as_str())]
    NoSnapshot {
        /// The namespace.
        ns: Namespace,
        /// The snapshot.
        snapshot: SnapshotName,
    },
    /// There is no such file in the snapshot.
    #[error("no file {file} in snapshot {snapshot}")]
    NoFile {
        /// The snapshot.
        snapshot: SnapshotName,
        /// The file.
        file: ArchiveName,
    },
    /// The snapshot has no manifest: its backup was never finished.
    #[error("snapshot {snapshot} is not finished")]
    Unfinished {
        /// The snapshot.
        snapshot: SnapshotName,
    },
    /// The namespace exists already.
    #[error("namespace {ns:?} exists already", ns = ns.as_str())]
    NamespaceExists {
        /// The namespace.
        ns: Namespace,
    },
    /// The root namespace cannot be created or removed.
    #[error("the root namespace cannot be created or removed")]
    RootNamespace,
    /// The namespace still holds groups.
    #[error("namespace {ns:?} still holds {groups} groups", ns = ns.as_str())]
    NotEmpty {
        /// The namespace.
        ns: Namespace,
        /// Number of groups in it and below.
        groups: usize,
    },
    /// The file exists already.
    #[error("snapshot {snapshot} has a file {file} already")]
    FileExists {
        /// The snapshot.
        snapshot: SnapshotName,
        /// The file.
        file: ArchiveName,
    },
    /// A backup, reader, verification or removal holds the group.
    #[error("group {group} is in use by a running backup or removal; try again later")]
    GroupInUse {
        /// The group.
        group: GroupName,
        /// Whether it is given back by itself before long: what holds it is a removal, a collection or a change.
        passes: bool,
    },
    /// A backup, reader, verification or removal holds the snapshot.
    #[error(
        "snapshot {snapshot} is in use by a running backup, reader, verification or removal; try again later"
    )]
    SnapshotInUse {
        /// The snapshot.
        snapshot: SnapshotName,
        /// Whether it is given back by itself before long: what holds it is a removal, a collection or a change.
        passes: bool,
    },
    /// The snapshot is protected from removal.
    #[error("snapshot {snapshot} is protected; remove the protection first")]
    Protected {
        /// The snapshot.
        snapshot: SnapshotName,
    },
    /// The group was not removed whole because some of its snapshots are protected.
    #[error("group {group} was not removed whole: {protected} protected snapshots remain")]
    ProtectedRemain {
        /// The group.
        group: GroupName,
        /// Protected snapshots left.
        protected: u64,
    },
    /// The group has no readable owner.
    #[error("the owner file of group {group} is missing or malformed")]
    Owner {
        /// The group.
        group: GroupName,
        /// What is wrong with it; none if it is missing.
        #[source]
        source: Option<NameError>,
    },
    /// The manifest cannot be read or written.
    #[error("the manifest of snapshot {snapshot} is damaged")]
    Manifest {
        /// The snapshot.
        snapshot: SnapshotName,
        /// What is wrong with it.
        #[source]
        source: ManifestError,
    },
    /// An uploaded blob is damaged.
    #[error("the uploaded {file} is no valid blob")]
    Blob {
        /// The file.
        file: ArchiveName,
        /// What is wrong with it.
        #[source]
        source: coldkeep_chunk_store::blob::BlobError,
    },
    /// A symbolic link or a file stands where a folder of the tree should be; nothing is removed through it.
    #[error("{} is not a folder of the datastore itself; symbolic links are not followed", path.display())]
    NotAFolder {
        /// The path.
        path: std::path::PathBuf,
    },
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] DirError),
    /// The bucket refused, or its objects cannot be used yet; nothing changed on disk.
    #[error(transparent)]
    Bucket(#[from] PathError),
    /// The server is shutting down.
    #[error("the datastore is shutting down")]
    ShuttingDown,
}

impl TreeError {
    /// Tells whether what was asked for does not exist.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::NoNamespace { .. }
            | Self::NoGroup { .. }
            | Self::NoSnapshot { .. }
            | Self::NoFile { .. } => true,
            Self::File(error) => is_missing(error),
            _ => false,
        }
    }

    /// Tells whether something keeps the thing in place for now: a lock, a protection, or a request that may still
    /// take effect (R19).
    pub fn is_in_use(&self) -> bool {
        matches!(
            self,
            Self::GroupInUse { .. }
                | Self::SnapshotInUse { .. }
                | Self::Protected { .. }
                | Self::Bucket(PathError::InUse { .. } | PathError::NotExpired { .. })
        )
    }
}

/// What a removal removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct DeleteStats {
    /// Groups removed.
    pub removed_groups: u64,
    /// Protected snapshots that were kept.
    pub protected_snapshots: u64,
    /// Snapshots removed.
    pub removed_snapshots: u64,
}

impl DeleteStats {
    pub(crate) fn add(&mut self, other: Self) {
        self.removed_groups += other.removed_groups;
        self.protected_snapshots += other.protected_snapshots;
        self.removed_snapshots += other.removed_snapshots;
    }
}
