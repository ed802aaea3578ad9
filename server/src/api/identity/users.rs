//! Users: `/config/user`, and `/access/users` for the completion of shells.

use coldkeep_client::{TokenItem, UserItem};

use super::{
    COMMENT, DELETE, ENABLE, ENABLE_KIND, EXPIRE, USER, check_no_jobs, check_root, check_unclaimed, denied,
    facts, is_self, tokens, update, user_of,
};
use crate::Server;
use crate::api::{Access, ApiError, BodyKind, Call, Endpoint, Kind, Method, Param, Reply, Scope};
use crate::auth::{AclPath, PASSWORD_BYTES_MAX, Privileges};
use crate::state::User;

const PASSWORD_KIND: Kind = Kind::Text { bytes_max: PASSWORD_BYTES_MAX };
/// Where users are managed, as the access list writes it.
const USERS_PATH: &str = "/access/users";

pub(in crate::api) static ENDPOINTS: &[Endpoint<Server>] = &[
    Endpoint {
        method: Method::Get,
        path: "/access/users",
        doc: "Lists the users, by name; without Sys.Audit on /access/users only the caller.",
        params: &[Param::with_default("include_tokens", Kind::Boolean, "false", "Add the tokens of each.")],
        body: BodyKind::Params,
        access: Access::Authenticated,
        handler: |call| Box::pin(list_with_tokens(call)),
    },
    Endpoint {
        method: Method::Get,
        path: "/config/user",
        doc: "Lists the users, by name; without Sys.Audit on /access/users only the caller.",
        params: &[],
        body: BodyKind::Params,
        access: Access::Authenticated,
        handler: |call| Box::pin(list(call)),
    },
    Endpoint {
        method: Method::Post,
        path: "/config/user",
        doc: "Adds a user, who has no rights yet.",
        params: &[
            USER,
            Param::required("password", PASSWORD_KIND, "The password, of at least 8 bytes.").secret(),
            Param::with_default("enable", ENABLE_KIND, "true", ENABLE),
            EXPIRE,
            COMMENT,
        ],
        body: BodyKind::Params,
        access: Access::At { path: USERS_PATH, any: Privileges::PERMISSIONS_MODIFY },
        handler: |call| Box::pin(add(call)),
    },
    Endpoint {
        method: Method::Get,
        path: "/config/user/{userid}",
        doc: "Returns a user; everybody may see themselves.",
        params: &[USER],
        body: BodyKind::Params,
        access: Access::User { others: Privileges::SYS_AUDIT },
        handler: |call| Box::pin(show(call)),
    },
    Endpoint {
        method: Method::Put,
        path: "/config/user/{userid}",
        doc: "Changes a user; everybody may set their own password. Only root@pam changes root@pam. Tickets handed out before stay good until they expire, unless the user is disabled.",
        params: &[
            USER,
            Param::optional("password", PASSWORD_KIND, "A new password, of at least 8 bytes.").secret(),
            Param::optional("enable", ENABLE_KIND, ENABLE),
            EXPIRE,
            COMMENT,
            DELETE,
        ],
        body: BodyKind::Params,
        access: Access::User { others: Privileges::PERMISSIONS_MODIFY },
        handler: |call| Box::pin(change(call)),
    },
    Endpoint {
        method: Method::Delete,
        path: "/config/user/{userid}",
        doc: "Removes a user with all tokens and rights; backups stay, with their owner's name. Refused while jobs run as the user or a token.",
        params: &[USER],
        body: BodyKind::Params,
        access: Access::At { path: USERS_PATH, any: Privileges::PERMISSIONS_MODIFY },
        handler: |call| Box::pin(remove(call)),
    },
];

async fn list(call: Call<Server>) -> Result<Reply, ApiError> {
    Reply::json(&seen(&call).iter().map(item).collect::<Vec<_>>())
}

async fn list_with_tokens(call: Call<Server>) -> Result<Reply, ApiError> {
    let mut items: Vec<UserItem> = seen(&call).iter().map(item).collect();
    let with_tokens: bool = call.params.get("include_tokens")?;
    if with_tokens {
        let is_seen = |token: &&crate::state::Token| sees_all(&call) || is_self(&call.caller, &token.token);
        let tokens = call.state.identities().tokens();
        for item in &mut items {
            let of_user = tokens.iter().filter(|token| token.token.user() == item.userid).filter(is_seen);
            item.tokens = Some(of_user.map(tokens::item).collect::<Vec<TokenItem>>());
        }
    }
    Reply::json(&items)
}

async fn add(call: Call<Server>) -> Result<Reply, ApiError> {
    let params = &call.params;
    let (user, password) = (user_of(params)?, params.get::<String>("password")?);
    check_unclaimed(&call.state, &user)?;
    let added = call.state.identities().add_user_with(user, password.into(), facts(params)?).await;
    added.map_err(|error| ApiError::failed(&error))?;
    Ok(Reply::null())
}

async fn show(call: Call<Server>) -> Result<Reply, ApiError> {
    let user = call.state.identities().user(&user_of(&call.params)?);
    Reply::json(&item(&user.map_err(|error| ApiError::failed(&error))?))
}

async fn change(call: Call<Server>) -> Result<Reply, ApiError> {
    let (user, update) = (user_of(&call.params)?, update(&call.params)?);
    check_root(&call.caller, &user)?;
    let is_more_than_password = update.enabled.is_some()
        || update.expire_at.is_some()
        || update.comment.is_some()
        || !update.delete.is_empty();
    if call.scope == Scope::Own && is_more_than_password {
        return Err(denied(&AclPath::users()));
    }
    let changed = call.state.identities().update_user(&user, update).await;
    changed.map_err(|error| ApiError::failed(&error))?;
    Ok(Reply::null())
}

async fn remove(call: Call<Server>) -> Result<Reply, ApiError> {
    let user = user_of(&call.params)?;
    check_no_jobs(&call.state, &user)?;
    let removed = call.state.identities().remove_user(&user).await;
    removed.map_err(|error| ApiError::failed(&error))?;
    Ok(Reply::null())
}

/// Lists the users that the caller may see.
fn seen(call: &Call<Server>) -> Vec<User> {
    let mut users = call.state.identities().users();
    if !sees_all(call) {
        users.retain(|user| is_self(&call.caller, &user.user));
    }
    users
}

fn sees_all(call: &Call<Server>) -> bool {
    call.caller.privileges(&AclPath::users()).has_any(Privileges::SYS_AUDIT)
}

/// Returns what may be told of a user: all but the password.
fn item(user: &User) -> UserItem {
    UserItem {
        userid: user.user.to_string(),
        enable: user.enabled,
        expire: user.expire_at.unwrap_or(0),
        comment: user.comment.clone(),
        tokens: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::assert_tables_are_sound;

    #[test]
    fn the_table_is_sound() {
        assert_tables_are_sound(ENDPOINTS);
    }
}
