//! API tokens: `/config/user/{userid}/token`. Users manage their own.

use coldkeep_client::{TokenItem, TokenSecret};

use super::{
    COMMENT, DELETE, ENABLE, ENABLE_KIND, EXPIRE, USER, check_no_jobs, check_root, check_unclaimed, facts,
    update, user_of,
};
use crate::Server;
use crate::api::{Access, ApiError, BodyKind, Call, Endpoint, Kind, Method, Param, Params, Reply};
use crate::auth::{AuthId, Privileges, TokenName};
use crate::state::Token;

const TOKEN: Param = Param::required("token-name", Kind::name::<TokenName>("token name"), "The token.");
/// Who may see tokens.
const SEE: Access = Access::User { others: Privileges::SYS_AUDIT };
/// Who may change tokens.
const CHANGE: Access = Access::User { others: Privileges::PERMISSIONS_MODIFY };

pub(in crate::api) static ENDPOINTS: &[Endpoint<Server>] = &[
    Endpoint {
        method: Method::Get,
        path: "/config/user/{userid}/token",
        doc: "Lists the tokens of a user, by name.",
        params: &[USER],
        body: BodyKind::Params,
        access: SEE,
        handler: |call| Box::pin(list(call)),
    },
    Endpoint {
        method: Method::Get,
        path: "/config/user/{userid}/token/{token-name}",
        doc: "Returns a token.",
        params: &[USER, TOKEN],
        body: BodyKind::Params,
        access: SEE,
        handler: |call| Box::pin(show(call)),
    },
    Endpoint {
        method: Method::Post,
        path: "/config/user/{userid}/token/{token-name}",
        doc: "Makes a token, which has no rights yet; returns its name and secret, which no other answer has.",
        params: &[USER, TOKEN, Param::with_default("enable", ENABLE_KIND, "true", ENABLE), EXPIRE, COMMENT],
        body: BodyKind::Params,
        access: CHANGE,
        handler: |call| Box::pin(add(call)),
    },
    Endpoint {
        method: Method::Put,
        path: "/config/user/{userid}/token/{token-name}",
        doc: "Changes a token; its secret stays.",
        params: &[USER, TOKEN, Param::optional("enable", ENABLE_KIND, ENABLE), EXPIRE, COMMENT, DELETE],
        body: BodyKind::Params,
        access: CHANGE,
        handler: |call| Box::pin(change(call)),
    },
    Endpoint {
        method: Method::Delete,
        path: "/config/user/{userid}/token/{token-name}",
        doc: "Removes a token and its rights. Refused while jobs run as it.",
        params: &[USER, TOKEN],
        body: BodyKind::Params,
        access: CHANGE,
        handler: |call| Box::pin(remove(call)),
    },
];

async fn list(call: Call<Server>) -> Result<Reply, ApiError> {
    let identities = call.state.identities();
    let user = user_of(&call.params)?;
    identities.user(&user).map_err(|error| ApiError::failed(&error))?;
    let tokens = identities.tokens();
    let of_user = tokens.iter().filter(|token| token.token.user() == user.user());
    Reply::json(&of_user.map(item).collect::<Vec<_>>())
}

async fn show(call: Call<Server>) -> Result<Reply, ApiError> {
    let token = call.state.identities().token(&token_of(&call.params)?);
    Reply::json(&item(&token.map_err(|error| ApiError::failed(&error))?))
}

async fn add(call: Call<Server>) -> Result<Reply, ApiError> {
    let token = token_to_change(&call)?;
    check_unclaimed(&call.state, &token)?;
    let secret = call.state.identities().add_token_with(token.clone(), facts(&call.params)?).await;
    let secret = secret.map_err(|error| ApiError::failed(&error))?;
    Reply::json(&TokenSecret { tokenid: token.to_string(), value: secret.as_str().to_owned() })
}

async fn change(call: Call<Server>) -> Result<Reply, ApiError> {
    let changed = call.state.identities().update_token(&token_to_change(&call)?, update(&call.params)?).await;
    changed.map_err(|error| ApiError::failed(&error))?;
    Ok(Reply::null())
}

async fn remove(call: Call<Server>) -> Result<Reply, ApiError> {
    let token = token_to_change(&call)?;
    check_no_jobs(&call.state, &token)?;
    let removed = call.state.identities().remove_token(&token).await;
    removed.map_err(|error| ApiError::failed(&error))?;
    Ok(Reply::null())
}

fn token_to_change(call: &Call<Server>) -> Result<AuthId, ApiError> {
    let token = token_of(&call.params)?;
    check_root(&call.caller, &token.without_token())?;
    Ok(token)
}

fn token_of(params: &Params) -> Result<AuthId, ApiError> {
    let name: TokenName = params.get("token-name")?;
    name.of(&user_of(params)?).map_err(|error| ApiError::failed(&error))
}

/// Returns what may be told of a token: all but the secret.
pub(super) fn item(token: &Token) -> TokenItem {
    TokenItem {
        tokenid: token.token.to_string(),
        enable: token.enabled,
        expire: token.expire_at.unwrap_or(0),
        comment: token.comment.clone(),
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
