//! Pulls and pushes.

use coldkeep_client::Store;
use coldkeep_datastore::{Namespace, RemoteName, StoreName};

use super::Operation;
use crate::Server;
use crate::api::ApiError;
use crate::api::datastore::place;
use crate::auth::{AclPath, AuthId, Caller, Privileges};
use crate::sync::{May, PullJob, PushJob, Reach, SyncJob, SyncOptions};

/// Copy groups of another server into a datastore here.
#[derive(Debug, Clone)]
pub(crate) struct Pull {
    pub(crate) store: StoreName,
    pub(crate) ns: Namespace,
    pub(crate) remote: RemoteName,
    pub(crate) remote_store: StoreName,
    pub(crate) remote_ns: Namespace,
    /// Who is to own the groups; none for the caller.
    pub(crate) owner: Option<AuthId>,
    /// Whether chunks that the datastore has are used without being fetched.
    pub(crate) trusts_remote: bool,
    pub(crate) options: SyncOptions,
}

/// Copy groups of a datastore here to another server.
#[derive(Debug, Clone)]
pub(crate) struct Push {
    pub(crate) store: StoreName,
    pub(crate) ns: Namespace,
    pub(crate) remote: RemoteName,
    pub(crate) remote_store: StoreName,
    pub(crate) remote_ns: Namespace,
    pub(crate) options: SyncOptions,
}

impl Pull {
    pub(super) fn places(&self) -> String {
        format!("{}:{}:{}:{}", self.remote, self.remote_store, self.store, self.ns)
    }

    pub(super) fn check(&self, caller: &Caller) -> Result<(), ApiError> {
        place::check_any(caller, &self.store, &self.ns, Privileges::DATASTORE_BACKUP)?;
        check_remote(caller, (&self.remote, &self.remote_store), Privileges::REMOTE_READ)?;
        if self.options.removes_vanished {
            place::check_any(caller, &self.store, &self.ns, Privileges::DATASTORE_PRUNE)?;
        }
        if self.trusts_remote {
            // Its chunks are those of all namespaces (R17).
            place::check_any(caller, &self.store, &Namespace::root(), Privileges::DATASTORE_MODIFY)?;
        }
        if self.owner.as_ref().is_some_and(|owner| owner != caller.auth_id()) {
            place::check_any(caller, &self.store, &self.ns, Privileges::DATASTORE_MODIFY)?;
        }
        Ok(())
    }

    pub(super) fn prepare(&self, server: &Server, caller: &Caller) -> Result<Operation, ApiError> {
        let owner = self.owner.as_ref().unwrap_or(caller.auth_id());
        if owner != caller.auth_id() {
            server.check_owner_exists(owner)?;
        }
        let (source, _) = connect(server, &self.remote, (&self.remote_store, &self.remote_ns))?;
        Ok(Operation::Sync(Box::new(SyncJob::Pull(PullJob {
            store: server.datastore(&self.store)?,
            ns: self.ns.clone(),
            source,
            owner: owner.clone(),
            trusts_remote: self.trusts_remote,
            options: self.options.clone(),
            may: may(caller, &self.store),
        }))))
    }
}

impl Push {
    pub(super) fn places(&self) -> String {
        format!("{}:{}:{}:{}", self.store, self.ns, self.remote, self.remote_store)
    }

    pub(super) fn check(&self, caller: &Caller) -> Result<(), ApiError> {
        let any = Privileges::DATASTORE_READ.union(Privileges::DATASTORE_BACKUP);
        place::check_any(caller, &self.store, &self.ns, any)?;
        let there = (&self.remote, &self.remote_store);
        check_remote(caller, there, Privileges::REMOTE_DATASTORE_BACKUP)?;
        if self.options.removes_vanished {
            check_remote(caller, there, Privileges::REMOTE_DATASTORE_PRUNE)?;
        }
        Ok(())
    }

    pub(super) async fn prepare(&self, server: &Server, caller: &Caller) -> Result<Operation, ApiError> {
        let Self { store, ns, remote, remote_store, remote_ns, options } = self;
        let may_modify = caller.has_on_remote(remote, remote_store, Privileges::REMOTE_DATASTORE_MODIFY);
        let (target, there_as) = connect(server, remote, (remote_store, remote_ns))?;
        let datastore = server.datastore(store)?;
        let depth = options.max_depth.unwrap_or(Namespace::DEPTH_MAX);
        let listed = datastore.namespaces(ns, depth).await.map_err(|error| ApiError::failed(&error))?;
        // Deeper entries of the access list replace those above: each namespace for itself.
        let may = |ns: &Namespace, any| place::has_any(caller, store, ns, any);
        let reach = |ns: &Namespace| {
            if may(ns, Privileges::DATASTORE_READ) {
                Reach::All
            } else if may(ns, Privileges::DATASTORE_BACKUP) {
                Reach::Own(caller.auth_id().clone())
            } else {
                Reach::Nothing
            }
        };
        let namespaces =
            listed.into_iter().map(|ns| (reach(&ns), ns)).map(|(reach, ns)| (ns, reach)).collect();
        let (ns, options) = (ns.clone(), options.clone());
        let job = PushJob { store: datastore, namespaces, ns, target, there_as, may_modify, options };
        Ok(Operation::Sync(Box::new(SyncJob::Push(job))))
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

/// Returns a namespace of a remote, and who this server is there.
fn connect(
    server: &Server,
    remote: &RemoteName,
    (store, ns): (&StoreName, &Namespace),
) -> Result<(Store, String), ApiError> {
    let remote = server.remotes().get(remote).map_err(|error| ApiError::failed(&error))?;
    Ok((remote.client().store(store.clone(), ns.clone()), remote.auth_id.to_string()))
}

fn may(caller: &Caller, store: &StoreName) -> May {
    let (caller, store) = (caller.clone(), store.clone());
    Box::new(move |ns, any| place::has_any(&caller, &store, ns, any))
}
