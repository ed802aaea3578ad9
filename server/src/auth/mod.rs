//! Identity: users, API tokens, tickets, and what each may do.

mod acl;
mod api_token;
mod authenticator;
mod caller;
mod cookie;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod id;
mod password;
mod privileges;
mod throttle;
mod ticket;
mod token_cache;

pub use acl::{Acl, AclEntry, AclPath, AclPathError};
pub(crate) use authenticator::claimed_by;
pub use authenticator::{Authenticator, Login};
pub use caller::Caller;
pub use id::{AuthId, TokenName, TokenNameError, UserId, UserIdError, is_root, root};
pub(crate) use password::random_secret;
pub use password::{PASSWORD_BYTES_MAX, PasswordError, PasswordHasher};
pub use privileges::{Privileges, Role, UnknownRole};
pub use ticket::{TICKET_KEY_BYTES, TicketKey, TicketRefused};
