//! Error answers of the service.

use std::fmt;

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

/// An error answer of the service: status, code, message and request id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceError {
    status: u16,
    code: ErrorCode,
    sent_code: Option<Box<str>>,
    message: String,
    request_id: Option<String>,
    region: Option<String>,
}

/// The `<Code>` of an error answer, as far as a caller or the retry layer acts on it (S3 API reference, "Error responses").
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorCode {
    /// `AccessDenied`, and what servers say instead of it for an unknown or wrong key.
    AccessDenied,
    /// `ExpiredToken` and its kin: temporary credentials are over; new ones are asked for once a request.
    ExpiredToken,
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
        let sent = code.filter(|code| !code.is_empty());
        let code = sent.map_or_else(|| ErrorCode::of_status(status), ErrorCode::parse);
        let sent_code = sent.map(|sent| clip(sent).into_boxed_str());
        let request_id = request_id.map(clip);
        ServiceError { status, code, sent_code, message: clip(message), request_id, region: None }
    }

    /// Says that the code is the client's reading of an answer without one.
    #[must_use]
    pub(crate) fn unsent(mut self) -> ServiceError {
        self.sent_code = None;
        self
    }

    /// Adds the region that the service names instead of the one that the request was signed for.
    #[must_use]
    pub fn with_region(mut self, region: Option<&str>) -> ServiceError {
        self.region = region.map(clip);
        self
    }

    /// Returns the region that the service names instead, in answers to requests for the wrong one.
    pub fn region(&self) -> Option<&str> {
        self.region.as_deref()
    }

    /// Returns the HTTP status. It can be 200: some operations report an error in the body of a success.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Returns the code.
    pub fn code(&self) -> &ErrorCode {
        &self.code
    }

    /// Returns the code as the service sent it, at most 256 bytes of it: what [`Self::code`] unites, such as a wrong key and a missing
    /// right, stands apart here. `None` if there was none, as in every answer to HEAD.
    pub fn sent_code(&self) -> Option<&str> {
        self.sent_code.as_deref()
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
            "AccessDenied" | "SignatureDoesNotMatch" | "InvalidAccessKeyId" | "NotSignedUp" => {
                ErrorCode::AccessDenied
            }
            "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => ErrorCode::ExpiredToken,
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

    /// Returns the code as the service writes it; `None` if it sent none.
    pub fn name(&self) -> Option<&str> {
        Some(match self {
            ErrorCode::AccessDenied => "AccessDenied",
            ErrorCode::ExpiredToken => "ExpiredToken",
            ErrorCode::NoSuchKey => "NoSuchKey",
            ErrorCode::NoSuchBucket => "NoSuchBucket",
            ErrorCode::NoSuchUpload => "NoSuchUpload",
            ErrorCode::PreconditionFailed => "PreconditionFailed",
            ErrorCode::Conflict => "ConditionalRequestConflict",
            ErrorCode::RequestTimeTooSkewed => "RequestTimeTooSkewed",
            ErrorCode::SlowDown => "SlowDown",
            ErrorCode::Unavailable => "InternalError",
            ErrorCode::BadDigest => "BadDigest",
            ErrorCode::WrongRegion => "AuthorizationHeaderMalformed",
            ErrorCode::NotImplemented => "NotImplemented",
            ErrorCode::Other(code) if code.is_empty() => return None,
            ErrorCode::Other(code) => code,
        })
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

    /// Returns whether another attempt of the same request may succeed.
    pub fn is_retryable(&self) -> bool {
        match self {
            ErrorCode::Conflict | ErrorCode::SlowDown | ErrorCode::Unavailable => true,
            // A skewed clock is put right once from the server's date; that is no retry of the same request.
            ErrorCode::AccessDenied
            | ErrorCode::ExpiredToken
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

impl Operation {
    const ALL: &[Operation] = &[
        Operation::AbortMultipartUpload,
        Operation::CompleteMultipartUpload,
        Operation::CopyObject,
        Operation::CreateBucket,
        Operation::CreateMultipartUpload,
        Operation::DeleteBucket,
        Operation::DeleteObject,
        Operation::DeleteObjects,
        Operation::GetBucketLifecycleConfiguration,
        Operation::GetBucketVersioning,
        Operation::GetObject,
        Operation::GetObjectLockConfiguration,
        Operation::HeadBucket,
        Operation::HeadObject,
        Operation::ListBuckets,
        Operation::ListObjectsV2,
        Operation::PutObject,
        Operation::UploadPart,
    ];

    /// How many operations there are.
    pub(crate) const COUNT: usize = Operation::ALL.len();

    /// Lists all operations, in the order of their declaration.
    pub fn all() -> impl Iterator<Item = Operation> {
        Operation::ALL.iter().copied()
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
        self.region.as_ref().map_or(Ok(()), |region| write!(f, " (the bucket's region is {region})"))?;
        self.request_id.as_ref().map_or(Ok(()), |id| write!(f, ", request {id}"))
    }
}

/// Cuts a server's text at 256 bytes and takes line breaks and other control characters out of it: it ends up in logs and on terminals.
pub(crate) fn clip(text: &str) -> String {
    let end = text
        .char_indices()
        .map(|(at, char)| at + char.len_utf8())
        .take_while(|end| *end <= MESSAGE_BYTES_MAX)
        .last();
    text[..end.unwrap_or(0)].chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, code: Option<&str>) -> ServiceError {
        ServiceError::new(status, code, "", None)
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
            assert!(refused(status, code).code().is_retryable(), "{status} {code:?}");
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
            assert!(!refused(status, code).code().is_retryable(), "{status} {code:?}");
        }
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

    #[test]
    fn what_a_code_unites_stands_apart_as_it_was_sent() {
        let error = refused(403, Some("InvalidAccessKeyId"));
        assert_eq!((error.code(), error.sent_code()), (&ErrorCode::AccessDenied, Some("InvalidAccessKeyId")));
        assert_eq!(refused(403, None).sent_code(), None);
        assert_eq!(refused(403, Some("")).sent_code(), None);
    }

    #[test]
    fn operations_are_numbered_in_the_order_of_their_list() {
        for (idx, operation) in Operation::all().enumerate() {
            assert_eq!(operation as usize, idx);
        }
    }

    #[test]
    fn names_parse_to_the_same_code() {
        for status in [301, 403, 404, 405, 409, 412, 429, 500] {
            let code = ErrorCode::of_status(status);
            assert_eq!(ErrorCode::parse(code.name().unwrap()), code);
        }
    }
}
