//! Request accounting.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::error::{Cause, Operation};

/// Buckets of a latency histogram: bucket `n` counts what took less than 2^n microseconds (and no less than the bucket before), the last
/// one everything from 35 minutes on.
pub const LATENCY_BUCKETS: usize = 32;

/// Most different error codes that are told apart; a hostile server could invent one for each answer.
const CODES_MAX: usize = 64;

/// What a client and all its clones did so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Per operation; those that were never asked for are missing.
    pub operations: BTreeMap<Operation, OperationStats>,
}

/// What was done of one operation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct OperationStats {
    /// Requests asked for by callers.
    pub requests: u64,
    /// Attempts made for them.
    pub attempts: u64,
    /// Attempts after the first of a request.
    pub retries: u64,
    /// Requests that ended in an error.
    pub failed: u64,
    /// Attempts that failed, by the service's code or the kind of failure.
    pub errors: BTreeMap<String, u64>,
    /// Bytes of bodies that attempts set out to send.
    pub bytes_sent: u64,
    /// Bytes of bodies received.
    pub bytes_received: u64,
    /// Time from the start of an attempt to its end, for attempts that succeeded.
    pub latency: Latency,
}

/// A histogram of latencies, in powers of two of a microsecond.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Latency {
    buckets: [u64; LATENCY_BUCKETS],
}

impl Stats {
    /// Adds up over all operations.
    pub fn total(&self) -> OperationStats {
        let mut total = OperationStats::default();
        for one in self.operations.values() {
            total.requests += one.requests;
            total.attempts += one.attempts;
            total.retries += one.retries;
            total.failed += one.failed;
            total.bytes_sent += one.bytes_sent;
            total.bytes_received += one.bytes_received;
            for (code, count) in &one.errors {
                *total.errors.entry(code.clone()).or_default() += count;
            }
            for (sum, count) in total.latency.buckets.iter_mut().zip(one.latency.buckets) {
                *sum += count;
            }
        }
        total
    }
}

impl Latency {
    /// Returns the counts, bucket by bucket (see [`LATENCY_BUCKETS`]).
    pub fn buckets(&self) -> &[u64; LATENCY_BUCKETS] {
        &self.buckets
    }

    /// Returns an upper bound of the given quantile (0.5: the median), within a factor of two; `None` without any count.
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        let total: u64 = self.buckets.iter().sum();
        let rank = (quantile.clamp(0.0, 1.0) * total as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let bucket = self.buckets.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(Duration::from_micros(1 << bucket))
    }
}

/// The counters behind [`Stats`], shared by clones; counting takes no lock, except for errors.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counters {
    operations: Arc<[Counter; Operation::COUNT]>,
}

#[derive(Debug, Default)]
struct Counter {
    requests: AtomicU64,
    attempts: AtomicU64,
    retries: AtomicU64,
    failed: AtomicU64,
    bytes_sent: AtomicU64,
    bytes_received: AtomicU64,
    latency: [AtomicU64; LATENCY_BUCKETS],
    errors: Mutex<BTreeMap<String, u64>>,
}

impl Counters {
    pub(crate) fn request(&self, operation: Operation) {
        add(&self.of(operation).requests, 1);
    }

    pub(crate) fn failed(&self, operation: Operation) {
        add(&self.of(operation).failed, 1);
    }

    /// An attempt is about to be sent.
    pub(crate) fn attempt(&self, operation: Operation, number: u32, bytes_sent: u64) {
        let counter = self.of(operation);
        add(&counter.attempts, 1);
        add(&counter.bytes_sent, bytes_sent);
        if number > 1 {
            add(&counter.retries, 1);
        }
    }

    pub(crate) fn received(&self, operation: Operation, bytes: u64) {
        add(&self.of(operation).bytes_received, bytes);
    }

    pub(crate) fn succeeded(&self, operation: Operation, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = (u64::BITS - micros.leading_zeros()) as usize;
        add(&self.of(operation).latency[bucket.min(LATENCY_BUCKETS - 1)], 1);
    }

    pub(crate) fn error(&self, operation: Operation, cause: &Cause) {
        let mut errors = self.of(operation).errors.lock().unwrap_or_else(PoisonError::into_inner);
        let label = cause.label();
        let is_known = errors.contains_key(label.as_ref());
        let label = if is_known || errors.len() < CODES_MAX { label.as_ref() } else { "other" };
        *errors.entry(label.to_owned()).or_default() += 1;
    }

    pub(crate) fn snapshot(&self) -> Stats {
        let used = Operation::all().filter(|operation| load(&self.of(*operation).requests) > 0);
        Stats { operations: used.map(|operation| (operation, self.of(operation).snapshot())).collect() }
    }

    fn of(&self, operation: Operation) -> &Counter {
        &self.operations[operation as usize]
    }
}

impl Counter {
    fn snapshot(&self) -> OperationStats {
        OperationStats {
            requests: load(&self.requests),
            attempts: load(&self.attempts),
            retries: load(&self.retries),
            failed: load(&self.failed),
            errors: self.errors.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            bytes_sent: load(&self.bytes_sent),
            bytes_received: load(&self.bytes_received),
            latency: Latency { buckets: std::array::from_fn(|idx| load(&self.latency[idx])) },
        }
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ServiceError;

    #[test]
    fn counts_add_up_per_operation_and_altogether() {
        let counters = Counters::default();
        counters.request(Operation::PutObject);
        counters.attempt(Operation::PutObject, 1, 10);
        counters.attempt(Operation::PutObject, 2, 10);
        counters.request(Operation::GetObject);
        counters.received(Operation::GetObject, 7);
        counters.failed(Operation::GetObject);
        let stats = counters.snapshot();
        let put = &stats.operations[&Operation::PutObject];
        assert_eq!((put.requests, put.attempts, put.retries, put.bytes_sent), (1, 2, 1, 20));
        let total = stats.total();
        assert_eq!((total.requests, total.failed, total.bytes_received), (2, 1, 7));
        assert_eq!(stats.operations.len(), 2);
    }

    #[test]
    fn quantiles_are_upper_bounds_within_a_factor_of_two() {
        let counters = Counters::default();
        counters.request(Operation::GetObject);
        for millis in [1, 1, 1, 100] {
            counters.succeeded(Operation::GetObject, Duration::from_millis(millis));
        }
        let latency = &counters.snapshot().operations[&Operation::GetObject].latency;
        assert_eq!(latency.quantile(0.5), Some(Duration::from_micros(1024)));
        assert_eq!(latency.quantile(1.0), Some(Duration::from_micros(131_072)));
        assert_eq!(Latency::default().quantile(0.5), None);
        counters.succeeded(Operation::GetObject, Duration::MAX);
    }

    #[test]
    fn invented_codes_cannot_fill_the_memory() {
        let counters = Counters::default();
        counters.request(Operation::GetObject);
        for number in 0..1000 {
            let code = format!("Odd{number}");
            let cause = Cause::Refused(ServiceError::new(400, Some(&code), "", None));
            counters.error(Operation::GetObject, &cause);
        }
        let errors = &counters.snapshot().operations[&Operation::GetObject].errors;
        assert_eq!(errors.len(), CODES_MAX + 1);
        assert_eq!(errors["other"], 1000 - CODES_MAX as u64);
    }
}
