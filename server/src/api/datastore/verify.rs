//! Verification: start it.

use coldkeep_datastore::{BackupId, BackupTime, BackupType, GroupName};

use super::params::{BACKUP_ID_OPTIONAL, BACKUP_TYPE_OPTIONAL, MAX_DEPTH, NS, STORE, UNIX_TIME};
use super::place::{self, Place};
use crate::Server;
use crate::api::{Access, ApiError, BodyKind, Call, Endpoint, Kind, Method, Param, Params, Reply, Scope};
use crate::auth::Privileges;
use crate::tasks::TaskSpec;
use crate::verify::{self, VerifyJob};

const DAYS: Kind = Kind::Integer { min: 0, max: 36_500 };
const THREADS: Kind = Kind::Integer { min: 1, max: 32 };
/// From a chunk in some minutes to what no disk reads.
const RATE: Kind = Kind::Integer { min: 1 << 16, max: 1 << 40 };

pub(in crate::api) static ENDPOINTS: &[Endpoint<Server>] = &[Endpoint {
    method: Method::Post,
    path: "/admin/datastore/{store}/verify",
    doc: "Starts a verification of a namespace with those inside it, of a group, or of a snapshot; returns the id of its task. Callers with Datastore.Backup verify their own groups.",
    params: &[
        STORE,
        NS,
        BACKUP_TYPE_OPTIONAL,
        BACKUP_ID_OPTIONAL,
        Param::optional("backup-time", UNIX_TIME, "Only the snapshot of this time."),
        Param::with_default(
            "ignore-verified",
            Kind::Boolean,
            "true",
            "Skip snapshots that were verified before.",
        ),
        Param::optional("outdated-after", DAYS, "Days after which a verification no longer counts."),
        MAX_DEPTH,
        Param::with_default(
            "read-threads",
            THREADS,
            "1",
            "Read and check so many chunks at once, or as many as 'verify-threads' says, if that is more.",
        ),
        Param::with_default("verify-threads", THREADS, "4", "See 'read-threads'."),
        Param::optional("max-read-rate", RATE, "Read so many bytes of chunks a second at most."),
    ],
    body: BodyKind::Params,
    access: Access::Datastore { full: Privileges::DATASTORE_VERIFY, own: Privileges::DATASTORE_BACKUP },
    handler: |call| Box::pin(start(call)),
}];

/// What is to be verified.
enum Extent {
    Namespace,
    Group(GroupName),
    Snapshot(GroupName, BackupTime),
}

async fn start(call: Call<Server>) -> Result<Reply, ApiError> {
    let place = Place::of(&call)?;
    let (group, time) = match extent(&call.params)? {
        Extent::Namespace => (None, None),
        Extent::Group(group) => (Some(group), None),
        Extent::Snapshot(group, time) => (Some(group), Some(time)),
    };
    let (store, ns) = (place.store.name(), &place.ns);
    let (worker_type, worker_id) = match (&group, time) {
        (None, _) if ns.is_root() => ("verify", store.to_string()),
        (None, _) => ("verify", format!("{store}:{ns}")),
        (Some(group), None) => ("verify_group", format!("{store}:{ns}/{group}")),
        (Some(group), Some(time)) => {
            ("verify_snapshot", format!("{store}:{ns}/{group}/{:08X}", time.unix_seconds()))
        }
    };
    if let Some(group) = &group {
        place.check_owner(group).await?;
    }
    let needed = match call.scope {
        Scope::Full => Privileges::DATASTORE_VERIFY,
        Scope::Own => Privileges::DATASTORE_BACKUP,
    };
    let (caller, name) = (call.caller.clone(), store.clone());
    let job = VerifyJob {
        store: place.store.clone(),
        ns: place.ns.clone(),
        may_verify: Box::new(move |ns| place::has_any(&caller, &name, ns, needed)),
        max_depth: call.params.get("max-depth")?,
        group,
        time,
        owner: (call.scope == Scope::Own).then(|| place.caller.clone()),
        skips_verified: call.params.get("ignore-verified")?,
        outdated_after_days: call.params.find("outdated-after")?,
        parallel: call.params.get::<usize>("read-threads")?.max(call.params.get("verify-threads")?),
        rate: call.params.find("max-read-rate")?,
    };
    let spec = TaskSpec { worker_type, worker_id: Some(worker_id), auth_id: call.caller.auth_id().clone() };
    let clock = call.state.clock().clone();
    let work = |task| async move { verify::run(&job, clock.wall().unix_seconds(), &task).await };
    let upid = call.state.tasks().start(spec, work).map_err(|error| ApiError::failed(&error))?;
    Reply::json(&upid)
}

fn extent(params: &Params) -> Result<Extent, ApiError> {
    let (ty, id): (Option<BackupType>, Option<BackupId>) =
        (params.find("backup-type")?, params.find("backup-id")?);
    let time: Option<i64> = params.find("backup-time")?;
    match (ty, id, time) {
        (None, None, None) => Ok(Extent::Namespace),
        (Some(ty), Some(id), None) => Ok(Extent::Group(GroupName::new(ty, id))),
        (Some(ty), Some(id), Some(time)) => {
            let time = BackupTime::from_unix(time).map_err(|error| ApiError::failed(&error))?;
            Ok(Extent::Snapshot(GroupName::new(ty, id), time))
        }
        _ => Err(ApiError::bad_request(
            "a group needs 'backup-type' and 'backup-id', a snapshot 'backup-time' too",
        )),
    }
}
