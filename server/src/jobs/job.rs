//! One job.

use std::fmt;
use std::str::FromStr;

use coldkeep_client::{JobId, JobKind, JobOptions, NotifyWhen, Secret};
use coldkeep_datastore::prune::KeepOptions;
use coldkeep_datastore::{GroupFilter, GroupFilters, Namespace, StoreName, VerifyTask};
use serde::{Deserialize, Serialize};

use super::webhook::WebhookUrl;
use super::{JobError, as_text, options};
use crate::auth::AuthId;
use crate::operation::{Collect, Prune, Pull, Push, Request, Verify};
use crate::schedule::CalendarEvent;
use crate::sync::SyncOptions;

/// Seconds before the first retry, if nobody says otherwise.
pub(crate) const RETRY_WAIT_SECONDS: u64 = 60;
/// Longest pause before a retry, in seconds: a quarter of a day, so that a job that runs every night is tried before the next.
const RETRY_WAIT_SECONDS_MAX: u64 = 6 * 60 * 60;
/// Longest secret, in bytes.
const SECRET_BYTES_MAX: usize = 1024;

/// What is done by itself, when, and who is told. `Debug` does not show the secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Job {
    /// The id.
    pub id: JobId,
    /// The datastore here that it is about.
    pub store: StoreName,
    /// What it does.
    pub kind: JobKind,
    /// Whose rights it has.
    pub run_as: AuthId,
    /// When it runs; `None`: only by hand.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "as_text::option")]
    pub schedule: Option<CalendarEvent>,
    /// Whether it runs by its schedule.
    pub enabled: bool,
    /// How often a run that failed is tried again.
    #[serde(default)]
    pub retries: u32,
    /// Seconds before the first retry; doubled each time, up to six hours.
    pub retry_wait: u64,
    /// Where it is told how a run ended.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "as_text::option")]
    pub notify_url: Option<WebhookUrl>,
    /// When it is told.
    #[serde(default)]
    pub notify: NotifyWhen,
    /// What is shown there as the header `Authorization`.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "as_text::option")]
    pub notify_secret: Option<NotifySecret>,
    /// Free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The rest, as far as it goes with the kind.
    #[serde(default, deserialize_with = "options::strict")]
    pub options: JobOptions,
}

impl Job {
    /// Refuses what cannot be run.
    ///
    /// # Errors
    /// [`JobError`] that names the option.
    pub(super) fn check(&self) -> Result<(), JobError> {
        if self.notify_secret.is_some() && self.notify_url.is_none() {
            return Err(JobError::SecretForNobody);
        }
        options::check(self.kind, &self.options)?;
        self.request().map(drop)
    }

    /// Returns what is to be done.
    ///
    /// # Errors
    /// [`JobError`] that names an option which is missing.
    pub(crate) fn request(&self) -> Result<Request, JobError> {
        let options = &self.options;
        let (store, ns) = (self.store.clone(), options.ns.clone().unwrap_or_default());
        Ok(match self.kind {
            JobKind::Gc => {
                let delete_rate_max = options.max_delete_rate;
                Request::Collect(Collect { store, dry_run: false, delete_rate_max })
            }
            JobKind::Prune => {
                let keep = keep(options);
                if keep.is_empty() {
                    return Err(JobError::KeepsAll);
                }
                Request::Prune(Prune { store, ns, max_depth: max_depth(options), keep, dry_run: false })
            }
            JobKind::Verify => Request::Verify(Verify {
                store,
                ns,
                group: None,
                time: None,
                max_depth: max_depth(options),
                skips_verified: options.ignore_verified.unwrap_or(true),
                outdated_after_days: options.outdated_after,
                parallel: options.verify_threads.map_or(VerifyTask::PARALLEL_DEFAULT, usize::from),
                rate: options.max_read_rate,
            }),
            JobKind::Pull => Request::Pull(Pull {
                store,
                ns,
                remote: self.need("remote", options.remote.as_ref())?,
                remote_store: self.need("remote-store", options.remote_store.as_ref())?,
                remote_ns: options.remote_ns.clone().unwrap_or_default(),
                owner: options.owner.clone(),
                trusts_remote: options.trusted_remote.unwrap_or_default(),
                options: sync_options(options)?,
            }),
            JobKind::Push => Request::Push(Push {
                store,
                ns,
                remote: self.need("remote", options.remote.as_ref())?,
                remote_store: self.need("remote-store", options.remote_store.as_ref())?,
                remote_ns: options.remote_ns.clone().unwrap_or_default(),
                options: sync_options(options)?,
            }),
        })
    }

