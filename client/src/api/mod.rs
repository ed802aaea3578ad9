//! The plain calls of the REST interface, typed.

mod datastore;
pub(crate) mod envelope;
#[cfg(fuzzing)]
pub mod fuzzing;
mod identity;
mod job;
mod node;
mod remote;
mod store_config;
mod sync;
mod sync_report;
mod task;
mod types;

pub use datastore::{PruneKeep, Store, VerifyOptions, VerifyScope};
pub use identity::{AclItem, IdentityChange, RoleItem, TokenItem, TokenSecret, UserItem};
pub use job::{
    JobId, JobItem, JobKind, JobOptions, JobSettings, NotifyWhen, ParseJobIdError, ParseJobKindError,
    ParseNotifyWhenError,
};
pub use remote::{NewRemote, ParseRemotePropertyError, RemoteItem, RemoteProperty, RemoteUpdate};
pub use sync::{PullRequest, PushRequest, SyncSelection};
pub use sync_report::{SyncFailure, SyncReport};
pub use task::{TaskError, TaskLine, TaskLog};
pub use types::{
    DatastoreItem, DeleteStats, FileItem, GcRun, GcStatus, GroupItem, NamespaceItem, PruneItem, SnapshotItem,
    StoreStatus, TaskItem, TaskState, TaskStatus, TypeCount, TypeCounts, Verification, Version,
};

#[cfg(test)]
mod tests;
