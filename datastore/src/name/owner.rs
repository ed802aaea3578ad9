//! Who owns a group: a user or one of a user's tokens.

use std::fmt;
use std::str::FromStr;

use super::error::excerpt;
use super::{NameError, check_safe_id, serde_as_text};

/// A user (`user@realm`) or a user's token (`user@realm!token`): the "auth id" of the protocol.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    user: String,
    token: Option<String>,
}

impl Owner {
    /// Returns the user part, `user@realm`.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Returns the token's name, if this is a token.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Returns the user behind a token; a user is its own user.
    #[must_use]
    pub fn without_token(&self) -> Self {
        Self { user: self.user.clone(), token: None }
    }

    /// Tells whether `caller` may act as this owner: both are the same, or this is a token of the calling user.
    ///
    /// A token does not own what its user owns (spec `rest-api.md` §2.3, `conversation.md` §4).
    pub fn is_owned_by(&self, caller: &Self) -> bool {
        self == caller || (caller.token.is_none() && self.user == caller.user)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.user)?;
        match &self.token {
            Some(token) => write!(f, "!{token}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Owner {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let malformed = || NameError::Owner { text: excerpt(text) };
        // The realm holds neither `@` nor `!`, so the last `@` ends the name even if the name holds one.
        let (name, rest) = text.rsplit_once('@').ok_or_else(malformed)?;
        let (realm, token) = match rest.split_once('!') {
            Some((realm, token)) => (realm, Some(token)),
            None => (rest, None),
        };
        let forbidden = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ':' | '/');
        if name.is_empty() || name.chars().any(forbidden) {
            return Err(malformed());
        }
        check_safe_id("realm", realm, 2..=32)?;
        let user_bytes = name.len() + 1 + realm.len();
        if !(3..=64).contains(&user_bytes) {
            return Err(NameError::Length { what: "user id", length: user_bytes, min: 3, max: 64 });
        }
        if let Some(token) = token {
            check_safe_id("token name", token, 1..=64)?;
        }
        Ok(Self { user: format!("{name}@{realm}"), token: token.map(str::to_owned) })
    }
}

serde_as_text!(Owner);

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(text: &str) -> Owner {
        text.parse().unwrap()
    }

    #[test]
    fn users_and_tokens_show_as_they_parse() {
        // Token names of two letters occur in practice (spec `client.md` §1).
        for text in ["root@pam", "a@pbs!tok1", "joe@pbs!ci", "john@example.com@pbs"] {
            assert_eq!(owner(text).to_string(), text);
        }
    }

    #[test]
    fn malformed_owners_are_refused() {
        for text in
            ["", "root", "@pam", "a b@pam", "a/b@pam", "a:b@pam", "a@p", "a@pbs!", "a@pbs!t/k", "a\n@pam"]
        {
            assert!(text.parse::<Owner>().is_err(), "{text:?}");
        }
        assert!(format!("{}@pam", "a".repeat(61)).parse::<Owner>().is_err());
    }

    #[test]
    fn a_user_owns_what_its_tokens_own_but_not_the_other_way_round() {
        assert!(owner("a@pbs!tok").is_owned_by(&owner("a@pbs")));
        assert!(owner("a@pbs!tok").is_owned_by(&owner("a@pbs!tok")));
        assert!(!owner("a@pbs").is_owned_by(&owner("a@pbs!tok")));
        assert!(!owner("a@pbs!tok").is_owned_by(&owner("a@pbs!other")));
        assert!(!owner("a@pbs").is_owned_by(&owner("b@pbs")));
    }
}
