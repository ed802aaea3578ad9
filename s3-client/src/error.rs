//! What can go wrong with a request, and what a caller can do about it.

use std::fmt;
use std::io;
use std::time::Duration;

use thiserror::Error;

/// Most bytes kept of a server's message: enough to understand it, too few to flood a log.
const MESSAGE_BYTES_MAX: usize = 256;

/// An operation of the S3 API, for messages and accounting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the variants are the names of the S3 API reference")]
pub enum Operation {
    AbortMultipartUpload,
    CompleteMultipartUpload,
    CopyObject,
    CreateBucket,
    CreateMultipartUpload,
    DeleteBucket,
    DeleteObject,
    DeleteObjects,
    GetBucketLifecycleConfiguration,
    GetBucketVersioning,
    GetObject,
    GetObjectLockConfiguration,
    HeadBucket,
    HeadObject,
    ListBuckets,
    ListObjectsV2,
    PutObject,
    UploadPart,
}

/// Why a request has no result.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The service answered with an error. [`ServiceError::code`] says which.
    #[error("{operation} was refused: {error}")]
    Refused {
        /// The operation.
        operation: Operation,
        /// The service's answer; not repeated as a source, because the message holds all of it.
        error: ServiceError,
    },
    /// The connection could not be made, or broke. Whether the request took effect is a matter of its outcome, not of this error.
    #[error("{operation} lost its connection")]
    Transport {
        /// The operation.
        operation: Operation,
        /// What the transport reported.
        #[source]
        source: io::Error,
    },
    /// No complete answer came in time.
    #[error("{operation} had no complete answer within {limit:?}")]
    TimedOut {
        /// The operation.
        operation: Operation,
        /// The bound of the attempt.
        limit: Duration,
    },
    /// The answer is not one that the S3 API allows: a proxy's page, a truncated body, broken XML.
    #[error("{operation} was answered with something else than S3: {flaw}")]
    Malformed {
        /// The operation.
        operation: Operation,
        /// What is wrong with it.
        flaw: &'static str,
    },
    /// All attempts failed; the source tells of the last.
    #[error("{operation} gave up after {attempts} attempts")]
    Exhausted {
        /// The operation.
        operation: Operation,
        /// How many there were.
        attempts: u32,
        /// Why the last one failed.
        #[source]
        last: Box<RequestError>,
    },
}

/// An error answer of the service: status, code, message and request id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceError {
    status: u16,
    code: ErrorCode,
    message: String,
    request_id: Option<String>,
}

/// The `<Code>` of an error answer, as far as a caller or the retry layer acts on it (S3 API reference, "Error responses").
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorCode {
    /// `AccessDenied`, and what servers say instead of it for an unknown or wrong key.
    AccessDenied,
    /// `NoSuchKey`, or 404 without a code, as HEAD answers it.
    NoSuchKey,
    /// `NoSuchBucket`.
    NoSuchBucket,
    /// `NoSuchUpload`.
    NoSuchUpload,
    /// `PreconditionFailed` (412): the condition of a conditional request does not hold.
    PreconditionFailed,
    /// `ConditionalRequestConflict` or `OperationAborted` (409): nothing was written, a retry is due.
    Conflict,
    /// `RequestTimeTooSkewed`: the clocks differ by more than the service allows.
    RequestTimeTooSkewed,
    /// `SlowDown` and its kin: the service asks for fewer requests.
    SlowDown,
    /// `InternalError`, `ServiceUnavailable` and the like: worth another attempt.
    Unavailable,
    /// The body did not match its checksum or payload hash.
    BadDigest,
    /// The request is for another region.
    WrongRegion,
    /// The service does not know the operation, header or form.
    NotImplemented,
    /// Any other code, as sent.
    Other(String),
}

impl ServiceError {
    /// Takes the parts of an error answer. `code` and `message` are what the XML held, if there was any; the status decides where a
    /// server sends no code, as every server does for HEAD.
    pub fn new(status: u16, code: Option<&str>, message: &str, request_id: Option<&str>) -> ServiceError {
        let code = code
            .filter(|code| !code.is_empty())
            .map_or_else(|| ErrorCode::of_status(status), ErrorCode::parse);
        let request_id = request_id.map(clip);
        ServiceError { status, code, message: clip(message), request_id }
    }

    /// Returns the HTTP status. It can be 200: some operations report an error in the body of a success.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Returns the code.
    pub fn code(&self) -> &ErrorCode {
        &self.code
    }