    fn need<T: Clone>(&self, option: &'static str, value: Option<&T>) -> Result<T, JobError> {
        value.cloned().ok_or(JobError::Missing { option, kind: self.kind })
    }

    /// Returns how long to wait before the next retry after so many, in seconds; none if there is none.
    pub(super) fn retry_wait_after(&self, retries_done: u32) -> Option<u64> {
        if retries_done >= self.retries {
            return None;
        }
        let doubled = self.retry_wait.saturating_mul(1_u64.checked_shl(retries_done).unwrap_or(u64::MAX));
        Some(doubled.min(RETRY_WAIT_SECONDS_MAX.max(self.retry_wait)))
    }
}

fn max_depth(options: &JobOptions) -> usize {
    options.max_depth.and_then(|depth| usize::try_from(depth).ok()).unwrap_or(Namespace::DEPTH_MAX)
}

fn keep(options: &JobOptions) -> KeepOptions {
    let mut keep = KeepOptions::default();
    keep.last = options.keep_last;
    keep.hourly = options.keep_hourly;
    keep.daily = options.keep_daily;
    keep.weekly = options.keep_weekly;
    keep.monthly = options.keep_monthly;
    keep.yearly = options.keep_yearly;
    keep
}

fn sync_options(options: &JobOptions) -> Result<SyncOptions, JobError> {
    let filters = options.group_filter.iter().flatten().map(|text| text.parse());
    let filters = filters.collect::<Result<Vec<GroupFilter>, _>>()?;
    Ok(SyncOptions {
        max_depth: options.max_depth.and_then(|depth| usize::try_from(depth).ok()),
        filters: GroupFilters::new(filters)?,
        transfer_last: options.transfer_last.and_then(|count| usize::try_from(count).ok()),
        verified_only: options.verified_only.unwrap_or_default(),
        encrypted_only: options.encrypted_only.unwrap_or_default(),
        removes_vanished: options.remove_vanished.unwrap_or_default(),
        resyncs_corrupt: options.resync_corrupt.unwrap_or_default(),
        dry_run: false,
        parallel_groups: options.worker_threads.and_then(|count| usize::try_from(count).ok()).unwrap_or(1),
        rate: options.rate_in.or(options.rate_out),
    })
}

/// What is shown as the value of the header `Authorization`: up to 1024 visible ASCII characters and blanks between them.
#[derive(Clone, PartialEq, Eq)]
pub struct NotifySecret(Secret);

/// A text that cannot be the value of a header. It is not quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 1 to {SECRET_BYTES_MAX} visible ASCII characters, as in 'Bearer abc'")]
pub struct ParseNotifySecretError;

impl NotifySecret {
    /// Returns the text.
    pub(super) fn reveal(&self) -> &str {
        self.0.reveal()
    }
}

impl FromStr for NotifySecret {
    type Err = ParseNotifySecretError;

    fn from_str(text: &str) -> Result<Self, ParseNotifySecretError> {
        let is_good = (1..=SECRET_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
            && text.trim() == text;
        if is_good { Ok(Self(Secret::new(text))) } else { Err(ParseNotifySecretError) }
    }
}

impl fmt::Debug for NotifySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NotifySecret(..)")
    }
}

/// For the file alone.
impl fmt::Display for NotifySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reveal())
    }
}
