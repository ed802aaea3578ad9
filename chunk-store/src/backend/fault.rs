//! Why a request to the backend failed.

use std::fmt;

use crate::time::StoreTime;

/// A request that failed.
#[derive(Debug, thiserror::Error)]
#[error("could not {action} {key}{hint}", hint = fault.hint())]
pub struct BackendError {
    /// What was attempted, as a verb.
    pub action: &'static str,
    /// On which object or prefix.
    pub key: String,
    /// No answer came to some attempt: the request may have taken effect, or still may.
    pub is_unclear: bool,
    /// What kind of failure it is.
    pub fault: Fault,
    /// The `Date` of the last answer, if there was one.
    pub date: Option<StoreTime>,
    /// The cause.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// The kinds of failure that an operator acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The keys are not accepted.
    Credentials,
    /// The session token has expired.
    ExpiredToken,
    /// The bucket does not exist.
    NoBucket,
    /// The bucket is in another region than the configured one.
    WrongRegion,
    /// The keys do not grant the right to do this.
    Denied,
    /// The quota or the disk of the backend is full.
    Full,
    /// The backend asks for fewer requests.
    Throttled,
    /// The request reached the backend after its expiry (R9, R19).
    Expired,
    /// The backend does not answer, or fails inside.
    Unavailable,
    /// The answer makes no sense.
    BadAnswer,
    /// Anything else.
    Other,
}

impl Fault {
    /// Returns what the reader can do about it, beginning with `; `, or nothing.
    fn hint(self) -> &'static str {
        match self {
            Self::Credentials => "; check access key and secret key",
            Self::ExpiredToken => "; the session token has expired, provide new credentials",
            Self::NoBucket => "; the bucket does not exist, check its name and the endpoint",
            Self::WrongRegion => "; the bucket is in another region, check the configured one",
            Self::Denied => "; the keys lack the right to do this, check the bucket's policy",
            Self::Full => "; the quota or the disk of the backend is full",
            Self::Throttled => "; the backend asks for fewer requests",
            Self::Expired => "; it expired before the backend took it",
            Self::Unavailable => "; the backend does not answer or fails inside",
            Self::BadAnswer | Self::Other => "",
        }
    }

    /// Returns whether the same request may succeed later without anybody changing anything.
    pub const fn is_transient(self) -> bool {
        matches!(self, Self::Throttled | Self::Unavailable | Self::BadAnswer | Self::Expired)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Credentials => "credentials",
            Self::ExpiredToken => "expired token",
            Self::NoBucket => "no bucket",
            Self::WrongRegion => "wrong region",
            Self::Denied => "denied",
            Self::Full => "full",
            Self::Throttled => "throttled",
            Self::Expired => "expired",
            Self::Unavailable => "unavailable",
            Self::BadAnswer => "bad answer",
            Self::Other => "other",
        };
        f.write_str(name)
    }
}
