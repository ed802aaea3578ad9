//! Where a message ends.

use super::RequestHead;

/// How a body is delimited (RFC 9112, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// So many bytes are left.
    Length(u64),
    Chunked(Chunked),
    UntilClose,
}

impl Framing {
    /// How many bytes at the start of `bytes` belong to the body, and whether it ends with them. `None` for broken chunks.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Option<(usize, bool)> {
        match self {
            Framing::Length(left) => {
                let count = (bytes.len() as u64).min(*left);
                *left -= count;
                Some((count as usize, *left == 0))
            }
            Framing::Chunked(chunked) => chunked.take(bytes),
            Framing::UntilClose => Some((bytes.len(), false)),
        }
    }

    pub(crate) fn is_empty(self) -> bool {
        self == Framing::Length(0)
    }
}

/// A scanner of chunked bodies that only looks for their end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chunked {
    state: State,
    /// Size of the chunk while its line is read, then what is left of it.
    left: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    /// Up to the end of the line with the size.
    Extension,
    Data,
    /// The line end after the data.
    DataEnd,
    /// At the start of a line after the last chunk.
    Trailer,
    /// Within a line of the trailer.
    TrailerLine,
    /// In the empty line that ends everything.
    LastLine,
}

impl Chunked {
    fn take(&mut self, bytes: &[u8]) -> Option<(usize, bool)> {
        let mut at = 0;
        while at < bytes.len() {
            if self.state == State::Data {
                let count = (bytes.len() - at).min(usize::try_from(self.left).ok()?);
                at += count;
                self.left -= count as u64;
                if self.left == 0 {
                    self.state = State::DataEnd;
                }
                continue;
            }
            let byte = bytes[at];
            at += 1;
            self.state = match (self.state, byte) {
                (State::Size | State::Extension, b'\n') => {
                    if self.left == 0 {
                        State::Trailer
                    } else {
                        State::Data
                    }
                }
                (State::Size, b'\r' | b';' | b' ') | (State::Extension, _) => State::Extension,
                (State::Size, digit) => {
                    let digit = char::from(digit).to_digit(16)?;
                    self.left = self.left.checked_mul(16)?.checked_add(u64::from(digit))?;
                    State::Size
                }
                (State::DataEnd, b'\r') => State::DataEnd,
                (State::DataEnd, b'\n') => State::Size,
                (State::Trailer, b'\r') => State::LastLine,
                (State::LastLine | State::Trailer, b'\n') => return Some((at, true)),
                (State::TrailerLine, b'\n') => State::Trailer,
                (State::Trailer | State::TrailerLine, _) => State::TrailerLine,
                (State::Data | State::DataEnd | State::LastLine, _) => return None,
            };
        }
        Some((at, false))
    }
}

/// The head of an answer.
#[derive(Debug)]
pub(crate) struct AnswerHead {
    pub(crate) status: u16,
    pub(crate) framing: Framing,
    pub(crate) keeps_alive: bool,
}

/// Most headers in a head; no server known here sends a third of it.
const HEADERS_MAX: usize = 128;

/// Reads the head of a request and says how long it is; `None` if it is not complete.
pub(crate) fn request_head(bytes: &[u8]) -> Result<Option<(RequestHead, usize)>, httparse::Error> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(len) = request.parse(bytes)? else { return Ok(None) };
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let head = RequestHead {
        method: request.method.unwrap_or_default().to_owned(),
        target: request.path.unwrap_or_default().to_owned(),
        headers: request
            .headers
            .iter()
            .map(|header| (header.name.to_lowercase(), text(header.value)))
            .collect(),
    };
    Ok(Some((head, len)))
}

/// Reads the head of the answer to a request of this method and says how long it is; `None` if it is not complete.
pub(crate) fn answer_head(
    bytes: &[u8],
    method: &str,
) -> Result<Option<(AnswerHead, usize)>, httparse::Error> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut answer = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(len) = answer.parse(bytes)? else { return Ok(None) };
    let status = answer.code.unwrap_or_default();
    let header = |name: &str| {
        let found = answer.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| String::from_utf8_lossy(header.value).trim().to_lowercase())
    };
    let framing = if method == "HEAD" || status < 200 || status == 204 || status == 304 {
        Framing::Length(0)
    } else if header("transfer-encoding").is_some_and(|coding| coding.ends_with("chunked")) {
        Framing::Chunked(Chunked::default())
    } else {
        let length = header("content-length").and_then(|length| length.parse().ok());
        length.map_or(Framing::UntilClose, Framing::Length)
    };
    let closes = header("connection").is_some_and(|connection| connection.contains("close"));
    let keeps_alive = answer.version == Some(1) && !closes && framing != Framing::UntilClose;
    Ok(Some((AnswerHead { status, framing, keeps_alive }, len)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunked_bodies_end_after_their_trailer_wherever_they_are_split() {
        let body = b"5;x=y\r\nhello\r\nA\r\n0123456789\r\n0\r\nT: 1\r\n\r\nHTTP/1.1 200 OK";
        let end = body.len() - 15;
        for split in 0..end {
            let mut framing = Framing::Chunked(Chunked::default());
            assert_eq!(framing.take(&body[..split]), Some((split, false)), "split at {split}");
            assert_eq!(framing.take(&body[split..]), Some((end - split, true)), "split at {split}");
        }
        assert_eq!(Framing::Chunked(Chunked::default()).take(b"zz\r\n"), None);
    }

    #[test]
    fn answers_without_a_body_are_known() {
        let head = b"HTTP/1.1 404 Not Found\r\nContent-Length: 99\r\n\r\n";
        assert!(answer_head(head, "HEAD").unwrap().unwrap().0.framing.is_empty());
        assert_eq!(answer_head(head, "GET").unwrap().unwrap().0.framing, Framing::Length(99));
        assert!(answer_head(&head[..20], "GET").unwrap().is_none());
    }
}
