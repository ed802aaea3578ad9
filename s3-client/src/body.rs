//! Bodies of requests and answers.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::limits::Pace;

/// Content to upload: bytes in memory, in one piece or several. Cloning copies nothing, so that every attempt can send it again.
#[derive(Clone, Default)]
pub struct Payload {
    pieces: Pieces,
    len: u64,
}

#[derive(Clone)]
enum Pieces {
    One(Bytes),
    Many(Arc<[Bytes]>),
}

impl Payload {
    /// Takes content that lies in several pieces of memory.
    pub fn from_pieces(pieces: impl IntoIterator<Item = Bytes>) -> Payload {
        let pieces: Arc<[Bytes]> = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
        let len = pieces.iter().map(|piece| piece.len() as u64).sum();
        Payload { pieces: Pieces::Many(pieces), len }
    }

    /// Returns the length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the pieces, in order.
    pub fn pieces(&self) -> &[Bytes] {
        match &self.pieces {
            Pieces::One(bytes) => std::slice::from_ref(bytes),
            Pieces::Many(pieces) => pieces,
        }
    }
}

impl Default for Pieces {
    fn default() -> Pieces {
        Pieces::One(Bytes::new())
    }
}

impl<B: Into<Bytes>> From<B> for Payload {
    fn from(bytes: B) -> Payload {
        let bytes = bytes.into();
        Payload { len: bytes.len() as u64, pieces: Pieces::One(bytes) }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payload").field("len", &self.len).finish_non_exhaustive()
    }
}

/// The body of one attempt: a [`Payload`] being sent, at the pace that the client's limits allow.
#[derive(Debug)]
pub struct RequestBody {
    payload: Payload,
    piece_idx: usize,
    /// What is left of the current piece.
    rest: Bytes,
    remaining: u64,
    pace: Option<Pace>,
}

impl RequestBody {
    pub(crate) fn new(payload: Payload, pace: Option<Pace>) -> RequestBody {
        let remaining = payload.len();
        RequestBody { payload, piece_idx: 0, rest: Bytes::new(), remaining, pace }
    }

    /// Returns how many bytes are still to be sent; before the first piece that is the exact length.
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Returns the next bytes, `None` at the end. Waits if the bandwidth limit says so.
    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        while self.rest.is_empty() {
            let Some(piece) = self.payload.pieces().get(self.piece_idx) else { return Poll::Ready(None) };
            self.rest = piece.clone();
            self.piece_idx += 1;
        }
        let now = match &mut self.pace {
            None => self.rest.len(),
            Some(pace) => match pace.poll_take(cx, self.rest.len()) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(bytes) => bytes,
            },
        };
        let piece = self.rest.split_to(now);
        self.remaining -= piece.len() as u64;
        Poll::Ready(Some(piece))
    }
}

impl From<Payload> for RequestBody {
    /// Takes content to be sent as fast as the network allows, for requests that a [`Transport`](crate::transport::Transport) gets by itself
    /// or in a changed form.
    fn from(payload: Payload) -> RequestBody {
        RequestBody::new(payload, None)
    }
}

/// Where the bytes of an answer come from: one socket, or a simulation.
pub trait BodySource: Send {
    /// Is told, before the first piece, that the reader would have to join pieces of a body of up to `bytes_max` bytes: one piece saves it the
    /// copy. A source that gets its pieces from elsewhere need not care.
    fn want_whole(&mut self, bytes_max: usize) {
        let _ = bytes_max;
    }

    /// Returns the next bytes, `None` at the end. A body that ends before its announced length is an error.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>>;
}

/// The body of an answer.
pub struct ResponseBody(Source);

enum Source {
    Memory(Option<Bytes>),
    Boxed(Box<dyn BodySource>),
}

impl ResponseBody {
    /// Takes a body as it comes.
    pub fn new(source: impl BodySource + 'static) -> ResponseBody {
        ResponseBody(Source::Boxed(Box::new(source)))
    }

    /// Returns the next bytes, `None` at the end.
    ///
    /// # Errors
    /// What the transport reports; a body that is shorter than announced is one of them.
    ///
    /// # Cancel safety
    /// Dropping the future loses no bytes.
    pub async fn next(&mut self) -> Option<io::Result<Bytes>> {
        poll_fn(|cx| self.poll_piece(cx)).await
    }

    /// Asks for the body in one piece, if it has at most `bytes_max` bytes.
    pub(crate) fn want_whole(&mut self, bytes_max: usize) {
        if let Source::Boxed(source) = &mut self.0 {
            source.want_whole(bytes_max);
        }
    }

    pub(crate) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        match &mut self.0 {
            Source::Memory(bytes) => Poll::Ready(bytes.take().filter(|bytes| !bytes.is_empty()).map(Ok)),
            Source::Boxed(source) => source.poll_piece(cx),
        }
    }
}

impl<B: Into<Bytes>> From<B> for ResponseBody {
    fn from(bytes: B) -> ResponseBody {
        ResponseBody(Source::Memory(Some(bytes.into())))
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn pieces_are_sent_in_order_and_counted() {
        let payload = Payload::from_pieces(["ab", "", "cde"].map(Bytes::from));
        assert_eq!(payload.len(), 5);
        let mut body = RequestBody::new(payload, None);
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(body.remaining(), 5);
        assert_eq!(body.poll_piece(&mut cx), Poll::Ready(Some(Bytes::from_static(b"ab"))));
        assert_eq!(body.remaining(), 3);
        assert_eq!(body.poll_piece(&mut cx), Poll::Ready(Some(Bytes::from_static(b"cde"))));
        assert_eq!(body.poll_piece(&mut cx), Poll::Ready(None));
        assert_eq!(body.remaining(), 0);
    }

    #[test]
    fn a_body_in_memory_is_one_piece_or_none() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut body = ResponseBody::from("x");
        assert!(matches!(body.poll_piece(&mut cx), Poll::Ready(Some(Ok(bytes))) if bytes == "x"));
        assert!(matches!(body.poll_piece(&mut cx), Poll::Ready(None)));
        assert!(matches!(ResponseBody::from("").poll_piece(&mut cx), Poll::Ready(None)));
    }
}
