//! The body of an answer, read from its connection.

use std::future::Future as _;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{BufMut as _, Bytes};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{HeaderMap, Response, StatusCode, Version};
use hyper::body::{Body as _, Incoming};
use tokio::io::AsyncReadExt as _;

use super::exchange::{Exchange, io_error};
use super::memory::Memory;
use super::pool::Pool;
use super::wire::Wire;
use crate::body::{BodySource, ResponseBody};

/// Most bytes of one piece of a body with a length, unless its reader [wants it whole](BodySource::want_whole).
///
/// Measured with gets of 4 MiB over loopback, in CPU seconds per GiB at 1 and 16 in flight: 0.20 and 0.23 in one piece; 1.25 and 0.39 in
/// pieces of 1 MiB that are joined (2,020 page faults an object instead of 2: the allocator returns joined memory to the system each
/// time); 0.17 and 0.27 in pieces of 64 KiB that nobody keeps. hyper's own body, joined: 0.30 with its default buffer.
const PIECE_BYTES_MAX: usize = 1 << 20;

/// Where a connection goes when its answer was read to the end.
pub(super) struct Home {
    pub(super) pool: Arc<Pool>,
    pub(super) authority: Authority,
}

impl Home {
    fn give_back(self, wire: Wire) {
        self.pool.give_back(self.authority, wire);
    }
}

/// Turns hyper's answer into ours.
///
/// A body with a length is read from the connection itself, into memory of its size; any other (chunked, or up to the end of the
/// connection), and any that comes while the request is still being sent, is read through hyper.
pub(super) fn receive(
    exchange: Exchange,
    answer: Response<Incoming>,
    home: Home,
    memory: &Arc<Memory>,
) -> Response<ResponseBody> {
    let (head, incoming) = answer.into_parts();
    let may_stay = stays_open(head.version, head.status, &head.headers);
    let home = may_stay.then_some(home);
    let body = match incoming.size_hint().exact() {
        Some(len) if exchange.is_sent() => sized(exchange, (incoming, len), home, Arc::clone(memory)),
        Some(_) => ResponseBody::new(FramedBody { exchange: Some(exchange), incoming, home: None }),
        None => {
            let home = home.filter(|_| head.headers.contains_key(TRANSFER_ENCODING));
            ResponseBody::new(FramedBody { exchange: Some(exchange), incoming, home })
        }
    };
    Response::from_parts(head, body)
}

/// Returns whether the server keeps the connection (RFC 9112 §9.3). HTTP/1.0 connections are not kept: what a server of that version
/// means by keep-alive varies, and those met close anyway.
fn stays_open(version: Version, status: StatusCode, headers: &HeaderMap) -> bool {
    let is_close = |token: &str| token.trim().eq_ignore_ascii_case("close");
    let mut values = headers.get_all(CONNECTION).iter().chain(headers.get_all("proxy-connection"));
    version == Version::HTTP_11
        && status != StatusCode::SWITCHING_PROTOCOLS
        // Two lengths: whoever stands in between may go by the other one (RFC 9112 §6.1).
        && !(headers.contains_key(CONTENT_LENGTH) && headers.contains_key(TRANSFER_ENCODING))
        // A value that is no text is no token we know: do not rely on the connection.
        && values.all(|value| value.to_str().is_ok_and(|value| !value.split(',').any(is_close)))
}

/// Takes the connection out of hyper's hands, with what hyper has read of the body.
fn sized(
    exchange: Exchange,
    (mut incoming, len): (Incoming, u64),
    home: Option<Home>,
    memory: Arc<Memory>,
) -> ResponseBody {
    let mut home = home.filter(|_| !exchange.has_ended());
    let mut cx = Context::from_waker(Waker::noop());
    // At most two pieces: one in hyper's channel to the body, one in its buffer. What lies beyond the body is not for us.
    let (mut first, mut failed) = (Bytes::new(), None);
    while let Poll::Ready(Some(frame)) = Pin::new(&mut incoming).poll_frame(&mut cx) {
        match frame {
            Ok(frame) => first = joined(first, frame.into_data().unwrap_or_default()),
            Err(error) => failed = Some(io_error(error)),
        }
    }
    let (wire, mut read) = exchange.into_wire();
    let missing = len.saturating_sub(first.len() as u64);
    let surplus = read.split_off(read.len().min(usize::try_from(missing).unwrap_or(usize::MAX)));
    home = home.filter(|_| surplus.is_empty());
    let missing = missing - read.len() as u64;
    let start = joined(first, read);
    if missing > 0 || failed.is_some() {
        let (piece, piece_max) = (Vec::new(), PIECE_BYTES_MAX);
        let body = SizedBody { wire: Some(wire), missing, start, piece, piece_max, memory, home, failed };
        return ResponseBody::new(body);
    }
    if let Some(home) = home {
        home.give_back(wire);
    }
    ResponseBody::from(start)
}

