//! When and how often a request is repeated.

use std::time::Duration;

use super::ConfigError;

/// Exponential backoff with full jitter, bounded in attempts, and by a budget that all requests of a client share.
///
/// # What is retried, and what a failure says
/// Under *outcome* stands what the failed attempt says of a request that changes something ([`Outcome`](crate::Outcome)): **none** (nothing
/// was changed, and nothing will be), **maybe** (it may have been carried out, and is over), **unclear** (it may have been carried out, or
/// still be, until its signature expires). Requests that only read have the outcome none, whatever comes; retried are the same failures.
///
/// | failure of an attempt | retried | outcome | why |
/// |---|---|---|---|
/// | no connection: name, TCP, TLS, proxy; a kept one that was closed before a byte left | yes | none | nothing was sent |
/// | the connection broke; no answer in time | yes | unclear | the request may lie in a queue on its way (hazards H10, H21) |
/// | an answer cut short, of a wrong length or checksum, broken XML, a proxy's page or line of text; a success before the request was sent (of a refusal that is cut before its code, and of a page with 429 or 5xx, the status counts: below; not of a 404 that is cut, nor of a cut page) | yes | unclear | mostly gone the next time; the proxy may have given up on a server that is still at it |
/// | an answer longer than its bound, of no known length, of another range, or a whole XML document that is not the operation's | no | unclear | this is how the server does it; the next one is no different |
/// | 429, or `SlowDown`, `SlowDownRead`, `SlowDownWrite`, `TooManyRequests`, `RequestLimitExceeded`, `Throttling`, `ThrottlingException` with any status (one provider: 403) | yes | none | a rate limit says no before it does anything |
/// | 500, 502 to 599 without a code or with a page; 408 without a code; `InternalError`, `ServiceUnavailable`, `UnknownError`, `BadGateway`, `GatewayTimeout`, `RequestTimeout` with any status | yes | unclear | a gateway's word on a server that may be at it; some dress permanent errors so (a key too long: 503), hence the bound |
/// | 5xx with any other code | no | unclear | a code that nobody knows promises nothing |
/// | 409 without a code, `ConditionalRequestConflict`, `OperationAborted` | yes | none | "nothing was written, try again" (S3 API reference, PutObject) |
/// | 409 with another code (`BucketNotEmpty`, `BucketAlreadyExists`) | no | none | it stays so |
/// | 412, `PreconditionFailed` | no | none | the answer to the question. After an unclear attempt it can be this request's own doing: the outcome is sticky and says so |
/// | 404, `NoSuchKey`, `NoSuchBucket`, `NoSuchUpload` | no | none | |
/// | 401, 403, `AccessDenied`, `SignatureDoesNotMatch`, `InvalidAccessKeyId`, `NotSignedUp` | no | none | the same credentials are refused again |
/// | `ExpiredToken`, `InvalidToken`, `TokenRefreshRequired` | once | none | the provider is asked for others; no pause, no price |
/// | `RequestTimeTooSkewed`; `AccessDenied`, or 400 or 403 without a code, with a `Date` that is more than 5 minutes from ours | once | none | the clock is put right by the answer's `Date`, if it has one; no pause, no price. Never if the caller fixed the signing time. HEAD has no code, and rclone 1.75 says `AccessDenied` |
/// | `BadDigest`, `InvalidDigest`, `XAmzContentSHA256Mismatch`, `XAmzContentChecksumMismatch` | no | maybe | the same bytes get the same answer; one server stores the object all the same |
/// | 301, 307, 308, `PermanentRedirect`, `TemporaryRedirect`, `AuthorizationHeaderMalformed`, `IllegalLocationConstraintException` | no | none | another region or endpoint; redirects are not followed, since the signature names the host |
/// | 405, 501, `NotImplemented`, `MethodNotAllowed` | no | none | a quirk of the provider ([`Quirk`](crate::Quirk)) |
/// | 400 and every other status below 500, with another code or none | no | none | the request is at fault |
/// | 2xx with an error document, in answer to a change (copy, complete multipart, multi-delete above all) | by its code | maybe | the server began before it failed (S3 API reference, CopyObject) |
/// | the request cannot be made; there are no credentials | no | none | nothing was sent |
///
/// Where a status and a code belong to different rows, the code says whether it is retried; a status of 5xx makes the outcome unclear and
/// one of 2xx makes it maybe, except after a rate limit, and after `NotImplemented` with 5xx. The status counts alone where there is no
/// code, as for HEAD. A write that fails while an answer waits on the socket is no failure: the answer is read and judged (412 before the
/// body was taken, say).
///
/// # Differences between operations
///
/// | operation | difference |
/// |---|---|
/// | [`Client::stream`](crate::Client::stream) | retried until the answer begins. Later failures are the caller's, who has seen a part already |
/// | signed once by the caller ([`Signing::FixedHeaders`](crate::Signing), [`Signing::Presigned`](crate::Signing); deletes of Coldkeep, R9) | every attempt carries the same signing time; no clock is put right; no retry begins once the signature has expired |
/// | put with a condition | as any put; a retry can fail with 412 because of its own first attempt |
/// | [`Client::put_new_or_overwrite`](crate::Client::put_new_or_overwrite) | all attempts but the last are conditional; the last is not, is always made after failures that are retried, and costs no budget (R3) |
/// | [`Client::delete_batch`](crate::Client::delete_batch) | a multi-delete that ends with an error of the server (500, 503, …) or 501 is done again as single deletes |
/// | CreateMultipartUpload | a lost reply leaves an upload that nobody knows: a lifecycle rule should abort such |
/// | CompleteMultipartUpload, AbortMultipartUpload | after a lost reply the retry can fail with `NoSuchUpload`, because the first attempt took effect |
/// | CreateBucket, DeleteBucket | after a lost reply the retry can fail because the bucket is there, or gone |
///
/// # When retries end
/// There is no further attempt once [`attempts_max`](RetryPolicy::attempts_max) were made, the pause would outlast what is left of
/// [`Timeouts::overall`](crate::Timeouts::overall), the signature of a fixed time would have expired by then, or the
/// [budget](RetryBudget) is empty. The error is that of the last attempt; [`Cause::TimedOut`](crate::Cause::TimedOut) or
/// [`Cause::Expired`](crate::Cause::Expired) if waiting for a place among the requests in flight took what was left. The one repetition with
/// a mended clock, and the one with new credentials, are made even if no attempts are left.
///
/// The pause is drawn evenly between zero and [`backoff_ceiling`](RetryPolicy::backoff_ceiling), and is never shorter than a `Retry-After`
/// (RFC 9110 §10.2.3: seconds or a date, by the server's clock; more than an hour counts as an hour).
///
/// Sources: S3 API reference, [Error responses](https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html); what servers really
/// do: spec `s3-servers.md` §3. The table is that of `call/classify.rs` and `error/service.rs`, and `tests/it/retry_table.rs` goes through it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    attempts_max: u32,
    backoff_first: Duration,
    backoff_max: Duration,
    budget: RetryBudget,
}

