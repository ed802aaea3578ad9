//! The calls below `/admin/datastore/{store}` (spec `rest-api.md` §4).

use bytes::Bytes;
use coldkeep_datastore::{BackupId, BackupType, GroupName, Namespace, Owner, SnapshotName, StoreName};
use http::Method;
use serde::{Deserialize, Serialize};

use super::types::{
    DeleteStats, FileItem, GcRun, GcStatus, GroupItem, NamespaceItem, PruneItem, SnapshotItem, StoreStatus,
};
use crate::client::{Client, PREFIX};
use crate::encoding::{Parameters, path_component};
use crate::error::{Call, RequestError};

/// One namespace of one datastore, as seen by a client; cloning is cheap.
///
/// All calls but [`status`](Self::status), the collection and the namespace calls act in the namespace only, not below
/// it. Every call fails with a [`RequestError`]: `Refused` with 400 for nearly everything, 401 and 403 for missing
/// rights. Dropping a call's future does not undo what the server already began.
#[derive(Debug, Clone)]
pub struct Store {
    client: Client,
    name: StoreName,
    namespace: Namespace,
}

/// How many snapshots of a group to keep; nothing set keeps everything (spec `rest-api.md` §4.5).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct PruneKeep {
    /// The newest ones.
    pub keep_last: Option<u64>,
    /// One for each of so many hours.
    pub keep_hourly: Option<u64>,
    /// One for each of so many days.
    pub keep_daily: Option<u64>,
    /// One for each of so many weeks.
    pub keep_weekly: Option<u64>,
    /// One for each of so many months.
    pub keep_monthly: Option<u64>,
    /// One for each of so many years.
    pub keep_yearly: Option<u64>,
}

/// What a verification reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VerifyScope {
    /// The namespace and all below it.
    All,
    /// One group.
    Group(GroupName),
    /// One snapshot.
    Snapshot(SnapshotName),
}

/// How a verification goes about it; the default reads everything, at the server's own pace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VerifyOptions {
    /// Skip snapshots that were verified before.
    pub ignore_verified: bool,
    /// Days after which that no longer counts.
    pub outdated_after: Option<u32>,
    /// Chunks that are read and checked at once, 1 to 32; stock servers take it, too.
    pub threads: Option<u8>,
    /// Bytes of chunks that are read a second at most, at least 65,536; only Coldkeep servers know it.
    pub max_read_rate: Option<u64>,
}

impl VerifyOptions {
    /// Skips snapshots that were verified before.
    pub fn unverified() -> Self {
        Self { ignore_verified: true, ..Self::default() }
    }
}

impl Client {
    /// Returns a handle to a namespace of a datastore; nothing is sent.
    pub fn store(&self, name: StoreName, namespace: Namespace) -> Store {
        Store { client: self.clone(), name, namespace }
    }
}

impl Store {
    /// Returns the client that makes the calls.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the datastore's name.
    pub fn name(&self) -> &StoreName {
        &self.name
    }

    /// Returns the namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Returns space and, where the server tells, counts and the last collection.
    pub async fn status(&self) -> Result<StoreStatus, RequestError> {
        self.get("status", Parameters::new().with("verbose", true)).await
    }

    /// Lists the groups.
    pub async fn groups(&self) -> Result<Vec<GroupItem>, RequestError> {
        self.get("groups", self.scope()).await
    }

    /// Lists the snapshots, of one type or id if given; unfinished ones are included. A list with others too is an error: it
    /// does not tell what there is of what was asked for.
    pub async fn snapshots(
        &self,
        ty: Option<BackupType>,
        id: Option<&BackupId>,
    ) -> Result<Vec<SnapshotItem>, RequestError> {
        let parameters = self
            .scope()
            .with_some("backup-type", ty.map(BackupType::as_str))
            .with_some("backup-id", id.map(BackupId::as_str));
        let listed: Vec<SnapshotItem> = self.get("snapshots", parameters).await?;
        let is_other =
            |group: &GroupName| ty.is_some_and(|ty| ty != group.ty) || id.is_some_and(|id| *id != group.id);
        if let Some(other) = listed.iter().find(|item| is_other(&item.group)) {
            let call = Call::new(Method::GET, &format!("{PREFIX}{}", self.path("snapshots")));
            return Err(RequestError::answer(
                call,
                format!("it lists {}, which was not asked for", other.name()),
            ));
        }
        Ok(listed)
    }

    /// Returns the newest finished snapshot of a group.
    pub async fn newest(&self, group: &GroupName) -> Result<Option<SnapshotName>, RequestError> {
        let list = self.snapshots(Some(group.ty), Some(&group.id)).await?;
        let finished = list.iter().filter(|item| item.is_finished());
        Ok(finished.max_by_key(|item| item.backup_time).map(SnapshotItem::name))
    }

