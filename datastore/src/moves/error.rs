//! Why a move is refused.

use coldkeep_chunk_store::Digest;

use crate::backup::BeginError;
use crate::copy::CopyError;
use crate::name::{ArchiveName, GroupName, NameError, Namespace, SnapshotName};
use crate::tree::TreeError;

/// A move that was refused or failed; the group that it came to is where it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MoveError {
    /// A collection runs (R16).
    #[error("a garbage collection is running; try again when it has ended")]
    Collecting,
    /// Another move runs.
    #[error("another move is running; try again when it has ended")]
    Moving,
    /// It would stay where it is.
    #[error("it is in namespace {ns:?} already", ns = ns.as_str())]
    SamePlace {
        /// The namespace.
        ns: Namespace,
    },
    /// A namespace would come to lie inside itself, or around itself.
    #[error("namespace {from:?} cannot become {to:?}: one lies inside the other", from = from.as_str(), to = to.as_str())]
    Inside {
        /// What is to be moved.
        from: Namespace,
        /// What it is to become.
        to: Namespace,
    },
    /// A namespace would lie too deep.
    #[error("namespace {ns:?} would be too deep", ns = ns.as_str())]
    Depth {
        /// The namespace as it is now.
        ns: Namespace,
        /// What is wrong with its new name.
        #[source]
        source: NameError,
    },
    /// There is such a group already.
    #[error("namespace {ns:?} has a group {group} already; both can be merged", ns = ns.as_str())]
    GroupExists {
        /// The namespace that it was to be moved into.
        ns: Namespace,
        /// The group.
        group: GroupName,
    },
    /// Two groups that are to be merged have different snapshots of the same time.
    #[error("namespace {ns:?} has another snapshot {snapshot}", ns = ns.as_str())]
    SnapshotExists {
        /// The namespace that it was to be moved into.
        ns: Namespace,
        /// The snapshot.
        snapshot: SnapshotName,
    },
    /// The same snapshot is there, and it is damaged.
    #[error("namespace {ns:?} has snapshot {snapshot} already, damaged; forget it there", ns = ns.as_str())]
    DamagedThere {
        /// The namespace that it was to be moved into.
        ns: Namespace,
        /// The snapshot.
        snapshot: SnapshotName,
    },
    /// A snapshot that was there is gone: somebody removed it.
    #[error("snapshot {snapshot} was removed from namespace {ns:?} meanwhile", ns = ns.as_str())]
    Removed {
        /// The namespace that it was moved into.
        ns: Namespace,
        /// The snapshot.
        snapshot: SnapshotName,
    },
    /// There is nothing to move in the group.
    #[error("group {group} has no finished snapshot")]
    Empty {
        /// The group.
        group: GroupName,
    },
    /// Whoever moves may not move into or out of a namespace.
    #[error("namespace {ns:?} may not be changed by whoever moves", ns = ns.as_str())]
    Denied {
        /// The namespace.
        ns: Namespace,
    },
    /// A file that the manifest names is not there.
    #[error("{file} of snapshot {snapshot} is missing; verify the group, and forget what is damaged")]
    NoFile {
        /// The snapshot.
        snapshot: SnapshotName,
        /// The file.
        file: ArchiveName,
    },
    /// A chunk is missing.
    #[error("chunk {digest} of snapshot {snapshot} is missing; verify the group, and forget what is damaged")]
    NoChunk {
        /// The snapshot.
        snapshot: SnapshotName,
        /// The chunk.
        digest: Digest,
    },
    /// The move was asked to stop.
    #[error("stopped by request")]
    Stopped,
    /// The group there cannot be written into.
    #[error("cannot write into the group there")]
    Begin(#[source] Box<BeginError>),
    /// A snapshot cannot be stored there.
    #[error("cannot store snapshot {snapshot} there")]
    Copy {
        /// The snapshot.
        snapshot: SnapshotName,
        /// Why.
        #[source]
        source: Box<CopyError>,
    },
    /// The tree or the bucket refused.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

impl From<BeginError> for MoveError {
    fn from(source: BeginError) -> Self {
        Self::Begin(Box::new(source))
    }
}
