//! One request and its answer on one connection.
//!
//! HTTP's connection future is polled by whoever waits for the answer: no task is spawned and no thread woken, and dropping the
//! request or the body of the answer closes the connection. Each exchange gets a fresh HTTP state over the bytes, so that nothing of
//! one answer (its HTTP version, half-read framing) reaches the next request, and an idle connection is nothing but a socket.

use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;

use super::TransportError;
use super::alarm::Alarm;
use super::outgoing::Outgoing;
use super::wire::{Progress, Wire};

/// Most header lines of an answer. S3 allows 2 KiB of user metadata; what else comes is some 20 lines.
const HEADERS_MAX: usize = 100;
/// Most bytes of an answer's head.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Most bytes that hyper reads at once and holds: heads, and bodies without a length (lists, mostly), which come in small chunks.
/// Bodies with a length bypass it.
const BUFFER_BYTES_MAX: usize = 128 << 10;

/// A request on its way, or an answer being read.
pub(super) struct Exchange {
    connection: Connection<TokioIo<Wire>, Outgoing>,
    /// Kept: dropping it tells hyper to close the connection.
    _sender: SendRequest<Outgoing>,
    progress: Arc<Progress>,
    alarm: Alarm,
    has_ended: bool,
}

/// A failed exchange.
pub(super) struct Failed {
    /// The request, if it is whole and not one byte of it left.
    pub(super) unsent: Option<Request<Outgoing>>,
    pub(super) error: TransportError,
}

impl Exchange {
    /// Sends `request` and returns when the head of its answer is there.
    pub(super) async fn start(
        mut wire: Wire,
        mut request: Request<Outgoing>,
    ) -> Result<(Exchange, Response<Incoming>), Failed> {
        let progress = wire.begin();
        request.body_mut().report_to(Arc::clone(&progress));
        let mut builder = Builder::new();
        builder.max_headers(HEADERS_MAX).max_header_size(HEAD_BYTES_MAX).max_buf_size(BUFFER_BYTES_MAX);
        let (mut sender, connection) = match builder.handshake(TokioIo::new(wire)).await {
            Ok(parts) => parts,
            Err(error) => {
                let error = TransportError::NotSent { source: io_error(error) };
                return Err(Failed { unsent: None, error });
            }
        };
        let answer = sender.try_send_request(request);
        let alarm = Alarm::new();
        let mut exchange = Exchange { connection, _sender: sender, progress, alarm, has_ended: false };
        let answer = {
            let mut answer = pin!(answer);
            poll_fn(|cx| match exchange.poll(cx, |cx| answer.as_mut().poll(cx)) {
                Poll::Ready(answer) => Poll::Ready(Some(answer)),
                // Nothing can come of it any more.
                Poll::Pending if exchange.has_ended => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            })
            .await
        };
        match answer {
            // Nobody can have carried out what was not sent: the answer is another request's, or untrue.
            Some(Ok(answer)) if answer.status().is_success() && !exchange.is_sent() => {
                let untrue = "the server reported a success before it had the whole request";
                Err(exchange.fail(None, io::Error::new(io::ErrorKind::InvalidData, untrue)))
            }
            Some(Ok(answer)) => Ok((exchange, answer)),
            Some(Err(mut error)) => {
                let unsent = error.take_message();
                Err(exchange.fail(unsent, io_error(error.into_error())))
            }
            None => Err(exchange.fail(None, io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// Lets HTTP read and write until `poll` has a result.
    pub(super) fn poll<T>(
        &mut self,
        cx: &Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let Exchange { connection, alarm, has_ended, .. } = self;
        alarm.poll(cx, |cx| {
            if let Poll::Ready(done) = poll(cx) {
                return Poll::Ready(done);
            }
            // What went wrong is told to who waits for the answer or its body.
            if !*has_ended && connection.poll_without_shutdown(cx).is_ready() {
                *has_ended = true;
            }
            poll(cx)
        })
    }

    /// Returns whether the connection can do nothing more.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Returns whether the whole request was handed to the system.
    pub(super) fn is_sent(&self) -> bool {
        self.progress.is_sent()
    }

    /// Returns the connection, and what was read from it but not yet handed out.
    pub(super) fn into_wire(self) -> (Wire, Bytes) {
        let parts = self.connection.into_parts();
        (parts.io.into_inner(), parts.read_buf)
    }

    fn fail(self, unsent: Option<Request<Outgoing>>, error: io::Error) -> Failed {
        let (mut wire, _) = self.into_wire();
        let has_sent = wire.has_sent();
        let source = wire.take_write_error().unwrap_or(error);
        // Closed before the verdict, so that nothing can leave after it.
        drop(wire);
        if has_sent {
            return Failed { unsent: None, error: TransportError::Unclear { source } };
        }
        Failed { unsent, error: TransportError::NotSent { source } }
    }
}

/// Returns hyper's error with the kind that says what happened.
pub(super) fn io_error(error: hyper::Error) -> io::Error {
    let kind = if error.is_incomplete_message() {
        io::ErrorKind::UnexpectedEof
    } else if error.is_parse() {
        io::ErrorKind::InvalidData
    } else {
        let source = std::error::Error::source(&error);
        source
            .and_then(|source| source.downcast_ref::<io::Error>())
            .map_or(io::ErrorKind::Other, io::Error::kind)
    };
    io::Error::new(kind, error)
}
