//! HTTP/1.1 for the plain calls and HTTP/2 for the upgraded sessions.

mod body;
mod rest;
mod session;

pub(crate) use body::collect;
pub(crate) use rest::{RestConnection, SendError};
pub(crate) use session::{Session, Upgrade, read};

use std::time::Duration;

/// What this client calls itself.
pub(crate) const USER_AGENT: &str = concat!("coldkeep-client/", env!("CARGO_PKG_VERSION"));

/// Content type of calls without a JSON body.
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// Content type of JSON bodies.
pub(crate) const JSON: &str = "application/json";

/// Content type of uploads.
pub(crate) const OCTETS: &str = "application/octet-stream";

/// Longest wait for a plain call, or for the answer to an upgrade (spec `backup-protocol.md` §1).
pub(crate) const REST_TIMEOUT: Duration = Duration::from_mins(2);

/// Longest answer to a call that returns JSON: a list of a million snapshots is well below it.
pub(crate) const JSON_BYTES_MAX: usize = 256 << 20;

/// Longest error text that is read from a server; less of it is kept.
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 << 10;
