//! A prune of all groups of a namespace and of those inside it.

use coldkeep_datastore::prune::KeepOptions;
use coldkeep_datastore::{Namespace, StoreName};

use super::Operation;
use crate::Server;
use crate::api::ApiError;
use crate::api::datastore::place;
use crate::auth::{Caller, Privileges};
use crate::prune::PruneJob;

/// Remove the snapshots that no rule keeps. Who has no more than Datastore.Prune prunes their own groups.
#[derive(Debug, Clone)]
pub(crate) struct Prune {
    pub(crate) store: StoreName,
    pub(crate) ns: Namespace,
    pub(crate) max_depth: usize,
    pub(crate) keep: KeepOptions,
    /// Only tell what would be removed.
    pub(crate) dry_run: bool,
}

impl Prune {
    pub(super) fn place(&self) -> String {
        super::place(&self.store, &self.ns)
    }

    pub(super) fn check(&self, caller: &Caller) -> Result<(), ApiError> {
        let any = Privileges::DATASTORE_MODIFY.union(Privileges::DATASTORE_PRUNE);
        place::check_any(caller, &self.store, &self.ns, any)
    }

    pub(super) async fn prepare(&self, server: &Server, caller: &Caller) -> Result<Operation, ApiError> {
        let store = server.datastore(&self.store)?;
        let listed = store.namespaces(&self.ns, self.max_depth).await;
        let listed = listed.map_err(|error| ApiError::failed(&error))?;
        // Deeper entries of the access list replace those above: each namespace for itself.
        let may = |ns: &Namespace, any| place::has_any(caller, &self.store, ns, any);
        let namespaces = listed.into_iter().filter_map(|ns| match () {
            () if may(&ns, Privileges::DATASTORE_MODIFY) => Some((ns, None)),
            () if may(&ns, Privileges::DATASTORE_PRUNE) => Some((ns, Some(caller.auth_id().clone()))),
            () => None,
        });
        let namespaces = namespaces.collect();
        Ok(Operation::Prune(PruneJob { store, namespaces, keep: self.keep, dry_run: self.dry_run }))
    }
}