    /// Lists the files of a snapshot.
    pub async fn files(&self, snapshot: &SnapshotName) -> Result<Vec<FileItem>, RequestError> {
        self.get("files", self.snapshot(snapshot)).await
    }

    /// Removes a snapshot; its chunks stay until a collection.
    pub async fn forget(&self, snapshot: &SnapshotName) -> Result<(), RequestError> {
        self.call(Method::DELETE, "snapshots", self.snapshot(snapshot)).await
    }

    /// Removes a group with its snapshots; servers before 3.2.11 tell nothing about what was removed.
    pub async fn forget_group(&self, group: &GroupName) -> Result<DeleteStats, RequestError> {
        let stats: Option<DeleteStats> = self.call(Method::DELETE, "groups", self.group(group)).await?;
        Ok(stats.unwrap_or_default())
    }

    /// Removes the snapshots of a group that are not protected, and the group with the last one; servers before 3.2.11 do not
    /// know this.
    pub async fn forget_unprotected(&self, group: &GroupName) -> Result<DeleteStats, RequestError> {
        let parameters = self.group(group).with("error-on-protected", false);
        let stats: Option<DeleteStats> = self.call(Method::DELETE, "groups", parameters).await?;
        Ok(stats.unwrap_or_default())
    }

    /// Returns a snapshot's notes.
    pub async fn notes(&self, snapshot: &SnapshotName) -> Result<String, RequestError> {
        self.get("notes", self.snapshot(snapshot)).await
    }

    /// Replaces a snapshot's notes.
    pub async fn set_notes(&self, snapshot: &SnapshotName, notes: &str) -> Result<(), RequestError> {
        self.call(Method::PUT, "notes", self.snapshot(snapshot).with("notes", notes)).await
    }

    /// Returns a group's notes.
    pub async fn group_notes(&self, group: &GroupName) -> Result<String, RequestError> {
        self.get("group-notes", self.group(group)).await
    }

    /// Replaces a group's notes.
    pub async fn set_group_notes(&self, group: &GroupName, notes: &str) -> Result<(), RequestError> {
        self.call(Method::PUT, "group-notes", self.group(group).with("notes", notes)).await
    }

    /// Tells whether a snapshot is protected from removal.
    pub async fn is_protected(&self, snapshot: &SnapshotName) -> Result<bool, RequestError> {
        self.get("protected", self.snapshot(snapshot)).await
    }

    /// Protects a snapshot from removal, or ends that.
    pub async fn set_protected(&self, snapshot: &SnapshotName, protected: bool) -> Result<(), RequestError> {
        self.call(Method::PUT, "protected", self.snapshot(snapshot).with("protected", protected)).await
    }

    /// Gives a group to another user or token.
    pub async fn change_owner(&self, group: &GroupName, owner: &Owner) -> Result<(), RequestError> {
        let parameters = self.group(group).with("new-owner", owner.to_string());
        self.client.post(&self.path("change-owner"), &parameters).await
    }

    /// Starts to move a group into another namespace and returns the task; with `merges` a group of that name that is there takes
    /// the snapshots in.
    pub async fn start_move_group(
        &self,
        group: &GroupName,
        to: &Namespace,
        merges: bool,
    ) -> Result<String, RequestError> {
        let parameters = self.group(group).with("target-ns", to.to_string()).with("merge-group", merges);
        self.client.post(&self.path("move-group"), &parameters).await
    }

    /// Starts to move this namespace with all in it, so that it becomes `to`, and returns the task.
    pub async fn start_move_namespace(&self, to: &Namespace, merges: bool) -> Result<String, RequestError> {
        let parameters = self.scope().with("target-ns", to.to_string()).with("merge-groups", merges);
        self.client.post(&self.path("move-namespace"), &parameters).await
    }

    /// Applies a retention rule to a group, or with `dry_run` only tells what it would do; oldest snapshot first.
    pub async fn prune(
        &self,
        group: &GroupName,
        keep: &PruneKeep,
        dry_run: bool,
    ) -> Result<Vec<PruneItem>, RequestError> {
        let parameters = self
            .group(group)
            .with("dry-run", dry_run)
            .with_some("keep-last", keep.keep_last)
            .with_some("keep-hourly", keep.keep_hourly)
            .with_some("keep-daily", keep.keep_daily)
            .with_some("keep-weekly", keep.keep_weekly)
            .with_some("keep-monthly", keep.keep_monthly)
            .with_some("keep-yearly", keep.keep_yearly);
        self.client.post(&self.path("prune"), &parameters).await
    }

    /// Starts a collection of the whole datastore and returns its task.
    pub async fn start_gc(&self) -> Result<String, RequestError> {
        self.client.post(&self.path("gc"), &Parameters::new()).await
    }

