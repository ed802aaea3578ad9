//! Snapshots: list, remove, list the files of one.

use coldkeep_datastore::{BackupId, BackupType};

use super::params::{
    self, BACKUP_ID, BACKUP_ID_OPTIONAL, BACKUP_TIME, BACKUP_TYPE, BACKUP_TYPE_OPTIONAL, NS, STORE,
};
use super::place::Place;
use super::{DELETE, LIST};
use crate::Server;
use crate::api::{Access, ApiError, BodyKind, Call, Endpoint, Method, Reply};
use crate::auth::Privileges;

pub(in crate::api) static ENDPOINTS: &[Endpoint<Server>] = &[
    Endpoint {
        method: Method::Get,
        path: "/admin/datastore/{store}/snapshots",
        doc: "Lists snapshots of a namespace; to callers with Datastore.Backup only those of their own groups.",
        params: &[STORE, NS, BACKUP_TYPE_OPTIONAL, BACKUP_ID_OPTIONAL],
        body: BodyKind::Params,
        access: LIST,
        handler: |call| Box::pin(list(call)),
    },
    Endpoint {
        method: Method::Delete,
        path: "/admin/datastore/{store}/snapshots",
        doc: "Removes a snapshot that is neither protected nor in use.",
        params: &[STORE, NS, BACKUP_TYPE, BACKUP_ID, BACKUP_TIME],
        body: BodyKind::Params,
        access: DELETE,
        handler: |call| Box::pin(forget(call)),
    },
    Endpoint {
        method: Method::Get,
        path: "/admin/datastore/{store}/files",
        doc: "Lists the files of a snapshot, the manifest included.",
        params: &[STORE, NS, BACKUP_TYPE, BACKUP_ID, BACKUP_TIME],
        body: BodyKind::Params,
        access: Access::Datastore {
            full: Privileges::DATASTORE_AUDIT.union(Privileges::DATASTORE_READ),
            own: Privileges::DATASTORE_BACKUP,
        },
        handler: |call| Box::pin(files(call)),
    },
];

async fn list(call: Call<Server>) -> Result<Reply, ApiError> {
    let place = Place::of(&call)?;
    let ty: Option<BackupType> = call.params.find("backup-type")?;
    let id: Option<BackupId> = call.params.find("backup-id")?;
    let listed = place.store.snapshots(&place.ns, ty, id.as_ref()).await;
    let mut snapshots = listed.map_err(|error| ApiError::failed(&error))?;
    snapshots.retain(|snapshot| place.shows(snapshot.owner.as_ref()));
    Reply::json(&snapshots)
}

async fn forget(call: Call<Server>) -> Result<Reply, ApiError> {
    let place = Place::of(&call)?;
    let snapshot = params::snapshot(&call.params)?;
    place.check_owner(&snapshot.group).await?;
    place.store.forget(&place.ns, &snapshot).await.map_err(|error| ApiError::failed(&error))?;
    Ok(Reply::null())
}

async fn files(call: Call<Server>) -> Result<Reply, ApiError> {
    let place = Place::of(&call)?;
    let snapshot = params::snapshot(&call.params)?;
    place.check_owner(&snapshot.group).await?;
    let files = place.store.files(&place.ns, &snapshot).await.map_err(|error| ApiError::failed(&error))?;
    Reply::json(&files)
}
