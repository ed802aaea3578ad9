//! Answers, their bodies, and S3's errors.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use hyper::body::{Body, Frame, SizeHint};

use super::xml::escape;

pub(crate) type Answer = Response<Pages>;
pub(crate) type Answered = Result<Answer, S3Error>;

/// A body of known length in pieces.
#[derive(Default)]
pub(crate) struct Pages {
    /// In reverse, so that taking the next one is cheap.
    reversed: Vec<Bytes>,
    left: u64,
}

impl Pages {
    pub(crate) fn new(mut pages: Vec<Bytes>) -> Pages {
        let left = pages.iter().map(|page| page.len() as u64).sum();
        pages.reverse();
        Pages { reversed: pages, left }
    }
}

impl Body for Pages {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let page = self.reversed.pop();
        self.left -= page.as_ref().map_or(0, |page| page.len() as u64);
        Poll::Ready(page.map(|page| Ok(Frame::data(page))))
    }

    fn is_end_stream(&self) -> bool {
        self.reversed.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

pub(crate) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Pages::default());
    *answer.status_mut() = status;
    answer
}

/// 200 with a document.
pub(crate) fn document(body: &str) -> Answer {
    let body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{body}");
    let mut answer = Response::new(Pages::new(vec![Bytes::from(body)]));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    answer
}

/// Sets a header whose value we made of visible characters.
pub(crate) fn set(answer: &mut Answer, name: &str, value: &str) {
    let name = http::HeaderName::from_bytes(name.as_bytes());
    if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
        answer.headers_mut().insert(name, value);
    }
}

/// A refusal, as listed in "Error responses" of the S3 API reference.
#[derive(Debug)]
pub(crate) struct S3Error {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    /// Further elements of the document.
    pub(crate) details: Vec<(&'static str, String)>,
}

impl S3Error {
    pub(crate) fn new(status: u16, code: &'static str, message: impl Into<String>) -> S3Error {
        S3Error { status, code, message: message.into(), details: Vec::new() }
    }

    pub(crate) fn with(mut self, element: &'static str, text: impl Into<String>) -> S3Error {
        self.details.push((element, text.into()));
        self
    }

    pub(crate) fn no_such_key(key: &str) -> S3Error {
        S3Error::new(404, "NoSuchKey", "The specified key does not exist.").with("Key", key)
    }

    pub(crate) fn precondition_failed(condition: &str) -> S3Error {
        let message = "At least one of the pre-conditions you specified did not hold";
        S3Error::new(412, "PreconditionFailed", message).with("Condition", condition)
    }

    pub(crate) fn not_implemented(what: &str) -> S3Error {
        S3Error::new(501, "NotImplemented", format!("{what} is not implemented"))
    }

    pub(crate) fn invalid_request(message: &str) -> S3Error {
        S3Error::new(400, "InvalidRequest", message)
    }

    pub(crate) fn malformed_xml() -> S3Error {
        S3Error::new(400, "MalformedXML", "The XML you provided was not well-formed")
    }

    pub(crate) fn into_answer(self, resource: &str, request_id: &str) -> Answer {
        use std::fmt::Write;
        let mut body =
            format!("<Error><Code>{}</Code><Message>{}</Message>", self.code, escape(&self.message));
        for (element, text) in &self.details {
            let _ = write!(body, "<{element}>{}</{element}>", escape(text));
        }
        let resource = escape(resource);
        let _ = write!(body, "<Resource>{resource}</Resource><RequestId>{request_id}</RequestId></Error>");
        let mut answer = document(&body);
        *answer.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        answer
    }
}
