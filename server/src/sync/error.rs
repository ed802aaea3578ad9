//! Why something could not be copied.

use coldkeep_chunk_store::blob::BlobError;
use coldkeep_chunk_store::dir::DirError;
use coldkeep_chunk_store::{CheckError, Digest};
use coldkeep_client::{BackupError, RequestError, RestoreError};
use coldkeep_datastore::index::IndexError;
use coldkeep_datastore::manifest::ManifestError;
use coldkeep_datastore::{
    ArchiveName, BeginError, CopyError, GroupName, NameError, Namespace, ReadError, SnapshotName, TreeError,
};
use tokio::task::JoinError;

/// A replication, or a part of one, that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SyncError {
    #[error("cannot list the namespaces of the other server")]
    Namespaces(#[source] RequestError),
    #[error("the source knows no namespaces; only what lies outside of them was copied")]
    NoNamespaces,
    #[error("namespace {ns:?} does not fit below the target", ns = ns.as_str())]
    Depth {
        ns: Namespace,
        #[source]
        source: NameError,
    },
    #[error("{who} has no right to {what} namespace {ns:?} of the target", ns = ns.as_str())]
    Denied { who: String, what: &'static str, ns: Namespace },
    #[error("cannot make namespace {ns:?} in the target", ns = ns.as_str())]
    Create {
        ns: Namespace,
        #[source]
        source: RequestError,
    },
    #[error("cannot list namespace {ns:?} of the other server", ns = ns.as_str())]
    List {
        ns: Namespace,
        #[source]
        source: RequestError,
    },
    #[error("cannot list the snapshots of group {group} of the other server")]
    Snapshots {
        group: GroupName,
        #[source]
        source: RequestError,
    },
    #[error("snapshot {snapshot}")]
    Snapshot {
        snapshot: SnapshotName,
        #[source]
        source: Box<SyncError>,
    },
    #[error("cannot begin to copy")]
    Begin(#[from] BeginError),
    #[error("the source does not give the snapshot")]
    Source(#[from] RestoreError),
    #[error("chunk {digest} of {archive} is refused")]
    Chunk {
        archive: ArchiveName,
        digest: Digest,
        #[source]
        source: Box<ChunkError>,
    },
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error("the manifest lists a file called {name} twice, or as an archive though it is none")]
    Listed { name: ArchiveName },
    #[error(
        "it is not the snapshot that this datastore has of that time; remove one of them if the other is right"
    )]
    Differs,
    #[error("its manifest here is damaged; pull it again with resync-corrupt")]
    Damaged,
    #[error("the target does not begin a backup of it")]
    BeginThere(#[source] RequestError),
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
        source: DirError,
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
    #[error("{failed} groups or namespaces could not be copied whole; the log names them")]
    Failed { failed: u64 },
    #[error("stopped by request; what was copied until then stays")]
    Stopped,
    #[error("the work was cut short")]
    Worker(#[source] JoinError),
}

/// What is wrong with a chunk from another server, or with fetching it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChunkError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("it is no valid blob")]
    Blob(#[from] BlobError),
    #[error("it is encrypted where its archive is not, or the reverse")]
    Class,
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error("the server is shutting down")]
    ShuttingDown,
}
