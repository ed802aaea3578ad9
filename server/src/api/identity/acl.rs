//! The access list and the roles that it gives: `/config/acl` and `/config/role`.

use coldkeep_client::{AclItem, RoleItem};

use super::{denied, is_self};
use crate::Server;
use crate::api::{Access, ApiError, BodyKind, Call, Endpoint, Kind, Method, Param, Reply};
use crate::auth::{AclEntry, AclPath, AuthId, Caller, Privileges, Role};

pub(in crate::api) static ENDPOINTS: &[Endpoint<Server>] = &[
    Endpoint {
        method: Method::Get,
        path: "/config/acl",
        doc: "Lists the access list, by path, user or token, and role; without Sys.Audit on /access/acl only what is about the caller.",
        params: &[],
        body: BodyKind::Params,
        access: Access::Authenticated,
        handler: |call| Box::pin(list(call)),
    },
    Endpoint {
        method: Method::Put,
        path: "/config/acl",
        doc: "Gives a user or token a role on a path, or takes it away. Needs Permissions.Modify on /access/acl, but for the caller's own tokens, which have no more rights than their user.",
        params: &[
            Param::required("path", Kind::name::<AclPath>("access path"), "Where."),
            Param::required("role", Kind::name::<Role>("role"), "What."),
            Param::required("auth-id", Kind::name::<AuthId>("user or token"), "Who."),
            Param::with_default("propagate", Kind::Boolean, "true", "Whether it holds below the path too."),
            Param::with_default("delete", Kind::Boolean, "false", "Take the role away."),
        ],
        body: BodyKind::Params,
        access: Access::Authenticated,
        handler: |call| Box::pin(change(call)),
    },
    Endpoint {
        method: Method::Get,
        path: "/config/role",
        doc: "Lists the roles with their privileges.",
        params: &[],
        body: BodyKind::Params,
        access: Access::Authenticated,
        handler: |call| Box::pin(roles(call)),
    },
];

async fn list(call: Call<Server>) -> Result<Reply, ApiError> {
    let sees_all = call.caller.privileges(&AclPath::acl()).has_any(Privileges::SYS_AUDIT);
    let acl = call.state.identities().acl();
    let seen = acl.entries().filter(|entry| sees_all || is_self(&call.caller, &entry.who));
    Reply::json(&seen.map(|entry| item(&entry)).collect::<Vec<_>>())
}

async fn change(call: Call<Server>) -> Result<Reply, ApiError> {
    let params = &call.params;
    let (path, who, role): (AclPath, AuthId, Role) =
        (params.get("path")?, params.get("auth-id")?, params.get("role")?);
    let may_all = call.caller.privileges(&AclPath::acl()).has_any(Privileges::PERMISSIONS_MODIFY);
    if !is_own_token(&call.caller, &who) && !may_all {
        return Err(denied(&AclPath::acl()));
    }
    // What root's tokens may do is up to root alone, as everything about them.
    super::check_root(&call.caller, &who.without_token())?;
    let identities = call.state.identities();
    let changed = if params.get("delete")? {
        identities.revoke(&path, &who, role).await
    } else {
        identities.grant(AclEntry { path, who, role, propagate: params.get("propagate")? }).await
    };
    changed.map_err(|error| ApiError::failed(&error))?;
    Ok(Reply::null())
}

async fn roles(_call: Call<Server>) -> Result<Reply, ApiError> {
    let roles = Role::ALL.map(|role| RoleItem {
        role: role.to_string(),
        privileges: role.privileges().names().map(str::to_owned).collect(),
    });
    Reply::json(&roles)
}

/// Tells whether the caller is the user of a token.
fn is_own_token(caller: &Caller, who: &AuthId) -> bool {
    who.token().is_some() && who.without_token() == *caller.auth_id()
}

fn item(entry: &AclEntry) -> AclItem {
    AclItem {
        path: entry.path.to_string(),
        auth_id: entry.who.to_string(),
        role: entry.role.to_string(),
        propagate: entry.propagate,
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