fn joined(first: Bytes, second: Bytes) -> Bytes {
    match (first.is_empty(), second.is_empty()) {
        (true, _) => second,
        (_, true) => first,
        _ => [first, second].concat().into(),
    }
}

/// A body with a length: read straight into the memory that is handed out.
struct SizedBody {
    /// `None` when the body has ended, well or not.
    wire: Option<Wire>,
    /// What is still to be read; not 0 as long as there is a wire.
    missing: u64,
    /// What was read before the first piece.
    start: Bytes,
    /// Without capacity until it is begun.
    piece: Vec<u8>,
    piece_max: usize,
    memory: Arc<Memory>,
    home: Option<Home>,
    failed: Option<io::Error>,
}

impl BodySource for SizedBody {
    fn want_whole(&mut self, bytes_max: usize) {
        self.piece_max = self.piece_max.max(bytes_max);
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.wire.is_some() && self.piece.capacity() == 0 {
            self.begin_piece();
        }
        let Some(wire) = &mut self.wire else { return Poll::Ready(None) };
        let filled = match self.failed.take() {
            Some(error) => Err(error),
            None => ready!(poll_fill(wire, &mut self.piece, &mut self.missing, cx)),
        };
        let piece = std::mem::take(&mut self.piece);
        if let Err(error) = filled {
            if piece.is_empty() {
                self.wire = None;
                return Poll::Ready(Some(Err(error)));
            }
            // First what came: the begin of a refusal tells who sent it.
            self.failed = Some(error);
            return Poll::Ready(Some(Ok(self.memory.hand_out(piece))));
        }
        if self.missing == 0
            && let (Some(wire), Some(home)) = (self.wire.take(), self.home.take())
        {
            home.give_back(wire);
        }
        Poll::Ready(Some(Ok(self.memory.hand_out(piece))))
    }
}

impl SizedBody {
    fn begin_piece(&mut self) {
        let left = usize::try_from(self.missing).unwrap_or(usize::MAX).saturating_add(self.start.len());
        // What was read already goes into the first piece, however small pieces are.
        self.piece = self.memory.take(left.min(self.piece_max.max(self.start.len())));
        self.piece.extend_from_slice(&std::mem::take(&mut self.start));
    }
}

/// Reads until the piece is full or nothing is missing.
fn poll_fill(
    wire: &mut Wire,
    piece: &mut Vec<u8>,
    missing: &mut u64,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while *missing > 0 && piece.len() < piece.capacity() {
        let room = usize::try_from(*missing).unwrap_or(usize::MAX).min(piece.capacity() - piece.len());
        let mut buffer = (&mut *piece).limit(room);
        // The future keeps nothing between polls, so a new one each time will do.
        match ready!(pin!(wire.read_buf(&mut buffer)).poll(cx))? {
            0 => return Poll::Ready(Err(cut_short())),
            bytes => *missing -= bytes as u64,
        }
    }
    Poll::Ready(Ok(()))
}

/// Any other body, read through hyper.
struct FramedBody {
    /// `None` when the body has ended, well or not.
    exchange: Option<Exchange>,
    incoming: Incoming,
    home: Option<Home>,
}

impl BodySource for FramedBody {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            let Some(exchange) = &mut self.exchange else { return Poll::Ready(None) };
            let incoming = &mut self.incoming;
            let error = match exchange.poll(cx, |cx| Pin::new(&mut *incoming).poll_frame(cx)) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(bytes) if !bytes.is_empty() => return Poll::Ready(Some(Ok(bytes))),
                    // Trailers: S3 sends none that anybody asked for.
                    _ => continue,
                },
                Poll::Ready(None) => {
                    self.end();
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(Err(error))) => io_error(error),
                Poll::Pending if exchange.has_ended() => cut_short(),
                Poll::Pending => return Poll::Pending,
            };
            self.exchange = None;
            return Poll::Ready(Some(Err(error)));
        }
    }
}

impl FramedBody {
    /// Gives the connection back if it is certain that the next answer begins where this one ended.
    fn end(&mut self) {
        let (Some(exchange), Some(home)) = (self.exchange.take(), self.home.take()) else { return };
        if exchange.is_sent() && !exchange.has_ended() {
            let (wire, surplus) = exchange.into_wire();
            if surplus.is_empty() {
                home.give_back(wire);
            }
        }
    }
}

fn cut_short() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended in the middle of the answer's body")
}
