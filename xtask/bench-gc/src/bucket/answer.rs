//! Answers of the server.

use std::time::SystemTime;

use bytes::Bytes;
use coldkeep_s3_client::ResponseBody;
use coldkeep_s3_client::sign::date::format_http_date;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

pub(crate) const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// An answer without its date, which is that of its sending.
#[derive(Debug)]
pub(crate) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    pub(crate) fn empty(status: u16) -> Answer {
        Answer::new(status, Bytes::new())
    }

    pub(crate) fn document(body: impl Into<Bytes>) -> Answer {
        Answer::new(200, body.into()).with(header::CONTENT_TYPE, "application/xml")
    }

    pub(crate) fn new(status: u16, body: Bytes) -> Answer {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = HeaderMap::from_iter([(header::CONTENT_LENGTH, HeaderValue::from(body.len()))]);
        Answer { status, headers, body }
    }

    #[must_use]
    pub(crate) fn with(mut self, name: HeaderName, value: &str) -> Answer {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// Leaves the body out, as for HEAD: the length stays.
    #[must_use]
    pub(crate) fn without_body(mut self) -> Answer {
        self.body.clear();
        self
    }

    pub(crate) fn into_response(self) -> Response<ResponseBody> {
        let date = format_http_date(SystemTime::now()).unwrap_or_default();
        let Answer { status, headers, body } = self.with(header::DATE, &date);
        let mut response = Response::new(ResponseBody::from(body));
        (*response.status_mut(), *response.headers_mut()) = (status, headers);
        response
    }
}

/// An error, as in "Error responses" of the S3 API reference.
pub(crate) fn refusal(status: u16, code: &str) -> Answer {
    let body = format!("{DECLARATION}<Error><Code>{code}</Code><Message>{code}</Message></Error>");
    Answer::new(status, body.into()).with(header::CONTENT_TYPE, "application/xml")
}
