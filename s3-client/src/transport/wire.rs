//! One connection as bytes: TCP, maybe TLS over it.
//!
//! A wire knows two things that decide about the outcome of a request (R9): whether any byte left since the request began, and which
//! error ended the writing. A write error is noted and hidden from HTTP: a server that refuses an upload answers at once and closes
//! without reading the body, so that the next write fails while the answer waits to be read (spec `s3-servers.md` §3 point 1). After
//! such an error everything written is taken for sent, and reading goes on; it ends with the answer, or at the end of the stream.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(feature = "tls")]
use tokio_rustls::client::TlsStream;

/// One connection to the service, a tunnel through a proxy, or a proxy.
#[derive(Debug)]
pub(super) struct Wire {
    link: Link,
    /// [`Counted::accepted`] when the request began.
    accepted_before: u64,
    write_error: Option<io::Error>,
    progress: Arc<Progress>,
}

#[derive(Debug)]
enum Link {
    Tcp(Counted),
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream<Counted>>),
}

/// A TCP stream that counts what the system took to send. It lies below TLS: what waits in the TLS session has not left.
#[derive(Debug)]
pub(super) struct Counted {
    tcp: TcpStream,
    accepted: u64,
}

/// How far the sending of one request is; shared by the wire, its request's body and the body of the answer.
#[derive(Debug, Default)]
pub(super) struct Progress {
    body_taken: AtomicBool,
    flushed: AtomicBool,
    broken: AtomicBool,
}

impl Progress {
    /// Notes that bytes of the body were handed out; with `is_last` there are no more.
    pub(super) fn take_body(&self, is_last: bool) {
        self.flushed.store(false, Ordering::Relaxed);
        self.body_taken.store(is_last, Ordering::Relaxed);
    }

    /// Returns whether the whole request was handed to the system. After a failed write it never was: nothing is flushed any more.
    pub(super) fn is_sent(&self) -> bool {
        self.body_taken.load(Ordering::Relaxed) && self.flushed.load(Ordering::Relaxed)
    }

    /// Notes that writing failed.
    pub(super) fn break_off(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    /// Returns whether writing failed: whatever else is written goes nowhere.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }
}

impl Wire {
    /// Takes a connection without TLS.
    pub(super) fn plain(tcp: Counted) -> Wire {
        Wire::new(Link::Tcp(tcp))
    }

    /// Takes a connection with TLS.
    #[cfg(feature = "tls")]
    pub(super) fn encrypted(tls: TlsStream<Counted>) -> Wire {
        Wire::new(Link::Tls(Box::new(tls)))
    }

    fn new(link: Link) -> Wire {
        Wire { link, accepted_before: 0, write_error: None, progress: Arc::default() }
    }

    /// Begins a request: what is counted from here on belongs to it.
    pub(super) fn begin(&mut self) -> Arc<Progress> {
        self.accepted_before = self.counted().accepted;
        self.progress = Arc::default();
        Arc::clone(&self.progress)
    }

    /// Returns whether a byte left since the request began.
    pub(super) fn has_sent(&self) -> bool {
        self.counted().accepted > self.accepted_before
    }

    /// Returns the error that ended the writing, if one did.
    pub(super) fn take_write_error(&mut self) -> Option<io::Error> {
        self.write_error.take()
    }

    /// Returns whether an idle connection can carry another request: the server neither closed it nor sent anything unasked.
    pub(super) fn is_idle(&mut self) -> bool {
        match self.counted().peek() {
            Peeked::Nothing => true,
            Peeked::Closed => false,
            Peeked::Bytes => self.takes_what_waits(),
        }
    }

    /// Bytes that wait on an idle connection are all right if TLS itself takes them: session tickets come after the handshake.
    fn takes_what_waits(&mut self) -> bool {
        if matches!(self.link, Link::Tcp(_)) {
            return false;
        }
        let mut byte = [MaybeUninit::uninit()];
        let mut buffer = ReadBuf::uninit(&mut byte);
        let mut cx = Context::from_waker(Waker::noop());
        let read = Pin::new(&mut self.link).poll_read(&mut cx, &mut buffer);
        // The runtime may not have heard of the bytes yet and then reads none; so look again.
        read.is_pending() && matches!(self.counted().peek(), Peeked::Nothing)
    }

    fn counted(&self) -> &Counted {
        match &self.link {
            Link::Tcp(counted) => counted,
            #[cfg(feature = "tls")]
            Link::Tls(tls) => tls.get_ref().0,
        }
    }

    /// Hides the errors that mean that the peer no longer reads.
    fn hide<T>(&mut self, result: io::Result<T>, instead: T) -> io::Result<T> {
        match result {
            Err(error) if is_gone(error.kind()) => {
                self.write_error = Some(error);
                self.progress.break_off();
                Ok(instead)
            }
            result => result,
        }
    }
}

/// Returns whether the peer no longer reads. Other errors of a write end the request at once: no answer is to be expected after them.
fn is_gone(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::NotConnected
    )
}

