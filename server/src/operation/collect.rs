//! A collection.

use coldkeep_datastore::{Namespace, StoreName};

use super::Operation;
use crate::Server;
use crate::api::ApiError;
use crate::api::datastore::place;
use crate::api::nodes::is_on_store;
use crate::auth::{Caller, Privileges};

/// The worker type of collections.
pub(crate) const COLLECT_WORKER: &str = "garbage_collection";

/// Collect the garbage of a datastore.
#[derive(Debug, Clone)]
pub(crate) struct Collect {
    pub(crate) store: StoreName,
    /// Only tell what would be removed.
    pub(crate) dry_run: bool,
    /// Remove so many chunks a second at most.
    pub(crate) delete_rate_max: Option<u32>,
}

impl Collect {
    pub(super) fn check(&self, caller: &Caller) -> Result<(), ApiError> {
        place::check_any(caller, &self.store, &Namespace::root(), Privileges::DATASTORE_MODIFY)
    }

    pub(super) fn prepare(&self, server: &Server) -> Result<Operation, ApiError> {
        let options = server.collect_options(&self.store);
        Ok(Operation::Collect {
            store: server.datastore(&self.store)?,
            options: options.with_dry_run(self.dry_run).with_delete_rate_max(self.delete_rate_max),
        })
    }
}

/// Refuses a second collection of a datastore. Only for a clear answer: that two runs never overlap is the store's own doing.
///
/// # Errors
/// 400.
pub(crate) fn check_none_runs(server: &Server, store: &StoreName) -> Result<(), ApiError> {
    let tasks =
        server.tasks().list().into_iter().filter(|task| task.finished.is_none()).map(|task| task.upid);
    let mut runs =
        tasks.filter(|upid| upid.worker_type == COLLECT_WORKER && is_on_store(upid, store.as_str()));
    match runs.next() {
        Some(upid) => {
            let text = format!("a collection of datastore {store} is running already: {upid}");
            Err(ApiError::bad_request(text))
        }
        None => Ok(()),
    }
}
