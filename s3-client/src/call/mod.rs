//! From an operation to its reply: the one retry loop of the crate.

mod attempt;
mod body_reader;
mod budget;
mod checksum;
mod classify;
mod options;
mod prepare;
mod random;
mod raw;
mod reply;
mod stream;
mod within;

pub use options::{CallOptions, Signing};
pub use reply::Reply;
pub use stream::ObjectStream;

#[cfg(fuzzing)]
pub(crate) use attempt::retry_after;
pub(crate) use attempt::{Head, Whole};
pub(crate) use budget::Budget;
pub(crate) use prepare::prepare;
pub(crate) use random::Random;
pub(crate) use raw::{Raw, RawAnswer};
pub(crate) use within::within;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;

use self::attempt::{Failed, Finish, Turn};
use self::classify::judge;
use crate::clock::Clock;
use crate::config::{Config, RetryPolicy};
use crate::credentials::CachedCredentials;
use crate::error::{Cause, ErrorCode, Operation, RequestError, Subject};
use crate::limits::Bucket;
use crate::observer::{Attempt, Observer};
use crate::ops::{S3Operation, Target};
use crate::outcome::{Effect, Outcome, Pending};
use crate::sign::Signer;
use crate::stats::Counters;
use crate::transport::Transport;

/// Clocks that are nearer to each other than this are no reason to refuse a request.
const SKEW_MIN: Duration = Duration::from_mins(5);

/// What all clones of a client share.
pub(crate) struct Engine<T> {
    pub(crate) config: Config,
    pub(crate) transport: T,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) credentials: CachedCredentials,
    pub(crate) signer: Signer,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    pub(crate) counters: Counters,
    pub(crate) budget: Budget,
    pub(crate) random: Random,
    /// The server's clock minus ours, in milliseconds; 0 until a server complains.
    pub(crate) skew_millis: AtomicI64,
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) requests: Option<Bucket>,
    pub(crate) upload: Option<Arc<Bucket>>,
    pub(crate) download: Option<Arc<Bucket>>,
}

/// The state of one request between its attempts.
struct Progress<'a> {
    subject: &'a Subject,
    policy: RetryPolicy,
    /// When the first attempt began, and how long all of them may take.
    started_at: Duration,
    overall: Duration,
    attempts: u32,
    outcome: Outcome,
    /// The skew that this request goes on with after a complaint; all others follow once the server has taken it.
    skew_millis: Option<i64>,
    is_token_renewed: bool,
    /// The budget paid for the attempt under way.
    is_paid: bool,
}

impl<T: Transport> Engine<T> {
    /// Carries out an operation: signs, sends, waits, retries.
    pub(crate) async fn run<O, F>(
        &self,
        op: &O,
        options: &CallOptions,
        finish: &F,
    ) -> Result<Reply<F::Output>, RequestError>
    where
        O: S3Operation,
        F: Finish,
    {
        self.counters.request(O::OPERATION);
        // Boxed: the state of a request is kilobytes, which every future around it would carry and copy.
        let result = Box::pin(self.attempts(op, options, finish)).await;
        if result.is_err() {
            self.counters.failed(O::OPERATION);
        }
        result
    }

