//! The one error type of handlers: a status code and a message for the client.

use std::error::Error;
use std::fmt::{self, Write};

use http::StatusCode;

/// Longest message sent, in bytes; the rest is cut.
const MESSAGE_BYTES_MAX: usize = 2048;

/// Why a request is refused: what the client is told, as plain text.
///
/// Nearly everything is 400 on this protocol; `docs` of the endpoint tables say where it is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    message: String,
}

impl ApiError {
    /// Refuses with 400: the request cannot be done as it stands.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// Refuses with 401: no or wrong credentials, or a chunk that this session may not read.
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, message)
    }

    /// Refuses with 403: the caller lacks a privilege.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    /// Refuses with 404: an unknown path or method, a missing namespace, or a missing file of a reader.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// Refuses with another status.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > MESSAGE_BYTES_MAX {
            message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
        }
        Self { status, message }
    }

    /// Refuses with 400 and the text of `error` with all its causes: what failed, on what, and why.
    pub fn failed(error: &dyn Error) -> Self {
        Self::bad_request(chain(error))
    }

    /// Returns the same refusal with another status.
    #[must_use]
    pub fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// Returns the status code.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the message.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for ApiError {}

/// Writes an error and its causes on one line, separated by `: `.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing to a string cannot fail.
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_its_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot read the list of users")]
        struct Outer(#[source] std::io::Error);
        let error = ApiError::failed(&Outer(std::io::Error::other("disk on fire")));
        assert_eq!(error.status(), StatusCode::BAD_REQUEST);
        assert_eq!(error.message(), "cannot read the list of users: disk on fire");
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let error = ApiError::bad_request("ü".repeat(MESSAGE_BYTES_MAX));
        assert_eq!(error.message().len(), MESSAGE_BYTES_MAX);
    }
}
