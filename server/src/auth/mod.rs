//! Identity: users, API tokens, tickets, and what each may do.

mod acl;
mod caller;
mod id;
mod password;
mod privileges;
mod ticket;

pub use acl::{Acl, AclEntry, AclPath, AclPathError};
pub use caller::Caller;
pub use id::{AuthId, is_root, root};
pub use password::{PasswordError, PasswordHasher};
pub use privileges::{Privileges, Role, UnknownRole};
pub use ticket::{TicketKey, TicketRefused};
