//! Writing an object that is named by its content.

use crate::call::{CallOptions, Reply};
use crate::client::Client;
use crate::config::{Quirk, RetryPolicy};
use crate::error::RequestError;
use crate::ops::{PutCondition, PutObject, Stored};
use crate::switch::is_off;
use crate::transport::Transport;

/// How an object came to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PutNew {
    /// There was none, and this put wrote it.
    Created(Stored),
    /// There was one already; nothing was written. After an [unclear](crate::Outcome::is_unclear) attempt it may be this put's own.
    AlreadyThere,
    /// It was written without a condition: the last attempt after conflicts or failures, or the provider has no conditional put
    /// ([`Quirk::NoIfNoneMatch`]). What was there, if anything, is replaced.
    Overwritten(Stored),
}

impl<T: Transport> Client<T> {
    /// Writes an object unless it is there, and does not fail because somebody else writes it at the same time.
    ///
    /// For objects whose key names their content, such as chunks: writing the same thing twice is harmless, failing is not. All attempts but
    /// the last carry `If-None-Match: *`; a conflict (409: nothing was written) and transient failures are retried with backoff, and the
    /// *last* attempt is unconditional (R3 of Coldkeep's design). So two clients that keep colliding on one key both succeed. Its
    /// condition, if `op` has one, is not used.
    ///
    /// It takes at least two attempts, of which the last has a deadline of its own. There is none if the server asks for patience beyond that,
    /// or if the signing time that `options` fix is over.
    ///
    /// Source: S3 user guide, "Add preconditions to S3 operations with conditional requests".
    ///
    /// # Errors
    /// As [`Client::send`]. A provider that refuses conditional puts needs [`Quirk::NoIfNoneMatch`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves it unknown whether the object was, or will be, written.
    pub async fn put_new_or_overwrite(
        &self,
        op: &PutObject,
        options: &CallOptions,
    ) -> Result<Reply<PutNew>, RequestError> {
        let plain = op.clone().with_condition(PutCondition::Always);
        if self.config().quirks().has(Quirk::NoIfNoneMatch) {
            return Ok(self.send_with(&plain, options).await?.map(PutNew::Overwritten));
        }
        let engine = self.engine();
        let options = &engine.one_call(options);
        let policy = options.retry.clone().unwrap_or_else(|| self.config().retry().clone());
        let conditional = policy.attempts_max().saturating_sub(1).max(1);
        let but_last = options.clone().with_retry(policy.clone().with_attempts(conditional));
        let error = match self.send_with(&op.clone().if_absent(), &but_last).await {
            Ok(reply) => return Ok(reply.map(PutNew::Created)),
            Err(error) if error.is_precondition_failed() => {
                return Ok(Reply {
                    value: PutNew::AlreadyThere,
                    date: error.date(),
                    request_id: error.service_error().and_then(|error| error.request_id()).map(str::to_owned),
                    attempts: error.attempts(),
                    outcome: error.outcome(),
                });
            }
            Err(error) if error.is_retryable() => error,
            Err(error) => return Err(error),
        };
        let jittered = engine.random.up_to(policy.backoff_ceiling(error.attempts()));
        let pause = jittered.max(error.retry_after().unwrap_or_default());
        let timeouts = options.timeouts.as_ref().unwrap_or(self.config().timeouts());
        if pause >= timeouts.overall(0) {
            return Err(error);
        }
        engine.clock.sleep(pause).await;
        let last = options.clone().with_retry(RetryPolicy::never());
        let plain = if is_off("r3") { op.clone().if_absent() } else { plain };
        match self.send_with(&plain, &last).await {
            Ok(reply) => Ok(Reply {
                attempts: error.attempts() + reply.attempts,
                outcome: error.outcome().and(reply.outcome),
                ..reply.map(PutNew::Overwritten)
            }),
            Err(last) => Err(last.after(error.attempts(), error.outcome())),
        }
    }
}

impl PutNew {
    /// Returns what the service said of the object, if this put wrote it.
    pub fn stored(&self) -> Option<&Stored> {
        match self {
            PutNew::Created(stored) | PutNew::Overwritten(stored) => Some(stored),
            PutNew::AlreadyThere => None,
        }
    }
}
