//! Notes and protection.

use super::LIST;
use super::params::{self, BACKUP_ID, BACKUP_TIME, BACKUP_TYPE, NS, STORE};
use super::place::Place;
use crate::Server;
use crate::api::{Access, ApiError, BodyKind, Call, Endpoint, Kind, Method, Param, Reply};
use crate::auth::Privileges;

/// Longest notes, in bytes: a query may have about 3 KiB, a body 512 KiB; manifests should stay small.
const NOTES_BYTES_MAX: usize = 64 * 1024;

const NOTES: Param =
    Param::required("notes", Kind::Text { bytes_max: NOTES_BYTES_MAX }, "The notes, of several lines.");
const CHANGE: Access =
    Access::Datastore { full: Privileges::DATASTORE_MODIFY, own: Privileges::DATASTORE_BACKUP };

pub(in crate::api) static ENDPOINTS: &[Endpoint<Server>] = &[
    Endpoint {
        method: Method::Get,
        path: "/admin/datastore/{store}/notes",
        doc: "Returns the notes of a snapshot; empty if there are none.",
        params: &[STORE, NS, BACKUP_TYPE, BACKUP_ID, BACKUP_TIME],
        body: BodyKind::Params,
        access: LIST,
        handler: |call| Box::pin(notes(call)),
    },
    Endpoint {
        method: Method::Put,
        path: "/admin/datastore/{store}/notes",
        doc: "Replaces the notes of a snapshot.",
        params: &[STORE, NS, BACKUP_TYPE, BACKUP_ID, BACKUP_TIME, NOTES],
        body: BodyKind::Params,
        access: CHANGE,
        handler: |call| Box::pin(set_notes(call)),
    },
    Endpoint {
        method: Method::Get,
        path: "/admin/datastore/{store}/group-notes",
        doc: "Returns the notes of a group; empty if there are none.",
        params: &[STORE, NS, BACKUP_TYPE, BACKUP_ID],
        body: BodyKind::Params,
        access: LIST,
        handler: |call| Box::pin(group_notes(call)),
    },
    Endpoint {
        method: Method::Put,
        path: "/admin/datastore/{store}/group-notes",
        doc: "Replaces the notes of a group.",
        params: &[STORE, NS, BACKUP_TYPE, BACKUP_ID, NOTES],
        body: BodyKind::Params,
        access: CHANGE,
        handler: |call| Box::pin(set_group_notes(call)),
    },
    Endpoint {
        method: Method::Get,
        path: "/admin/datastore/{store}/protected",
        doc: "Tells whether a snapshot is protected from removal.",
        params: &[STORE, NS, BACKUP_TYPE, BACKUP_ID, BACKUP_TIME],
        body: BodyKind::Params,
        access: LIST,
        handler: |call| Box::pin(protected(call)),
    },
    Endpoint {
        method: Method::Put,
        path: "/admin/datastore/{store}/protected",
        doc: "Protects a snapshot from removal, or no longer.",
        params: &[
            STORE,
            NS,
            BACKUP_TYPE,
            BACKUP_ID,
            BACKUP_TIME,
            Param::required("protected", Kind::Boolean, "Whether the snapshot is protected."),
        ],
        body: BodyKind::Params,
        access: CHANGE,
        handler: |call| Box::pin(set_protected(call)),
    },
];

async fn notes(call: Call<Server>) -> Result<Reply, ApiError> {
    let (place, snapshot) = (Place::of(&call)?, params::snapshot(&call.params)?);
    place.check_owner(&snapshot.group).await?;
    let notes = place.store.notes(&place.ns, &snapshot).await.map_err(|error| ApiError::failed(&error))?;
    Reply::json(&notes)
}

async fn set_notes(call: Call<Server>) -> Result<Reply, ApiError> {
    let (place, snapshot) = (Place::of(&call)?, params::snapshot(&call.params)?);
    place.check_owner(&snapshot.group).await?;
    let text: String = call.params.get("notes")?;
    place.store.set_notes(&place.ns, &snapshot, &text).await.map_err(|error| ApiError::failed(&error))?;
    Ok(Reply::null())
}

async fn group_notes(call: Call<Server>) -> Result<Reply, ApiError> {
    let (place, group) = (Place::of(&call)?, params::group(&call.params)?);
    place.check_owner(&group).await?;
    let notes = place.store.group_notes(&place.ns, &group).await.map_err(|error| ApiError::failed(&error))?;
    Reply::json(&notes)
}

async fn set_group_notes(call: Call<Server>) -> Result<Reply, ApiError> {
    let (place, group) = (Place::of(&call)?, params::group(&call.params)?);
    place.check_owner(&group).await?;
    let text: String = call.params.get("notes")?;
    place.store.set_group_notes(&place.ns, &group, &text).await.map_err(|error| ApiError::failed(&error))?;
    Ok(Reply::null())
}

async fn protected(call: Call<Server>) -> Result<Reply, ApiError> {
    let (place, snapshot) = (Place::of(&call)?, params::snapshot(&call.params)?);
    place.check_owner(&snapshot.group).await?;
    let protected =
        place.store.is_protected(&place.ns, &snapshot).await.map_err(|error| ApiError::failed(&error))?;
    Reply::json(&protected)
}

async fn set_protected(call: Call<Server>) -> Result<Reply, ApiError> {
    let (place, snapshot) = (Place::of(&call)?, params::snapshot(&call.params)?);
    place.check_owner(&snapshot.group).await?;
    let protected: bool = call.params.get("protected")?;
    let changed = place.store.set_protected(&place.ns, &snapshot, protected).await;
    changed.map_err(|error| ApiError::failed(&error))?;
    Ok(Reply::null())
}
