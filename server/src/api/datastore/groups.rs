//! Groups: list, remove, change the owner.

use coldkeep_datastore::Owner;
use http::StatusCode;

use super::params::{self, BACKUP_ID, BACKUP_TYPE, NS, STORE};
use super::place::Place;
use super::{DELETE, LIST};
use crate::Server;
use crate::api::{Access, ApiError, BodyKind, Call, Endpoint, Kind, Method, Param, Reply, Scope};
use crate::auth::Privileges;

/// Whether protected snapshots that were kept make a removal fail.
pub(super) const ERROR_ON_PROTECTED: Param = Param::with_default(
    "error-on-protected",
    Kind::Boolean,
    "true",
    "Whether protected snapshots, which are always kept, make the call fail after the rest was removed.",
);

pub(in crate::api) static ENDPOINTS: &[Endpoint<Server>] = &[
    Endpoint {
        method: Method::Get,
        path: "/admin/datastore/{store}/groups",
        doc: "Lists the groups of a namespace; to callers with Datastore.Backup only their own.",
        params: &[STORE, NS],
        body: BodyKind::Params,
        access: LIST,
        handler: |call| Box::pin(list(call)),
    },
    Endpoint {
        method: Method::Delete,
        path: "/admin/datastore/{store}/groups",
        doc: "Removes a group with its snapshots; returns what was removed.",
        params: &[STORE, NS, BACKUP_TYPE, BACKUP_ID, ERROR_ON_PROTECTED],
        body: BodyKind::Params,
        access: DELETE,
        handler: |call| Box::pin(forget(call)),
    },
    Endpoint {
        method: Method::Post,
        path: "/admin/datastore/{store}/change-owner",
        doc: "Gives a group to another owner. With Datastore.Backup only between a user and its own tokens.",
        params: &[
            STORE,
            NS,
            BACKUP_TYPE,
            BACKUP_ID,
            Param::required("new-owner", Kind::name::<Owner>("user or token"), "The new owner."),
        ],
        body: BodyKind::Params,
        access: Access::Datastore { full: Privileges::DATASTORE_MODIFY, own: Privileges::DATASTORE_BACKUP },
        handler: |call| Box::pin(change_owner(call)),
    },
];

async fn list(call: Call<Server>) -> Result<Reply, ApiError> {
    let place = Place::of(&call)?;
    let mut groups = place.store.groups(&place.ns).await.map_err(|error| ApiError::failed(&error))?;
    groups.retain(|group| place.shows(group.owner.as_ref()));
    Reply::json(&groups)
}

async fn forget(call: Call<Server>) -> Result<Reply, ApiError> {
    let place = Place::of(&call)?;
    let group = params::group(&call.params)?;
    place.check_owner(&group).await?;
    let forgotten = place.store.forget_group(&place.ns, &group, call.params.get("error-on-protected")?).await;
    let stats = forgotten.map_err(|error| {
        let refusal = ApiError::failed(&error);
        // Stock clients recognise a missing group by this text (rest-api.md §4.1).
        let text = format!("{}: ENOENT: No such file or directory", refusal.message());
        if error.is_not_found() { ApiError::bad_request(text) } else { refusal }
    })?;
    Reply::json(&stats)
}

async fn change_owner(call: Call<Server>) -> Result<Reply, ApiError> {
    let place = Place::of(&call)?;
    let group = params::group(&call.params)?;
    let new_owner: Owner = call.params.get("new-owner")?;
    if call.scope == Scope::Own {
        let owner = place.store.owner(&place.ns, &group).await.map_err(|error| ApiError::failed(&error))?;
        if !may_hand_over(&place.caller, &owner, &new_owner) {
            let caller = &place.caller;
            let text = format!("{caller} may not give group {group} of {owner} to {new_owner}");
            return Err(ApiError::new(StatusCode::UNAUTHORIZED, text));
        }
    }
    call.state.check_owner_exists(&new_owner)?;
    let changed = place.store.change_owner(&place.ns, &group, &new_owner).await;
    changed.map_err(|error| ApiError::failed(&error))?;
    Ok(Reply::null())
}

/// Tells whether a caller who may only back up may do this: a user may move groups between itself and its tokens.
fn may_hand_over(caller: &Owner, owner: &Owner, new_owner: &Owner) -> bool {
    caller.token().is_none() && caller.user() == owner.user() && caller.user() == new_owner.user()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_moves_groups_only_between_itself_and_its_tokens() {
        let may = |caller: &str, owner: &str, new_owner: &str| {
            may_hand_over(&caller.parse().unwrap(), &owner.parse().unwrap(), &new_owner.parse().unwrap())
        };
        assert!(may("al@pbs", "al@pbs!ci1", "al@pbs"));
        assert!(may("al@pbs", "al@pbs", "al@pbs!ci1"));
        assert!(may("al@pbs", "al@pbs!ci1", "al@pbs!ci2"));
        assert!(!may("al@pbs!ci1", "al@pbs", "al@pbs!ci1"));
        assert!(!may("al@pbs", "bo@pbs", "al@pbs"));
        assert!(!may("al@pbs", "al@pbs", "bo@pbs"));
    }
}
