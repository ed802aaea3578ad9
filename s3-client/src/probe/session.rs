//! The probe's side of the conversation: keys of its own, single requests, and notes of what they told and left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::bare::Bare;
use super::clock::ServerClock;
use super::findings::Found;
use super::options::ProbeOptions;
use crate::call::{CallOptions, Engine, Raw, RawAnswer, Signing};
use crate::error::{AnswerFlaw, Cause, ErrorCode, Operation, RequestError};
use crate::key::ObjectKey;
use crate::ops::{
    DeleteObject, DeleteObjects, DeleteReport, GetObject, HeadObject, NoOutput, ObjectMeta, PutObject,
    S3Operation, header_text, server_date,
};
use crate::outcome::Outcome;
use crate::transport::Transport;

/// How many requests the probe has under way at once, races apart.
pub(super) const IN_FLIGHT: usize = 16;

/// A probe under way.
pub(super) struct Session<'a, T> {
    pub(super) engine: &'a Engine<T>,
    pub(super) writers: u32,
    pub(super) races: u32,
    prefix: String,
    notes: Mutex<Notes>,
}

/// What the requests so far told and left behind.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) server: Option<String>,
    pub(super) clock: ServerClock,
    pub(super) modified_ahead: Option<Duration>,
    /// Keys that were, or may have been, written.
    pub(super) written: BTreeSet<ObjectKey>,
    /// Those of them whose write was answered with success.
    pub(super) stored: BTreeSet<ObjectKey>,
    /// Versions that were made, delete markers among them.
    pub(super) versions: BTreeSet<(ObjectKey, String)>,
    /// Writes that have no answer, under way or given up: they may still take effect.
    pub(super) open: BTreeMap<ObjectKey, u32>,
}

/// How a request is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempts {
    /// Not at all: the first answer is the finding.
    One,
    /// Once: an error may be a passing one, or a lasting one that looks so.
    Two,
    /// As the client's configuration says.
    Configured,
}

/// What a request came to, as far as the server's abilities are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answered {
    /// Status 2xx.
    Done,
    /// A condition did not hold (412, 409).
    Unmet(u16),
    /// Refused for good: the server does not do this.
    Refused(u16),
    /// An error that may pass.
    Trouble(u16),
    /// No answer, or none of S3.
    Silent,
}

