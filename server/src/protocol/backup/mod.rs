//! The backup protocol (backup-protocol.md §2 and §3): the upgrade and the session behind it.

mod endpoints;
mod session;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use coldkeep_datastore::{BackupRequest, StoreName};
use http::StatusCode;
use hyper::upgrade::OnUpgrade;

pub(crate) use endpoints::ENDPOINTS;
use session::{BackupSession, SessionEnd};

use crate::Server;
use crate::api::datastore::params::{self, BACKUP_ID, BACKUP_TIME, BACKUP_TYPE, NS, STORE};
use crate::api::{Access, ApiError, BodyKind, Call, Endpoint, Kind, Method, Param, Reply, Router};
use crate::auth::Privileges;
use crate::http::{Bounds, serve_h2};
use crate::metrics::RequestMeter;
use crate::tasks::TaskSpec;

/// The value of the `Upgrade` header.
const PROTOCOL: &str = "proxmox-backup-protocol-v1";
/// How long the client may take to speak HTTP/2 after the answer 101 (clients wait 120 s for that answer).
pub(super) const UPGRADE_DEADLINE: Duration = Duration::from_mins(2);

/// The request that starts a backup session.
pub(crate) static UPGRADE: &[Endpoint<Server>] = &[Endpoint {
    method: Method::Get,
    path: "/backup",
    doc: "Starts a backup: after the answer 101 the connection speaks HTTP/2 and the endpoints of the backup session.",
    params: &[
        STORE,
        NS,
        BACKUP_TYPE,
        BACKUP_ID,
        BACKUP_TIME,
        Param::with_default("debug", Kind::Boolean, "false", "Log more."),
        Param::with_default(
            "benchmark",
            Kind::Boolean,
            "false",
            "Keep nothing; only for the group `host/benchmark`.",
        ),
        Param::with_default(
            "no-cache",
            Kind::Boolean,
            "false",
            "Do not keep uploaded chunks in the local cache of a store in the cloud.",
        ),
    ],
    body: BodyKind::Upgrade { protocol: PROTOCOL },
    access: Access::Datastore { full: Privileges::DATASTORE_BACKUP, own: Privileges::NONE },
    handler: |call| Box::pin(start(call)),
}];

async fn start(mut call: Call<Server>) -> Result<Reply, ApiError> {
    let store_name: StoreName = call.params.get("store")?;
    let store = call.state.datastore(&store_name)?;
    let snapshot = params::snapshot(&call.params)?;
    let is_benchmark: bool = call.params.get("benchmark")?;
    let place = call.state.enter_session(&call.caller)?;
    let upgrade = call.take_upgrade()?;
    let group = snapshot.group.clone();
    let request = BackupRequest {
        ns: params::namespace(&call.params)?,
        snapshot,
        caller: call.caller.auth_id().clone(),
        benchmark: is_benchmark,
        no_cache: call.params.get("no-cache")?,
    };
    let place_name =
        if request.ns.is_root() { String::new() } else { format!(" in namespace {}", request.ns) };
    let began =
        format!("starting new backup on datastore '{store_name}'{place_name}: \"{}\"", request.snapshot);
    let writer = store.begin_backup(request).await.map_err(|error| {
        let refusal = ApiError::failed(&error);
        if error.is_not_found() { refusal.with_status(StatusCode::NOT_FOUND) } else { refusal }
    })?;

    let spec = TaskSpec {
        worker_type: if is_benchmark { "benchmark" } else { "backup" },
        worker_id: Some(format!("{store_name}:{group}")),
        auth_id: call.caller.auth_id().clone(),
    };
    let server = Arc::clone(&call.state);
    let bounds = Bounds {
        limits: server.limits().clone(),
        room: server.session_room(&store_name, &call.caller),
        meter: RequestMeter::new(Arc::clone(server.metrics()), "backup"),
        pace: server.pace(&call.caller, Some(store_name.as_str())),
        audit: Arc::clone(server.audit()),
        caller: call.caller.clone(),
    };
    let work = |task: crate::tasks::TaskHandle| async move {
        let _place = place;
        task.log(began);
        match writer.previous_time() {
            Some(time) => task.log(format!("previous backup: {time}")),
            None => task.log("no previous backup, everything will be uploaded"),
        }
        let session = Arc::new(BackupSession::new(Arc::clone(&server), writer, task, is_benchmark));
        session.run(serve(bounds, upgrade, Arc::clone(&session))).await
    };
    // If the task cannot start, the writer is dropped with it and cleans up after itself.
    call.state.tasks().start(spec, work).map_err(|error| ApiError::failed(&error))?;
    Ok(Reply::switch_to(PROTOCOL))
}

async fn serve(bounds: Bounds, upgrade: OnUpgrade, session: Arc<BackupSession>) -> Result<(), SessionEnd> {
    let upgraded = tokio::time::timeout(UPGRADE_DEADLINE, upgrade).await;
    let connection = upgraded.ok().and_then(Result::ok).ok_or(SessionEnd::NotUpgraded)?;
    let router = Arc::new(Router::new(&[], &[ENDPOINTS]));
    // How the connection ends says nothing: stock clients just drop it after `finish`.
    let _ = serve_h2(connection, router, session, bounds).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::assert_tables_are_sound;

    #[test]
    fn the_tables_are_sound() {
        assert_tables_are_sound(UPGRADE);
        assert_tables_are_sound(ENDPOINTS);
    }
}
