//! Replication: `/pull` (spec `pull.md` §1), `/push`, and what a replication came to.

use coldkeep_datastore::{GroupFilter, GroupFilters, Namespace, RemoteName, StoreName};

use super::datastore::params::{self, NS};
use super::{Access, ApiError, BodyKind, Call, Endpoint, Kind, Method, Param, Params, Reply};
use crate::Server;
use crate::auth::{AuthId, Privileges};
use crate::operation::{self, Pull, Push, Request};
use crate::sync::SyncOptions;
use crate::tasks::Upid;

pub(crate) const DEPTH: Kind = Kind::Integer { min: 0, max: Namespace::DEPTH_MAX as i64 };
pub(crate) const COUNT: Kind = Kind::Integer { min: 1, max: 1_000_000 };
pub(crate) const GROUPS_AT_ONCE: Kind = Kind::Integer { min: 1, max: 32 };
pub(crate) const BYTES_A_SECOND: Kind = Kind::Integer { min: 1000, max: 1 << 50 };

const STORE: Param =
    Param::required("store", Kind::name::<StoreName>("datastore name"), "The datastore here.");
const REMOTE: Param = Param::required("remote", Kind::name::<RemoteName>("remote name"), "The other server.");
const REMOTE_STORE: Param =
    Param::required("remote-store", Kind::name::<StoreName>("datastore name"), "Its datastore.");
const REMOTE_NS: Param =
    Param::optional("remote-ns", Kind::name::<Namespace>("namespace"), "Its namespace; default: the root.");
const OWNER: Param = Param::optional(
    "owner",
    Kind::name::<AuthId>("user or token"),
    "Owner of the groups; default: the caller. Any other needs Datastore.Modify.",
);
const REMOVE_VANISHED: Param = Param::with_default(
    "remove-vanished",
    Kind::Boolean,
    "false",
    "Remove what the source no longer has, but for protected snapshots.",
);
const MAX_DEPTH: Param =
    Param::optional("max-depth", DEPTH, "How many levels of namespaces are included; default: all.");
const GROUP_FILTER: Param = Param::optional(
    "group-filter",
    Kind::List(&Kind::name::<GroupFilter>("group filter")),
    "`[include:|exclude:]` and `type:vm`, `group:vm/100` or `regex:…`.",
);
const TRANSFER_LAST: Param =
    Param::optional("transfer-last", COUNT, "Only so many of the newest snapshots of each group.");
const RESYNC_CORRUPT: Param = Param::with_default(
    "resync-corrupt",
    Kind::Boolean,
    "false",
    "Copy snapshots again that failed their verification here.",
);
const ENCRYPTED_ONLY: Param =
    Param::with_default("encrypted-only", Kind::Boolean, "false", "Only snapshots that are encrypted whole.");
const VERIFIED_ONLY: Param = Param::with_default(
    "verified-only",
    Kind::Boolean,
    "false",
    "Only snapshots that were verified and found whole.",
);
const WORKER_THREADS: Param =
    Param::with_default("worker-threads", GROUPS_AT_ONCE, "1", "Groups that are copied at the same time.");
const DRY_RUN: Param =
    Param::with_default("dry-run", Kind::Boolean, "false", "Tell only what would be done.");