impl<'a, T: Transport> Session<'a, T> {
    pub(super) fn new(engine: &'a Engine<T>, options: &ProbeOptions) -> Session<'a, T> {
        let prefix = format!("{}coldkeep-probe-{:016x}/", options.parent, engine.random.next());
        // Writers that wait for each other do not race.
        let slots = engine.config.limits().requests_in_flight();
        let writers = options.writers.min(u32::try_from(slots).unwrap_or(u32::MAX));
        Session { engine, writers, races: options.races, prefix, notes: Mutex::default() }
    }

    /// Returns what all keys of the probe begin with.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns a key of the probe.
    pub(super) fn key(&self, name: &str) -> ObjectKey {
        let key = format!("{}{name}", self.prefix);
        ObjectKey::new(key).expect("invariant: prefixes leave room for the names that the probe uses")
    }

    pub(super) fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request, signed as usual, that may be repeated once.
    pub(super) async fn ask<O: S3Operation>(&self, op: &Bare<O>) -> Result<RawAnswer, RequestError> {
        self.ask_with(op, Attempts::Two, Signing::EachAttempt).await
    }

    /// Sends a request.
    pub(super) async fn ask_with<O: S3Operation>(
        &self,
        op: &Bare<O>,
        attempts: Attempts,
        signing: Signing,
    ) -> Result<RawAnswer, RequestError> {
        let configured = self.engine.config.retry();
        let retry = match attempts {
            Attempts::One => configured.clone().with_attempts(1),
            Attempts::Two => configured.clone().with_attempts(configured.attempts_max().min(2)),
            Attempts::Configured => configured.clone(),
        };
        let options = CallOptions::new().with_signing(signing).with_retry(retry);
        let begun_at = self.engine.clock.now();
        let result = self.engine.run(op, &options, &Raw(O::OPERATION)).await;
        let span = (begun_at, self.engine.clock.now());
        let date = match &result {
            Ok(reply) => reply.date,
            Err(error) => error.date(),
        };
        let mut notes = self.notes();
        if let Some(date) = date {
            notes.clock.note(span, date);
        }
        let raw = result?.value;
        notes.server = header_text(&raw.answer.headers, "server").map(str::to_owned).or(notes.server.take());
        Ok(raw)
    }

    /// Writes an object and keeps track of it.
    pub(super) async fn put(&self, key: &ObjectKey, op: &Bare<PutObject>) -> Result<RawAnswer, RequestError> {
        self.put_with(key, op, Attempts::Two, Signing::EachAttempt).await
    }

    /// Writes an object and keeps track of it.
    pub(super) async fn put_with<O: S3Operation>(
        &self,
        key: &ObjectKey,
        op: &Bare<O>,
        attempts: Attempts,
        signing: Signing,
    ) -> Result<RawAnswer, RequestError> {
        {
            // Before it is sent: a probe whose time is up drops what is under way.
            let mut notes = self.notes();
            notes.written.insert(key.clone());
            *notes.open.entry(key.clone()).or_default() += 1;
        }
        let result = self.ask_with(op, attempts, signing).await;
        let is_over = match &result {
            Ok(_) => true,
            Err(error) => Answered::of(&result) != Answered::Silent || error.outcome() == Outcome::NONE,
        };
        if is_over {
            self.notes().close(key);
        }
        if result.is_ok() {
            self.notes().stored.insert(key.clone());
        }
        self.note_version(key, &result);
        result
    }

    /// Deletes an object and keeps track of what that leaves.
    pub(super) async fn delete(
        &self,
        key: &ObjectKey,
        attempts: Attempts,
        signing: Signing,
    ) -> Result<RawAnswer, RequestError> {
        let result = self.ask_with(&Bare::new(DeleteObject::new(key.clone())), attempts, signing).await;
        self.note_version(key, &result);
        result
    }

    /// Deletes objects and keeps track of what that leaves; returns the report beside the answer behind it.
    pub(super) async fn delete_many(
        &self,
        op: &Bare<DeleteObjects>,
        attempts: Attempts,
        signing: Signing,
    ) -> Result<(DeleteReport, RawAnswer), RequestError> {
        let raw = self.ask_with(op, attempts, signing).await?;
        let report = self.read(op, raw.clone())?;
        let mut notes = self.notes();
        for deleted in report.deleted.iter().filter(|deleted| deleted.target.version_id.is_none()) {
            if let Some(marker) = &deleted.delete_marker_version_id {
                notes.versions.insert((deleted.target.key.clone(), marker.clone()));
            }
        }
        Ok((report, raw))
    }

    /// Writes an object as plainly as can be.
    pub(super) async fn put_plain(&self, name: &str, content: &str) -> Result<RawAnswer, RequestError> {
        let key = self.key(name);
        self.put(&key, &Bare::new(PutObject::new(key.clone(), content.to_owned()))).await
    }

    /// Reads an object; `None` if that is not possible.
    pub(super) async fn content(&self, key: &ObjectKey) -> Option<bytes::Bytes> {
        self.ask(&Bare::new(GetObject::new(key.clone()))).await.ok().map(|raw| raw.answer.body)
    }

    /// Asks for an object's facts.
    pub(super) async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, RequestError> {
        let op = Bare::new(HeadObject::new(key.clone()));
        let raw = self.ask(&op).await?;
        let date = server_date(&raw.answer.headers);
        let meta = self.read(&op, raw)?;
        self.note_modified(meta.last_modified, date);
        Ok(meta)
    }

    /// Returns whether an object is there; `None` if that cannot be told.
    pub(super) async fn exists(&self, key: &ObjectKey) -> Option<bool> {
        match self.head(key).await {
            Ok(_) => Some(true),
            Err(error) if error.is_not_found() => Some(false),
            Err(_) => None,
        }
    }

    /// Understands an answer.
    pub(super) fn read<O: S3Operation>(
        &self,
        op: &Bare<O>,
        raw: RawAnswer,
    ) -> Result<O::Output, RequestError> {
        op.output(raw.answer).map_err(|error| {
            let cause = match error {
                NoOutput::Flaw(flaw) => Cause::Malformed(flaw),
                NoOutput::Refused(document) => Cause::Refused(crate::error::ServiceError::new(
                    raw.status,
                    document.code.as_deref(),
                    &document.message,
                    None,
                )),
            };
            self.error(O::OPERATION, cause)
        })
    }

    /// Makes an error of the probe's own.
    pub(super) fn error(&self, operation: Operation, cause: Cause) -> RequestError {
        let subject = self.engine.subject(operation, &crate::ops::Target::Bucket);
        RequestError::new(subject, 1, Outcome::NONE, cause)
    }

    /// Takes note of how far an object's date is ahead of the answer that tells it.
    pub(super) fn note_modified(&self, modified: Option<SystemTime>, date: Option<SystemTime>) {
        let (Some(modified), Some(date)) = (modified, date) else { return };
        let ahead = ahead_of(modified, date);
        let mut notes = self.notes();
        notes.modified_ahead = notes.modified_ahead.max(Some(ahead));
    }

    fn note_version(&self, key: &ObjectKey, result: &Result<RawAnswer, RequestError>) {
        let Ok(raw) = result else { return };
        let version = header_text(&raw.answer.headers, "x-amz-version-id");
        // Of an object without versions it is "null", if it is told at all.
        if let Some(version) = version.filter(|version| *version != "null") {
            self.notes().versions.insert((key.clone(), version.to_owned()));
        }
    }
}

impl Notes {
    /// Takes note of the answer to a write.
    fn close(&mut self, key: &ObjectKey) {
        if let Some(count) = self.open.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                self.open.remove(key);
            }
        }
    }
}

