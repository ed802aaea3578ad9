//! What the server saw.

use http::HeaderMap;
use http::request::Parts;

/// One request, as it arrived, and how it was answered.
#[derive(Clone, Debug)]
pub struct Logged {
    /// `PUT`, …
    pub method: String,
    /// As sent, still encoded, without the query.
    pub path: String,
    /// As sent, still encoded, without the `?`.
    pub query: String,
    /// All headers.
    pub headers: HeaderMap,
    /// Bytes of the body that arrived; `None` until it has arrived whole.
    pub body_len: Option<u64>,
    /// The status of the answer; `None` until there is one.
    pub status: Option<u16>,
}

impl Logged {
    pub(crate) fn new(parts: &Parts) -> Logged {
        Logged {
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            headers: parts.headers.clone(),
            body_len: None,
            status: None,
        }
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}