    async fn attempts<O, F>(
        &self,
        op: &O,
        options: &CallOptions,
        finish: &F,
    ) -> Result<Reply<F::Output>, RequestError>
    where
        O: S3Operation,
        F: Finish,
    {
        let parts = match op.request(self.config.quirks()) {
            Ok(parts) => parts,
            Err(invalid) => {
                return Err(refusal(self.subject(O::OPERATION, &Target::Bucket), Cause::Invalid(invalid)));
            }
        };
        let subject = self.subject(O::OPERATION, &parts.target);
        let prepared = match prepare(&self.config, parts, options.signing).await {
            Ok(prepared) => prepared,
            Err(invalid) => return Err(refusal(subject, Cause::Invalid(invalid))),
        };
        let timeouts = options.timeouts.as_ref().unwrap_or(self.config.timeouts());
        let mut progress = Progress {
            subject: &subject,
            policy: options.retry.clone().unwrap_or_else(|| self.config.retry().clone()),
            started_at: self.clock.monotonic(),
            overall: timeouts.overall(prepared.payload_len()),
            attempts: 0,
            outcome: Outcome::NONE,
            skew_millis: None,
            is_token_renewed: false,
            is_paid: false,
        };
        let was_good = options.was_good || !self.is_over(options.signing, Duration::ZERO);
        loop {
            let slot = Arc::clone(&self.slots).acquire_owned().await;
            let slot = slot.expect("invariant: the semaphore is never closed");
            if let Some(requests) = &self.requests {
                requests.wait_for(1).await;
            }
            if progress.attempts == 0 {
                // Waiting for one's turn is not the server's fault.
                progress.started_at = self.clock.monotonic();
            }
            let begun_at = self.clock.monotonic();
            // What can no longer be answered, or only be refused, is not sent: it would leave a doubt for nothing. A time that was over from
            // the start is left for the server to judge, whose clock may differ.
            let is_over = was_good && self.is_over(options.signing, Duration::ZERO);
            if is_over || progress.left(begun_at).is_zero() {
                let Progress { attempts, outcome, overall, .. } = progress;
                let cause = if is_over { Cause::Expired } else { Cause::TimedOut { limit: overall } };
                self.counters.error(O::OPERATION, &cause);
                return Err(RequestError::new(subject, attempts, outcome, cause));
            }
            progress.attempts += 1;
            let turn = Turn {
                prepared: &prepared,
                operation: O::OPERATION,
                number: progress.attempts,
                signing: options.signing,
                signed_at: self.signing_time(options.signing, progress.skew_millis),
                timeouts,
                overall_left: progress.left(begun_at),
                not_found: op.not_found(),
                slot,
            };
            let signed_at = turn.signed_at;
            let result = self.attempt(turn, finish).await;
            let took = self.clock.monotonic().saturating_sub(begun_at);
            match result {
                Ok(done) => {
                    let outcome = if O::OPERATION.is_read() { Outcome::NONE } else { Outcome::APPLIED };
                    if progress.attempts == 1 || progress.is_paid {
                        self.budget.refund(progress.is_paid);
                    }
                    if let Some(skew) = progress.skew_millis {
                        self.skew_millis.store(skew, Ordering::Relaxed);
                    }
                    self.counters.succeeded(O::OPERATION, took);
                    self.report(&progress, took, (Some(done.status), None), (outcome, None));
                    return Ok(Reply {
                        value: done.output,
                        date: done.date,
                        request_id: done.request_id,
                        attempts: progress.attempts,
                        outcome: progress.outcome.and(outcome),
                    });
                }
                Err(failed) => {
                    self.counters.error(O::OPERATION, &failed.cause);
                    let outcome = self.outcome(O::OPERATION, &failed.cause, options.signing, signed_at);
                    progress.outcome = progress.outcome.and(outcome);
                    let pause = self.pause(&mut progress, &failed, options.signing);
                    self.report(&progress, took, (failed.status, Some(&failed.cause)), (outcome, pause));
                    let Some(pause) = pause else {
                        let Progress { attempts, outcome, .. } = progress;
                        // What could not be signed was not sent, and is no attempt.
                        let is_unsent = matches!(failed.cause, Cause::Invalid(_) | Cause::Credentials(_));
                        let attempts = attempts - u32::from(is_unsent);
                        return Err(RequestError::new(subject, attempts, outcome, failed.cause)
                            .with_date(failed.date)
                            .with_retry_after(failed.retry_after));
                    };
                    if !pause.is_zero() {
                        self.clock.sleep(pause).await;
                    }
                }
            }
        }
    }

    /// Decides whether there is another attempt, and after which pause.
    fn pause(&self, progress: &mut Progress<'_>, failed: &Failed, signing: Signing) -> Option<Duration> {
        progress.is_paid = false;
        if let Some(skew) = self.skew(progress, failed, signing) {
            progress.skew_millis = Some(skew);
            // A complaint by name is the server's word. Where only the dates speak, the server has to take the new one first: a proxy's date
            // must not lead all other requests astray.
            if failed.has_code(&ErrorCode::RequestTimeTooSkewed) {
                self.skew_millis.store(skew, Ordering::Relaxed);
            }
            return Some(Duration::ZERO);
        }
        if failed.has_code(&ErrorCode::ExpiredToken) && !progress.is_token_renewed {
            // The attempt made the cache forget the token, so the next one asks the provider.
            progress.is_token_renewed = true;
            return Some(Duration::ZERO);
        }
        if !failed.cause.is_retryable() || progress.attempts >= progress.policy.attempts_max() {
            return None;
        }
        let jittered = self.random.up_to(progress.policy.backoff_ceiling(progress.attempts));
        let pause = jittered.max(failed.retry_after.unwrap_or_default());
        if pause >= progress.left(self.clock.monotonic()) {
            return None;
        }
        // An attempt that could only be refused is not worth sending.
        if self.is_over(signing, pause) || !self.budget.pay() {
            return None;
        }
        progress.is_paid = true;
        Some(pause)
    }

