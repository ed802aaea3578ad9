//! Reads the body of an answer, and believes it only if it is complete.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use std::future::poll_fn;

use super::checksum::Check;
use crate::body::ResponseBody;
use crate::error::{AnswerFlaw, Cause};
use crate::limits::Pace;
use crate::ops::content_length;

/// Most room that is set aside before bytes have come: what a server announces is not yet there. A chunk of 16 MiB with its header fits.
const RESERVED_BYTES_MAX: u64 = (16 << 20) + (64 << 10);

/// A body being read: bounded, counted, and checked at its end.
pub(super) struct BodyReader {
    body: ResponseBody,
    /// `None`: chunked framing, whose end cannot be mistaken.
    expected: Option<u64>,
    got: u64,
    bytes_max: u64,
    check: Option<Check>,
    pace: Option<Pace>,
    /// A piece that waits for the bandwidth limit.
    waiting: Bytes,
}

impl BodyReader {
    /// Starts reading. `bytes_max` bounds the body; one that is announced to be longer is refused at once.
    pub(super) fn new(
        headers: &HeaderMap,
        body: ResponseBody,
        bytes_max: u64,
        pace: Option<Pace>,
    ) -> Result<BodyReader, AnswerFlaw> {
        let expected = content_length(headers)?;
        if expected.is_some_and(|expected| expected > bytes_max) {
            return Err(AnswerFlaw::TooLong { limit: bytes_max });
        }
        Ok(BodyReader { body, expected, got: 0, bytes_max, check: None, pace, waiting: Bytes::new() })
    }

    /// Expects this length, whether or not the answer announces it.
    pub(super) fn with_length(mut self, length: u64) -> Result<BodyReader, AnswerFlaw> {
        match self.expected.replace(length) {
            Some(got) if got != length => Err(AnswerFlaw::WrongLength { expected: length, got }),
            _ => Ok(self),
        }
    }

    /// Compares the content with `check` at the end.
    pub(super) fn with_check(mut self, check: Option<Check>) -> BodyReader {
        self.check = check;
        self
    }

    pub(super) fn expected(&self) -> Option<u64> {
        self.expected
    }

    pub(super) fn got(&self) -> u64 {
        self.got
    }

    /// Returns the next piece; `None` once the body is complete and its checksum, if there is one, is right.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Cause> {
        if self.waiting.is_empty() {
            let piece = loop {
                match self.body.next().await {
                    Some(Ok(piece)) if piece.is_empty() => {}
                    Some(Ok(piece)) => break piece,
                    Some(Err(source)) => return Err(Cause::Connection { source }),
                    None => return self.end().map(|()| None).map_err(Cause::Malformed),
                }
            };
            self.got = self.got.saturating_add(piece.len() as u64);
            if self.got > self.bytes_max {
                return Err(Cause::Malformed(AnswerFlaw::TooLong { limit: self.bytes_max }));
            }
            if let Some(check) = &mut self.check {
                check.update(&piece);
            }
            self.waiting = piece;
        }
        let Some(pace) = &mut self.pace else { return Ok(Some(std::mem::take(&mut self.waiting))) };
        let bytes = poll_fn(|cx| pace.poll_take(cx, self.waiting.len())).await;
        Ok(Some(self.waiting.split_to(bytes)))
    }

    /// Reads all of it into one piece of memory.
    pub(super) async fn all(&mut self) -> Result<Bytes, Cause> {
        let room = self.expected.unwrap_or(0).min(RESERVED_BYTES_MAX) as usize;
        self.body.want_whole(room);
        let Some(first) = self.next().await? else { return Ok(Bytes::new()) };
        // Short answers come in one piece, which then is the result.
        let Some(second) = self.next().await? else { return Ok(first) };
        let mut all = BytesMut::with_capacity(room.max(first.len() + second.len()));
        all.extend_from_slice(&first);
        drop(first);
        all.extend_from_slice(&second);
        drop(second);
        while let Some(piece) = self.next().await? {
            all.extend_from_slice(&piece);
        }
        Ok(all.freeze())
    }

    /// Reads all of it and appends what comes, also if it turns out not to be all.
    pub(super) async fn append_to(&mut self, content: &mut Vec<u8>) -> Result<(), Cause> {
        while let Some(piece) = self.next().await? {
            content.extend_from_slice(&piece);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), AnswerFlaw> {
        match self.expected {
            Some(expected) if expected != self.got => {
                return Err(AnswerFlaw::WrongLength { expected, got: self.got });
            }
            _ => {}
        }
        self.check.take().map_or(Ok(()), Check::finish)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io;
    use std::task::{Context, Poll};

    use super::*;
    use crate::body::BodySource;

    struct Pieces(VecDeque<&'static str>);

    impl BodySource for Pieces {
        fn poll_piece(&mut self, _: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
            Poll::Ready(self.0.pop_front().map(|piece| Ok(Bytes::from(piece))))
        }
    }

    fn reader(length: Option<&'static str>, pieces: &[&'static str], bytes_max: u64) -> BodyReader {
        let mut headers = HeaderMap::new();
        headers.extend(length.map(|length| (http::header::CONTENT_LENGTH, length.parse().unwrap())));
        let body = ResponseBody::new(Pieces(pieces.iter().copied().collect()));
        BodyReader::new(&headers, body, bytes_max, None).unwrap()
    }

    #[tokio::test]
    async fn pieces_become_one() {
        assert_eq!(reader(Some("6"), &["ab", "", "cd", "ef"], 9).all().await.unwrap(), "abcdef");
        assert_eq!(reader(None, &["ab"], 9).all().await.unwrap(), "ab");
        assert_eq!(reader(Some("0"), &[], 9).all().await.unwrap(), "");
    }

    #[tokio::test]
    async fn a_body_of_another_length_is_an_error_never_a_short_result() {
        for (length, pieces) in [("6", &["ab", "cd"][..]), ("3", &["ab", "cd"]), ("1", &[])] {
            let error = reader(Some(length), pieces, 9).all().await.unwrap_err();
            assert!(matches!(error, Cause::Malformed(AnswerFlaw::WrongLength { .. })), "{length}");
        }
    }

    #[tokio::test]
    async fn an_endless_body_ends_at_the_bound() {
        let error = reader(None, &["abcde"; 3], 9).all().await.unwrap_err();
        assert!(matches!(error, Cause::Malformed(AnswerFlaw::TooLong { limit: 9 })));
        let mut headers = HeaderMap::new();
        headers.insert(http::header::CONTENT_LENGTH, "10".parse().unwrap());
        assert!(BodyReader::new(&headers, ResponseBody::from("x"), 9, None).is_err());
    }
}
