//! The body of a request, as hyper takes it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::wire::Progress;
use crate::body::RequestBody;

/// A request's body that says how far it was taken.
#[derive(Debug)]
pub(super) struct Outgoing {
    body: RequestBody,
    progress: Option<Arc<Progress>>,
}

impl Outgoing {
    pub(super) fn new(body: RequestBody) -> Outgoing {
        Outgoing { body, progress: None }
    }

    /// Reports to the connection that the request goes out on.
    pub(super) fn report_to(&mut self, progress: Arc<Progress>) {
        progress.take_body(self.body.remaining() == 0);
        self.progress = Some(progress);
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        // Nobody reads any more: the rest would go nowhere and only use up the bandwidth limit. The connection's reading end decides.
        if self.progress.as_ref().is_some_and(|progress| progress.is_broken()) {
            return Poll::Pending;
        }
        let piece = match self.body.poll_piece(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(piece) => piece,
        };
        if let Some(progress) = &self.progress {
            progress.take_body(self.body.remaining() == 0);
        }
        Poll::Ready(piece.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.remaining() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.body.remaining())
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::body::Payload;

    #[test]
    fn nothing_more_is_taken_once_writing_failed() {
        let payload = Payload::from_pieces(["ab", "cd"].map(Bytes::from));
        let (mut body, progress) =
            (Outgoing::new(RequestBody::new(payload, None)), Arc::<Progress>::default());
        body.report_to(Arc::clone(&progress));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut body).poll_frame(&mut cx).is_ready());
        progress.break_off();
        assert!(Pin::new(&mut body).poll_frame(&mut cx).is_pending());
        assert_eq!(body.size_hint().exact(), Some(2));
    }
}
