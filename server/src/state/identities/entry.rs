//! Users and tokens as they are kept, and what changes of them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::auth::AuthId;

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The name, `name@realm`.
    pub user: AuthId,
    /// Argon2id hash of the password.
    pub(super) password: String,
    /// Whether logging in is allowed.
    pub enabled: bool,
    /// When the user stops being valid, in seconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire_at: Option<i64>,
    /// Free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// An API token: a second name of a user, with a secret and rights of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// The name, `name@realm!token`.
    pub token: AuthId,
    /// Argon2id hash of the secret.
    pub(super) secret: String,
    /// Whether it may be used.
    pub enabled: bool,
    /// When it stops being valid, in seconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire_at: Option<i64>,
    /// Free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// What is said of a new user or token beside its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityFacts {
    /// Whether it may be used.
    pub enabled: bool,
    /// When it stops being valid, in seconds since the Unix epoch.
    pub expire_at: Option<i64>,
    /// Free text.
    pub comment: Option<String>,
}

/// What changes of a user or token; `None` stays as it is. `Debug` does not show the password.
#[derive(Default)]
pub struct IdentityUpdate {
    /// A new password; only users have one.
    pub password: Option<Zeroizing<String>>,
    /// Whether it may be used.
    pub enabled: Option<bool>,
    /// When it stops being valid, in seconds since the Unix epoch.
    pub expire_at: Option<i64>,
    /// Free text.
    pub comment: Option<String>,
    /// What is unset before the rest is set.
    pub delete: Vec<IdentityProperty>,
}

/// What a user or token may be without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentityProperty {
    /// The comment.
    Comment,
    /// The end of its validity.
    Expire,
}

/// A text that names nothing which a user or token may be without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("only comment and expire can be unset")]
pub struct IdentityPropertyError;

impl FromStr for IdentityProperty {
    type Err = IdentityPropertyError;

    fn from_str(text: &str) -> Result<Self, IdentityPropertyError> {
        match text {
            "comment" => Ok(Self::Comment),
            "expire" => Ok(Self::Expire),
            _ => Err(IdentityPropertyError),
        }
    }
}

impl Default for IdentityFacts {
    /// Usable at once, without end.
    fn default() -> Self {
        Self { enabled: true, expire_at: None, comment: None }
    }
}

impl IdentityFacts {
    /// Returns the facts with a change made.
    fn with(mut self, update: IdentityUpdate) -> Self {
        for property in update.delete {
            match property {
                IdentityProperty::Comment => self.comment = None,
                IdentityProperty::Expire => self.expire_at = None,
            }
        }
        Self {
            enabled: update.enabled.unwrap_or(self.enabled),
            // As everywhere on this interface, the beginning of time stands for its end.
            expire_at: update.expire_at.or(self.expire_at).filter(|at| *at != 0),
            comment: update.comment.or(self.comment).filter(|text| !text.is_empty()),
        }
    }
}

impl User {
    /// Makes a user with the hash of a password.
    pub(super) fn new(user: AuthId, password: String, facts: IdentityFacts) -> Self {
        let IdentityFacts { enabled, expire_at, comment } = facts;
        Self { user, password, enabled, expire_at, comment }
    }

    /// Tells whether the user may log in at `now`.
    pub fn is_active(&self, now: i64) -> bool {
        self.enabled && self.expire_at.is_none_or(|end| now < end)
    }

    /// Returns what is said of the user beside its name.
    pub fn facts(&self) -> IdentityFacts {
        IdentityFacts { enabled: self.enabled, expire_at: self.expire_at, comment: self.comment.clone() }
    }

    /// Changes the user; the password is the hash of a new one.
    pub(super) fn change(&mut self, password: Option<String>, update: IdentityUpdate) {
        let facts = self.facts().with(update);
        let password = password.unwrap_or_else(|| std::mem::take(&mut self.password));
        *self = Self::new(self.user.clone(), password, facts);
    }
}

impl Token {
    /// Makes a token with the hash of a secret.
    pub(super) fn new(token: AuthId, secret: String, facts: IdentityFacts) -> Self {
        let IdentityFacts { enabled, expire_at, comment } = facts;
        Self { token, secret, enabled, expire_at, comment }
    }

    /// Tells whether the token may be used at `now`; its user must be active too.
    pub fn is_active(&self, now: i64) -> bool {
        self.enabled && self.expire_at.is_none_or(|end| now < end)
    }

    /// Returns what is said of the token beside its name.
    pub fn facts(&self) -> IdentityFacts {
        IdentityFacts { enabled: self.enabled, expire_at: self.expire_at, comment: self.comment.clone() }
    }

    pub(super) fn change(&mut self, update: IdentityUpdate) {
        let facts = self.facts().with(update);
        *self = Self::new(self.token.clone(), std::mem::take(&mut self.secret), facts);
    }
}

impl fmt::Debug for IdentityUpdate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdentityUpdate")
            .field("password", &self.password.as_ref().map(|_| "…"))
            .field("enabled", &self.enabled)
            .field("expire_at", &self.expire_at)
            .field("comment", &self.comment)
            .field("delete", &self.delete)
            .finish()
    }
}
