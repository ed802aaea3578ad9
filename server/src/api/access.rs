//! `/access`: logging in and out, and what one may do (rest-api.md 2).

use std::collections::BTreeMap;

use http::header::{HeaderValue, SET_COOKIE};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Access, ApiError, BodyKind, Call, Endpoint, Kind, Method, Param, Reply};
use crate::Server;
use crate::auth::{AclPath, AuthId, Login, PASSWORD_BYTES_MAX, Privileges};

/// The path on which others' rights can be seen.
const ACCESS_PATH: &str = "/access";
const SHORT_TEXT: Kind = Kind::Text { bytes_max: 256 };
/// The cookie that browsers and newer clients keep, with everything that protects it.
const COOKIE: &str = "__Host-PBSAuthCookie";
const COOKIE_RULES: &str = "Secure; SameSite=Lax; HttpOnly; Path=/;";

pub(super) static ENDPOINTS: &[Endpoint<Server>] = &[
    Endpoint {
        method: Method::Post,
        path: "/access/ticket",
        doc: "Logs in; returns a ticket that is good for two hours, and the CSRF token that goes with it.",
        params: &[
            Param::required("username", Kind::name::<AuthId>("user id"), "The user, `name@realm`."),
            Param::required(
                "password",
                Kind::Text { bytes_max: PASSWORD_BYTES_MAX },
                "The password, or a ticket that is still good.",
            )
            .secret(),
            Param::with_default(
                "http-only",
                Kind::Boolean,
                "false",
                "Put the ticket into a cookie that scripts cannot read.",
            ),
            Param::optional(
                "tfa-challenge",
                Kind::Text { bytes_max: 4096 },
                "Ignored: there is no second factor.",
            )
            .secret(),
            Param::optional("path", SHORT_TEXT, "Ignored: there are no terminals."),
            Param::optional("privs", SHORT_TEXT, "Ignored: there are no terminals."),
            Param::optional("port", Kind::Integer { min: 0, max: 65535 }, "Ignored: there are no terminals."),
        ],
        body: BodyKind::Params,
        access: Access::Anyone,
        handler: |call| Box::pin(log_in(call)),
    },
    Endpoint {
        method: Method::Delete,
        path: "/access/ticket",
        doc: "Logs out: clears the cookie.",
        params: &[],
        body: BodyKind::Params,
        access: Access::Anyone,
        handler: |_| {
            Box::pin(async { Ok(Reply::null().with_header(SET_COOKIE, cookie("", "Max-Age=0; ")?)) })
        },
    },
    Endpoint {
        method: Method::Get,
        path: "/access/permissions",
        doc: "Lists paths with the privileges there; each is true if it holds below the path too. Those of others need Sys.Audit on /access.",
        params: &[
            Param::optional(
                "auth-id",
                Kind::name::<AuthId>("user or token"),
                "Whose; default: the caller's.",
            ),
            Param::optional("path", Kind::name::<AclPath>("access path"), "Only this path."),
        ],
        body: BodyKind::Params,
        access: Access::Authenticated,
        handler: |call| Box::pin(permissions(call)),
    },
];

async fn log_in(call: Call<Server>) -> Result<Reply, ApiError> {
    let user: AuthId = call.params.get("username")?;
    let password = Zeroizing::new(call.params.get::<String>("password")?);
    let login = call.state.authenticator().log_in(&user, password, call.caller.peer()).await;
    let Login { user, ticket, csrf_token } = login?;
    if !call.params.get::<bool>("http-only")? {
        let data = json!({"username": user, "ticket": ticket, "CSRFPreventionToken": csrf_token});
        return Ok(Reply::json_with(&data, &beside_login())?.to_login_of(user));
    }
    let unsigned = ticket.rsplit_once("::").map_or("", |(text, _)| text);
    let data =
        json!({"username": user, "ticket-info": format!("{unsigned}::"), "CSRFPreventionToken": csrf_token});
    let reply = Reply::json_with(&data, &beside_login())?;
    Ok(reply.with_header(SET_COOKIE, cookie(&ticket, "")?).to_login_of(user))
}

/// What stands beside the data of a login, as servers of 4.x have it.
fn beside_login() -> [(&'static str, Value); 2] {
    [("status", 200.into()), ("success", true.into())]
}

fn cookie(ticket: &str, extra: &str) -> Result<HeaderValue, ApiError> {
    let value = HeaderValue::from_str(&format!("{COOKIE}={ticket}; {extra}{COOKIE_RULES}"));
    value.map_err(|error| ApiError::failed(&error))
}

async fn permissions(call: Call<Server>) -> Result<Reply, ApiError> {
    let caller = call.caller.auth_id();
    let who = call.params.find("auth-id")?.unwrap_or_else(|| caller.clone());
    let is_own = who == *caller || who.without_token() == *caller;
    let access_path: AclPath = ACCESS_PATH.parse().map_err(|error| ApiError::failed(&error))?;
    if !is_own && !call.caller.privileges(&access_path).has_any(Privileges::SYS_AUDIT) {
        return Err(ApiError::forbidden(format!("permission check failed on {ACCESS_PATH}")));
    }
    let acl = call.state.identities().acl();
    let paths = match call.params.find::<AclPath>("path")? {
        Some(path) => [path].into(),
        None => acl.paths_of(&who),
    };
    let mut listed = BTreeMap::new();
    for path in paths {
        let (here, below) = acl.both(&who, &path);
        if !here.is_empty() {
            let privileges: BTreeMap<_, _> = here.each().map(|one| (one.1, below.has_any(one.0))).collect();
            listed.insert(path.to_string(), privileges);
        }
    }
    Reply::json(&listed)
}
