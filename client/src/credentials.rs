//! Who calls, and how that is proved.

use std::fmt;

use zeroize::Zeroizing;

use crate::auth_id::AuthId;

/// A password, ticket or token secret: not shown by `Debug`, wiped on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a secret over.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// Returns the secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What a client shows to a server.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// Nothing: the connection itself says who calls (an embedded server).
    Local,
    /// A user with a password or a ticket that is still valid; the client logs in with the first call.
    User {
        /// `user@realm`.
        user: AuthId,
        /// Password or ticket.
        secret: Secret,
    },
    /// An API token, shown with every call.
    Token {
        /// `user@realm!token`.
        id: AuthId,
        /// The token's secret.
        secret: Secret,
    },
}

impl Credentials {
    /// Picks token or user by the form of the id.
    pub fn new(id: AuthId, secret: Secret) -> Self {
        if id.is_token() { Self::Token { id, secret } } else { Self::User { user: id, secret } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let credentials = Credentials::new("joe@pbs!ci".parse().unwrap(), Secret::new("hush"));
        assert!(matches!(credentials, Credentials::Token { .. }));
        assert!(!format!("{credentials:?}").contains("hush"));
        assert!(matches!(
            Credentials::new("joe@pbs".parse().unwrap(), Secret::new("x")),
            Credentials::User { .. }
        ));
    }
}
