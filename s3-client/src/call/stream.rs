//! An object piece by piece.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::attempt::{Opened, require_length};
use super::body_reader::BodyReader;
use super::checksum::Check;
use super::within::within_plus;
use crate::clock::Clock;
use crate::config::Timeouts;
use crate::error::{Cause, Operation, RequestError, Subject};
use crate::limits::{Pace, Waited};
use crate::ops::{Checksums, ContentRange, GetObject, ObjectMeta, S3Operation as _};
use crate::outcome::Outcome;
use crate::stats::Counters;

/// Largest piece that the transport waits for: on a line that is just fast enough it takes its time.
const PIECE_BYTES_MAX: u64 = 1 << 20;

/// An object that is being read.
///
/// It holds one of the client's places for requests until it was read to its end or is dropped. A body that is cut, too short or does not
/// match its checksum ends with an error, never with a short result; nothing is repeated, because the caller has seen a part already.
pub struct ObjectStream {
    meta: ObjectMeta,
    range: Option<ContentRange>,
    /// `None` once the end was reached or an error was reported.
    reading: Option<(BodyReader, OwnedSemaphorePermit)>,
    waited: Waited,
    subject: Subject,
    timeouts: Timeouts,
    clock: Arc<dyn Clock>,
    counters: Counters,
}

impl ObjectStream {
    pub(crate) fn new(
        op: &GetObject,
        subject: Subject,
        (clock, counters): (Arc<dyn Clock>, Counters),
        opened: Opened,
    ) -> Result<ObjectStream, Cause> {
        let Opened { head, body, pace, timeouts, slot, .. } = opened;
        let (meta, range) = op.head(&head.headers).map_err(Cause::Malformed)?;
        let waited = Pace::waited(pace.as_ref());
        let mut reader = BodyReader::new(&head.headers, body, u64::MAX, pace).map_err(Cause::Malformed)?;
        if let Some(range) = range {
            // Some servers send less than they say for a range out of bounds (spec `s3-servers.md` §3, point 8).
            reader = reader.with_length(range.len()).map_err(Cause::Malformed)?;
        }
        require_length(&head.headers, &reader)?;
        if op.checks_content() {
            reader = reader.with_check(Check::of(Checksums::from_headers(&head.headers)));
        }
        // A range that was not asked for is the whole object.
        let range = range.filter(|_| !op.checks_content());
        Ok(ObjectStream {
            meta,
            range,
            reading: Some((reader, slot)),
            waited,
            subject,
            timeouts,
            clock,
            counters,
        })
    }

    /// Returns the object's facts.
    pub fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    /// Returns which bytes come; `None`: all of them.
    pub fn range(&self) -> Option<ContentRange> {
        self.range
    }

    /// Returns the next piece; `None` once all of it was read and found complete.
    ///
    /// # Errors
    /// The body broke off, took longer for one piece than the bound of an attempt that transfers 1 MiB, or does not match its length or checksum.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing; the next call goes on.
    pub async fn next(&mut self) -> Result<Option<Bytes>, RequestError> {
        let Some((reader, _)) = &mut self.reading else { return Ok(None) };
        let limit = self.timeouts.attempt(PIECE_BYTES_MAX);
        let piece = within_plus(&*self.clock, limit, &self.waited, reader.next()).await;
        match piece.unwrap_or(Err(Cause::TimedOut { limit })) {
            Ok(Some(piece)) => {
                self.counters.received(Operation::GetObject, piece.len() as u64);
                Ok(Some(piece))
            }
            Ok(None) => {
                self.reading = None;
                Ok(None)
            }
            Err(cause) => {
                self.reading = None;
                self.counters.error(Operation::GetObject, &cause);
                self.counters.failed(Operation::GetObject);
                Err(RequestError::new(self.subject.clone(), 1, Outcome::NONE, cause))
            }
        }
    }
}

#[cfg(feature = "stream")]
impl ObjectStream {
    /// Turns it into a stream of pieces, which ends after its first error.
    pub fn into_stream(self) -> impl futures_util::Stream<Item = Result<Bytes, RequestError>> + Send {
        futures_util::stream::try_unfold(self, async |mut object| {
            let piece = object.next().await?;
            Ok(piece.map(|piece| (piece, object)))
        })
    }
}

impl fmt::Debug for ObjectStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operation = Operation::GetObject;
        f.debug_struct("ObjectStream")
            .field("operation", &operation)
            .field("target", &self.subject.target)
            .field("meta", &self.meta)
            .finish_non_exhaustive()
    }
}
