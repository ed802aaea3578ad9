//! The client half of the Proxmox Backup protocol: REST calls, backup sessions, restores.
//!
//! # What it is
//! - [`Client`]: connections to one server, over TLS ([`TlsConnector`]) or anything else that implements [`Connect`]; login
//!   with a password or ticket, API tokens, or none for an embedded server ([`Credentials`]).
//! - [`Store`]: the typed calls of one namespace of one datastore, from [`Client::store`].
//! - [`BackupSession`]: a running backup, from [`Store::begin_backup`]; images, streams and blobs are read, hashed,
//!   compressed and sent at the same time within a byte budget, and chunks of the previous snapshot are not sent.
//! - [`PushSession`]: a snapshot written as it is stored elsewhere, from [`Store::begin_push`]: the chunks come encoded from
//!   a [`LoadChunk`], only those that the previous snapshot does not name are sent, and the manifest comes with them.
//! - [`ReaderSession`]: a snapshot open for reading, from [`Store::open_snapshot`]; restores to files, with holes, or to
//!   any writer.
//! - [`directory`]: a directory of this machine, read as an archive; [`extract`]: an archive, restored into a directory; [`catalog`]: the names of all files; [`pxar`]: the format of archives, for writing, reading and finding
//!   single entries; [`pattern`]: what is left out of them.
//! - [`StoredSnapshot`]: a snapshot open for reading as it is stored, from [`Store::open_stored`]: what replication
//!   needs. Indexes and blobs are checked against the manifest, with or without a key; chunks are left to the reader.
//!
//! # What it is not
//! No command line, no configuration, no environment, no files but those it is handed. It holds no chunks, and knows
//! nothing of a server's insides. Encryption is not here yet: restoring a snapshot made with
//! a key is refused with [`RestoreError::KeyNeeded`].
//!
//! # Example
//! ```no_run
//! use coldkeep_client::{Client, Credentials, ImageSource, Repository, Secret, TlsConnector, TransferLimits, Trust};
//! use coldkeep_datastore::Namespace;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let at: Repository = "joe@pbs@pbs1:tank".parse()?;
//! let connector = TlsConnector::new(&at.host, at.port, Trust::SystemRoots);
//! let client = Client::new(connector, Credentials::new(at.auth_id, Secret::new("secret")));
//! let store = client.store(at.store, Namespace::root());
//! let session = store.begin_backup(&"vm/100/2026-11-22T10:00:00Z".parse()?, TransferLimits::default()).await?;
//! session.upload_image(&"disk.img.fidx".parse()?, ImageSource::file(std::fs::File::open("disk.raw")?)?).await?;
//! session.finish().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//! None.
//!
//! # Invariants
//! - A chunk is referenced only after the server acknowledged it in this session, or if it stands in the previous
//!   snapshot's index that this session fetched from the server (R17) and that fits the previous manifest.
//! - The manifest is sent last, and names only archives whose index the server closed with the checksum computed here;
//!   one that is pushed is compared with what was sent.
//! - A restore delivers no byte whose chunk was not checked: CRC, length and digest; and no archive whose index or blob
//!   does not fit the manifest.
//! - Everything a server sends is bounded in length, and every call in time; memory for chunks is bounded by
//!   [`TransferLimits`], whatever the sizes of archives.
//!
//! # Runtime
//! Sessions need a tokio runtime with time and I/O enabled; several threads, or hashing runs beside nothing. Sources
//! are read and targets written on threads of their own: a pipe that never gives or takes cannot keep a process from
//! ending.

mod api;
mod archive;
mod auth_id;
mod backup;
pub mod catalog;
mod client;
mod connect;
mod credentials;
pub mod directory;
mod encoding;
mod error;
pub mod extract;
mod http;
mod index;
mod limits;
pub mod pattern;
mod progress;
pub mod pxar;
mod repository;
mod restore;
mod zeros;

#[cfg(fuzzing)]
#[doc(hidden)]
pub use api::fuzzing;
pub use api::{
    AclItem, DatastoreItem, DeleteStats, FileItem, GcRun, GcStatus, GroupItem, IdentityChange, JobId,
    JobItem, JobKind, JobOptions, JobSettings, NamespaceItem, NewRemote, NotifyWhen, ParseJobIdError,
    ParseJobKindError, ParseNotifyWhenError, ParseRemotePropertyError, PruneItem, PruneKeep, PullRequest,
    PushRequest, RemoteItem, RemoteProperty, RemoteUpdate, RoleItem, SnapshotItem, Store, StoreStatus,
    SyncFailure, SyncReport, SyncSelection, TaskError, TaskItem, TaskLine, TaskLog, TaskState, TaskStatus,
    TokenItem, TokenSecret, TypeCount, TypeCounts, UserItem, Verification, VerifyOptions, VerifyScope,
    Version,
};
pub use archive::{ArchiveContent, BackupItem, ParseArchiveError, server_name};
pub use auth_id::{AuthId, ParseAuthIdError};
pub use backup::{BackupError, BackupSession, ImageSource, LoadChunk, PushSession, Uploaded};
pub use client::{Client, Ticket};
pub use connect::{
    BoxedStream, Connect, ConnectError, Connecting, Fingerprint, ParseFingerprintError, Stream, TlsConnector,
    Trust,
};
pub use credentials::{Credentials, Secret};
pub use error::{BoxError, Call, RequestError};
pub use index::{IndexMismatch, StoredIndex};
pub use limits::TransferLimits;
pub use progress::{Progress, ProgressSnapshot};
pub use repository::{DEFAULT_PORT, ParseRepositoryError, REPOSITORY_CHARS_MAX, Repository};
pub use restore::{ChunkError, ReaderSession, RestoreError, StoredSnapshot};