    /// Returns the service's message, at most 256 bytes of it.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the id by which the provider finds the request in its logs.
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }
}

impl ErrorCode {
    /// Reads a code as servers send it; several spellings of one thing become one value.
    pub fn parse(code: &str) -> ErrorCode {
        match code {
            "AccessDenied"
            | "SignatureDoesNotMatch"
            | "InvalidAccessKeyId"
            | "NotSignedUp"
            | "ExpiredToken"
            | "InvalidToken" => ErrorCode::AccessDenied,
            "NoSuchKey" | "NotFound" => ErrorCode::NoSuchKey,
            "NoSuchBucket" => ErrorCode::NoSuchBucket,
            "NoSuchUpload" => ErrorCode::NoSuchUpload,
            "PreconditionFailed" => ErrorCode::PreconditionFailed,
            "ConditionalRequestConflict" | "OperationAborted" => ErrorCode::Conflict,
            "RequestTimeTooSkewed" => ErrorCode::RequestTimeTooSkewed,
            "SlowDown"
            | "SlowDownRead"
            | "SlowDownWrite"
            | "TooManyRequests"
            | "RequestLimitExceeded"
            | "Throttling"
            | "ThrottlingException" => ErrorCode::SlowDown,
            "InternalError" | "ServiceUnavailable" | "RequestTimeout" | "UnknownError" | "BadGateway"
            | "GatewayTimeout" => ErrorCode::Unavailable,
            "BadDigest" | "InvalidDigest" | "XAmzContentSHA256Mismatch" | "XAmzContentChecksumMismatch" => {
                ErrorCode::BadDigest
            }
            "AuthorizationHeaderMalformed"
            | "PermanentRedirect"
            | "TemporaryRedirect"
            | "IllegalLocationConstraintException" => ErrorCode::WrongRegion,
            "NotImplemented" | "MethodNotAllowed" => ErrorCode::NotImplemented,
            other => ErrorCode::Other(clip(other)),
        }
    }

    /// The code that an answer without one stands for.
    fn of_status(status: u16) -> ErrorCode {
        match status {
            301 | 307 | 308 => ErrorCode::WrongRegion,
            401 | 403 => ErrorCode::AccessDenied,
            404 => ErrorCode::NoSuchKey,
            405 | 501 => ErrorCode::NotImplemented,
            409 => ErrorCode::Conflict,
            412 => ErrorCode::PreconditionFailed,
            429 => ErrorCode::SlowDown,
            408 | 500..=599 => ErrorCode::Unavailable,
            _ => ErrorCode::Other(String::new()),
        }
    }

    fn is_retryable(&self) -> bool {
        match self {
            ErrorCode::Conflict | ErrorCode::SlowDown | ErrorCode::Unavailable => true,
            // A skewed clock is put right once from the server's date; that is no retry of the same request.
            ErrorCode::AccessDenied
            | ErrorCode::NoSuchKey
            | ErrorCode::NoSuchBucket
            | ErrorCode::NoSuchUpload
            | ErrorCode::PreconditionFailed
            | ErrorCode::RequestTimeTooSkewed
            | ErrorCode::BadDigest
            | ErrorCode::WrongRegion
            | ErrorCode::NotImplemented
            | ErrorCode::Other(_) => false,
        }
    }
}

impl RequestError {
    /// Returns the operation that failed.
    pub fn operation(&self) -> Operation {
        match self {
            RequestError::Refused { operation, .. }
            | RequestError::Transport { operation, .. }
            | RequestError::TimedOut { operation, .. }
            | RequestError::Malformed { operation, .. }
            | RequestError::Exhausted { operation, .. } => *operation,
        }
    }

    /// Returns the service's answer, if the request (or its last attempt) got one.
    pub fn service_error(&self) -> Option<&ServiceError> {
        match self {
            RequestError::Refused { error, .. } => Some(error),
            RequestError::Exhausted { last, .. } => last.service_error(),
            RequestError::Transport { .. }
            | RequestError::TimedOut { .. }
            | RequestError::Malformed { .. } => None,
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
    }

    /// Returns whether another attempt of the same request may succeed. An exhausted request has had its attempts.
    pub fn is_retryable(&self) -> bool {
        match self {
            RequestError::Refused { error, .. } => error.code.is_retryable(),
            // A truncated or garbled answer is mostly a proxy's doing and gone the next time; attempts are bounded anyway.
            RequestError::Transport { .. }
            | RequestError::TimedOut { .. }
            | RequestError::Malformed { .. } => true,
            RequestError::Exhausted { .. } => false,
        }
    }

    fn has_code(&self, code: &ErrorCode) -> bool {
        self.service_error().is_some_and(|error| error.code == *code)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The variants are the API's own names.
        fmt::Debug::fmt(self, f)
    }
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            ErrorCode::Other(code) if code.is_empty() => write!(f, "status {}", self.status)?,
            ErrorCode::Other(code) => write!(f, "{code} (status {})", self.status)?,
            code => write!(f, "{code:?} (status {})", self.status)?,
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        self.request_id.as_ref().map_or(Ok(()), |id| write!(f, ", request {id}"))
    }
}