/// A token bucket: each retry takes tokens out; one that succeeds puts its own back, and each first attempt that succeeds a few.
///
/// It keeps an outage from becoming a storm: with every request failing, retries stop once the bucket is empty. With one attempt in
/// four failing by chance, the default one does not run dry. It is the retry quota of the standard mode of the AWS SDKs (AWS SDKs and
/// Tools Reference Guide, [Retry behavior](https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryBudget {
    /// Tokens at the start, and the most there can be.
    pub tokens_max: u32,
    /// Taken out by each retry, and put back if it succeeds.
    pub cost: u32,
    /// Put back by each first attempt that succeeds.
    pub refund: u32,
}

impl RetryPolicy {
    /// Sends each request once; twice if the clock must be put right or the credentials are over.
    pub fn never() -> RetryPolicy {
        RetryPolicy { attempts_max: 1, ..RetryPolicy::default() }
    }

    /// Sets the number of attempts, the first included.
    ///
    /// # Errors
    /// [`ConfigError::Zero`] for 0: a request that is not sent is not a request.
    pub fn with_attempts_max(mut self, attempts: u32) -> Result<RetryPolicy, ConfigError> {
        if attempts == 0 {
            return Err(ConfigError::Zero { name: "attempts_max" });
        }
        self.attempts_max = attempts;
        Ok(self)
    }