    /// Starts a collection as [`start_gc`](Self::start_gc) does, with what only Coldkeep servers know: a dry run, and a bound
    /// on the chunks removed a second.
    pub async fn start_gc_with(
        &self,
        dry_run: bool,
        max_delete_rate: Option<u32>,
    ) -> Result<String, RequestError> {
        let parameters = Parameters::new()
            .with_some("dry-run", dry_run.then_some(true))
            .with_some("max-delete-rate", max_delete_rate);
        self.client.post(&self.path("gc"), &parameters).await
    }

    /// Returns the past collections of the datastore, the newest first, or only that of a task. Coldkeep servers only; others
    /// answer 404 ([`RequestError::is_not_found`]).
    pub async fn gc_history(&self, upid: Option<&str>) -> Result<Vec<GcRun>, RequestError> {
        self.get("gc-history", Parameters::new().with_some("upid", upid)).await
    }

    /// Returns the figures of the last collection.
    pub async fn gc_status(&self) -> Result<GcStatus, RequestError> {
        self.get("gc", Parameters::new()).await
    }

    /// Starts to rebuild the local state of a datastore in a bucket, and returns the task; Coldkeep servers take the bucket
    /// over from another server if told to.
    pub async fn start_refresh(&self, takes_over: bool) -> Result<String, RequestError> {
        let take_over = takes_over.then_some("1");
        let parameters = Parameters::new().with_some("take-over", take_over);
        self.call(Method::PUT, "s3-refresh", parameters).await
    }

    /// Starts a verification and returns its task.
    pub async fn start_verify(
        &self,
        scope: &VerifyScope,
        options: &VerifyOptions,
    ) -> Result<String, RequestError> {
        let parameters = match scope {
            VerifyScope::All => self.scope(),
            VerifyScope::Group(group) => self.group(group),
            VerifyScope::Snapshot(snapshot) => self.snapshot(snapshot),
        };
        let parameters = parameters
            .with("ignore-verified", options.ignore_verified)
            .with_some("outdated-after", options.outdated_after.map(u64::from))
            .with_some("verify-threads", options.threads.map(u64::from))
            .with_some("max-read-rate", options.max_read_rate);
        self.client.post(&self.path("verify"), &parameters).await
    }

    /// Lists this namespace and those below it, at most `max_depth` levels deep (7 at most).
    pub async fn namespaces(&self, max_depth: Option<usize>) -> Result<Vec<NamespaceItem>, RequestError> {
        let parent = (!self.namespace.is_root()).then(|| self.namespace.to_string());
        let parameters = Parameters::new()
            .with_some("parent", parent)
            .with_some("max-depth", max_depth.map(|depth| depth as u64));
        self.get("namespace", parameters).await
    }

    /// Creates a namespace inside this one.
    pub async fn create_namespace(&self, component: &str) -> Result<Namespace, RequestError> {
        let parameters = Parameters::new().with("name", component).with("parent", self.namespace.to_string());
        self.client.post(&self.path("namespace"), &parameters).await
    }

    /// Removes this namespace with those below it; with `delete_groups` also the groups in them, else groups are an
    /// error.
    pub async fn remove_namespace(&self, delete_groups: bool) -> Result<DeleteStats, RequestError> {
        let parameters = self.scope().with("delete-groups", delete_groups);
        let stats: Option<DeleteStats> = self.call(Method::DELETE, "namespace", parameters).await?;
        Ok(stats.unwrap_or_default())
    }

    /// Adds the client's log, an encoded blob, to a snapshot.
    pub async fn upload_log(&self, snapshot: &SnapshotName, blob: Bytes) -> Result<(), RequestError> {
        self.client.post_bytes(&self.path("upload-backup-log"), &self.snapshot(snapshot), blob).await
    }

    async fn get<T: serde::de::DeserializeOwned>(
        &self,
        name: &str,
        parameters: Parameters,
    ) -> Result<T, RequestError> {
        self.call(Method::GET, name, parameters).await
    }

    async fn call<T: serde::de::DeserializeOwned>(
        &self,
        method: Method,
        name: &str,
        parameters: Parameters,
    ) -> Result<T, RequestError> {
        self.client.query(method, &self.path(name), &parameters).await
    }

    fn path(&self, name: &str) -> String {
        format!("/admin/datastore/{}/{name}", path_component(self.name.as_str()))
    }

    /// Returns the namespace parameter, which stands for the root only by its absence.
    pub(crate) fn scope(&self) -> Parameters {
        let ns = (!self.namespace.is_root()).then(|| self.namespace.to_string());
        Parameters::new().with_some("ns", ns)
    }

    fn group(&self, group: &GroupName) -> Parameters {
        self.scope().with("backup-type", group.ty.as_str()).with("backup-id", group.id.as_str())
    }

    /// Returns the parameters that name a snapshot.
    pub(crate) fn snapshot(&self, snapshot: &SnapshotName) -> Parameters {
        self.group(&snapshot.group).with("backup-time", snapshot.time.unix_seconds())
    }
}
