//! Deleting many objects, on servers with and without multi-delete.

use std::time::SystemTime;

use crate::call::{CallOptions, Reply};
use crate::client::Client;
use crate::config::Quirk;
use crate::error::{Cause, ErrorCode, RequestError};
use crate::ops::{
    DELETE_KEYS_MAX, DeleteObject, DeleteObjects, DeleteReport, DeleteTarget, DeletedObject, FailedDelete,
};
use crate::outcome::{Effect, Outcome};
use crate::transport::Transport;

/// How many single deletes are under way at once where they take the place of a multi-delete.
const SINGLE_DELETES_IN_FLIGHT: usize = 16;

impl<T: Transport> Client<T> {
    /// Deletes up to 1,000 objects and reports on each.
    ///
    /// One multi-delete where the provider has it. Single deletes take its place under [`Quirk::NoMultiDelete`], for keys that XML cannot
    /// express, and where the server fails the whole request although it is in order (spec `s3-servers.md` §3, point 13). They are all
    /// signed as `options` say, so a fixed expiry holds for every request of the batch (R9 of Coldkeep's design); those whose turn comes
    /// after it are not sent, and their objects stand among the unreported. The outcome covers them all.
    ///
    /// # Errors
    /// As [`Client::send`], if nothing is known of any object. Failures of single objects stand in the report.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it unknown which objects were, or will be, deleted.
    pub async fn delete_batch(
        &self,
        targets: &[DeleteTarget],
        options: &CallOptions,
    ) -> Result<Reply<DeleteReport>, RequestError> {
        let is_single =
            |target: &&DeleteTarget| self.config().quirks().has(Quirk::NoMultiDelete) || !target.is_in_xml();
        // More than a multi-delete takes are refused with one, whatever the provider has.
        if targets.is_empty() || targets.len() > DELETE_KEYS_MAX {
            return self.send_with(&DeleteObjects::new(targets.iter().cloned()), options).await;
        }
        let options = &self.engine().one_call(options);
        let (single, batch): (Vec<&DeleteTarget>, Vec<&DeleteTarget>) = targets.iter().partition(is_single);
        let mut total = Batch::default();
        if !batch.is_empty() {
            let op = DeleteObjects::new(batch.iter().copied().cloned());
            match self.send_with(&op, options).await {
                Ok(reply) => total.add(reply),
                Err(error) if is_unable(&error) => {
                    total.attempts += error.attempts();
                    total.outcome = total.outcome.and(error.outcome());
                    self.delete_singly(&batch, options, &mut total).await?;
                }
                Err(error) => return Err(error),
            }
        }
        self.delete_singly(&single, options, &mut total).await?;
        Ok(total.into_reply())
    }

    async fn delete_singly(
        &self,
        targets: &[&DeleteTarget],
        options: &CallOptions,
        total: &mut Batch,
    ) -> Result<(), RequestError> {
        for group in targets.chunks(SINGLE_DELETES_IN_FLIGHT) {
            let deletes = group.iter().map(|target| {
                let op = DeleteObject::new(target.key.clone());
                let op = match &target.version_id {
                    Some(version_id) => op.with_version(version_id),
                    None => op,
                };
                async move { (target, self.send_with(&op, options).await) }
            });
            let mut results = futures_util::future::join_all(deletes).await;
            // Nothing was sent at all, and the others would fare the same.
            let is_unsent =
                |result: &Result<_, RequestError>| matches!(result, Err(error) if error.attempts() == 0);
            if total.is_untouched()
                && results.iter().all(|(_, result)| is_unsent(result))
                && let (_, Err(error)) = results.swap_remove(0)
            {
                return Err(error);
            }
            for (target, result) in results {
                let target = DeleteTarget::clone(target);
                match result {
                    Ok(reply) => {
                        let marker = reply.value.version_id.clone().filter(|_| reply.value.is_delete_marker);
                        total.add(reply.map(|_| DeleteReport {
                            deleted: vec![DeletedObject { target, delete_marker_version_id: marker }],
                            ..DeleteReport::default()
                        }));
                    }
                    // Google's interoperability API answers so; elsewhere it is a success (spec `s3-servers.md` §3, point 12).
                    Err(error) if error.is_not_found() => total.add_absent(target, &error),
                    Err(error) => total.add_failure(target, &error),
                }
            }
        }
        Ok(())
    }
}

/// Returns whether the server cannot do this multi-delete, while it may well do single ones.
fn is_unable(error: &RequestError) -> bool {
    matches!(error.cause(), Cause::Refused(refused)
        if matches!(refused.code(), ErrorCode::NotImplemented | ErrorCode::Unavailable))
}

/// The sum of several replies.
#[derive(Debug)]
struct Batch {
    report: DeleteReport,
    last: Option<(Option<SystemTime>, Option<String>)>,
    attempts: u32,
    outcome: Outcome,
}

impl Default for Batch {
    fn default() -> Batch {
        Batch { report: DeleteReport::default(), last: None, attempts: 0, outcome: Outcome::NONE }
    }
}

impl Batch {
    fn is_untouched(&self) -> bool {
        self.attempts == 0
    }

    fn add(&mut self, reply: Reply<DeleteReport>) {
        let Reply { value, date, request_id, attempts, outcome } = reply;
        self.report.deleted.extend(value.deleted);
        self.report.failed.extend(value.failed);
        self.report.unreported.extend(value.unreported);
        self.note(date, request_id);
        self.attempts += attempts;
        self.outcome = self.outcome.and(outcome);
    }

    /// Takes the latest date of all answers: that of a refusal is the server's, too.
    fn note(&mut self, date: Option<SystemTime>, request_id: Option<String>) {
        let (earlier, earlier_id) = self.last.take().unwrap_or_default();
        self.last = Some((date.max(earlier), request_id.or(earlier_id)));
    }

    fn add_absent(&mut self, target: DeleteTarget, error: &RequestError) {
        self.note(error.date(), None);
        self.attempts += error.attempts();
        self.outcome = self.outcome.and(error.outcome());
        self.report.deleted.push(DeletedObject { target, delete_marker_version_id: None });
    }

    fn add_failure(&mut self, target: DeleteTarget, error: &RequestError) {
        self.note(error.date(), None);
        self.attempts += error.attempts();
        self.outcome = self.outcome.and(error.outcome());
        match error.service_error() {
            // A refusal says that the object is still there, unless an earlier attempt may have deleted it.
            Some(refused) if error.outcome().effect() == Effect::None => {
                self.report.failed.push(FailedDelete { target, error: refused.clone() });
            }
            _ => self.report.unreported.push(target),
        }
    }

    fn into_reply(self) -> Reply<DeleteReport> {
        let (date, request_id) = self.last.unwrap_or_default();
        let Batch { report, attempts, outcome, .. } = self;
        Reply { value: report, date, request_id, attempts, outcome }
    }
}
