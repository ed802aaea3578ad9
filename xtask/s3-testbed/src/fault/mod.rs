//! The proxy that misbehaves.
//!
//! It speaks raw TCP on both sides, because half of the faults are things that an HTTP library would not do. A request is read whole
//! before its fault acts (unless the fault is about the reading), and each one that is forwarded gets a connection of its own to the
//! origin: no stale connection behind the proxy can blur what a test scripted.
//!
//! `plan` decides, `turn` carries out one request, `framing` and `wire` know the bytes.

pub(crate) mod answer;
mod framing;
pub(crate) mod odds;
mod plan;
pub(crate) mod proxy;
pub(crate) mod seen;
mod turn;
mod wire;

use bytes::Bytes;

pub(crate) use crate::fault::answer::Answer;
use crate::gate::Gate;

/// What happens to one request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Nothing: forwarded and answered.
    Pass,
    /// The request waits at the gate, then is forwarded and answered.
    Delay(Gate),
    /// Reset once the head was read: no byte reaches the origin.
    ResetAtHead,
    /// Reset once `after` bytes of the body were read: no byte reaches the origin.
    ResetInBody {
        /// Bytes of the body that are read first.
        after: u64,
    },
    /// Reads `after` bytes of the body and no more, for ever.
    ///
    /// A client that hangs up in the middle of a large body is not noticed, and the request never counts as finished: the end of the
    /// connection queues up behind the bytes that nobody reads.
    StallUpload {
        /// Bytes of the body that are read first.
        after: u64,
    },
    /// Forwarded, so that its effect takes place, and never answered.
    LostReply(End),
    /// Answered by the proxy; the origin never hears of it.
    Answer(Answer),
    /// Forwarded, so that its effect takes place, and then answered with this instead.
    AnswerAfter(Answer),
    /// Answered with this (or reset, if `None`) and forwarded once the gate is open: an effect after the client gave up.
    Late {
        /// What the client gets at once.
        answer: Option<Answer>,
        /// When the origin gets the request.
        gate: Gate,
    },
    /// Forwarded and answered, and then the connection is closed without a word in the answer: a kept-alive connection gone stale.
    CloseAfter,
    /// Answered with this before the body is read.
    EarlyAnswer {
        /// What stands there for the client to read.
        answer: Answer,
        /// What becomes of the rest of the body.
        end: EarlyEnd,
    },
    /// Forwarded; the answer's body ends after `after` bytes.
    ///
    /// A reset takes back what is still on its way: from some 100 kB on, fewer bytes than `after` may arrive.
    CutBody {
        /// Bytes of the body, as framed on the wire, that are passed on.
        after: u64,
        /// How the connection ends.
        end: End,
    },
    /// Forwarded; the answer's body stalls for ever after `after` bytes.
    StallBody {
        /// Bytes of the body, as framed on the wire, that are passed on.
        after: u64,
    },
    /// Forwarded; the answer claims a length that is off by this much. Too much and the body ends early, too little and the connection
    /// holds bytes that belong to no answer.
    WrongLength(i64),
    /// Not forwarded: `start`, then `unit` for ever, until the client hangs up.
    Endless {
        /// Sent once.
        start: Bytes,
        /// Repeated.
        unit: Bytes,
    },
    /// Not forwarded: these bytes, then the end of the connection.
    Garbage(Bytes),
    /// So many `100 Continue`, then forwarded and answered.
    Continues(u32),
}

/// The variants of [`Fault`], without their data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is described where it is a fault")]
pub enum FaultKind {
    Pass,
    Delay,
    ResetAtHead,
    ResetInBody,
    StallUpload,
    LostReply,
    Answer,
    AnswerAfter,
    Late,
    CloseAfter,
    EarlyAnswer,
    CutBody,
    StallBody,
    WrongLength,
    Endless,
    Garbage,
    Continues,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// In order (FIN).
    Close,
    /// By a reset (RST).
    Reset,
}

/// What becomes of a body that was answered before it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EarlyEnd {
    /// Reset at once, as a server does that closes with unread data: the client's write fails while the answer waits to be read.
    Reset,
    /// No byte more is read, and the connection stays: the client's write stalls while the answer waits to be read. As with
    /// [`Fault::StallUpload`], the end may go unnoticed.
    Stall,
    /// The rest is read and thrown away, and the connection goes on.
    Drain,
}

impl Fault {
    /// An answer of 200 whose body never ends, `start` being its beginning.
    pub fn endless_body(start: &str) -> Fault {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\n\r\n{start}");
        Fault::Endless { start: head.into(), unit: Bytes::from(vec![b'x'; ENDLESS_UNIT]) }
    }

    /// An answer whose headers never end.
    pub fn endless_headers() -> Fault {
        let unit = "X-More: and more\r\n".repeat(ENDLESS_UNIT / 18);
        Fault::Endless { start: Bytes::from_static(b"HTTP/1.1 200 OK\r\n"), unit: unit.into() }
    }

    /// Which one it is.
    pub fn kind(&self) -> FaultKind {
        match self {
            Fault::Pass => FaultKind::Pass,
            Fault::Delay(_) => FaultKind::Delay,
            Fault::ResetAtHead => FaultKind::ResetAtHead,
            Fault::ResetInBody { .. } => FaultKind::ResetInBody,
            Fault::StallUpload { .. } => FaultKind::StallUpload,
            Fault::LostReply(_) => FaultKind::LostReply,
            Fault::Answer(_) => FaultKind::Answer,
            Fault::AnswerAfter(_) => FaultKind::AnswerAfter,
            Fault::Late { .. } => FaultKind::Late,
            Fault::CloseAfter => FaultKind::CloseAfter,
            Fault::EarlyAnswer { .. } => FaultKind::EarlyAnswer,
            Fault::CutBody { .. } => FaultKind::CutBody,
            Fault::StallBody { .. } => FaultKind::StallBody,
            Fault::WrongLength(_) => FaultKind::WrongLength,
            Fault::Endless { .. } => FaultKind::Endless,
            Fault::Garbage(_) => FaultKind::Garbage,
            Fault::Continues(_) => FaultKind::Continues,
        }
    }
}

/// Bytes of one write of an endless answer: large enough to reach a client's limit quickly.
const ENDLESS_UNIT: usize = 16 << 10;

/// What a matcher sees of a request.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// `PUT`, …
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
}

impl RequestHead {
    pub(crate) fn of(parts: &http::request::Parts) -> RequestHead {
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        RequestHead {
            method: parts.method.to_string(),
            target: parts.uri.to_string(),
            headers: parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        }
    }

    /// As sent, still encoded.
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(&self.target, |(path, _)| path)
    }

    /// As sent, still encoded; empty without one.
    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// The first header of that name (in lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether this is `method` of a path that contains `part`.
    pub fn is(&self, method: &str, part: &str) -> bool {
        self.method == method && self.path().contains(part)
    }
}
