//! One request and what is done to it.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::framing::Framing;
use super::proxy::Shared;
use super::wire::{Reply, Wire, forward};
use super::{Answer, EarlyEnd, End, Fault, RequestHead};
use crate::gate::Gate;

/// What becomes of the client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    KeepAlive,
    End(End),
}

/// A request whose head was read.
pub(crate) struct Turn<'a> {
    pub(crate) wire: &'a mut Wire,
    pub(crate) shared: &'a Arc<Shared>,
    /// Its place in what was seen.
    pub(crate) at: usize,
    pub(crate) head: RequestHead,
    /// The head as it came.
    pub(crate) raw: Bytes,
    /// Bytes of the body that are still to be read.
    pub(crate) body_left: u64,
}

impl Turn<'_> {
    /// Does to the request what was decided.
    ///
    /// An error says that one of the two connections broke by itself.
    pub(crate) async fn run(mut self, fault: Fault) -> io::Result<Next> {
        match fault {
            Fault::Pass => self.pass(Relay::whole()).await,
            Fault::Delay(gate) => {
                let request = self.read_request().await?;
                self.wait_at(&gate).await;
                self.exchange(&request, Relay::whole()).await
            }
            Fault::ResetAtHead => Ok(Next::End(End::Reset)),
            Fault::ResetInBody { after } => {
                self.read_body(after).await?;
                Ok(Next::End(End::Reset))
            }
            Fault::StallUpload { after } => {
                self.read_body(after).await?;
                self.stall().await
            }
            Fault::LostReply(end) => {
                let request = self.read_request().await?;
                self.forward(&request).await?;
                Ok(Next::End(end))
            }
            Fault::Answer(answer) => {
                self.read_request().await?;
                self.answer(&answer).await
            }
            Fault::AnswerAfter(answer) => {
                let request = self.read_request().await?;
                self.forward(&request).await?;
                self.answer(&answer).await
            }
            Fault::Late { answer, gate } => self.late(answer, gate).await,
            Fault::CloseAfter => {
                self.pass(Relay::whole()).await?;
                Ok(Next::End(End::Close))
            }
            Fault::EarlyAnswer { answer, end } => self.early(&answer, end).await,
            Fault::CutBody { after, end } => {
                self.pass(Relay { body_max: after, ..Relay::whole() }).await?;
                Ok(Next::End(end))
            }
            Fault::StallBody { after } => {
                self.pass(Relay { body_max: after, ..Relay::whole() }).await?;
                self.stall().await
            }
            Fault::WrongLength(change) => {
                self.pass(Relay { length_change: change, ..Relay::whole() }).await?;
                // With too small a length the connection stays: the client must notice the bytes that are left over.
                Ok(if change > 0 { Next::End(End::Close) } else { Next::KeepAlive })
            }
            Fault::Endless { start, unit } => {
                self.read_request().await?;
                self.send(&start).await?;
                loop {
                    self.send(&unit).await?;
                }
            }
            Fault::Garbage(bytes) => {
                self.read_request().await?;
                self.send(&bytes).await?;
                Ok(Next::End(End::Close))
            }
            Fault::Continues(count) => {
                for _ in 0..count {
                    self.send(CONTINUE).await?;
                }
                self.pass(Relay::whole()).await
            }
        }
    }

    async fn pass(&mut self, relay: Relay) -> io::Result<Next> {
        let request = self.read_request().await?;
        self.exchange(&request, relay).await
    }

    async fn exchange(&mut self, request: &[Bytes], relay: Relay) -> io::Result<Next> {
        let reply = self.forward(request).await?;
        self.relay(reply, relay).await
    }

    async fn late(&mut self, answer: Option<Answer>, gate: Gate) -> io::Result<Next> {
        let request = self.read_request().await?;
        let (shared, method, at) = (Arc::clone(self.shared), self.head.method.clone(), self.at);
        self.shared.tasks.spawn(async move {
            shared.note(at, |seen| seen.stalled = true);
            gate.pass().await;
            shared.note(at, |seen| seen.stalled = false);
            let forwarded = forward(shared.origin, &request, &method).await.is_ok();
            shared.note(at, |seen| (seen.forwarded, seen.finished) = (forwarded, true));
        });
        match answer {
            // A client that is gone already does not change the effect.
            Some(answer) => self.answer(&answer).await.or(Ok(Next::End(End::Reset))),
            None => Ok(Next::End(End::Reset)),
        }
    }

    async fn early(&mut self, answer: &Answer, end: EarlyEnd) -> io::Result<Next> {
        let next = self.answer(answer).await?;
        match end {
            EarlyEnd::Reset => Ok(Next::End(End::Reset)),
            EarlyEnd::Stall => self.stall().await,
            EarlyEnd::Drain => {
                self.read_body(u64::MAX).await?;
                Ok(next)
            }
        }
    }

    /// Reads the rest of the request, which is sent on as it came.
    async fn read_request(&mut self) -> io::Result<[Bytes; 2]> {
        let waits =
            self.head.header("expect").is_some_and(|expected| expected.eq_ignore_ascii_case("100-continue"));
        if waits && self.body_left > 0 {
            self.send(CONTINUE).await?;
        }
        Ok([self.raw.clone(), self.read_body(u64::MAX).await?])
    }

    async fn read_body(&mut self, max: u64) -> io::Result<Bytes> {
        let len = self.body_left.min(max);
        let body = self.wire.read_exactly(len).await?;
        self.body_left -= len;
        Ok(body)
    }

    async fn forward(&self, request: &[Bytes]) -> io::Result<Reply> {
        let reply = forward(self.shared.origin, request, &self.head.method).await?;
        self.shared.note(self.at, |seen| seen.forwarded = true);
        Ok(reply)
    }

    async fn wait_at(&self, gate: &Gate) {
        self.shared.note(self.at, |seen| seen.stalled = true);
        gate.pass().await;
        self.shared.note(self.at, |seen| seen.stalled = false);
    }

    /// Does nothing until the client has had enough.
    async fn stall(&self) -> io::Result<Next> {
        self.shared.note(self.at, |seen| seen.stalled = true);
        self.wire.hung_up().await;
        Ok(Next::End(End::Close))
    }

    async fn answer(&mut self, answer: &Answer) -> io::Result<Next> {
        self.send(&answer.to_bytes(&self.head.method)).await?;
        self.shared.note(self.at, |seen| seen.answered = Some(answer.status));
        Ok(if answer.ends_connection() { Next::End(End::Close) } else { Next::KeepAlive })
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.wire.write(bytes).await
    }

    /// Passes an answer on, as far as wanted.
    async fn relay(&mut self, mut reply: Reply, relay: Relay) -> io::Result<Next> {
        let mut framing = reply.head.framing;
        if let Framing::Length(length) = framing {
            self.send(&with_length(&reply.raw, length, relay.length_change)).await?;
        } else {
            self.send(&reply.raw).await?;
        }
        self.shared.note(self.at, |seen| seen.answered = Some(reply.head.status));
        let mut left = relay.body_max;
        let mut is_over = framing.is_empty();
        while !is_over && left > 0 {
            let bytes = reply.wire.read_some().await?;
            if bytes.is_empty() {
                // The origin's own cut is passed on too.
                return Ok(Next::End(End::Close));
            }
            let broken = || io::Error::new(io::ErrorKind::InvalidData, "the origin's chunks are broken");
            let (count, ends) = framing.take(&bytes).ok_or_else(broken)?;
            is_over = ends;
            let wanted = (count as u64).min(left);
            self.send(&bytes[..wanted as usize]).await?;
            left -= wanted;
        }
        Ok(if reply.head.keeps_alive { Next::KeepAlive } else { Next::End(End::Close) })
    }
}

/// How much of an answer is passed on.
struct Relay {
    body_max: u64,
    length_change: i64,
}

impl Relay {
    fn whole() -> Relay {
        Relay { body_max: u64::MAX, length_change: 0 }
    }
}

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The head with its `Content-Length` changed.
fn with_length(raw: &Bytes, length: u64, change: i64) -> Bytes {
    if change == 0 {
        return raw.clone();
    }
    let text = String::from_utf8_lossy(raw);
    let lines = text.split_inclusive("\r\n").map(|line| {
        let is_length = line.to_ascii_lowercase().starts_with("content-length:");
        if is_length {
            format!("Content-Length: {}\r\n", length.saturating_add_signed(change))
        } else {
            line.to_owned()
        }
    });
    lines.collect::<String>().into()
}