/// Cuts a server's text at 256 bytes and takes line breaks and other control characters out of it: it ends up in logs and on terminals.
fn clip(text: &str) -> String {
    let end = text
        .char_indices()
        .map(|(at, char)| at + char.len_utf8())
        .take_while(|end| *end <= MESSAGE_BYTES_MAX)
        .last();
    text[..end.unwrap_or(0)].chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    fn refused(status: u16, code: Option<&str>) -> RequestError {
        let error = ServiceError::new(status, code, "", None);
        RequestError::Refused { operation: Operation::GetObject, error }
    }

    #[test]
    fn codes_are_classified() {
        assert!(refused(404, Some("NoSuchKey")).is_not_found());
        assert!(refused(404, None).is_not_found());
        assert!(!refused(404, Some("NoSuchBucket")).is_not_found());
        assert!(refused(412, None).is_precondition_failed());
        for code in ["AccessDenied", "SignatureDoesNotMatch", "InvalidAccessKeyId", "NotSignedUp"] {
            assert!(refused(403, Some(code)).is_access_denied(), "{code}");
        }
    }

    #[test]
    fn only_what_may_pass_is_retried() {
        let retried = [
            (500, None),
            (503, Some("SlowDown")),
            (409, Some("ConditionalRequestConflict")),
            (429, None),
            (403, Some("TooManyRequests")),
        ];
        for (status, code) in retried {
            assert!(refused(status, code).is_retryable(), "{status} {code:?}");
        }
        let final_ones = [
            (400, None),
            (403, None),
            (404, None),
            (412, None),
            (501, None),
            (400, Some("BadDigest")),
            (403, Some("RequestTimeTooSkewed")),
            (301, Some("PermanentRedirect")),
            (400, Some("KeyTooLongError")),
        ];
        for (status, code) in final_ones {
            assert!(!refused(status, code).is_retryable(), "{status} {code:?}");
        }
    }

    #[test]
    fn failures_without_an_answer_are_retryable_until_exhausted() {
        let operation = Operation::PutObject;
        let lost = RequestError::Transport { operation, source: io::ErrorKind::ConnectionReset.into() };
        assert!(lost.is_retryable());
        assert!(RequestError::TimedOut { operation, limit: Duration::from_secs(1) }.is_retryable());
        assert!(RequestError::Malformed { operation, flaw: "truncated body" }.is_retryable());
        let exhausted = RequestError::Exhausted { operation, attempts: 3, last: Box::new(lost) };
        assert!(!exhausted.is_retryable());
        assert_eq!(exhausted.to_string(), "PutObject gave up after 3 attempts");
        assert_eq!(exhausted.source().unwrap().to_string(), "PutObject lost its connection");
        assert_eq!(exhausted.operation(), operation);
    }

    #[test]
    fn the_last_answer_shows_through() {
        let last = Box::new(refused(404, None));
        let exhausted = RequestError::Exhausted { operation: Operation::GetObject, attempts: 2, last };
        assert!(exhausted.is_not_found());
    }

    #[test]
    fn hostile_messages_are_clipped_to_one_line() {
        let message = format!("a\r\nb\u{1b}[31m{}", "ä".repeat(500));
        let error = ServiceError::new(400, Some("Odd\nCode"), &message, Some("id\n1"));
        assert!(error.message().len() <= MESSAGE_BYTES_MAX);
        let shown = error.to_string();
        assert!(shown.starts_with("Odd Code (status 400): a  b [31m"), "{shown}");
        assert!(!shown.contains(char::is_control), "{shown}");
        assert!(shown.ends_with(", request id 1"), "{shown}");
    }

    #[test]
    fn an_empty_code_counts_as_none() {
        assert_eq!(*ServiceError::new(503, Some(""), "", None).code(), ErrorCode::Unavailable);
        assert_eq!(ServiceError::new(418, None, "", None).to_string(), "status 418");
    }
}
