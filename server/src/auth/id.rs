//! The names of users and API tokens.

use std::fmt;
use std::str::FromStr;

pub use coldkeep_datastore::name::Owner as AuthId;

/// The administrator that every server has; no access list limits it.
const ROOT: &str = "root@pam";
/// Stands for "no credentials were asked for"; no realm is called `none`.
const NOBODY: &str = "nobody@none";

/// Returns `root@pam`, the administrator that every server has.
#[expect(clippy::missing_panics_doc, reason = "the name is a constant")]
pub fn root() -> AuthId {
    ROOT.parse().expect("invariant: the name is well-formed")
}

/// Tells whether this is [`root`] itself; a token of it is not.
pub fn is_root(who: &AuthId) -> bool {
    who.user() == ROOT && who.token().is_none()
}

pub(super) fn nobody() -> AuthId {
    NOBODY.parse().expect("invariant: the name is well-formed")
}

/// The name of a user, `name@realm`, as the management of users takes it: never a token, and nothing that a path cannot hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserId(AuthId);

/// A text that is no name of a user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no name of a user, as joe@pbs")]
pub struct UserIdError {
    /// The text, cut to a length that can be shown.
    pub text: String,
}

impl UserId {
    /// Returns the name.
    pub fn into_auth_id(self) -> AuthId {
        self.0
    }
}

impl FromStr for UserId {
    type Err = UserIdError;

    fn from_str(text: &str) -> Result<Self, UserIdError> {
        let bad = || UserIdError { text: excerpt(text) };
        let id: AuthId = text.parse().map_err(|_| bad())?;
        // No component of a path starts with a dot.
        if id.token().is_some() || text.starts_with('.') { Err(bad()) } else { Ok(Self(id)) }
    }
}

/// The name of a token without that of its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenName(String);

/// A text that is no name of a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no name of a token: letters, digits, `_`, `-` and `.`, at most 64, no dash or dot first"
)]
pub struct TokenNameError {
    /// The text, cut to a length that can be shown.
    pub text: String,
}

impl TokenName {
    /// Returns the whole name of a user's token.
    pub fn of(&self, user: &AuthId) -> Result<AuthId, TokenNameError> {
        format!("{}!{}", user.user(), self.0).parse().map_err(|_| TokenNameError { text: excerpt(&self.0) })
    }
}

impl FromStr for TokenName {
    type Err = TokenNameError;

    fn from_str(text: &str) -> Result<Self, TokenNameError> {
        let name = Self(text.to_owned());
        name.of(&root())?;
        Ok(name)
    }
}

impl fmt::Display for TokenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn excerpt(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_root_but_its_tokens_are_not() {
        assert!(is_root(&root()) && !is_root(&nobody()));
        assert!(!is_root(&"root@pam!tok".parse().unwrap()));
    }

    #[test]
    fn users_and_tokens_have_names_of_their_own() {
        assert_eq!("joe@pbs".parse::<UserId>().unwrap().into_auth_id().to_string(), "joe@pbs");
        for bad in ["joe", "joe@pbs!ci", ".joe@pbs", "a/b@pbs", ""] {
            assert!(bad.parse::<UserId>().is_err(), "{bad:?} was taken");
        }
        let joe = "joe@pbs".parse().unwrap();
        assert_eq!("ci-1".parse::<TokenName>().unwrap().of(&joe).unwrap().to_string(), "joe@pbs!ci-1");
        for bad in ["", "-x", ".x", "a!b", "a b", "a/b", &"x".repeat(65)] {
            assert!(bad.parse::<TokenName>().is_err(), "{bad:?} was taken");
        }
    }
}
