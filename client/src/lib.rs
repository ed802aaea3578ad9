//! The client half of the backup protocol.
mod api;
mod archive;
mod auth_id;
mod backup;
mod client;
mod connect;
mod credentials;
mod encoding;
mod error;
mod http;
mod index;
mod limits;
mod progress;
mod repository;
mod restore;
mod zeros;

pub use api::{
    DatastoreItem, DeleteStats, FileItem, GcStatus, GroupItem, NamespaceItem, PruneItem, PruneKeep,
    SnapshotItem, Store, StoreStatus, TaskError, TaskItem, TaskLine, TaskLog, TaskState, TaskStatus,
    TypeCount, TypeCounts, Verification, VerifyScope, Version,
};
pub use archive::{ArchiveContent, BackupItem, ParseArchiveError, server_name};
pub use auth_id::{AuthId, ParseAuthIdError};
pub use backup::{BackupError, BackupSession, ImageSource, Uploaded};
pub use client::{Client, Ticket};
pub use connect::{
    BoxedStream, Connect, ConnectError, Connecting, Fingerprint, ParseFingerprintError, Stream, TlsConnector,
    Trust,
};
pub use credentials::{Credentials, Secret};
pub use error::{BoxError, Call, RequestError};
pub use index::IndexMismatch;
pub use limits::TransferLimits;
pub use progress::{Progress, ProgressSnapshot};
pub use repository::{DEFAULT_PORT, ParseRepositoryError, REPOSITORY_CHARS_MAX, Repository};
pub use restore::{ChunkError, ReaderSession, RestoreError};
