//! What a request is about, and how its result is told.

use std::time::SystemTime;

use coldkeep_s3_client::ops::DeleteReport;
use coldkeep_s3_client::{Effect, Reply, RequestError};

use super::failure::{age, fault, fault_of, is_unclear, store_time};
use crate::backend::{Answer, BackendError, Fault, Validity};
use crate::time::StoreTime;

/// What a request is about.
#[derive(Debug)]
pub(super) struct Subject {
    /// As a verb.
    pub(super) action: &'static str,
    /// The full key or prefix.
    pub(super) key: String,
    pub(super) validity: Option<Validity>,
}

/// Why a request has no result although the client has one.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Reason(&'static str);

impl Subject {
    pub(super) fn with_validity(self, validity: Option<Validity>) -> Self {
        Self { validity, ..self }
    }

    /// Makes an answer of a reply.
    pub(super) fn answer<T>(&self, reply: Reply<T>) -> Result<Answer<T>, BackendError> {
        let is_unclear = reply.outcome.is_unclear();
        let has_effect = reply.outcome.effect() != Effect::None;
        let date = self.date(reply.date).map_err(|error| BackendError { is_unclear: has_effect, ..error })?;
        Ok(Answer { value: reply.value, date, is_unclear })
    }

    /// Returns the date of an answer.
    pub(super) fn date(&self, date: Option<SystemTime>) -> Result<StoreTime, BackendError> {
        date.map(store_time).ok_or_else(|| self.nonsense("the answer bears no Date"))
    }

    /// Makes sure that a batch of deletes is not refused as a whole because it came late: where each goes as a request of
    /// its own, that is a refusal of each.
    pub(super) fn check_in_time(&self, report: &DeleteReport, date: StoreTime) -> Result<(), BackendError> {
        let is_refused = report.deleted.is_empty() && report.unreported.is_empty();
        let mut faults =
            report.failed.iter().map(|failed| fault_of(&failed.error, age(self.validity, Some(date))));
        if !is_refused || report.failed.is_empty() || !faults.all(|fault| fault == Fault::Expired) {
            return Ok(());
        }
        let source = Reason("the server refused each delete as too late");
        Err(BackendError { fault: Fault::Expired, date: Some(date), ..self.invalid(source) })
    }

    /// Makes an error of a request that failed.
    pub(super) fn failed(&self, error: RequestError) -> BackendError {
        BackendError {
            action: self.action,
            key: self.key.clone(),
            is_unclear: is_unclear(&error),
            fault: fault(&error, self.validity),
            date: error.date().map(store_time),
            source: Box::new(error),
        }
    }

    /// Makes an error of a request that cannot be made.
    pub(super) fn invalid(&self, error: impl std::error::Error + Send + Sync + 'static) -> BackendError {
        let (action, key, source) = (self.action, self.key.clone(), Box::new(error));
        BackendError { action, key, is_unclear: false, fault: Fault::Other, date: None, source }
    }

    /// Makes an error of an answer that lacks something.
    pub(super) fn nonsense(&self, what: &'static str) -> BackendError {
        BackendError { fault: Fault::BadAnswer, ..self.invalid(Reason(what)) }
    }
}
