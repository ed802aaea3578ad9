//! Replication: `/pull` (spec `pull.md` §1), `/push`, and what a replication came to.

use std::sync::Arc;

use coldkeep_client::Store;
use coldkeep_datastore::{GroupFilter, GroupFilters, Namespace, RemoteName, StoreName};

use super::datastore::params::{self, NS};
use super::datastore::place;
use super::{Access, ApiError, BodyKind, Call, Endpoint, Kind, Method, Param, Params, Reply};
use crate::Server;
use crate::auth::{AclPath, AuthId, Caller, Privileges};
use crate::sync::{May, PullJob, PushJob, Reach, SyncJob, SyncOptions};
use crate::tasks::{TaskHandle, TaskSpec, Upid};

const DEPTH: Kind = Kind::Integer { min: 0, max: Namespace::DEPTH_MAX as i64 };
const COUNT: Kind = Kind::Integer { min: 1, max: 1_000_000 };
const GROUPS_AT_ONCE: Kind = Kind::Integer { min: 1, max: 32 };
const BYTES_A_SECOND: Kind = Kind::Integer { min: 1000, max: 1 << 50 };

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
    check_remote(&call.caller, (&remote, &remote_store), Privileges::REMOTE_READ)?;
    let options = options(params, params.find("rate-in")?, params.get("resync-corrupt")?)?;
    if options.removes_vanished {
        place::check_any(&call.caller, &store, &ns, Privileges::DATASTORE_PRUNE)?;
    }
    let trusts_remote = params.get("trusted-remote")?;
    if trusts_remote {
        // Its chunks are those of all namespaces (R17).
        place::check_any(&call.caller, &store, &Namespace::root(), Privileges::DATASTORE_MODIFY)?;
    }
    let owner = owner(&call, &store, &ns)?;
    let (source, _) = connect(&call.state, &remote, (remote_store, remote_ns))?;
    let worker_id = format!("{remote}:{}:{store}:{ns}", source.name());
    let job = SyncJob::Pull(PullJob {
        store: call.state.datastore(&store)?,
        ns,
        source,
        owner,
        trusts_remote,
        options,
        may: may(&call.caller, &store),
    });
    start(&call, job, worker_id)
}

async fn push(call: Call<Server>) -> Result<Reply, ApiError> {
    let params = &call.params;
    let Places { store, ns, remote, remote_store, remote_ns } = Places::of(params)?;
    check_remote(&call.caller, (&remote, &remote_store), Privileges::REMOTE_DATASTORE_BACKUP)?;
    let options = options(params, params.find("rate-out")?, false)?;
    if options.removes_vanished {
        check_remote(&call.caller, (&remote, &remote_store), Privileges::REMOTE_DATASTORE_PRUNE)?;
    }
    let may_modify = call.caller.has_on_remote(&remote, &remote_store, Privileges::REMOTE_DATASTORE_MODIFY);
    let (target, there_as) = connect(&call.state, &remote, (remote_store, remote_ns))?;
    let worker_id = format!("{store}:{ns}:{remote}:{}", target.name());
    let datastore = call.state.datastore(&store)?;
    let depth = options.max_depth.unwrap_or(Namespace::DEPTH_MAX);
    let listed = datastore.namespaces(&ns, depth).await.map_err(|error| ApiError::failed(&error))?;
    // Deeper entries of the access list replace those above: each namespace for itself.
    let may = |ns: &Namespace, any| place::has_any(&call.caller, &store, ns, any);
    let reach = |ns: &Namespace| {
        if may(ns, Privileges::DATASTORE_READ) {
            Reach::All
        } else if may(ns, Privileges::DATASTORE_BACKUP) {
            Reach::Own(call.caller.auth_id().clone())
        } else {
            Reach::Nothing
        }
    };
    let namespaces = listed.into_iter().map(|ns| (reach(&ns), ns)).map(|(reach, ns)| (ns, reach)).collect();
    let job = PushJob { store: datastore, namespaces, ns, target, there_as, may_modify, options };
    start(&call, SyncJob::Push(job), worker_id)
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

/// Refuses callers without one of `any` on a datastore of a remote.
fn check_remote(
    caller: &Caller,
    (remote, store): (&RemoteName, &StoreName),
    any: Privileges,
) -> Result<(), ApiError> {
    if caller.has_on_remote(remote, store, any) {
        return Ok(());
    }
    let path = AclPath::remote(remote.as_str(), Some(store.as_str()));
    Err(ApiError::forbidden(format!("permission check failed on {path}")))
}

/// Starts a replication as a task and answers with its id.
fn start(call: &Call<Server>, job: SyncJob, worker_id: String) -> Result<Reply, ApiError> {
    let auth_id = call.caller.auth_id().clone();
    let spec = TaskSpec { worker_type: "sync", worker_id: Some(worker_id), auth_id };
    let server = Arc::clone(&call.state);
    let work = |task: TaskHandle| async move { job.run(&server, &task).await };
    let upid = call.state.tasks().start(spec, work).map_err(|error| ApiError::failed(&error))?;
    Reply::json(&upid)
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

/// Returns who is to own the groups: the caller, or whom somebody names who may give groups away.
fn owner(call: &Call<Server>, store: &StoreName, ns: &Namespace) -> Result<AuthId, ApiError> {
    let caller = call.caller.auth_id();
    let Some(owner) = call.params.find::<AuthId>("owner")? else { return Ok(caller.clone()) };
    if owner != *caller {
        place::check_any(&call.caller, store, ns, Privileges::DATASTORE_MODIFY)?;
        call.state.check_owner_exists(&owner)?;
    }
    Ok(owner)
}

/// Returns a namespace of a remote, and who this server is there.
fn connect(
    server: &Server,
    remote: &RemoteName,
    (store, ns): (StoreName, Namespace),
) -> Result<(Store, String), ApiError> {
    let remote = server.remotes().get(remote).map_err(|error| ApiError::failed(&error))?;
    Ok((remote.client().store(store, ns), remote.auth_id.to_string()))
}

fn may(caller: &Caller, store: &StoreName) -> May {
    let (caller, store) = (caller.clone(), store.clone());
    Box::new(move |ns, any| place::has_any(&caller, &store, ns, any))
}

async fn report(call: Call<Server>) -> Result<Reply, ApiError> {
    let upid = super::nodes::visible(&call)?;
    let unknown = || ApiError::bad_request(format!("there is no report of {upid}"));
    Reply::json(&call.state.sync_reports().get(&upid).ok_or_else(unknown)?)
}
