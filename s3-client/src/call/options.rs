//! What a caller says about one request, beside the operation.

use std::time::{Duration, SystemTime};

use crate::config::{RetryPolicy, Timeouts};

/// Options of one request. The default signs each attempt afresh and retries as the client's configuration says.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct CallOptions {
    pub(crate) signing: Signing,
    pub(crate) retry: Option<RetryPolicy>,
    pub(crate) timeouts: Option<Timeouts>,
    /// The signing time was not over when the call began that this request is a part of.
    pub(crate) was_good: bool,
}

/// When and how a request is signed, and so until when it can be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Signing {
    /// In its headers, each attempt with the time at which it is sent.
    #[default]
    EachAttempt,
    /// In its headers, every attempt with this time: the server takes none after its window for signatures
    /// ([`Config::with_signature_window`](crate::Config::with_signature_window)) has passed. The time is never adjusted for a skewed clock.
    FixedHeaders {
        /// The signing time.
        signed_at: SystemTime,
    },
    /// In its query ("presigned"), every attempt with this time and expiry: the server takes none after `signed_at + expires_in`. The body is
    /// not signed, its checksums are. The time is never adjusted for a skewed clock.
    Presigned {
        /// The signing time.
        signed_at: SystemTime,
        /// 1 s to 7 days, whole seconds.
        expires_in: Duration,
    },
}

impl CallOptions {
    /// Starts from the default.
    pub fn new() -> CallOptions {
        CallOptions::default()
    }

    /// Fixes when and how every attempt is signed.
    #[must_use]
    pub fn with_signing(mut self, signing: Signing) -> CallOptions {
        self.signing = signing;
        self
    }

    /// Retries by another policy than the client's; the shared budget stays in force.
    #[must_use]
    pub fn with_retry(mut self, retry: RetryPolicy) -> CallOptions {
        self.retry = Some(retry);
        self
    }

    /// Waits by other bounds than the client's.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: Timeouts) -> CallOptions {
        self.timeouts = Some(timeouts);
        self
    }
}

impl Signing {
    /// Returns whether the caller fixed the signing time.
    pub(crate) fn is_fixed(self) -> bool {
        self != Signing::EachAttempt
    }
}