impl Counted {
    pub(super) fn new(tcp: TcpStream) -> Counted {
        Counted { tcp, accepted: 0 }
    }

    fn count(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &written {
            self.accepted += *bytes as u64;
        }
        written
    }

    /// Asks the system, not the runtime, which learns of a closed connection only when its own thread has polled for events.
    fn peek(&self) -> Peeked {
        let mut byte = [MaybeUninit::uninit()];
        match SockRef::from(&self.tcp).peek(&mut byte) {
            Ok(0) => Peeked::Closed,
            Ok(_) => Peeked::Bytes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Peeked::Nothing,
            Err(_) => Peeked::Closed,
        }
    }
}

enum Peeked {
    Nothing,
    Bytes,
    Closed,
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.link).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.progress.is_broken() {
            return Poll::Ready(Ok(bytes.len()));
        }
        self.progress.flushed.store(false, Ordering::Relaxed);
        let written = ready!(Pin::new(&mut self.link).poll_write(cx, bytes));
        Poll::Ready(self.hide(written, bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let len = pieces.iter().map(|piece| piece.len()).sum();
        if self.progress.is_broken() {
            return Poll::Ready(Ok(len));
        }
        self.progress.flushed.store(false, Ordering::Relaxed);
        let written = ready!(Pin::new(&mut self.link).poll_write_vectored(cx, pieces));
        Poll::Ready(self.hide(written, len))
    }

    fn is_write_vectored(&self) -> bool {
        self.link.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.progress.is_broken() {
            return Poll::Ready(Ok(()));
        }
        let flushed = ready!(Pin::new(&mut self.link).poll_flush(cx));
        // HTTP flushes only what it has written: the request, as far as it was taken, is with the system.
        self.progress.flushed.store(flushed.is_ok(), Ordering::Relaxed);
        Poll::Ready(self.hide(flushed, ()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.link).poll_shutdown(cx)
    }
}

/// Forwards to the stream of either kind.
macro_rules! each_link {
    ($link:expr, $stream:ident => $call:expr) => {
        match $link {
            Link::Tcp($stream) => $call,
            #[cfg(feature = "tls")]
            Link::Tls($stream) => $call,
        }
    };
}

impl AsyncRead for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each_link!(&mut *self, stream => Pin::new(stream).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Link {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        each_link!(&mut *self, stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each_link!(&mut *self, stream => Pin::new(stream).poll_write_vectored(cx, pieces))
    }

    fn is_write_vectored(&self) -> bool {
        each_link!(self, stream => stream.is_write_vectored())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each_link!(&mut *self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each_link!(&mut *self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write(cx, bytes);
        self.count(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write_vectored(cx, pieces);
        self.count(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (Wire, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Wire::plain(Counted::new(near)), listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn only_bytes_since_the_beginning_count_as_sent() {
        let (mut wire, _far) = pair().await;
        for _ in 0..2 {
            wire.begin();
            assert!(!wire.has_sent());
            wire.write_all(b"x").await.unwrap();
            assert!(wire.has_sent());
        }
    }

    // Goal: a closed connection is seen at once. Method: look without giving the runtime a chance to hear of it.
    #[tokio::test]
    async fn a_closed_or_talking_connection_is_not_idle() {
        let (mut wire, far) = pair().await;
        assert!(wire.is_idle());
        drop(far);
        assert!(!wire.is_idle());
        let (mut wire, far) = pair().await;
        assert_eq!(far.try_write(b"x").unwrap(), 1);
        assert!(!wire.is_idle());
    }

    #[tokio::test]
    async fn an_error_of_writing_is_noted_and_hidden_and_reading_goes_on() {
        let (mut wire, mut far) = pair().await;
        let progress = wire.begin();
        wire.write_all(b"unread").await.unwrap();
        far.write_all(b"answer").await.unwrap();
        // Closing with unread bytes resets the connection.
        drop(far);
        while !progress.is_broken() {
            wire.write_all(&[0; 1000]).await.unwrap();
        }
        wire.write_all(&[0; 1000]).await.unwrap();
        wire.flush().await.unwrap();
        assert!(!progress.is_sent());
        let mut answer = [0; 6];
        wire.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"answer");
        let kind = wire.take_write_error().unwrap().kind();
        assert!(is_gone(kind), "{kind}");
    }

    #[tokio::test]
    async fn a_request_is_sent_when_its_last_bytes_are_flushed() {
        let (mut wire, _far) = pair().await;
        let progress = wire.begin();
        progress.take_body(false);
        wire.write_all(b"head").await.unwrap();
        wire.flush().await.unwrap();
        assert!(!progress.is_sent(), "the body is to come");
        progress.take_body(true);
        assert!(!progress.is_sent(), "taken, not flushed");
        poll_fn(|cx| Pin::new(&mut wire).poll_write_vectored(cx, &[IoSlice::new(b"body")])).await.unwrap();
        assert!(!progress.is_sent());
        wire.flush().await.unwrap();
        assert!(progress.is_sent());
    }
}
