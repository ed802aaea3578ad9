//! Who may see, change and run jobs.

use coldkeep_client::JobKind;
use coldkeep_datastore::Namespace;

use crate::Server;
use crate::api::datastore::place;
use crate::api::{ApiError, Params};
use crate::auth::{AclPath, Caller, Privileges};
use crate::jobs::{Job, WebhookUrl};

/// Where the right to have jobs run as others is looked up.
const ACL_PATH: &str = "/access/acl";
/// Where the right to have the server send something to any address is looked up.
const SYSTEM_PATH: &str = "/system";

/// Tells whether the caller may see a job.
pub(super) fn sees(caller: &Caller, job: &Job) -> bool {
    place::has_any(caller, &job.store, &namespace(job), Privileges::DATASTORE_AUDIT)
}

/// Tells whether the caller sees the jobs of all datastores, and so may know that there is none of some id.
pub(super) fn sees_all(caller: &Caller) -> bool {
    "/datastore".parse().is_ok_and(|path| caller.privileges(&path).has_any(Privileges::DATASTORE_AUDIT))
}

/// Refuses callers without the first right that the kind of a job asks for.
pub(super) fn check_kind(caller: &Caller, job: &Job) -> Result<(), ApiError> {
    let any = match job.kind {
        JobKind::Gc | JobKind::Prune => Privileges::DATASTORE_MODIFY,
        JobKind::Verify => Privileges::DATASTORE_VERIFY,
        JobKind::Pull => Privileges::DATASTORE_BACKUP,
        JobKind::Push => Privileges::DATASTORE_READ.union(Privileges::DATASTORE_BACKUP),
    };
    place::check_any(caller, &job.store, &namespace(job), any)
}

/// Refuses callers who may not have done by hand what a job does.
pub(super) fn check_rights(caller: &Caller, job: &Job) -> Result<(), ApiError> {
    check_kind(caller, job)?;
    job.request().map_err(|error| ApiError::failed(&error))?.check(caller)
}

/// Refuses callers who may not have a job as it is to be. Whoever decides what it does must be able to act as whom it runs: else
/// they could do with another's rights what they may not do with theirs.
pub(super) fn check_change(server: &Server, caller: &Caller, job: &Job) -> Result<(), ApiError> {
    check_rights(caller, job)?;
    if job.run_as.is_owned_by(caller.auth_id()) || has(caller, ACL_PATH, Privileges::PERMISSIONS_MODIFY) {
        return if job.run_as == *caller.auth_id() { Ok(()) } else { server.check_owner_exists(&job.run_as) };
    }
    let text = format!("permission check failed on {ACL_PATH}: the job runs as {}", job.run_as);
    Err(ApiError::forbidden(text))
}

/// Refuses callers who name a URL and may not have the server send something anywhere.
pub(super) fn check_notify(caller: &Caller, params: &Params) -> Result<(), ApiError> {
    let names_one = params.text("notify-url").is_some() || params.text("notify-secret").is_some();
    if !names_one || has(caller, SYSTEM_PATH, Privileges::SYS_MODIFY) {
        return Ok(());
    }
    Err(ApiError::forbidden(format!("permission check failed on {SYSTEM_PATH}")))
}

/// Returns what the caller may see of a URL: all of it if they may set it, else not the path, which often is a secret.
pub(super) fn shown_url(caller: &Caller, url: &WebhookUrl) -> String {
    if has(caller, SYSTEM_PATH, Privileges::SYS_MODIFY) { url.to_string() } else { url.origin() }
}

fn has(caller: &Caller, path: &str, any: Privileges) -> bool {
    path.parse::<AclPath>().is_ok_and(|path| caller.privileges(&path).has_any(any))
}

fn namespace(job: &Job) -> Namespace {
    job.options.ns.clone().unwrap_or_default()
}