pub(super) static ENDPOINTS: &[Endpoint<Server>] = &[
    Endpoint {
        method: Method::Post,
        path: "/pull",
        doc: "Copies groups of another server into a datastore here; returns the id of the task. Needs Datastore.Backup there, Remote.Read on the remote's datastore, Datastore.Prune to remove what vanished, and Datastore.Modify to make or remove namespaces.",
        params: &[
            STORE,
            NS,
            REMOTE,
            REMOTE_STORE,
            REMOTE_NS,
            OWNER,
            REMOVE_VANISHED,
            MAX_DEPTH,
            GROUP_FILTER,
            TRANSFER_LAST,
            RESYNC_CORRUPT,
            ENCRYPTED_ONLY,
            VERIFIED_ONLY,
            WORKER_THREADS,
            Param::optional("rate-in", BYTES_A_SECOND, "Most bytes a second."),
            Param::optional("rate-out", BYTES_A_SECOND, "Taken and ignored: a pull sends next to nothing."),
            Param::optional("burst-in", BYTES_A_SECOND, "Taken and ignored: the rate is kept on average."),
            Param::optional("burst-out", BYTES_A_SECOND, "Taken and ignored."),
            DRY_RUN,
            Param::with_default(
                "trusted-remote",
                Kind::Boolean,
                "false",
                "Use any chunk that the datastore has without fetching it, because the remote names none that it does not have. Needs Datastore.Modify on the whole datastore.",
            ),
        ],
        body: BodyKind::Params,
        access: Access::Datastore { full: Privileges::DATASTORE_BACKUP, own: Privileges::NONE },
        handler: |call| Box::pin(pull(call)),
    },
    Endpoint {
        method: Method::Post,
        path: "/push",
        doc: "Copies groups of a datastore here to another server; returns the id of the task. Needs Datastore.Read here, or Datastore.Backup for own groups, Remote.DatastoreBackup on the remote's datastore, Remote.DatastoreModify to make namespaces there, and Remote.DatastorePrune to remove what vanished.",
        params: &[
            STORE,
            NS,
            REMOTE,
            REMOTE_STORE,
            REMOTE_NS,
            REMOVE_VANISHED,
            MAX_DEPTH,
            GROUP_FILTER,
            TRANSFER_LAST,
            ENCRYPTED_ONLY,
            VERIFIED_ONLY,
            WORKER_THREADS,
            Param::optional("rate-out", BYTES_A_SECOND, "Most bytes a second."),
            Param::optional("rate-in", BYTES_A_SECOND, "Taken and ignored: a push receives next to nothing."),
            Param::optional("burst-in", BYTES_A_SECOND, "Taken and ignored."),
            Param::optional("burst-out", BYTES_A_SECOND, "Taken and ignored: the rate is kept on average."),
            DRY_RUN,
        ],
        body: BodyKind::Params,
        access: Access::Datastore { full: Privileges::DATASTORE_READ, own: Privileges::DATASTORE_BACKUP },
        handler: |call| Box::pin(push(call)),
    },
    Endpoint {
        method: Method::Get,
        path: "/sync-report",
        doc: "Returns what a pull or push of this server came to, while it remembers: the last ones since it was started. Others' need Sys.Audit on /system/tasks.",
        params: &[Param::required("upid", Kind::name::<Upid>("task id"), "The task.")],
        body: BodyKind::Params,
        access: Access::Authenticated,
        handler: |call| Box::pin(report(call)),
    },
];

async fn pull(call: Call<Server>) -> Result<Reply, ApiError> {
    let params = &call.params;
    let Places { store, ns, remote, remote_store, remote_ns } = Places::of(params)?;
    let options = options(params, params.find("rate-in")?, params.get("resync-corrupt")?)?;
    let owner = params.find("owner")?;
    let trusts_remote = params.get("trusted-remote")?;
    let pull = Pull { store, ns, remote, remote_store, remote_ns, owner, trusts_remote, options };
    Reply::json(&operation::start(&call.state, &call.caller, &Request::Pull(pull)).await?)
}

async fn push(call: Call<Server>) -> Result<Reply, ApiError> {
    let params = &call.params;
    let Places { store, ns, remote, remote_store, remote_ns } = Places::of(params)?;
    let options = options(params, params.find("rate-out")?, false)?;
    let push = Push { store, ns, remote, remote_store, remote_ns, options };
    Reply::json(&operation::start(&call.state, &call.caller, &Request::Push(push)).await?)
}

/// Where a replication begins and ends.
struct Places {
    store: StoreName,
    ns: Namespace,
    remote: RemoteName,
    remote_store: StoreName,
    remote_ns: Namespace,
}

impl Places {
    fn of(params: &Params) -> Result<Self, ApiError> {
        Ok(Self {
            store: params.get("store")?,
            ns: params::namespace(params)?,
            remote: params.get("remote")?,
            remote_store: params.get("remote-store")?,
            remote_ns: params.find("remote-ns")?.unwrap_or_default(),
        })
    }
}

fn options(params: &Params, rate: Option<u64>, resyncs_corrupt: bool) -> Result<SyncOptions, ApiError> {
    let filters =
        GroupFilters::new(params.list("group-filter")?).map_err(|error| ApiError::failed(&error))?;
    Ok(SyncOptions {
        max_depth: params.find("max-depth")?,
        filters,
        transfer_last: params.find("transfer-last")?,
        verified_only: params.get("verified-only")?,
        encrypted_only: params.get("encrypted-only")?,
        removes_vanished: params.get("remove-vanished")?,
        resyncs_corrupt,
        dry_run: params.get("dry-run")?,
        parallel_groups: params.get("worker-threads")?,
        rate,
    })
}

async fn report(call: Call<Server>) -> Result<Reply, ApiError> {
    let upid = super::nodes::visible(&call)?;
    let unknown = || ApiError::bad_request(format!("there is no report of {upid}"));
    Reply::json(&call.state.sync_reports().get(&upid).ok_or_else(unknown)?)
}
