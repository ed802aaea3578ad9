//! Replication between servers (spec `pull.md` §1).

use coldkeep_datastore::{Namespace, StoreName};
use http::Method;

use super::sync_report::SyncReport;
use crate::auth_id::AuthId;
use crate::client::Client;
use crate::encoding::Parameters;
use crate::error::RequestError;

/// What is copied of a namespace, by a [`PullRequest`] or a [`PushRequest`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "the flags of the call, independent of each other")]
pub struct SyncSelection {
    /// Levels of namespaces below the first, 0 to 7; by default all.
    pub max_depth: Option<u64>,
    /// Which groups: `type:…`, `group:…` and `regex:…`, each with or without `include:` or `exclude:` before it.
    pub group_filter: Vec<String>,
    /// Only so many snapshots of each group, the newest; at least 1.
    pub transfer_last: Option<u64>,
    /// Only snapshots that are encrypted.
    pub encrypted_only: bool,
    /// Only snapshots that were verified at the source.
    pub verified_only: bool,
    /// Whether what is gone from the source is removed from the target.
    pub remove_vanished: bool,
    /// Groups at the same time, 1 to 32.
    pub worker_threads: Option<u64>,
    /// Whether nothing is copied, only told; Coldkeep servers only.
    pub dry_run: bool,
}

/// What a server is to fetch from another one.
///
/// Only what differs from [`new`](Self::new) is sent: stock servers refuse parameters that they do not know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PullRequest {
    /// The datastore to write to.
    pub store: StoreName,
    /// The namespace to write to.
    pub ns: Namespace,
    /// The name of the remote at the server; `None` for another datastore of the same server.
    pub remote: Option<String>,
    /// The datastore to read from.
    pub remote_store: StoreName,
    /// The namespace to read from.
    pub remote_ns: Namespace,
    /// What is fetched of it.
    pub selection: SyncSelection,
    /// The owner of the groups that are fetched; by default the caller.
    pub owner: Option<AuthId>,
    /// Whether snapshots whose verification failed are fetched again.
    pub resync_corrupt: bool,
    /// Most bytes received a second.
    pub rate_in: Option<u64>,
    /// Whether chunks that are here already are used although the group does not name them (R17 is lifted); Coldkeep servers
    /// only.
    pub trusted_remote: bool,
}

/// What a server is to send to another one.
///
/// Only what differs from [`new`](Self::new) is sent: stock servers refuse parameters that they do not know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PushRequest {
    /// The datastore to read from.
    pub store: StoreName,
    /// The namespace to read from.
    pub ns: Namespace,
    /// The name of the remote at the server.
    pub remote: String,
    /// The datastore to write to.
    pub remote_store: StoreName,
    /// The namespace to write to.
    pub remote_ns: Namespace,
    /// What is sent of it.
    pub selection: SyncSelection,
    /// Most bytes sent a second.
    pub rate_out: Option<u64>,
}

impl SyncSelection {
    fn add_to(&self, parameters: Parameters) -> Parameters {
        let filters = (!self.group_filter.is_empty()).then_some(self.group_filter.as_slice());
        parameters
            .with_flag("remove-vanished", self.remove_vanished)
            .with_some("max-depth", self.max_depth)
            .with_some("group-filter", filters)
            .with_some("transfer-last", self.transfer_last)
            .with_flag("encrypted-only", self.encrypted_only)
            .with_flag("verified-only", self.verified_only)
            .with_some("worker-threads", self.worker_threads)
            .with_flag("dry-run", self.dry_run)
    }
}

impl PullRequest {
    /// Asks for everything in the root namespace of `remote_store` and below, into the root namespace of `store`.
    pub fn new(store: StoreName, remote: Option<String>, remote_store: StoreName) -> Self {
        Self {
            store,
            ns: Namespace::root(),
            remote,
            remote_store,
            remote_ns: Namespace::root(),
            selection: SyncSelection::default(),
            owner: None,
            resync_corrupt: false,
            rate_in: None,
            trusted_remote: false,
        }
    }

    fn parameters(&self) -> Parameters {
        let places = place(&self.store, &self.ns, &self.remote_store, &self.remote_ns)
            .with_some("remote", self.remote.clone());
        self.selection
            .add_to(places)
            .with_some("owner", self.owner.as_ref().map(ToString::to_string))
            .with_flag("resync-corrupt", self.resync_corrupt)
            .with_some("rate-in", self.rate_in)
            .with_flag("trusted-remote", self.trusted_remote)
    }
}

impl PushRequest {
    /// Asks for everything in the root namespace of `store` and below, into the root namespace of `remote_store`.
    pub fn new(store: StoreName, remote: String, remote_store: StoreName) -> Self {
        Self {
            store,
            ns: Namespace::root(),
            remote,
            remote_store,
            remote_ns: Namespace::root(),
            selection: SyncSelection::default(),
            rate_out: None,
        }
    }

    fn parameters(&self) -> Parameters {
        let places = place(&self.store, &self.ns, &self.remote_store, &self.remote_ns)
            .with("remote", self.remote.as_str());
        self.selection.add_to(places).with_some("rate-out", self.rate_out)
    }
}

impl Client {
    /// Has the server fetch from another one, and returns the task.
    ///
    /// # Errors
    /// [`RequestError::Refused`]: missing rights (403), no such remote or datastore, a parameter that the server does not
    /// take (400). How the transfer itself goes is the task's matter.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open whether the task runs.
    pub async fn start_pull(&self, request: &PullRequest) -> Result<String, RequestError> {
        self.post("/pull", &request.parameters()).await
    }

    /// Has the server send to another one, and returns the task.
    ///
    /// # Errors
    /// As for [`start_pull`](Self::start_pull).
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open whether the task runs.
    pub async fn start_push(&self, request: &PushRequest) -> Result<String, RequestError> {
        self.post("/push", &request.parameters()).await
    }

    /// Returns what a pull or push came to, once it has ended. Coldkeep servers only, while they remember; others refuse the call.
    ///
    /// # Errors
    /// [`RequestError::Refused`]: no such task, or no right to see it; [`RequestError`] if it is no report.
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn sync_report(&self, upid: &str) -> Result<SyncReport, RequestError> {
        self.query(Method::GET, "/sync-report", &Parameters::new().with("upid", upid)).await
    }
}

/// Returns the parameters for both ends; a root namespace is named by absence only.
fn place(store: &StoreName, ns: &Namespace, remote_store: &StoreName, remote_ns: &Namespace) -> Parameters {
    let below_root = |ns: &Namespace| (!ns.is_root()).then(|| ns.to_string());
    Parameters::new()
        .with("store", store.to_string())
        .with_some("ns", below_root(ns))
        .with("remote-store", remote_store.to_string())
        .with_some("remote-ns", below_root(remote_ns))
}
