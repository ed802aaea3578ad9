//! Counting while it happens: requests, connections and bytes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Method, Response};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Asked, Metrics};
use crate::api;

/// Counts the requests of one interface.
#[derive(Debug, Clone)]
pub struct RequestMeter {
    metrics: Arc<Metrics>,
    interface: &'static str,
}

impl RequestMeter {
    /// Makes the meter of an interface: `rest`, `backup` or `reader`.
    pub fn new(metrics: Arc<Metrics>, interface: &'static str) -> Self {
        Self { metrics, interface }
    }

    /// Counts a request that was answered.
    pub(crate) fn note<B>(&self, method: &Method, response: &Response<B>, took: Duration) {
        // Whatever a client invents counts as one.
        let method = api::Method::of(method).map_or("other", api::Method::as_str);
        let path = response.extensions().get::<api::Matched>().map_or("other", |matched| matched.0);
        let asked = Asked { interface: self.interface, method, path };
        self.metrics.note_request(&asked, response.status().as_u16(), took);
    }
}

/// A connection that is counted, with its bytes, and keeps its place as long as it lives: also after an upgrade.
#[derive(Debug)]
pub(crate) struct Metered<I, P> {
    io: I,
    metrics: Arc<Metrics>,
    _place: P,
}

impl<I, P> Metered<I, P> {
    pub(crate) fn new(io: I, metrics: Arc<Metrics>, place: P) -> Self {
        metrics.accepted.inc();
        metrics.connections.inc();
        Self { io, metrics, _place: place }
    }
}

impl<I, P> Drop for Metered<I, P> {
    fn drop(&mut self) {
        self.metrics.connections.dec();
    }
}

impl<I: AsyncRead + Unpin, P: Unpin> AsyncRead for Metered<I, P> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        self.metrics.bytes_received.inc_by((buf.filled().len() - before) as u64);
        polled
    }
}

impl<I: AsyncWrite + Unpin, P: Unpin> AsyncWrite for Metered<I, P> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, buf);
        self.note_sent(&polled);
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.note_sent(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl<I, P> Metered<I, P> {
    fn note_sent(&self, polled: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = polled {
            self.metrics.bytes_sent.inc_by(*bytes as u64);
        }
    }
}
