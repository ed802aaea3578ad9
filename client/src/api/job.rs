//! The calls below `/config/job`: what a server does by itself, and when.

mod options;

use std::fmt;
use std::str::FromStr;

use coldkeep_datastore::StoreName;
use http::Method;
use serde::{Deserialize, Serialize};

pub use options::JobOptions;

use crate::client::Client;
use crate::credentials::Secret;
use crate::encoding::{Parameters, path_component};
use crate::error::RequestError;

const PATH: &str = "/config/job";

/// The id of a job: 3 to 32 letters, digits, `.`, `_` and `-`, beginning with a letter, a digit or `_`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(String);

/// A text that is no id of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the id of a job has 3 to 32 letters, digits, '.', '_' and '-', and begins with a letter, a digit or '_'"
)]
pub struct ParseJobIdError;

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobKind {
    /// Copies groups of another server into the datastore.
    Pull,
    /// Copies groups of the datastore to another server.
    Push,
    /// Removes the snapshots that no rule keeps.
    Prune,
    /// Reads snapshots back and checks every chunk.
    Verify,
    /// Collects garbage.
    Gc,
}

/// A text that is no kind of jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there are gc, prune, verify, pull and push jobs")]
pub struct ParseJobKindError;

/// When somebody is told how a job ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NotifyWhen {
    /// After a failure.
    #[default]
    Failure,
    /// After each run.
    Always,
    /// Not at all.
    Never,
}

/// A text that does not say when to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected failure, always or never")]
pub struct ParseNotifyWhenError;

/// A job as a server tells of it: without the secret that it shows when it tells how a run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct JobItem {
    /// Its id.
    pub id: JobId,
    /// The datastore.
    pub store: StoreName,
    /// What it does.
    pub kind: JobKind,
    /// The calendar event that it runs by; `None`: only by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// Whether it runs by its schedule.
    pub enabled: bool,
    /// The user or token whose rights it has.
    pub run_as: String,
    /// How often a run that failed is tried again.
    pub retries: u32,
    /// Seconds before the first retry; doubled each time.
    pub retry_wait: u64,
    /// Where it is told how a run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify_url: Option<String>,
    /// When it is told.
    pub notify: NotifyWhen,
    /// A comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The rest, as far as it goes with the kind.
    #[serde(flatten)]
    pub options: JobOptions,
    /// When it runs next, in Unix seconds; `None` if it will not by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_run: Option<i64>,
    /// The task of the last run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run_upid: Option<String>,
    /// How it ended; `None` while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run_state: Option<String>,
    /// When it ended, in Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run_endtime: Option<i64>,
    /// How many retries there were since it last ran by its schedule or by hand.
    #[serde(default)]
    pub retries_done: u32,
    /// When a run that failed is tried again, in Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_retry: Option<i64>,
}

/// What is said of a job to add or change it; `None` stays as it is, or has the server's default.
#[derive(Debug, Clone, Default)]
pub struct JobSettings {
    /// The calendar event that it runs by.
    pub schedule: Option<String>,
    /// Whether it runs by its schedule.
    pub enabled: Option<bool>,
    /// The user or token whose rights it has.
    pub run_as: Option<String>,
    /// How often a run that failed is tried again.
    pub retries: Option<u32>,
    /// Seconds before the first retry.
    pub retry_wait: Option<u64>,
    /// Where it is told how a run ended.
    pub notify_url: Option<String>,
    /// When it is told.
    pub notify: Option<NotifyWhen>,
    /// What is shown there as the header `Authorization`.
    pub notify_secret: Option<Secret>,
    /// A comment.
    pub comment: Option<String>,
    /// The rest.
    pub options: JobOptions,
}

impl JobId {
    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for JobId {
    type Err = ParseJobIdError;

    fn from_str(text: &str) -> Result<Self, ParseJobIdError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let is_good = (3..=32).contains(&text.len())
            && text.bytes().next().is_some_and(is_plain)
            && text.bytes().all(|byte| is_plain(byte) || matches!(byte, b'.' | b'-'));
        if is_good { Ok(Self(text.to_owned())) } else { Err(ParseJobIdError) }
    }
}

impl TryFrom<String> for JobId {
    type Error = ParseJobIdError;

    fn try_from(text: String) -> Result<Self, ParseJobIdError> {
        text.parse()
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> Self {
        id.0
    }
}

impl JobKind {
    /// Every one of them, in the order in which they run when they are due at the same time.
    pub const ALL: [Self; 5] = [Self::Pull, Self::Push, Self::Prune, Self::Verify, Self::Gc];

    /// Returns the name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Prune => "prune",
            Self::Verify => "verify",
            Self::Gc => "gc",
        }
    }
}

impl fmt::Display for JobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for JobKind {
    type Err = ParseJobKindError;

