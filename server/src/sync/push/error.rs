//! Why something could not be pushed.

use coldkeep_client::{BackupError, RequestError};
use coldkeep_datastore::index::IndexError;
use coldkeep_datastore::manifest::ManifestError;
use coldkeep_datastore::{ArchiveName, NameError, Namespace, ReadError, SnapshotName, TreeError};
use tokio::task::JoinError;

/// A push, or a part of one, that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PushError {
    #[error("cannot list the namespaces of the target")]
    Namespaces(#[source] RequestError),
    #[error("a namespace does not fit below the one of the target")]
    Depth(#[source] NameError),
    #[error("cannot make namespace {ns:?} in the target", ns = ns.as_str())]
    Create {
        ns: Namespace,
        #[source]
        source: RequestError,
    },
    #[error("{who} has no right to make or remove namespace {ns:?} in the target", ns = ns.as_str())]
    Denied { who: String, ns: Namespace },
    #[error("cannot list namespace {ns:?} of the target", ns = ns.as_str())]
    List {
        ns: Namespace,
        #[source]
        source: RequestError,
    },
    #[error("the target does not begin a backup of it")]
    Begin(#[source] RequestError),
    #[error("the target does not take it")]
    Upload(#[from] BackupError),
    #[error("cannot remove {what} from the target")]
    Remove {
        what: String,
        #[source]
        source: RequestError,
    },
    #[error("cannot read it")]
    Read(#[from] ReadError),
    #[error("cannot read {name}")]
    File {
        name: ArchiveName,
        #[source]
        source: coldkeep_chunk_store::dir::DirError,
    },
    #[error("cannot read index {name}")]
    Index {
        name: ArchiveName,
        #[source]
        source: IndexError,
    },
    #[error("its manifest is damaged")]
    Manifest(#[from] ManifestError),
    #[error("the datastore refuses")]
    Tree(#[from] TreeError),
    #[error("snapshot {snapshot}")]
    Snapshot {
        snapshot: SnapshotName,
        #[source]
        source: Box<PushError>,
    },
    #[error("{failed} groups or namespaces could not be copied whole; the log names them")]
    Failed { failed: u64 },
    #[error("stopped by request; what was copied until then stays")]
    Stopped,
    #[error("the work was cut short")]
    Worker(#[source] JoinError),
}
