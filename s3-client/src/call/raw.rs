//! An answer as it came, for those who ask about the server and not about the object.

use bytes::Bytes;

use super::Engine;
use super::attempt::{Finish, Opened};
use super::body_reader::BodyReader;
use super::within::within;
use crate::error::{Cause, Operation};
use crate::ops::Answer;
use crate::transport::Transport;

/// Most bytes of such an answer: those who want it know what they asked for.
const RAW_BYTES_MAX: u64 = 4 << 20;

/// Reads the whole answer and leaves it to the caller to understand it.
pub(crate) struct Raw(pub(crate) Operation);

/// An answer with a good status.
#[derive(Debug, Clone)]
pub(crate) struct RawAnswer {
    pub(crate) status: u16,
    pub(crate) answer: Answer,
}

impl Finish for Raw {
    type Output = RawAnswer;

    async fn finish<T: Transport>(&self, engine: &Engine<T>, opened: Opened) -> Result<RawAnswer, Cause> {
        let Opened { head, body, is_head, pace, timeouts, slot } = opened;
        let mut content = Bytes::new();
        if !is_head {
            let reader = BodyReader::new(&head.headers, body, RAW_BYTES_MAX, pace);
            let mut reader = reader.map_err(Cause::Malformed)?;
            let limit = timeouts.attempt(reader.expected().unwrap_or(0));
            let read = within(&*engine.clock, limit, reader.all()).await;
            engine.counters.received(self.0, reader.got());
            content = read.unwrap_or(Err(Cause::TimedOut { limit }))?;
        }
        drop(slot);
        let answer = Answer { headers: head.headers, body: content };
        Ok(RawAnswer { status: head.status.as_u16(), answer })
    }
}
