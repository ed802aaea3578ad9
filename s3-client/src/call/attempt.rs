//! One attempt: sign, send, read, understand.

use std::future::Future;
use std::io;
use std::time::{Duration, SystemTime};

use http::header::{RETRY_AFTER, TRANSFER_ENCODING};
use http::{HeaderMap, Method, StatusCode, response};
use tokio::sync::OwnedSemaphorePermit;

use super::Engine;
use super::body_reader::BodyReader;
use super::checksum::Check;
use super::options::Signing;
use super::prepare::Prepared;
use super::within::{within, within_plus};
use crate::body::ResponseBody;
use crate::config::Timeouts;
use crate::credentials::CredentialsError;
use crate::error::{AnswerFlaw, Cause, ErrorCode, Operation, ServiceError};
use crate::limits::Pace;
use crate::ops::{Answer, Checksums, NoOutput, S3Operation, header_text, server_date};
use crate::sign::SignAs;
use crate::sign::date::parse_http_date;
use crate::transport::{Transport, TransportError};
use crate::xml::{ErrorDocument, XmlError};

/// Most bytes read of an error's body.
const ERROR_BYTES_MAX: u64 = 64 << 10;

/// Longest pause that a server may ask for; more is taken for a mistake.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// One attempt, about to be made.
pub(super) struct Turn<'a> {
    pub(super) prepared: &'a Prepared,
    pub(super) operation: Operation,
    pub(super) number: u32,
    pub(super) signing: Signing,
    pub(super) signed_at: SystemTime,
    pub(super) timeouts: &'a Timeouts,
    /// What is left of the time for all attempts.
    pub(super) overall_left: Duration,
    /// What 404 without a code stands for.
    pub(super) not_found: ErrorCode,
    /// The right to be under way; given back when the answer was read.
    pub(super) slot: OwnedSemaphorePermit,
}

/// An attempt that succeeded.
pub(super) struct Done<R> {
    pub(super) output: R,
    pub(super) status: u16,
    pub(super) date: Option<SystemTime>,
    pub(super) request_id: Option<String>,
}

/// An attempt that failed.
pub(super) struct Failed {
    pub(super) cause: Cause,
    pub(super) status: Option<u16>,
    pub(super) date: Option<SystemTime>,
    pub(super) retry_after: Option<Duration>,
}

/// An answer with a good status, its body not yet read.
pub(crate) struct Opened {
    pub(super) head: response::Parts,
    pub(super) body: ResponseBody,
    pub(super) is_head: bool,
    pub(super) pace: Option<Pace>,
    /// For reading the whole body.
    pub(super) timeouts: Timeouts,
    pub(super) slot: OwnedSemaphorePermit,
}

/// What to do with an answer that has a good status: the part of an attempt that differs between whole answers and streams.
pub(crate) trait Finish: Sync {
    type Output: Send;

    /// Reads and understands the answer.
    fn finish<T: Transport>(
        &self,
        engine: &Engine<T>,
        opened: Opened,
    ) -> impl Future<Output = Result<Self::Output, Cause>> + Send;
}

/// Reads the whole body and has the operation understand it.
pub(crate) struct Whole<'a, O>(pub(crate) &'a O);

/// Leaves the body to the caller.
pub(crate) struct Head;

