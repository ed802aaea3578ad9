//! The calls about users, API tokens, roles and the access list.

use http::Method;
use serde::{Deserialize, Serialize};

use crate::auth_id::AuthId;
use crate::client::Client;
use crate::credentials::Secret;
use crate::encoding::{Parameters, path_component};
use crate::error::RequestError;

const USERS: &str = "/config/user";
const ACL: &str = "/config/acl";

/// A user as a server tells of it: without the password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserItem {
    /// The name, `name@realm`.
    pub userid: String,
    /// Whether logging in is allowed.
    #[serde(default = "yes")]
    pub enable: bool,
    /// When the user stops being valid, in Unix seconds; 0 is never.
    #[serde(default)]
    pub expire: i64,
    /// A comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The tokens, where they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Vec<TokenItem>>,
}

/// An API token as a server tells of it: without the secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenItem {
    /// The name, `name@realm!token`.
    pub tokenid: String,
    /// Whether it may be used.
    #[serde(default = "yes")]
    pub enable: bool,
    /// When it stops being valid, in Unix seconds; 0 is never.
    #[serde(default)]
    pub expire: i64,
    /// A comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// A new token and its secret, which no other answer has. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenSecret {
    /// The name, `name@realm!token`.
    pub tokenid: String,
    /// The secret.
    pub value: String,
}

/// An entry of the access list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AclItem {
    /// Where.
    pub path: String,
    /// The user or token.
    pub auth_id: String,
    /// What they may do there.
    pub role: String,
    /// Whether it holds below the path too.
    pub propagate: bool,
}

/// A role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleItem {
    /// The name.
    pub role: String,
    /// What it grants.
    pub privileges: Vec<String>,
}

/// What is said of a new user or token, or changes of one; `None` stays as it is, and is the default of a new one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdentityChange {
    /// Whether it may be used; by default it may.
    pub enable: Option<bool>,
    /// When it stops being valid, in Unix seconds; 0 is never, and the default.
    pub expire: Option<i64>,
    /// A comment; an empty one is none.
    pub comment: Option<String>,
}

impl IdentityChange {
    /// Tells whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn parameters(&self) -> Parameters {
        Parameters::new()
            .with_some("enable", self.enable)
            .with_some("expire", self.expire)
            .with_some("comment", self.comment.as_deref())
    }
}

impl Client {
    /// Lists the users that the caller may see, by name, with their tokens if these are asked for.
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn users(&self, with_tokens: bool) -> Result<Vec<UserItem>, RequestError> {
        let parameters = Parameters::new().with_flag("include_tokens", with_tokens);
        self.query(Method::GET, "/access/users", &parameters).await
    }

    /// Adds a user, who has no rights yet.
    ///
    /// # Cancel safety
    /// The user may have been added.
    pub async fn add_user(
        &self,
        user: &AuthId,
        password: &Secret,
        facts: &IdentityChange,
    ) -> Result<(), RequestError> {
        let parameters = facts.parameters().with("userid", user.as_str()).with("password", password.reveal());
        self.post(USERS, &parameters).await
    }

    /// Changes a user.
    ///
    /// # Cancel safety
    /// The user may have been changed.
    pub async fn update_user(&self, user: &AuthId, change: &IdentityChange) -> Result<(), RequestError> {
        self.put(&user_path(user), &change.parameters()).await
    }

    /// Sets a user's password.
    ///
    /// # Cancel safety
    /// The password may have been set.
    pub async fn set_password(&self, user: &AuthId, password: &Secret) -> Result<(), RequestError> {
        self.put(&user_path(user), &Parameters::new().with("password", password.reveal())).await
    }

    /// Removes a user with all tokens and rights; backups stay.
    ///
    /// # Cancel safety
    /// The user may have been removed.
    pub async fn remove_user(&self, user: &AuthId) -> Result<(), RequestError> {
        self.query(Method::DELETE, &user_path(user), &Parameters::new()).await
    }

    /// Lists the tokens of a user, by name.
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn tokens(&self, user: &AuthId) -> Result<Vec<TokenItem>, RequestError> {
        self.query(Method::GET, &format!("{}/token", user_path(user)), &Parameters::new()).await
    }

    /// Makes a token, which has no rights yet.
    ///
    /// # Cancel safety
    /// The token may have been made; then nobody learns its secret.
    pub async fn add_token(
        &self,
        token: &AuthId,
        facts: &IdentityChange,
    ) -> Result<TokenSecret, RequestError> {
        self.post(&token_path(token), &facts.parameters()).await
    }

    /// Changes a token; its secret stays.
    ///
    /// # Cancel safety
    /// The token may have been changed.
    pub async fn update_token(&self, token: &AuthId, change: &IdentityChange) -> Result<(), RequestError> {
        self.put(&token_path(token), &change.parameters()).await
    }

    /// Removes a token and its rights.
    ///
    /// # Cancel safety
    /// The token may have been removed.
    pub async fn remove_token(&self, token: &AuthId) -> Result<(), RequestError> {
        self.query(Method::DELETE, &token_path(token), &Parameters::new()).await
    }

    /// Lists the entries of the access list that the caller may see.
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn acl(&self) -> Result<Vec<AclItem>, RequestError> {
        self.query(Method::GET, ACL, &Parameters::new()).await
    }

    /// Adds an entry to the access list; one of the same path, user or token, and role is replaced.
    ///
    /// # Cancel safety
    /// The entry may have been added.
    pub async fn set_acl(&self, entry: &AclItem) -> Result<(), RequestError> {
        self.put(ACL, &acl_parameters(entry).with("propagate", entry.propagate)).await
    }

    /// Removes the entry of this path, user or token, and role.
    ///
    /// # Cancel safety
    /// The entry may have been removed.
    pub async fn remove_acl(&self, entry: &AclItem) -> Result<(), RequestError> {
        self.put(ACL, &acl_parameters(entry).with("delete", true)).await
    }

    /// Lists the roles.
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn roles(&self) -> Result<Vec<RoleItem>, RequestError> {
        self.query(Method::GET, "/config/role", &Parameters::new()).await
    }
}

fn user_path(user: &AuthId) -> String {
    format!("{USERS}/{}", path_component(user.as_str()))
}

/// Returns the path of a token; of a user the path of one without a name, which no server has.
fn token_path(token: &AuthId) -> String {
    let (user, name) = token.parts();
    format!("{USERS}/{}/token/{}", path_component(user), path_component(name.unwrap_or_default()))
}

fn acl_parameters(entry: &AclItem) -> Parameters {
    Parameters::new()
        .with("path", entry.path.as_str())
        .with("auth-id", entry.auth_id.as_str())
        .with("role", entry.role.as_str())
}

const fn yes() -> bool {
    true
}

impl std::fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TokenSecret({}, …)", self.tokenid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_users_and_tokens() {
        assert_eq!(user_path(&"joe@pbs".parse().unwrap()), "/config/user/joe%40pbs");
        let token = token_path(&"j!e@pbs!ci-1".parse().unwrap());
        assert_eq!(token, "/config/user/j%21e%40pbs/token/ci%2D1");
    }

    #[test]
    fn a_new_secret_is_not_shown() {
        let made = TokenSecret { tokenid: "joe@pbs!ci".to_owned(), value: "hush".to_owned() };
        assert!(!format!("{made:?}").contains("hush"));
    }
}