    /// Returns the skew to go on with if the server complains of our clock: once a request, never if the caller fixed its time.
    ///
    /// Not every complaint says what it is: answers to HEAD have no code, and `rclone` says `AccessDenied`. There, the dates tell.
    fn skew(&self, progress: &Progress<'_>, failed: &Failed, signing: Signing) -> Option<i64> {
        if progress.skew_millis.is_some() || signing.is_fixed() {
            return None;
        }
        let theirs = failed.date?;
        let is_unnamed = match &failed.cause {
            Cause::Refused(refused) => {
                matches!(refused.code(), ErrorCode::AccessDenied)
                    || (refused.status() == 400 && refused.code().name().is_none())
            }
            _ => false,
        };
        let is_skewed = failed.has_code(&ErrorCode::RequestTimeTooSkewed)
            || (is_unnamed && apart(theirs, self.server_time()) > SKEW_MIN);
        if !is_skewed {
            return None;
        }
        let ours = self.clock.now();
        let millis = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Some(match theirs.duration_since(ours) {
            Ok(ahead) => millis(ahead),
            Err(behind) => -millis(behind.duration()),
        })
    }

    /// Returns our clock, put right by what the server said of it.
    pub(crate) fn server_time(&self) -> SystemTime {
        self.time_with(self.skew_millis.load(Ordering::Relaxed))
    }

    fn time_with(&self, skew: i64) -> SystemTime {
        let span = Duration::from_millis(skew.unsigned_abs());
        let now = self.clock.now();
        let mended = if skew < 0 { now.checked_sub(span) } else { now.checked_add(span) };
        mended.unwrap_or(now)
    }

    fn signing_time(&self, signing: Signing, skew: Option<i64>) -> SystemTime {
        match signing {
            Signing::EachAttempt => skew.map_or_else(|| self.server_time(), |skew| self.time_with(skew)),
            Signing::FixedHeaders { signed_at } | Signing::Presigned { signed_at, .. } => signed_at,
        }
    }

    /// Returns when the server stops taking a request whose signing time the caller fixed.
    fn expiry(&self, signing: Signing) -> Option<SystemTime> {
        match signing {
            Signing::EachAttempt => None,
            Signing::FixedHeaders { signed_at } => signed_at.checked_add(self.config.signature_window()?),
            Signing::Presigned { .. } if !self.config.is_presigned_expiry_enforced() => None,
            Signing::Presigned { signed_at, expires_in } => signed_at.checked_add(expires_in),
        }
    }

    /// Returns whether a signing time that the caller fixed will be over after `pause`, as far as our clock tells.
    fn is_over(&self, signing: Signing, pause: Duration) -> bool {
        self.expiry(signing).is_some_and(|expiry| self.server_time() + pause >= expiry)
    }

    /// Returns `options` for the requests that one call is made of: if its time is over before the last of them, the rest is not sent.
    pub(crate) fn one_call(&self, options: &CallOptions) -> CallOptions {
        let was_good = options.was_good || !self.is_over(options.signing, Duration::ZERO);
        CallOptions { was_good, ..options.clone() }
    }

    /// Returns what a failed attempt did, and until when it may still be accepted.
    fn outcome(
        &self,
        operation: Operation,
        cause: &Cause,
        signing: Signing,
        signed_at: SystemTime,
    ) -> Outcome {
        let verdict = judge(operation, cause);
        if !verdict.is_pending {
            return Outcome::new(verdict.effect, Pending::No);
        }
        let expiry = match signing {
            Signing::EachAttempt => self.expiry(Signing::FixedHeaders { signed_at }),
            fixed => self.expiry(fixed),
        };
        Outcome::new(Effect::Unknown, expiry.map_or(Pending::Unbounded, Pending::Until))
    }

    fn report(
        &self,
        progress: &Progress<'_>,
        took: Duration,
        (status, failure): (Option<u16>, Option<&Cause>),
        (outcome, retry_in): (Outcome, Option<Duration>),
    ) {
        let attempt = Attempt {
            operation: progress.subject.operation,
            target: &progress.subject.target,
            number: progress.attempts,
            took,
            status,
            failure,
            outcome,
            retry_in,
        };
        if let Some(observer) = &self.observer {
            observer.attempt(&attempt);
        }
        #[cfg(feature = "tracing")]
        attempt.trace();
    }

    pub(crate) fn subject(&self, operation: Operation, target: &Target) -> Subject {
        let target = match target {
            Target::Service => self.config.endpoint().to_string(),
            Target::Bucket => self.config.bucket().to_string(),
            Target::Key(key) => format!("{}/{key}", self.config.bucket()),
        };
        Subject { operation, target: crate::error::clip(&target) }
    }
}

impl Progress<'_> {
    fn left(&self, now: Duration) -> Duration {
        self.overall.saturating_sub(now.saturating_sub(self.started_at))
    }
}

/// A request that was not even tried.
fn refusal(subject: Subject, cause: Cause) -> RequestError {
    RequestError::new(subject, 0, Outcome::NONE, cause)
}

fn apart(a: SystemTime, b: SystemTime) -> Duration {
    a.duration_since(b).unwrap_or_else(|error| error.duration())
}
