//! Users, tokens, roles and the access list: what lies below `/config` of them, and the list of users below `/access`
//! (rest-api.md §2.3).

mod acl;
mod tokens;
mod users;

pub(super) use acl::ENDPOINTS as ACL;
pub(super) use tokens::ENDPOINTS as TOKENS;
pub(super) use users::ENDPOINTS as USERS;

use super::{ApiError, Kind, Param, Params};
use crate::Server;
use crate::auth::{AclPath, AuthId, Caller, UserId, is_root};
use crate::state::{IdentityFacts, IdentityProperty, IdentityUpdate};

/// Longest comment.
const COMMENT_BYTES_MAX: usize = 512;
/// The end of the year 9999: later dates cannot be shown.
const EXPIRE_MAX: i64 = 253_402_300_799;

/// Most jobs that a refusal names.
const JOBS_NAMED_MAX: usize = 10;

const USER: Param = Param::required("userid", Kind::name::<UserId>("user id"), "The user, `name@realm`.");
const ENABLE_KIND: Kind = Kind::Boolean;
const ENABLE: &str = "Whether it may be used.";
const EXPIRE: Param = Param::optional(
    "expire",
    Kind::Integer { min: 0, max: EXPIRE_MAX },
    "When it stops being valid, in seconds since the Unix epoch; 0 is never.",
);
const COMMENT: Param = Param::optional("comment", Kind::Text { bytes_max: COMMENT_BYTES_MAX }, "Free text.");
const DELETE: Param = Param::optional(
    "delete",
    Kind::List(&Kind::name::<IdentityProperty>("property")),
    "What is unset before the rest is set: `comment`, `expire`.",
);

/// Takes what is said of a new user or token.
fn facts(params: &Params) -> Result<IdentityFacts, ApiError> {
    Ok(IdentityFacts {
        enabled: params.get("enable")?,
        expire_at: params.find("expire")?.filter(|at| *at != 0),
        comment: params.text("comment").filter(|text| !text.is_empty()).map(str::to_owned),
    })
}

/// Takes what changes of a user or token.
fn update(params: &Params) -> Result<IdentityUpdate, ApiError> {
    Ok(IdentityUpdate {
        password: params.find::<String>("password")?.map(Into::into),
        enabled: params.find("enable")?,
        expire_at: params.find("expire")?,
        comment: params.find("comment")?,
        delete: params.list("delete")?,
    })
}

fn user_of(params: &Params) -> Result<AuthId, ApiError> {
    Ok(params.get::<UserId>("userid")?.into_auth_id())
}

/// Tells whether a user or token is the caller, a token of theirs, or the user whose token calls.
fn is_self(caller: &Caller, who: &AuthId) -> bool {
    let caller = caller.auth_id();
    who == caller || who.without_token() == *caller || *who == caller.without_token()
}

/// Refuses to let anybody but `root@pam` itself change `root@pam` or its tokens: whoever could, would have everything.
fn check_root(caller: &Caller, user: &AuthId) -> Result<(), ApiError> {
    if is_root(user) && !is_root(caller.auth_id()) {
        return Err(ApiError::forbidden("root@pam and its tokens are managed by root@pam alone"));
    }
    Ok(())
}

/// Refuses to remove a user or token that jobs run as: each run would fail, and those of a later user of that name would not. A job that
/// is added meanwhile stays behind; see [`check_unclaimed`].
fn check_no_jobs(server: &Server, who: &AuthId) -> Result<(), ApiError> {
    let is_of = |job: &AuthId| if who.token().is_some() { job == who } else { job.user() == who.user() };
    let jobs = server.jobs().list();
    let jobs: Vec<_> = jobs.iter().filter(|job| is_of(&job.run_as)).map(|job| job.id.as_str()).collect();
    if jobs.is_empty() {
        return Ok(());
    }
    let named = jobs[..jobs.len().min(JOBS_NAMED_MAX)].join(", ");
    let more = if jobs.len() > JOBS_NAMED_MAX { ", …" } else { "" };
    Err(ApiError::bad_request(format!(
        "jobs run as {who}: {named}{more}; remove them or have them run as another first"
    )))
}

/// Refuses to make a user or token that jobs run as already, left by one of that name that was removed.
fn check_unclaimed(server: &Server, who: &AuthId) -> Result<(), ApiError> {
    if server.identities().exists(who) { Ok(()) } else { check_no_jobs(server, who) }
}

fn denied(path: &AclPath) -> ApiError {
    ApiError::forbidden(format!("permission check failed on {path}"))
}
