//! Why something could not be pulled.

use coldkeep_chunk_store::blob::BlobError;
use coldkeep_chunk_store::{CheckError, Digest};
use coldkeep_client::{RequestError, RestoreError};
use coldkeep_datastore::{
    ArchiveName, BeginError, CopyError, GroupName, NameError, Namespace, SnapshotName, TreeError,
};
use tokio::task::JoinError;

/// A pull, or a part of one, that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PullError {
    #[error("cannot list the namespaces of the source")]
    Namespaces(#[source] RequestError),
    #[error("a namespace of the source does not fit below the target")]
    Depth(#[source] NameError),
    #[error("cannot list the groups of namespace {ns:?} of the source", ns = ns.as_str())]
    Groups {
        ns: Namespace,
        #[source]
        source: RequestError,
    },
    #[error("cannot list the snapshots of group {group} of the source")]
    Snapshots {
        group: GroupName,
        #[source]
        source: RequestError,
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
    #[error("the datastore refuses")]
    Tree(#[from] TreeError),
    #[error("snapshot {snapshot}")]
    Snapshot {
        snapshot: SnapshotName,
        #[source]
        source: Box<PullError>,
    },
    #[error(
        "it is not the snapshot that this datastore has of that time; remove one of them if the other is right"
    )]
    Differs,
    #[error("its manifest here is damaged; pull it again with resync-corrupt")]
    Damaged,
    #[error("the manifest lists a file called {name} twice, or as an archive though it is none")]
    File { name: ArchiveName },
    #[error("{who} has no right to {what} namespace {ns:?}", ns = ns.as_str())]
    Denied { who: String, what: &'static str, ns: Namespace },
    #[error("the source knows no namespaces; only what lies outside of them was copied")]
    NoNamespaces,
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
