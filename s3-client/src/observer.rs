//! A look at every attempt.

use std::time::Duration;

use crate::error::{Cause, Operation};
use crate::outcome::Outcome;

/// Is told of each attempt as it ends. With the feature `tracing` the client also emits an event for each, at level debug.
pub trait Observer: Send + Sync + 'static {
    /// Is called when an attempt has ended, on the task of the request: return soon.
    fn attempt(&self, attempt: &Attempt<'_>);
}

/// One attempt that has ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Attempt<'a> {
    /// The operation.
    pub operation: Operation,
    /// Bucket, and key behind a slash.
    pub target: &'a str,
    /// Which attempt of its request it is, from 1.
    pub number: u32,
    /// How long it took.
    pub took: Duration,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// Why it failed; `None` if it succeeded.
    pub failure: Option<&'a Cause>,
    /// What it changed, or may still change.
    pub outcome: Outcome,
    /// The pause before the next attempt; `None` if there is none.
    pub retry_in: Option<Duration>,
}

impl Attempt<'_> {
    /// Emits the event of the feature `tracing`.
    #[cfg(feature = "tracing")]
    pub(crate) fn trace(&self) {
        tracing::debug!(
            operation = %self.operation,
            target = self.target,
            attempt = self.number,
            took_micros = u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX),
            status = self.status,
            failure = self.failure.map(tracing::field::display),
            is_unclear = self.outcome.is_unclear(),
            retry_in = self.retry_in.map(tracing::field::debug),
            "attempt"
        );
    }
}
