//! What handlers answer.

use std::fs::File;
use std::io::{self, Read};

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use serde::Serialize;
use serde_json::Value;

use super::error::ApiError;
use crate::auth::AuthId;

/// The body of every response.
pub type ResponseBody = UnsyncBoxBody<Bytes, io::Error>;

/// How much of a file is read at once when it is sent.
const FILE_BLOCK_BYTES: usize = 512 * 1024;

const JSON: HeaderValue = HeaderValue::from_static("application/json;charset=UTF-8");
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// A successful answer.
pub struct Reply {
    status: StatusCode,
    content_type: Option<HeaderValue>,
    content_bytes: Option<u64>,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: ResponseBody,
    logged_in: Option<AuthId>,
}

impl Reply {
    /// Answers `{"data": data}`.
    pub fn json(data: &(impl Serialize + ?Sized)) -> Result<Self, ApiError> {
        Self::json_with(data, &[])
    }

    /// Answers `{"data": data, …}` with members beside it, such as `total`, `active` and `success`.
    pub fn json_with(data: &(impl Serialize + ?Sized), siblings: &[(&str, Value)]) -> Result<Self, ApiError> {
        let mut text = b"{\"data\":".to_vec();
        serde_json::to_writer(&mut text, data).map_err(|error| ApiError::failed(&error))?;
        for (name, value) in siblings {
            text.extend_from_slice(format!(",{}:{value}", Value::from(*name)).as_bytes());
        }
        text.push(b'}');
        Ok(Self::new(Some(JSON), full(text.into())))
    }

    /// Answers `{"data":null}`.
    pub fn null() -> Self {
        Self::new(Some(JSON), full(Bytes::from_static(b"{\"data\":null}")))
    }

    /// Answers raw bytes, with their length in the header.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self::new(Some(BYTES), full(bytes.into()))
    }

    /// Answers a page for people.
    pub fn page(html: &'static str) -> Self {
        let html_type = HeaderValue::from_static("text/html;charset=UTF-8");
        Self::new(Some(html_type), full(Bytes::from_static(html.as_bytes())))
    }

    /// Answers text of this type.
    pub fn text(content_type: &'static str, text: String) -> Self {
        Self::new(Some(HeaderValue::from_static(content_type)), full(text.into()))
    }

    /// Returns the answer with another status.
    #[must_use]
    pub(crate) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// Answers raw bytes as they come, without a length in the header.
    pub fn stream(blocks: BoxStream<'static, io::Result<Bytes>>) -> Self {
        Self::new(
            Some(BYTES),
            BodyExt::boxed_unsync(StreamBody::new(blocks.map(|block| block.map(Frame::data)))),
        )
    }

    /// Answers the content of an open file from its current position, without a length in the header, read in blocks on
    /// blocking threads as the client takes it.
    pub fn file(file: File) -> Self {
        Self::stream(blocks_of(file).boxed())
    }

    /// As [`Reply::file`], with the length that the caller knows in the header.
    pub fn file_with_len(file: File, bytes: u64) -> Self {
        Self { content_bytes: Some(bytes), ..Self::file(file) }
    }

    /// Answers 101: the connection now speaks `protocol`. See [`super::Call::take_upgrade`].
    pub fn switch_to(protocol: &'static str) -> Self {
        let reply = Self::new(None, full(Bytes::new()));
        Self { status: StatusCode::SWITCHING_PROTOCOLS, ..reply }
            .with_header(http::header::CONNECTION, HeaderValue::from_static("upgrade"))
            .with_header(http::header::UPGRADE, HeaderValue::from_static(protocol))
    }

    /// Returns the answer with one more header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Returns the answer to somebody who proved by the request who they are.
    #[must_use]
    pub fn to_login_of(self, user: AuthId) -> Self {
        Self { logged_in: Some(user), ..self }
    }

    /// Returns who proved by the request who they are.
    pub(super) fn logged_in(&self) -> Option<&AuthId> {
        self.logged_in.as_ref()
    }

    fn new(content_type: Option<HeaderValue>, body: ResponseBody) -> Self {
        Self {
            status: StatusCode::OK,
            content_type,
            content_bytes: None,
            headers: Vec::new(),
            body,
            logged_in: None,
        }
    }

    pub(crate) fn into_response(self) -> Response<ResponseBody> {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.extend(self.headers);
        headers.extend(self.content_type.map(|value| (CONTENT_TYPE, value)));
        headers.extend(self.content_bytes.map(|bytes| (CONTENT_LENGTH, HeaderValue::from(bytes))));
        response
    }
}

/// Makes the response of a refusal: plain text, although the type says JSON, as stock clients know it. Refusals before
/// dispatch (401) have no type.
pub(crate) fn refusal(error: &ApiError) -> Response<ResponseBody> {
    let mut response = Response::new(full(Bytes::copy_from_slice(error.message().as_bytes())));
    *response.status_mut() = error.status();
    if error.status() != StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(CONTENT_TYPE, JSON);
    }
    response
}

fn full(bytes: Bytes) -> ResponseBody {
    BodyExt::boxed_unsync(Full::new(bytes).map_err(|never| match never {}))
}

fn blocks_of(file: File) -> impl futures_util::Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::try_unfold(file, |mut file| async move {
        let read = tokio::task::spawn_blocking(move || {
            let mut block = Vec::with_capacity(FILE_BLOCK_BYTES);
            (&mut file).take(FILE_BLOCK_BYTES as u64).read_to_end(&mut block)?;
            io::Result::Ok((Bytes::from(block), file))
        });
        let (block, file) = read.await.map_err(io::Error::other)??;
        Ok((!block.is_empty()).then_some((block, file)))
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use super::*;

    async fn body_of(reply: Reply) -> Bytes {
        reply.into_response().into_body().collect().await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn siblings_stand_beside_the_data() {
        let reply = Reply::json_with(&[1, 2], &[("total", 2.into()), ("active", false.into())]).unwrap();
        assert_eq!(body_of(reply).await, r#"{"data":[1,2],"total":2,"active":false}"#);
    }

    #[tokio::test]
    async fn a_file_is_sent_whole() {
        let content: Vec<u8> = (0..FILE_BLOCK_BYTES * 2 + 5).map(|i| i as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&content).unwrap();
        file.rewind().unwrap();
        assert!(body_of(Reply::file(file)).await == content);
    }
}
