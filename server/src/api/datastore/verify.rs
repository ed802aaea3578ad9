//! Verification: start it.

use coldkeep_datastore::{BackupId, BackupTime, BackupType, GroupName};

use super::params::{BACKUP_ID_OPTIONAL, BACKUP_TYPE_OPTIONAL, MAX_DEPTH, NS, STORE, UNIX_TIME};
use super::place::Place;
use crate::Server;
use crate::api::{Access, ApiError, BodyKind, Call, Endpoint, Kind, Method, Param, Params, Reply};
use crate::auth::Privileges;
use crate::operation::{self, Request, Verify};

pub(crate) const DAYS: Kind = Kind::Integer { min: 0, max: 36_500 };
pub(crate) const THREADS: Kind = Kind::Integer { min: 1, max: 32 };
/// From a chunk in some minutes to what no disk reads.
pub(crate) const RATE: Kind = Kind::Integer { min: 1 << 16, max: 1 << 40 };

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
    let params = &call.params;
    let (group, time) = match extent(params)? {
        Extent::Namespace => (None, None),
        Extent::Group(group) => (Some(group), None),
        Extent::Snapshot(group, time) => (Some(group), Some(time)),
    };
    if let Some(group) = &group {
        place.check_owner(group).await?;
    }
    let verify = Verify {
        store: place.store.name().clone(),
        ns: place.ns,
        group,
        time,
        max_depth: params.get("max-depth")?,
        skips_verified: params.get("ignore-verified")?,
        outdated_after_days: params.find("outdated-after")?,
        parallel: params.get::<usize>("read-threads")?.max(params.get("verify-threads")?),
        rate: params.find("max-read-rate")?,
    };
    Reply::json(&operation::start(&call.state, &call.caller, &Request::Verify(verify)).await?)
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
