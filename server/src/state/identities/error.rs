//! Why users, tokens or the access list were not changed.

use super::{ENTRIES_MAX, ENTRIES_OF_TOKENS_MAX, PASSWORD_BYTES_MIN, TOKENS_PER_USER_MAX};
use crate::auth::{AclPath, AuthId, PasswordError, Role};
use crate::state::StateError;

/// A change of users, tokens or the access list was refused, or could not be saved. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The user or token is there already.
    #[error("{who} exists already")]
    Exists {
        /// Whose name it is.
        who: AuthId,
    },
    /// There is no such user or token.
    #[error("there is no {who}")]
    Unknown {
        /// The name asked for.
        who: AuthId,
    },
    /// A token's name was given where a user's is needed, or the reverse.
    #[error("{who} is not the name of a {expected}")]
    Kind {
        /// The name.
        who: AuthId,
        /// "user" or "token".
        expected: &'static str,
    },
    /// The administrator cannot be removed or disabled.
    #[error("root@pam cannot be removed or disabled")]
    Root,
    /// The access list has no such entry.
    #[error("{who} has no role {role} on {path}")]
    NoEntry {
        /// The user or token.
        who: AuthId,
        /// The role.
        role: Role,
        /// The path.
        path: AclPath,
    },
    /// There are too many.
    #[error("there are {ENTRIES_MAX} already; remove some")]
    TooMany,
    /// The user has too many tokens.
    #[error("{user} has {TOKENS_PER_USER_MAX} tokens already; remove some")]
    TooManyTokens {
        /// The user.
        user: AuthId,
    },
    /// The tokens of a user have too many roles.
    #[error("the tokens of {user} have {ENTRIES_OF_TOKENS_MAX} roles already; remove some")]
    TooManyRoles {
        /// The user.
        user: AuthId,
    },
    /// The password is too short.
    #[error("a password needs at least {PASSWORD_BYTES_MIN} bytes")]
    ShortPassword,
    /// The password could not be hashed.
    #[error("cannot set the password")]
    Password(#[from] PasswordError),
    /// The change could not be saved.
    #[error("cannot save the change")]
    Save(#[from] StateError),
}