    /// Sets a number of attempts that is known not to be 0.
    pub(crate) fn with_attempts(mut self, attempts: u32) -> RetryPolicy {
        self.attempts_max = attempts;
        self
    }

    /// Sets the longest pause before the first retry, which doubles with each further one, and the bound for that growth.
    ///
    /// # Errors
    /// [`ConfigError::TooShort`] if `first` is zero (retries without a pause keep a server down) or `max` is less than `first`.
    pub fn with_backoff(mut self, first: Duration, max: Duration) -> Result<RetryPolicy, ConfigError> {
        let least = Duration::from_millis(1);
        for (name, value, least) in [("first backoff", first, least), ("backoff bound", max, first)] {
            if value < least {
                return Err(ConfigError::TooShort { name, value, least });
            }
        }
        (self.backoff_first, self.backoff_max) = (first, max);
        Ok(self)
    }

    /// Replaces the budget.
    #[must_use]
    pub fn with_budget(mut self, budget: RetryBudget) -> RetryPolicy {
        self.budget = budget;
        self
    }

    /// Returns the number of attempts, the first included.
    pub fn attempts_max(&self) -> u32 {
        self.attempts_max
    }

    /// Returns the budget.
    pub fn budget(&self) -> RetryBudget {
        self.budget
    }

    /// Returns the longest pause before retry number `retry`, counted from 1. The pause itself is drawn evenly between zero and this
    /// (full jitter), so that clients that failed together do not come back together.
    pub fn backoff_ceiling(&self, retry: u32) -> Duration {
        let factor = 1_u32.checked_shl(retry.saturating_sub(1)).unwrap_or(u32::MAX);
        self.backoff_first.saturating_mul(factor).min(self.backoff_max)
    }
}

impl Default for RetryPolicy {
    /// 6 attempts, pauses of up to 100 ms doubling to at most 20 s, and a budget of 500 tokens at 5 a retry.
    fn default() -> RetryPolicy {
        RetryPolicy {
            attempts_max: 6,
            backoff_first: Duration::from_millis(100),
            backoff_max: Duration::from_secs(20),
            budget: RetryBudget::default(),
        }
    }
}

impl Default for RetryBudget {
    /// 100 retries in vain, then one for each five first attempts that succeed.
    fn default() -> RetryBudget {
        RetryBudget { tokens_max: 500, cost: 5, refund: 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_bound() {
        let policy = RetryPolicy::default();
        let policy = policy.with_backoff(Duration::from_millis(100), Duration::from_millis(450)).unwrap();
        let ceilings = [1, 2, 3, 4, 40, u32::MAX].map(|retry| policy.backoff_ceiling(retry).as_millis());
        assert_eq!(ceilings, [100, 200, 400, 450, 450, 450]);
    }

    #[test]
    fn nonsense_is_refused() {
        let policy = RetryPolicy::default;
        assert!(policy().with_attempts_max(0).is_err());
        assert!(policy().with_backoff(Duration::ZERO, Duration::from_secs(1)).is_err());
        assert!(policy().with_backoff(Duration::from_secs(2), Duration::from_secs(1)).is_err());
    }

    #[test]
    fn never_is_one_attempt() {
        assert_eq!(RetryPolicy::never().attempts_max(), 1);
    }
}