impl<T: Transport> Engine<T> {
    /// Makes one attempt.
    pub(super) async fn attempt<F: Finish>(
        &self,
        turn: Turn<'_>,
        finish: &F,
    ) -> Result<Done<F::Output>, Failed> {
        let Turn { prepared, operation, timeouts, overall_left, .. } = turn;
        let payload_len = prepared.payload_len();
        let limit = timeouts.attempt(payload_len).min(overall_left);
        // A provider's call has no deadline of its own.
        let credentials = within(&*self.clock, limit, self.credentials.current()).await;
        let late = || CredentialsError::provider(io::Error::from(io::ErrorKind::TimedOut));
        // What is held may be good for a while yet, though the provider does not answer.
        let at_hand = || self.credentials.at_hand().ok_or_else(late);
        let credentials = match credentials.unwrap_or_else(at_hand) {
            Ok(credentials) => credentials,
            Err(error) => return Err(Failed::before_answer(Cause::Credentials(error))),
        };
        let region = self.config.region();
        let sign_as = SignAs { credentials: &credentials, region, signed_at: turn.signed_at };
        let pace = self.upload.clone().map(Pace::new);
        let waited = Pace::waited(pace.as_ref());
        let request = match prepared.sign(&self.signer, &sign_as, turn.signing, pace) {
            Ok(request) => request,
            Err(invalid) => return Err(Failed::before_answer(Cause::Invalid(invalid))),
        };
        let is_head = request.method() == Method::HEAD;
        self.counters.attempt(operation, turn.number, payload_len);
        let answer = within_plus(&*self.clock, limit, &waited, self.transport.send(request)).await;
        let response = match answer {
            None => return Err(Failed::before_answer(Cause::TimedOut { limit })),
            Some(Err(error)) => return Err(Failed::before_answer(error.into())),
            Some(Ok(response)) => response,
        };
        let (head, body) = response.into_parts();
        let (status, date) = (head.status, server_date(&head.headers));
        let request_id = header_text(&head.headers, "x-amz-request-id").map(str::to_owned);
        let retry_after = retry_after(&head.headers, || date.unwrap_or_else(|| self.server_time()));
        let failed = |cause| Failed { cause, status: Some(status.as_u16()), date, retry_after };
        let opened = Opened {
            head,
            body,
            is_head,
            pace: self.download.clone().map(Pace::new),
            timeouts: timeouts.clone(),
            slot: turn.slot,
        };
        if !status.is_success() {
            let failed = failed(self.refusal(operation, opened, &turn.not_found).await);
            if failed.has_code(&ErrorCode::ExpiredToken) {
                self.credentials.forget(&credentials);
            }
            return Err(failed);
        }
        match finish.finish(self, opened).await {
            Ok(output) => Ok(Done { output, status: status.as_u16(), date, request_id }),
            Err(cause) => Err(failed(cause)),
        }
    }

    /// Reads what a server says about its refusal.
    async fn refusal(&self, operation: Operation, opened: Opened, not_found: &ErrorCode) -> Cause {
        let Opened { head, body, is_head, pace, timeouts, .. } = opened;
        let (status, headers) = (head.status, head.headers);
        let id = header_text(&headers, "x-amz-request-id");
        let (mut content, mut read) = (Vec::new(), Ok(()));
        // An answer to HEAD has no body whatever its headers say (spec `s3-servers.md` §3, point 7).
        if !is_head {
            read = match BodyReader::new(&headers, body, ERROR_BYTES_MAX, pace) {
                Ok(mut reader) => {
                    let limit = timeouts.attempt(0);
                    let read = within(&*self.clock, limit, reader.append_to(&mut content)).await;
                    self.counters.received(operation, reader.got());
                    read.unwrap_or(Err(Cause::TimedOut { limit }))
                }
                Err(flaw) => Err(Cause::Malformed(flaw)),
            };
        }
        // AWS names the region of a redirect in this header, not in the document.
        let region = header_text(&headers, "x-amz-bucket-region").filter(|_| status.is_redirection());
        // 5xx and 429 mean the same from whoever they come, and only the service names regions.
        let is_anyones =
            status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS || region.is_some();
        let not_found = not_found.name().filter(|_| status == StatusCode::NOT_FOUND);
        let plain = |code| {
            Cause::Refused(ServiceError::new(status.as_u16(), code, "", id).with_region(region).unsent())
        };
        match (ErrorDocument::parse(&content), read) {
            // What went wrong is known, whether or not the rest came.
            (Ok(document), _) => {
                let error = service_error(status, &document, id);
                let is_named = error.region().is_some();
                Cause::Refused(if is_named { error } else { error.with_region(region) })
            }
            _ if is_anyones => plain(None),
            // No error document is that long, nor begins like something else.
            (_, Err(cause @ Cause::Malformed(AnswerFlaw::TooLong { .. }))) => cause,
            (Err(XmlError::Empty), Ok(())) => plain(not_found),
            (Err(XmlError::Empty | XmlError::Truncated { .. }), Err(cause)) => match not_found {
                // A proxy's 404 must not pass for a missing object, and only the body tells who sent it.
                Some(_) => cause,
                // Else a body that is cut leaves the status, which is what counts: a refused put is often followed by a reset.
                None => plain(None),
            },
            (Err(source), _) => {
                Cause::Malformed(AnswerFlaw::NoErrorDocument { status: status.as_u16(), source })
            }
        }
    }
}