    fn from_str(text: &str) -> Result<Self, ParseJobKindError> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(ParseJobKindError)
    }
}

impl NotifyWhen {
    /// Every one of them.
    pub const ALL: [Self; 3] = [Self::Failure, Self::Always, Self::Never];

    /// Returns the name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failure => "failure",
            Self::Always => "always",
            Self::Never => "never",
        }
    }
}

impl fmt::Display for NotifyWhen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for NotifyWhen {
    type Err = ParseNotifyWhenError;

    fn from_str(text: &str) -> Result<Self, ParseNotifyWhenError> {
        Self::ALL.into_iter().find(|when| when.as_str() == text).ok_or(ParseNotifyWhenError)
    }
}

impl JobSettings {
    fn parameters(&self) -> Parameters {
        let parameters = Parameters::new()
            .with_some("schedule", self.schedule.as_deref())
            .with_some("enabled", self.enabled)
            .with_some("run-as", self.run_as.as_deref())
            .with_some("retries", self.retries)
            .with_some("retry-wait", self.retry_wait)
            .with_some("notify-url", self.notify_url.as_deref())
            .with_some("notify", self.notify.map(NotifyWhen::as_str))
            .with_some("notify-secret", self.notify_secret.as_ref().map(Secret::reveal))
            .with_some("comment", self.comment.as_deref());
        self.options.add_to(parameters)
    }
}

impl Client {
    /// Lists the jobs that the caller may see, by id.
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn jobs(&self) -> Result<Vec<JobItem>, RequestError> {
        self.query(Method::GET, PATH, &Parameters::new()).await
    }

    /// Returns one job.
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn job(&self, id: &JobId) -> Result<JobItem, RequestError> {
        self.query(Method::GET, &path_of(id), &Parameters::new()).await
    }

    /// Adds a job.
    ///
    /// # Cancel safety
    /// The job may have been added.
    pub async fn add_job(
        &self,
        id: &JobId,
        (kind, store): (JobKind, &StoreName),
        settings: &JobSettings,
    ) -> Result<(), RequestError> {
        let parameters = settings
            .parameters()
            .with("id", id.as_str())
            .with("kind", kind.as_str())
            .with("store", store.as_str());
        self.post(PATH, &parameters).await
    }

    /// Changes a job; what `delete` names is unset before the rest is set.
    ///
    /// # Cancel safety
    /// The job may have been changed.
    pub async fn update_job(
        &self,
        id: &JobId,
        settings: &JobSettings,
        delete: &[String],
    ) -> Result<(), RequestError> {
        let delete = (!delete.is_empty()).then_some(delete);
        self.put(&path_of(id), &settings.parameters().with_some("delete", delete)).await
    }

    /// Removes a job. A run that is under way goes on.
    ///
    /// # Cancel safety
    /// The job may have been removed.
    pub async fn remove_job(&self, id: &JobId) -> Result<(), RequestError> {
        self.query(Method::DELETE, &path_of(id), &Parameters::new()).await
    }

    /// Has the server run a job now, and returns the task.
    ///
    /// # Errors
    /// `Refused` with 400 while it runs already.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open whether the task runs.
    pub async fn run_job(&self, id: &JobId) -> Result<String, RequestError> {
        let path = format!("/admin/job/{}/run", path_component(id.as_str()));
        self.post(&path, &Parameters::new()).await
    }
}

fn path_of(id: &JobId) -> String {
    format!("{PATH}/{}", path_component(id.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_kinds_and_times_to_tell_are_read_as_they_are_written() {
        for kind in JobKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        for when in NotifyWhen::ALL {
            assert_eq!(when.to_string().parse(), Ok(when));
        }
        assert_eq!("gc-nightly".parse::<JobId>().unwrap().as_str(), "gc-nightly");
        let long = "a".repeat(33);
        for bad in ["", "ab", &long, "-abc", ".abc", "a/b", "a:bc", "a bc", "äbc"] {
            assert_eq!(bad.parse::<JobId>(), Err(ParseJobIdError), "{bad}");
        }
        assert!("Gc".parse::<JobKind>().is_err() && "".parse::<NotifyWhen>().is_err());
    }

    #[test]
    fn an_item_is_read_whatever_else_it_has() {
        let text = r#"{"id":"nightly","store":"tank","kind":"prune","enabled":true,"run-as":"root@pam",
            "retries":0,"retry-wait":60,"notify":"failure","keep-last":3,"ns":"a/b","future":1}"#;
        let item: JobItem = serde_json::from_str(text).unwrap();
        assert_eq!((item.options.keep_last, item.options.ns.unwrap().as_str()), (Some(3), "a/b"));
        let settings = JobSettings { notify_secret: Some(Secret::new("hush")), ..JobSettings::default() };
        assert!(!format!("{settings:?}").contains("hush"));
    }
}
