//! What stands between a client and its server or its clock: bodies that change on the way, clocks that are wrong, links without a client.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use coldkeep_s3_client::transport::{HttpTransport, Transport, TransportError};
use coldkeep_s3_client::{
    Client, Clock, Config, Payload, Presigned, RequestBody, ResponseBody, RetryPolicy, SystemClock,
};
use http::{HeaderMap, Request, Response, StatusCode};

use crate::env::transport;

/// Sends every body with one bit of its last byte turned, and the headers as they are.
pub(crate) struct Flipping(HttpTransport);

impl Flipping {
    /// A client whose bodies are changed on their way. It tries once: what is refused for good need not be repeated.
    pub(crate) fn client(config: Config) -> Client<Flipping> {
        let flipping = Flipping(transport(&config));
        Client::builder(config.with_retry(RetryPolicy::never())).build_with(flipping)
    }
}

impl Transport for Flipping {
    async fn send(&self, request: Request<RequestBody>) -> Result<Response<ResponseBody>, TransportError> {
        let (head, mut body) = request.into_parts();
        let mut bytes = Vec::new();
        while let Some(piece) = poll_fn(|cx| body.poll_piece(cx)).await {
            bytes.extend_from_slice(&piece);
        }
        if let Some(last) = bytes.last_mut() {
            *last ^= 1;
        }
        self.0.send(Request::from_parts(head, Payload::from(bytes).into())).await
    }
}

/// A clock that is slow by some time, or fast.
pub(crate) struct WrongClock {
    right: SystemClock,
    slow_by: Duration,
    fast_by: Duration,
}

impl WrongClock {
    pub(crate) fn slow_by(slow_by: Duration) -> WrongClock {
        WrongClock { right: SystemClock::new(), slow_by, fast_by: Duration::ZERO }
    }

    pub(crate) fn fast_by(fast_by: Duration) -> WrongClock {
        WrongClock { right: SystemClock::new(), slow_by: Duration::ZERO, fast_by }
    }
}

impl Clock for WrongClock {
    fn now(&self) -> SystemTime {
        self.right.now() - self.slow_by + self.fast_by
    }

    fn monotonic(&self) -> Duration {
        self.right.monotonic()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.right.sleep(duration)
    }
}

/// An answer to whoever has no client.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// Uses a link as anybody could.
pub(crate) async fn fetch(config: &Config, link: Presigned, body: impl Into<Payload>) -> Fetched {
    let body = RequestBody::from(body.into());
    let mut request = Request::builder().method(link.method).uri(link.url).body(body).unwrap();
    *request.headers_mut() = link.headers;
    exchange(config, request).await
}

/// Sends a request as it is.
pub(crate) async fn exchange(config: &Config, mut request: Request<RequestBody>) -> Fetched {
    let len = request.body().remaining();
    if len > 0 {
        request.headers_mut().insert(http::header::CONTENT_LENGTH, len.into());
    }
    let (head, mut answer) = transport(config).send(request).await.unwrap().into_parts();
    let mut body = Vec::new();
    while let Some(piece) = answer.next().await {
        body.extend_from_slice(&piece.unwrap());
    }
    Fetched { status: head.status, headers: head.headers, body }
}
