//! One HTTP/1.1 connection.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::connect::BoxedStream;
use crate::error::{BoxError, Call, RequestError};

/// Largest head of a response, in bytes; also the read buffer's bound.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// A connection that serves one call after the other.
#[derive(Debug)]
pub(crate) struct RestConnection {
    sender: SendRequest<Full<Bytes>>,
    used_at: Instant,
    _driver: AbortOnDropHandle<()>,
}

/// A request could not be sent, or its answer did not come.
#[derive(Debug)]
pub(crate) struct SendError {
    /// The request, if not one byte of it was sent.
    pub(crate) unsent: Option<Request<Full<Bytes>>>,
    /// Why.
    pub(crate) source: BoxError,
}

impl SendError {
    /// Says which call failed.
    pub(crate) fn of(self, call: &Call) -> RequestError {
        RequestError::Transport { call: call.clone(), source: self.source }
    }
}

impl RestConnection {
    /// Starts HTTP on a fresh stream.
    pub(crate) async fn open(stream: BoxedStream) -> Result<Self, BoxError> {
        let (sender, connection) =
            Builder::new().max_buf_size(HEAD_BYTES_MAX).handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                // The call in progress, if any, reports it.
                tracing::debug!(%error, "connection ended");
            }
        });
        Ok(Self { sender, used_at: Instant::now(), _driver: AbortOnDropHandle::new(driver) })
    }

    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, SendError> {
        if let Err(source) = self.sender.ready().await {
            return Err(SendError { unsent: Some(request), source: source.into() });
        }
        self.sender.try_send_request(request).await.map_err(|mut error| SendError {
            unsent: error.take_message(),
            source: error.into_error().into(),
        })
    }

    /// Notes that the connection is idle from now on.
    pub(crate) fn rest(&mut self) {
        self.used_at = Instant::now();
    }

    /// Tells whether another call may be tried on it.
    pub(crate) fn is_usable(&self, idle_max: std::time::Duration) -> bool {
        !self.sender.is_closed() && self.used_at.elapsed() < idle_max
    }
}
