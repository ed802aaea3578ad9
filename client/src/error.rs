//! Errors of calls to a server.

use std::fmt;
use std::time::Duration;

use crate::connect::ConnectError;

/// An error of some other library, kept as the cause.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Longest part of a server's error text that is kept, in bytes.
const MESSAGE_BYTES_MAX: usize = 1024;

/// The call that failed: method and path, of downloads in a session with the parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    method: http::Method,
    path: String,
}

impl Call {
    pub(crate) fn new(method: http::Method, path: &str) -> Self {
        Self { method, path: path.to_owned() }
    }

    /// Returns the method called with.
    pub fn method(&self) -> &http::Method {
        &self.method
    }

    /// Returns the path called.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

/// The beginning of a text.
struct Cut(String);

impl fmt::Write for Cut {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let left = MESSAGE_BYTES_MAX - self.0.len();
        self.0.push_str(&text[..text.floor_char_boundary(left)]);
        if text.len() > left { Err(fmt::Error) } else { Ok(()) }
    }
}

/// A call to the server failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// No connection could be opened.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection broke, or the peer does not speak HTTP.
    #[error("{call} failed")]
    Transport {
        /// What was called.
        call: Call,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// No answer came in time.
    #[error("{call} was not answered within {} s", limit.as_secs())]
    TimedOut {
        /// What was called.
        call: Call,
        /// The limit.
        limit: Duration,
    },
    /// The server refused.
    #[error("{message} ({status})")]
    Refused {
        /// What was called.
        call: Call,
        /// The status code.
        status: http::StatusCode,
        /// The server's message, cut to 1 KiB, control characters replaced.
        message: String,
    },
    /// The answer is longer than anything this call may give.
    #[error("the answer to {call} is longer than {limit} bytes")]
    TooLong {
        /// What was called.
        call: Call,
        /// The limit.
        limit: usize,
    },
    /// The answer is not what the protocol says.
    #[error("the answer to {call} cannot be understood")]
    Answer {
        /// What was called.
        call: Call,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// The server demands something for the login that this client cannot give.
    #[error("the server asks {user} for a second factor, which is not supported; use an API token")]
    SecondFactor {
        /// Who tried to log in.
        user: String,
    },
}

impl RequestError {
    pub(crate) fn refused(call: Call, status: http::StatusCode, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(&body[..body.len().min(MESSAGE_BYTES_MAX)]);
        let mut message: String =
            text.trim().chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect();
        if message.is_empty() {
            message = format!("{call} refused");
        }
        Self::Refused { call, status, message }
    }

    pub(crate) fn transport(call: Call, source: impl Into<BoxError>) -> Self {
        Self::Transport { call, source: source.into() }
    }

    pub(crate) fn answer(call: Call, source: impl Into<BoxError>) -> Self {
        Self::Answer { call, source: source.into() }
    }

    /// An answer that does not parse. What the parser says repeats texts of the answer, whatever their length: it is cut.
    pub(crate) fn unparsed(call: Call, source: &serde_json::Error) -> Self {
        let mut text = Cut(String::new());
        // Ends early where there is no more room.
        let _ = fmt::Write::write_fmt(&mut text, format_args!("{source}"));
        Self::answer(call, text.0)
    }

    /// Returns the status code, if the server refused.
    pub fn status(&self) -> Option<http::StatusCode> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Tells whether the credentials were missing or wrong.
    pub fn is_unauthorized(&self) -> bool {
        self.status() == Some(http::StatusCode::UNAUTHORIZED)
    }

    /// Tells whether the server said that the thing does not exist (404 only; many servers say 400).
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(http::StatusCode::NOT_FOUND)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> Call {
        Call::new(http::Method::GET, "/x")
    }

    #[test]
    fn messages_are_bounded_and_clean() {
        let error = RequestError::refused(call(), http::StatusCode::BAD_REQUEST, &[b'\x1b'; 5000]);
        assert!(error.to_string().len() < 1100);
        assert!(!error.to_string().contains('\x1b'));
        let error = RequestError::refused(call(), http::StatusCode::BAD_REQUEST, b"no such datastore\n");
        assert_eq!(error.to_string(), "no such datastore (400 Bad Request)");
        let error = RequestError::refused(call(), http::StatusCode::NOT_FOUND, b"");
        assert_eq!(error.to_string(), "GET /x refused (404 Not Found)");
    }

    #[test]
    fn classification_follows_the_status() {
        let refused = |status| RequestError::refused(call(), status, b"");
        assert!(refused(http::StatusCode::UNAUTHORIZED).is_unauthorized());
        assert!(refused(http::StatusCode::NOT_FOUND).is_not_found());
        assert!(!refused(http::StatusCode::BAD_REQUEST).is_not_found());
        let late = RequestError::TimedOut { call: call(), limit: Duration::from_mins(2) };
        assert_eq!(late.status(), None);
        assert_eq!(late.to_string(), "GET /x was not answered within 120 s");
    }
}
