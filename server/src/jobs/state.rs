//! What became of a job so far.

use serde::{Deserialize, Serialize};

use super::{Job, as_text};
use crate::tasks::{Finished, Upid};

/// What is remembered of a job over restarts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct JobState {
    /// When the job was added or its schedule changed, in Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) changed_at: Option<i64>,
    /// The last run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last: Option<LastRun>,
    /// Retries since it last ran by its schedule or by hand.
    #[serde(default)]
    pub(crate) retries_done: u32,
    /// When it is tried again, in Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) retry_at: Option<i64>,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct LastRun {
    /// The task.
    #[serde(with = "as_text")]
    pub(crate) upid: Upid,
    /// How it ended; `None` while it runs, and when the server ended before it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<Finished>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Well, perhaps with warnings.
    Good,
    /// With an error.
    Failed,
    /// Because somebody stopped it: it is not tried again.
    Stopped,
}

impl LastRun {
    /// Returns when it began, in Unix seconds.
    pub(crate) fn started_at(&self) -> i64 {
        i64::from(self.upid.starttime)
    }
}

impl Outcome {
    /// Judges the exit status of a task.
    pub(super) fn of(status: &str, is_stopped: bool) -> Self {
        match status {
            status if status == "OK" || status.starts_with("WARNINGS") => Self::Good,
            _ if is_stopped => Self::Stopped,
            _ => Self::Failed,
        }
    }
}

impl JobState {
    /// Notes that a run began; a retry counts, anything else starts the count anew.
    pub(super) fn begin(&mut self, upid: Upid, is_retry: bool) {
        self.retries_done = if is_retry { self.retries_done.saturating_add(1) } else { 0 };
        self.retry_at = None;
        self.last = Some(LastRun { upid, ended: None });
    }

    /// Notes how the run ended that this task was; another one changes nothing. Decides whether it is tried again.
    pub(super) fn end(&mut self, job: &Job, upid: &Upid, (finished, outcome): (Finished, Outcome)) {
        let Some(last) = self.last.as_mut().filter(|last| last.upid == *upid) else { return };
        let wait =
            job.retry_wait_after(self.retries_done).filter(|_| job.enabled && outcome == Outcome::Failed);
        let wait = wait.and_then(|seconds| i64::try_from(seconds).ok());
        self.retry_at = wait.map(|seconds| finished.endtime.saturating_add(seconds));
        last.ended = Some(finished);
    }
}
