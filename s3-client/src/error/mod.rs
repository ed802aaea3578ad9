//! What can go wrong with a request, and what a caller can do about it.

mod flaw;
mod service;

pub use flaw::{AnswerFlaw, InvalidRequest};
pub(crate) use service::clip;
pub use service::{ErrorCode, Operation, ServiceError};

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::time::{Duration, SystemTime};

use thiserror::Error;

use crate::credentials::CredentialsError;
use crate::outcome::Outcome;

/// A request that has no result: what was asked, how often, what came of it, and why it failed.
///
/// The cause is its [source](std::error::Error::source) and is not repeated by `Display`.
#[derive(Debug)]
pub struct RequestError(Box<Details>);

#[derive(Debug)]
struct Details {
    subject: Subject,
    attempts: u32,
    outcome: Outcome,
    date: Option<SystemTime>,
    retry_after: Option<Duration>,
    cause: Cause,
}

/// What a request is about, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) operation: Operation,
    /// The bucket, and the key behind a slash if there is one.
    pub(crate) target: String,
}

/// Why a request has no result; after several attempts, why the last one had none.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Cause {
    /// The service answered with an error. [`ServiceError::code`] says which.
    #[error("the service answered: {0}")]
    Refused(ServiceError),
    /// The request could not be sent; not one byte of it left. Check endpoint, network, proxy and certificates.
    #[error("no connection could be made")]
    NotSent {
        /// What the transport reported.
        #[source]
        source: io::Error,
    },
    /// The connection broke. Whether the request took effect is a matter of its [outcome](RequestError::outcome).
    #[error("the connection broke before the answer was complete")]
    Connection {
        /// What the transport reported.
        #[source]
        source: io::Error,
    },
    /// No complete answer came in time.
    #[error("there was no complete answer within {limit:?}")]
    TimedOut {
        /// The bound of the attempt, or of all of them if it was over before the last could be made.
        limit: Duration,
    },
    /// The answer is not one that the S3 API allows: a proxy's page, a truncated body, broken XML.
    #[error("the answer is not one of S3")]
    Malformed(#[source] AnswerFlaw),
    /// The request cannot be made as asked; nothing was sent.
    #[error("the request cannot be made")]
    Invalid(#[source] InvalidRequest),
    /// There are no credentials to sign it with; nothing was sent.
    #[error("there are no credentials to sign it with")]
    Credentials(#[source] CredentialsError),
    /// The time for which the caller had it signed was over before an attempt could be made (or made again).
    #[error("its signature expired before it could be sent")]
    Expired,
}

impl RequestError {
    pub(crate) fn new(subject: Subject, attempts: u32, outcome: Outcome, cause: Cause) -> RequestError {
        RequestError(Box::new(Details { subject, attempts, outcome, date: None, retry_after: None, cause }))
    }

    pub(crate) fn with_date(mut self, date: Option<SystemTime>) -> RequestError {
        self.0.date = date;
        self
    }

    pub(crate) fn with_retry_after(mut self, pause: Option<Duration>) -> RequestError {
        self.0.retry_after = pause;
        self
    }

    /// Adds what an earlier request for the same thing did.
    pub(crate) fn after(mut self, attempts: u32, earlier: Outcome) -> RequestError {
        self.0.attempts += attempts;
        self.0.outcome = earlier.and(self.0.outcome);
        self
    }

    /// Returns the operation that failed.
    pub fn operation(&self) -> Operation {
        self.0.subject.operation
    }

    /// Returns what it was about: bucket, and key behind a slash.
    pub fn target(&self) -> &str {
        &self.0.subject.target
    }

    /// Returns why (the last attempt) failed.
    pub fn cause(&self) -> &Cause {
        &self.0.cause
    }

    /// Returns how many attempts were made; 0 if the request could not be made at all.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// Returns what all attempts together changed, or may still change (R9).
    pub fn outcome(&self) -> Outcome {
        self.0.outcome
    }

    /// Returns the server's `Date` in the last answer, if there was one.
    pub fn date(&self) -> Option<SystemTime> {
        self.0.date
    }

    /// Returns how long the server asked to wait before the next attempt (`Retry-After`), if it did in the last answer; at most an hour.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Returns the service's answer, if the last attempt got one.
    pub fn service_error(&self) -> Option<&ServiceError> {
        match &self.0.cause {
            Cause::Refused(error) => Some(error),
            _ => None,
        }
    }

    /// Returns whether the object, and nothing above it, is missing.
    pub fn is_not_found(&self) -> bool {
        self.has_code(&ErrorCode::NoSuchKey)
    }

    /// Returns whether the condition of a conditional request did not hold.
    pub fn is_precondition_failed(&self) -> bool {
        self.has_code(&ErrorCode::PreconditionFailed)
    }

    /// Returns whether credentials or permissions are at fault: trying again does not help.
    pub fn is_access_denied(&self) -> bool {
        self.has_code(&ErrorCode::AccessDenied)
            || self.has_code(&ErrorCode::ExpiredToken)
            || matches!(self.0.cause, Cause::Credentials(_))
    }

    /// Returns whether the same request may succeed later. Its attempts, for now, are used up.
    pub fn is_retryable(&self) -> bool {
        self.0.cause.is_retryable()
    }

    fn has_code(&self, code: &ErrorCode) -> bool {
        self.service_error().is_some_and(|error| error.code() == code)
    }
}

impl Cause {
    /// Returns whether another attempt of the same request may succeed.
    pub fn is_retryable(&self) -> bool {
        match self {
            Cause::Refused(error) => error.code().is_retryable(),
            // A truncated or garbled answer is mostly a proxy's doing and gone the next time; attempts are bounded anyway.
            Cause::NotSent { .. } | Cause::Connection { .. } | Cause::TimedOut { .. } => true,
            Cause::Malformed(flaw) => flaw.may_pass(),
            Cause::Invalid(_) | Cause::Credentials(_) | Cause::Expired => false,
        }
    }
}

impl Cause {
    /// Names the kind of failure, for counting: the service's code, or one word.
    pub(crate) fn label(&self) -> Cow<'_, str> {
        match self {
            Cause::Refused(error) => match error.code().name() {
                Some(name) => Cow::Borrowed(name),
                None => Cow::Owned(error.status().to_string()),
            },
            Cause::NotSent { .. } => Cow::Borrowed("not-sent"),
            Cause::Connection { .. } => Cow::Borrowed("connection"),
            Cause::TimedOut { .. } => Cow::Borrowed("timed-out"),
            Cause::Malformed(_) => Cow::Borrowed("malformed"),
            Cause::Invalid(_) => Cow::Borrowed("invalid"),
            Cause::Credentials(_) => Cow::Borrowed("credentials"),
            Cause::Expired => Cow::Borrowed("expired"),
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} failed", self.0.subject.operation, self.0.subject.target)?;
        if self.0.attempts > 1 { write!(f, " after {} attempts", self.0.attempts) } else { Ok(()) }
    }
}

impl std::error::Error for RequestError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0.cause)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    fn failed(cause: Cause) -> RequestError {
        let subject = Subject { operation: Operation::GetObject, target: "bucket/key".to_owned() };
        RequestError::new(subject, 1, Outcome::NONE, cause)
    }

    fn refused(status: u16, code: Option<&str>) -> RequestError {
        failed(Cause::Refused(ServiceError::new(status, code, "", None)))
    }

    #[test]
    fn answers_are_classified() {
        assert!(refused(404, Some("NoSuchKey")).is_not_found());
        assert!(refused(404, None).is_not_found());
        assert!(!refused(404, Some("NoSuchBucket")).is_not_found());
        assert!(refused(412, None).is_precondition_failed());
        for code in ["AccessDenied", "SignatureDoesNotMatch", "InvalidAccessKeyId", "NotSignedUp"] {
            assert!(refused(403, Some(code)).is_access_denied(), "{code}");
        }
    }

    #[test]
    fn failures_without_an_answer_are_retryable() {
        let reset = || io::Error::from(io::ErrorKind::ConnectionReset);
        let limit = Duration::from_secs(1);
        let retryable = [
            Cause::NotSent { source: reset() },
            Cause::Connection { source: reset() },
            Cause::TimedOut { limit },
            Cause::Malformed(AnswerFlaw::WrongLength { expected: 2, got: 1 }),
        ];
        assert!(retryable.iter().all(Cause::is_retryable));
        let lasting = [
            Cause::Expired,
            Cause::Invalid(InvalidRequest::Unsupported { what: "x" }),
            Cause::Malformed(AnswerFlaw::TooLong { limit: 1 }),
            Cause::Malformed(AnswerFlaw::UnknownLength),
        ];
        assert!(!lasting.iter().any(Cause::is_retryable));
    }

    #[test]
    fn the_message_says_what_failed_and_the_source_why() {
        let error = failed(Cause::Expired).after(2, Outcome::APPLIED);
        assert_eq!(error.to_string(), "GetObject of bucket/key failed after 3 attempts");
        assert_eq!(error.source().unwrap().to_string(), "its signature expired before it could be sent");
        assert_eq!((error.attempts(), error.outcome()), (3, Outcome::APPLIED));
        assert_eq!(failed(Cause::Expired).to_string(), "GetObject of bucket/key failed");
    }
}