/// Reads `Retry-After`: seconds or a date (RFC 9110 §10.2.3), the latter by the server's clock, which is `now`.
pub(crate) fn retry_after(headers: &HeaderMap, now: impl FnOnce() -> SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let pause = if let Ok(seconds) = value.parse::<u64>() {
        Duration::from_secs(seconds)
    } else {
        parse_http_date(value)?.duration_since(now()).unwrap_or_default()
    };
    Some(pause.min(RETRY_AFTER_MAX))
}

impl<O: S3Operation> Finish for Whole<'_, O> {
    type Output = O::Output;

    async fn finish<T: Transport>(&self, engine: &Engine<T>, opened: Opened) -> Result<O::Output, Cause> {
        let Opened { head, body, is_head, pace, timeouts, slot } = opened;
        let content = if is_head {
            bytes::Bytes::new()
        } else {
            let waited = Pace::waited(pace.as_ref());
            let is_checked = self.0.checks_content();
            let reader = BodyReader::new(&head.headers, body, self.0.body_bytes_max(), pace);
            let mut reader = reader.map_err(Cause::Malformed)?;
            if is_checked {
                require_length(&head.headers, &reader)?;
                reader = reader.with_check(Check::of(Checksums::from_headers(&head.headers)));
            }
            // An answer that has begun gets its own time: when the request began, nobody knew how much would come.
            let limit = timeouts.attempt(reader.expected().unwrap_or(0));
            let read = within_plus(&*engine.clock, limit, &waited, reader.all()).await;
            engine.counters.received(O::OPERATION, reader.got());
            read.unwrap_or(Err(Cause::TimedOut { limit }))?
        };
        drop(slot);
        let id = header_text(&head.headers, "x-amz-request-id").map(str::to_owned);
        let status = head.status;
        if !O::OPERATION.is_read() {
            no_success(status, &content, id.as_deref()).map_or(Ok(()), Err)?;
        }
        self.0.output(Answer { headers: head.headers, body: content }).map_err(|error| match error {
            NoOutput::Flaw(flaw) => Cause::Malformed(flaw),
            NoOutput::Refused(document) => Cause::Refused(service_error(status, &document, id.as_deref())),
        })
    }
}

impl Finish for Head {
    type Output = Opened;

    async fn finish<T: Transport>(&self, _: &Engine<T>, opened: Opened) -> Result<Opened, Cause> {
        Ok(opened)
    }
}

/// Content must have a length, or framing whose end cannot be mistaken: a body that ends with its connection could be cut unnoticed.
pub(super) fn require_length(headers: &HeaderMap, reader: &BodyReader) -> Result<(), Cause> {
    // Other codings than `chunked` at the end of the list leave the end to the connection (RFC 9112 §6.3).
    let codings = headers.get_all(TRANSFER_ENCODING).iter().next_back();
    let last = codings.and_then(|codings| codings.to_str().ok()?.rsplit(',').next());
    let is_chunked = last.is_some_and(|coding| coding.trim().eq_ignore_ascii_case("chunked"));
    if reader.expected().is_none() && !is_chunked {
        return Err(Cause::Malformed(AnswerFlaw::UnknownLength));
    }
    Ok(())
}

/// Finds out whether the body of a success belies its status. Many a result is in the headers alone, and a portal's page or a proxy's
/// line of text with status 200 must not pass for a stored object.
fn no_success(status: StatusCode, content: &[u8], id: Option<&str>) -> Option<Cause> {
    match ErrorDocument::parse(content) {
        Ok(document) => Some(Cause::Refused(service_error(status, &document, id))),
        Err(page @ (XmlError::HtmlPage | XmlError::NotXml { .. })) => {
            Some(Cause::Malformed(AnswerFlaw::Xml(page)))
        }
        Err(_) => None,
    }
}

fn service_error(status: StatusCode, document: &ErrorDocument, id: Option<&str>) -> ServiceError {
    let id = document.request_id.as_deref().or(id);
    ServiceError::new(status.as_u16(), document.code.as_deref(), &document.message, id)
        .with_region(document.region.as_deref())
}

impl Failed {
    pub(super) fn has_code(&self, code: &ErrorCode) -> bool {
        matches!(&self.cause, Cause::Refused(error) if error.code() == code)
    }

    fn before_answer(cause: Cause) -> Failed {
        Failed { cause, status: None, date: None, retry_after: None }
    }
}

impl From<TransportError> for Cause {
    fn from(error: TransportError) -> Cause {
        match error {
            TransportError::NotSent { source } => Cause::NotSent { source },
            TransportError::Unclear { source } => Cause::Connection { source },
        }
    }
}
