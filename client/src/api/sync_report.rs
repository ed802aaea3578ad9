//! What a replication came to.

use coldkeep_datastore::{GroupName, Namespace};
use serde::{Deserialize, Serialize};

/// What a pull or push came to; in a dry run what it would have. Only Coldkeep servers tell.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct SyncReport {
    /// Whether nothing was copied, only told.
    pub dry_run: bool,
    /// Namespaces of the source that were looked through.
    pub namespaces: u64,
    /// Groups of the source that the filters let pass.
    pub groups: u64,
    /// Snapshots that are new in the target.
    pub snapshots: u64,
    /// Snapshots that were damaged in the target, or differed from the source.
    pub repaired: u64,
    /// Snapshots that were looked at again and are as in the source.
    pub unchanged: u64,
    /// Snapshots that were not looked at: older than the last one of the target, or not among the newest.
    pub skipped: u64,
    /// Snapshots that were gone from the source when they were to be copied.
    pub vanished: u64,
    /// Chunks that travelled over the network.
    pub chunks_transferred: u64,
    /// Their bytes, as they travelled.
    pub bytes_transferred: u64,
    /// References to chunks that did not have to be transferred.
    pub chunks_reused: u64,
    /// Plain bytes of them.
    pub bytes_reused: u64,
    /// Requests to the other server.
    pub requests: u64,
    /// Snapshots that were removed from the target.
    pub removed_snapshots: u64,
    /// Groups that were.
    pub removed_groups: u64,
    /// Namespaces that were.
    pub removed_namespaces: u64,
    /// What could not be copied or removed; a thousand at most.
    pub failures: Vec<SyncFailure>,
    /// How long it took.
    pub seconds: f64,
}

/// A namespace or group that could not be copied or removed, or not whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct SyncFailure {
    /// The namespace in the target.
    pub ns: String,
    /// The group; none if it is about the whole namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Why, with its causes.
    pub error: String,
}

impl SyncFailure {
    /// Describes a failure by its text.
    pub fn new(ns: &Namespace, group: Option<&GroupName>, error: impl Into<String>) -> Self {
        Self { ns: ns.to_string(), group: group.map(ToString::to_string), error: error.into() }
    }
}