/// Returns by how much an object's date is certainly later than the second that `date` names.
fn ahead_of(modified: SystemTime, date: SystemTime) -> Duration {
    let Ok(ahead) = modified.duration_since(date) else { return Duration::ZERO };
    // The date is cut to the second, so a finer one of the same second is not ahead of it.
    if ahead < Duration::from_secs(1) { Duration::ZERO } else { ahead }
}

impl Answered {
    /// Judges an answer whose body, if it matters, is in order.
    pub(super) fn of<V>(result: &Result<V, RequestError>) -> Answered {
        let Err(error) = result else { return Answered::Done };
        match error.cause() {
            Cause::Refused(refused) => match (refused.code(), refused.status()) {
                (ErrorCode::PreconditionFailed | ErrorCode::Conflict, status) => Answered::Unmet(status),
                (ErrorCode::SlowDown | ErrorCode::Unavailable, status) => Answered::Trouble(status),
                (_, status @ (501 | 505)) => Answered::Refused(status),
                (_, status @ 500..) => Answered::Trouble(status),
                (_, status) => Answered::Refused(status),
            },
            Cause::Malformed(AnswerFlaw::NoErrorDocument { status, .. }) => match status {
                500.. => Answered::Trouble(*status),
                status => Answered::Refused(*status),
            },
            _ => Answered::Silent,
        }
    }

    /// Returns the status of an error.
    pub(super) fn error_status(self) -> Option<u16> {
        match self {
            Answered::Unmet(status) | Answered::Refused(status) | Answered::Trouble(status) => Some(status),
            Answered::Done | Answered::Silent => None,
        }
    }
}

impl From<bool> for Found {
    fn from(holds: bool) -> Found {
        if holds { Found::Yes } else { Found::No }
    }
}

impl From<Option<bool>> for Found {
    fn from(holds: Option<bool>) -> Found {
        holds.map_or(Found::Unknown, Found::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{ServiceError, Subject};

    fn refused(status: u16, code: Option<&str>) -> Result<(), RequestError> {
        let subject = Subject { operation: Operation::PutObject, target: String::new() };
        let cause = Cause::Refused(ServiceError::new(status, code, "", None));
        Err(RequestError::new(subject, 1, Outcome::NONE, cause))
    }

    #[test]
    fn errors_are_told_apart_by_what_they_say_of_the_server() {
        for (status, code, expected) in [
            (412, None, Answered::Unmet(412)),
            (409, Some("ConditionalRequestConflict"), Answered::Unmet(409)),
            (501, Some("NotImplemented"), Answered::Refused(501)),
            (400, Some("InvalidArgument"), Answered::Refused(400)),
            (403, Some("AccessDenied"), Answered::Refused(403)),
            (429, None, Answered::Trouble(429)),
            (500, Some("UnknownError"), Answered::Trouble(500)),
            (507, Some("Odd"), Answered::Trouble(507)),
        ] {
            assert_eq!(Answered::of(&refused(status, code)), expected, "{status} {code:?}");
        }
        assert_eq!(Answered::of(&Ok::<(), RequestError>(())), Answered::Done);
    }

    #[test]
    fn a_fraction_of_the_same_second_is_not_ahead() {
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        assert_eq!(ahead_of(date + Duration::from_millis(900), date), Duration::ZERO);
        assert_eq!(ahead_of(date + Duration::from_secs(1), date), Duration::from_secs(1));
        assert_eq!(ahead_of(date - Duration::from_secs(1), date), Duration::ZERO);
    }
}
