//! A verification.

use std::num::NonZeroU64;

use coldkeep_datastore::{BackupTime, GroupName, Namespace, StoreName};

use super::Operation;
use crate::Server;
use crate::api::ApiError;
use crate::api::datastore::place;
use crate::auth::{Caller, Privileges};
use crate::verify::VerifyJob;

/// Read snapshots back and check every chunk. Who has no more than Datastore.Backup verifies their own groups.
#[derive(Debug, Clone)]
pub(crate) struct Verify {
    pub(crate) store: StoreName,
    pub(crate) ns: Namespace,
    /// Only this group; that it is the caller's if it has to be is checked by whoever asks for it.
    pub(crate) group: Option<GroupName>,
    /// Only its snapshot of this time.
    pub(crate) time: Option<BackupTime>,
    pub(crate) max_depth: usize,
    pub(crate) skips_verified: bool,
    pub(crate) outdated_after_days: Option<i64>,
    /// Chunks that are read and checked at once.
    pub(crate) parallel: usize,
    /// Bytes that are read a second at most.
    pub(crate) rate: Option<NonZeroU64>,
}

impl Verify {
    pub(super) fn place(&self) -> String {
        super::place(&self.store, &self.ns)
    }

    pub(super) fn worker(&self) -> (&'static str, String) {
        let Self { store, ns, .. } = self;
        match (&self.group, self.time) {
            (None, _) => ("verify", self.place()),
            (Some(group), None) => ("verify_group", format!("{store}:{ns}/{group}")),
            (Some(group), Some(time)) => {
                ("verify_snapshot", format!("{store}:{ns}/{group}/{:08X}", time.unix_seconds()))
            }
        }
    }

    pub(super) fn check(&self, caller: &Caller) -> Result<(), ApiError> {
        let any = Privileges::DATASTORE_VERIFY.union(Privileges::DATASTORE_BACKUP);
        place::check_any(caller, &self.store, &self.ns, any)
    }

    pub(super) fn prepare(&self, server: &Server, caller: &Caller) -> Result<Operation, ApiError> {
        let verifies_all = place::has_any(caller, &self.store, &self.ns, Privileges::DATASTORE_VERIFY);
        let needed = if verifies_all { Privileges::DATASTORE_VERIFY } else { Privileges::DATASTORE_BACKUP };
        let (who, name) = (caller.clone(), self.store.clone());
        Ok(Operation::Verify(VerifyJob {
            store: server.datastore(&self.store)?,
            ns: self.ns.clone(),
            may_verify: Box::new(move |ns| place::has_any(&who, &name, ns, needed)),
            max_depth: self.max_depth,
            group: self.group.clone(),
            time: self.time,
            owner: (!verifies_all).then(|| caller.auth_id().clone()),
            skips_verified: self.skips_verified,
            outdated_after_days: self.outdated_after_days,
            parallel: self.parallel,
            rate: self.rate,
        }))
    }
}
