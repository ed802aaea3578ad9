//! What changes of a job.

use std::fmt;
use std::str::FromStr;

use coldkeep_client::{JobOptions, NotifyWhen};

use super::options::{OPTIONS, to_map};
use super::webhook::WebhookUrl;
use super::{Job, JobError, NotifySecret};
use crate::auth::AuthId;
use crate::schedule::CalendarEvent;

/// What changes of a job; `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct JobUpdate {
    /// Whose rights it has.
    pub run_as: Option<AuthId>,
    /// When it runs.
    pub schedule: Option<CalendarEvent>,
    /// Whether it runs by its schedule.
    pub enabled: Option<bool>,
    /// How often a run that failed is tried again.
    pub retries: Option<u32>,
    /// Seconds before the first retry.
    pub retry_wait: Option<u64>,
    /// Where it is told how a run ended. A secret for the one before is forgotten, unless there is a new one, too.
    pub notify_url: Option<WebhookUrl>,
    /// When it is told.
    pub notify: Option<NotifyWhen>,
    /// What is shown there.
    pub notify_secret: Option<NotifySecret>,
    /// Free text.
    pub comment: Option<String>,
    /// The rest: what is given replaces what was.
    pub options: JobOptions,
    /// What is unset before the rest is set.
    pub delete: Vec<JobProperty>,
}

/// What a job may be without: `schedule`, `notify-url`, `notify-secret`, `comment`, and all of its options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobProperty(&'static str);

/// A text that names nothing which a job may be without.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("only schedule, notify-url, notify-secret, comment and the options of the kind can be unset")]
pub struct UnknownJobProperty;

impl FromStr for JobProperty {
    type Err = UnknownJobProperty;

    fn from_str(text: &str) -> Result<Self, UnknownJobProperty> {
        let own = ["schedule", "notify-url", "notify-secret", "comment"].into_iter();
        let mut all = own.chain(OPTIONS.iter().map(|param| param.name));
        all.find(|name| *name == text).map(Self).ok_or(UnknownJobProperty)
    }
}

impl fmt::Display for JobProperty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Job {
    /// Returns the job with a change made.
    ///
    /// # Errors
    /// [`JobError`] if the result could not be run.
    pub fn with(&self, update: JobUpdate) -> Result<Self, JobError> {
        let mut job = self.clone();
        let mut options = to_map(&job.options);
        for JobProperty(name) in update.delete {
            match name {
                "schedule" => job.schedule = None,
                "notify-url" => (job.notify_url, job.notify_secret) = (None, None),
                "notify-secret" => job.notify_secret = None,
                "comment" => job.comment = None,
                option => drop(options.remove(option)),
            }
        }
        options.extend(to_map(&update.options));
        if update.notify_url.is_some() && update.notify_url != job.notify_url {
            job.notify_secret = None;
        }
        let value =
            |error: serde_json::Error| JobError::Value { option: "delete", reason: error.to_string() };
        let job = Self {
            run_as: update.run_as.unwrap_or(job.run_as),
            schedule: update.schedule.or(job.schedule),
            enabled: update.enabled.unwrap_or(job.enabled),
            retries: update.retries.unwrap_or(job.retries),
            retry_wait: update.retry_wait.unwrap_or(job.retry_wait),
            notify_url: update.notify_url.or(job.notify_url),
            notify: update.notify.unwrap_or(job.notify),
            notify_secret: update.notify_secret.or(job.notify_secret),
            comment: update.comment.or(job.comment),
            options: serde_json::from_value(options.into()).map_err(value)?,
            ..job
        };
        job.check()?;
        Ok(job)
    }

    /// Tells whether it would run at other times than before: what it missed until then no longer counts.
    pub(super) fn is_timed_otherwise(&self, before: &Self) -> bool {
        self.schedule != before.schedule || (self.enabled && !before.enabled)
    }
}
