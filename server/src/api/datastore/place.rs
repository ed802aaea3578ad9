//! Where a request applies, and whose groups it may touch there.

use std::sync::Arc;

use coldkeep_datastore::{Datastore, GroupName, Namespace, Owner, StoreName};

use super::params;
use crate::Server;
use crate::api::{ApiError, Call, Scope};
use crate::auth::{AclPath, Caller, Privileges};

/// Any privilege that lets a namespace be seen.
pub(super) const SEES_NAMESPACE: Privileges = Privileges::DATASTORE_MODIFY
    .union(Privileges::DATASTORE_READ)
    .union(Privileges::DATASTORE_BACKUP)
    .union(Privileges::DATASTORE_AUDIT);

/// The store and namespace of a request, with the caller and how far their privileges reach.
pub(super) struct Place {
    pub(super) store: Arc<Datastore>,
    pub(super) ns: Namespace,
    pub(super) caller: Owner,
    scope: Scope,
}

impl Place {
    /// Finds the store and reads the namespace.
    ///
    /// # Errors
    /// 400 if there is no such store.
    pub(super) fn of(call: &Call<Server>) -> Result<Self, ApiError> {
        let name: StoreName = call.params.get("store")?;
        Ok(Self {
            store: call.state.datastore(&name)?,
            ns: params::namespace(&call.params)?,
            caller: call.caller.auth_id().clone(),
            scope: call.scope,
        })
    }

    /// Tells whether a listing shows the caller a group of this owner; one whose owner cannot be read it shows nobody (rest-api.md §4.4).
    pub(super) fn shows(&self, owner: Option<&Owner>) -> bool {
        owner.is_some_and(|owner| self.scope == Scope::Full || owner.is_owned_by(&self.caller))
    }

    /// Refuses callers whose privileges reach their own groups only, if this is not one of them.
    ///
    /// # Errors
    /// 400 if it is someone else's, or has no owner.
    pub(super) async fn check_owner(&self, group: &GroupName) -> Result<(), ApiError> {
        if self.scope == Scope::Full { Ok(()) } else { self.check_own(group).await }
    }

    /// Refuses callers whose group it is not, however far their privileges reach.
    ///
    /// # Errors
    /// 400 if it is someone else's, or has no owner.
    pub(super) async fn check_own(&self, group: &GroupName) -> Result<(), ApiError> {
        let owner = self.store.owner(&self.ns, group).await.map_err(|error| ApiError::failed(&error))?;
        if owner.is_owned_by(&self.caller) {
            return Ok(());
        }
        Err(ApiError::bad_request(format!(
            "owner check of group {group} failed: {owner} is not {}",
            self.caller
        )))
    }
}

/// Tells whether the caller has one of `any` at a namespace of a store.
pub(crate) fn has_any(caller: &Caller, store: &StoreName, ns: &Namespace, any: Privileges) -> bool {
    caller.privileges(&AclPath::datastore(store.as_str(), ns.as_str())).has_any(any)
}

/// Refuses callers without one of `any` at a namespace of a store.
///
/// # Errors
/// 403.
pub(crate) fn check_any(
    caller: &Caller,
    store: &StoreName,
    ns: &Namespace,
    any: Privileges,
) -> Result<(), ApiError> {
    if has_any(caller, store, ns, any) { Ok(()) } else { Err(denied(store, ns)) }
}

/// The refusal of callers who lack a privilege; the same whether the place exists or not.
pub(crate) fn denied(store: &StoreName, ns: &Namespace) -> ApiError {
    let path = AclPath::datastore(store.as_str(), ns.as_str());
    ApiError::forbidden(format!("permission check failed on {path}"))
}
