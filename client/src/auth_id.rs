//! Who calls: a user or a token, as the server knows it.

use std::fmt;
use std::str::FromStr;

/// A user (`user@realm`) or a user's token (`user@realm!token`).
///
/// Only the form is checked. Lengths are left to the server: the specification's own example of a token (`client.md`
/// §1) is shorter than its table of limits allows (`formats.md` §11), and a client that refuses an id which its
/// server takes helps nobody.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AuthId {
    text: String,
    is_token: bool,
}

impl AuthId {
    /// Returns the id as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the user, and the token's name if this is a token.
    pub fn parts(&self) -> (&str, Option<&str>) {
        // The realm holds no `!`, and a name may: the last `@` and what follows tell them apart.
        let realm_at = self.text.rfind('@').unwrap_or_default();
        match self.text[realm_at..].split_once('!') {
            Some((realm, token)) => (&self.text[..realm_at + realm.len()], Some(token)),
            None => (&self.text, None),
        }
    }

    /// Tells whether this is an API token.
    pub const fn is_token(&self) -> bool {
        self.is_token
    }
}

impl fmt::Display for AuthId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The text is neither user nor token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a user is written as user@realm, an API token as user@realm!token")]
pub struct ParseAuthIdError;

impl FromStr for AuthId {
    type Err = ParseAuthIdError;

    fn from_str(text: &str) -> Result<Self, ParseAuthIdError> {
        // Neither realm nor token holds an `@`, so the last one ends the name even if the name holds one.
        let (name, rest) = text.rsplit_once('@').ok_or(ParseAuthIdError)?;
        let (realm, token) = match rest.split_once('!') {
            Some((realm, token)) => (realm, Some(token)),
            None => (rest, None),
        };
        let is_name = !name.is_empty()
            && !name.contains(|c: char| c.is_whitespace() || c.is_control() || ":/".contains(c));
        if !is_name || !is_safe_id(realm) || !token.is_none_or(is_safe_id) {
            return Err(ParseAuthIdError);
        }
        Ok(Self { text: text.to_owned(), is_token: token.is_some() })
    }
}

/// Tells whether a text is a "safe id" (spec `formats.md` §11).
fn is_safe_id(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.bytes().next().is_some_and(is_plain)
        && text.bytes().all(|byte| is_plain(byte) || matches!(byte, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_tokens_are_told_apart() {
        for (text, is_token) in
            [("root@pam", false), ("joe@pbs!ci", true), ("a!b@pbs", false), ("joe@home@pbs!x", true)]
        {
            let id: AuthId = text.parse().unwrap();
            assert_eq!((id.as_str(), id.is_token()), (text, is_token));
            assert_eq!(id.parts().1.is_some(), is_token);
        }
    }

    #[test]
    fn a_token_consists_of_its_user_and_its_name() {
        for (text, user, token) in [
            ("joe@pbs!ci", "joe@pbs", Some("ci")),
            ("a!b@pbs", "a!b@pbs", None),
            ("a@b!c@pbs!x", "a@b!c@pbs", Some("x")),
        ] {
            assert_eq!(text.parse::<AuthId>().unwrap().parts(), (user, token));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "",
            "root",
            "@pam",
            "root@",
            "a b@pam",
            "a/b@pam",
            "a:b@pam",
            "joe@pbs!",
            "joe@p s",
            "joe@pbs!a!b",
            "a\n@pam",
        ] {
            assert_eq!(bad.parse::<AuthId>(), Err(ParseAuthIdError), "{bad:?}");
        }
    }
}
