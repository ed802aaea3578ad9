//! The reader protocol (backup-protocol.md §5): the upgrade and the session behind it.

mod endpoints;
mod holds;
mod prefetch;
mod session;

use std::sync::Arc;

use coldkeep_datastore::{Datastore, Namespace, SnapshotName, StoreName};
use hyper::upgrade::OnUpgrade;

pub(crate) use endpoints::ENDPOINTS;
use session::ReaderSession;

use super::backup::UPGRADE_DEADLINE;
use crate::Server;
use crate::api::datastore::params::{self, BACKUP_ID, BACKUP_TIME, BACKUP_TYPE, NS, STORE};
use crate::api::datastore::place;
use crate::api::{
    Access, ApiError, BodyKind, Call, Endpoint, Kind, Method, Param, Reply, Router, UploadRoom,
};
use crate::auth::{Caller, Privileges};
use crate::http::{Bounds, serve_h2};
use crate::metrics::RequestMeter;
use crate::tasks::{TaskHandle, TaskSpec};

/// The value of the `Upgrade` header.
const PROTOCOL: &str = "proxmox-backup-reader-protocol-v1";

/// A session was ended for others.
#[derive(Debug, thiserror::Error)]
#[error("the client took no chunk of those that it asked for, and others wait for room")]
struct InTheWay;

/// The request that starts a reader session.
pub(crate) static UPGRADE: &[Endpoint<Server>] = &[Endpoint {
    method: Method::Get,
    path: "/reader",
    doc: "Opens a snapshot: after the answer 101 the connection speaks HTTP/2 and the endpoints of the reader session. Lack of privileges gives 400.",
    params: &[
        STORE,
        NS,
        BACKUP_TYPE,
        BACKUP_ID,
        BACKUP_TIME,
        Param::with_default("debug", Kind::Boolean, "false", "Log more."),
    ],
    body: BodyKind::Upgrade { protocol: PROTOCOL },
    access: Access::Authenticated,
    handler: |call| Box::pin(start(call)),
}];

async fn start(mut call: Call<Server>) -> Result<Reply, ApiError> {
    let store_name: StoreName = call.params.get("store")?;
    let ns = params::namespace(&call.params)?;
    let snapshot = params::snapshot(&call.params)?;
    let upgrade = call.take_upgrade()?;
    let store = check_access(&call.state, &call.caller, (&store_name, &ns), &snapshot).await?;
    let place = call.state.enter_session(&call.caller)?;
    let reader = store.open_snapshot(&ns, &snapshot).await.map_err(|error| ApiError::failed(&error))?;

    let spec = TaskSpec {
        worker_type: "reader",
        worker_id: Some(format!("{store_name}:{}/{:08X}", snapshot.group, snapshot.time.unix_seconds())),
        auth_id: call.caller.auth_id().clone(),
    };
    let server = Arc::clone(&call.state);
    let limits = server.limits().clone();
    let bounds = Bounds {
        // Readers upload nothing, so this room stays empty.
        room: UploadRoom::new(limits.session_upload_bytes, limits.upload),
        limits,
        meter: RequestMeter::new(Arc::clone(server.metrics()), "reader"),
        pace: server.pace(&call.caller, Some(store_name.as_str())),
        audit: Arc::clone(server.audit()),
        caller: call.caller.clone(),
    };
    let who = call.caller.auth_id().clone();
    let work = |task: TaskHandle| async move {
        let _place = place;
        task.log(format!("starting reader of datastore '{store_name}': \"{snapshot}\""));
        let log = (task.clone(), &who);
        let session = Arc::new(ReaderSession::new(Arc::clone(&server), &store, reader, log));
        tokio::select! {
            () = serve(bounds, upgrade, Arc::clone(&session)) => {}
            () = session.is_in_the_way() => return Err(InTheWay),
            () = task.cancelled() => task.log("stopped by request"),
        }
        task.log("reader finished successfully");
        Ok(())
    };
    call.state.tasks().start(spec, work).map_err(|error| ApiError::failed(&error))?;
    Ok(Reply::switch_to(PROTOCOL))
}

/// Finds the store for a caller who may read the snapshot: any with Datastore.Read, an own one with Datastore.Backup.
///
/// # Errors
/// 400, for lack of privileges too, and then the same whether the store exists or not.
async fn check_access(
    server: &Server,
    caller: &Caller,
    (store_name, ns): (&StoreName, &Namespace),
    snapshot: &SnapshotName,
) -> Result<Arc<Datastore>, ApiError> {
    if place::has_any(caller, store_name, ns, Privileges::DATASTORE_READ) {
        return server.datastore(store_name);
    }
    if !place::has_any(caller, store_name, ns, Privileges::DATASTORE_BACKUP) {
        return Err(ApiError::bad_request(place::denied(store_name, ns).message()));
    }
    let store = server.datastore(store_name)?;
    let owner = store.owner(ns, &snapshot.group).await.map_err(|error| ApiError::failed(&error))?;
    if !owner.is_owned_by(caller.auth_id()) {
        let (group, caller) = (&snapshot.group, caller.auth_id());
        return Err(ApiError::bad_request(format!(
            "owner check of group {group} failed: {owner} is not {caller}"
        )));
    }
    Ok(store)
}

async fn serve(bounds: Bounds, upgrade: OnUpgrade, session: Arc<ReaderSession>) {
    let Ok(Ok(connection)) = tokio::time::timeout(UPGRADE_DEADLINE, upgrade).await else { return };
    let router = Arc::new(Router::new(&[], &[ENDPOINTS]));
    // How the connection ends says nothing: clients just drop it.
    let _ = serve_h2(connection, router, session, bounds).await;
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
