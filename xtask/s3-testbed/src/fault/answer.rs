//! Answers that the proxy makes up.

use bytes::{BufMut, Bytes, BytesMut};

/// An answer that a test wrote.
#[derive(Clone, Debug)]
pub struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    body: Bytes,
    has_length: bool,
}

impl Answer {
    /// A status and a body.
    pub fn new(status: u16, body: impl Into<Bytes>) -> Answer {
        Answer { status, headers: Vec::new(), body: body.into(), has_length: true }
    }

    /// An error document with this code, as S3 writes it.
    pub fn error(status: u16, code: &str) -> Answer {
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>made up by the proxy\
             </Message><RequestId>FA17</RequestId></Error>"
        );
        Answer::new(status, body).header("Content-Type", "application/xml")
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Answer {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Leaves out `Content-Length`, so that the body ends with the connection.
    #[must_use]
    pub fn without_length(mut self) -> Answer {
        self.has_length = false;
        self
    }

    /// Whether the connection must end for the client to see the end of the body, or the answer announces it.
    pub(crate) fn ends_connection(&self) -> bool {
        let announces = |(name, value): &(String, String)| {
            name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case("close")
        };
        !self.has_length || self.headers.iter().any(announces)
    }

    /// The bytes of the answer to a request of this method.
    pub(crate) fn to_bytes(&self, method: &str) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_slice(format!("HTTP/1.1 {} Scripted\r\n", self.status).as_bytes());
        for (name, value) in &self.headers {
            bytes.put_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if self.has_length {
            bytes.put_slice(format!("Content-Length: {}\r\n", self.body.len()).as_bytes());
        }
        bytes.put_slice(b"\r\n");
        if method != "HEAD" {
            bytes.put_slice(&self.body);
        }
        bytes.freeze()
    }
}
