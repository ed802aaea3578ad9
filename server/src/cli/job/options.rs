//! What is said of a job on the command line.

use std::fs::File;
use std::num::NonZeroU64;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use coldkeep_client::{JobKind, JobOptions, JobSettings, NotifyWhen, Secret};
use coldkeep_datastore::{GroupFilter, Namespace, Owner};

use crate::cli::environment::first_line;
use crate::cli::human;
use crate::jobs::WebhookUrl;
use crate::schedule::CalendarEvent;

/// What every job has.
#[derive(Debug, Args)]
pub(super) struct Common {
    /// Calendar event that it runs by, as `hourly`, `mon..fri 02:30` or `*-1,15 4:00`; default: only by hand.
    #[arg(long, value_name = "EVENT")]
    schedule: Option<CalendarEvent>,
    /// Whether it runs by its schedule.
    #[arg(long, value_name = "BOOL")]
    enabled: Option<bool>,
    /// User or token whose rights it has; default: whoever adds it.
    #[arg(long, value_name = "USER_OR_TOKEN")]
    run_as: Option<Owner>,
    /// Try a run that failed so many times again.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(..=10))]
    retries: Option<u32>,
    /// Seconds before the first retry, doubled each time; default: 60.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=21_600))]
    retry_wait: Option<u64>,
    /// URL that gets a POST when a run has ended.
    #[arg(long, value_name = "URL")]
    notify_url: Option<WebhookUrl>,
    /// After which runs: `failure`, `always` or `never`; default: failure.
    #[arg(long, value_name = "WHEN")]
    notify: Option<NotifyWhen>,
    /// File whose first line is shown there as the header `Authorization`, as in `Bearer abc`.
    #[arg(long, value_name = "FILE")]
    notify_secret_file: Option<PathBuf>,
    /// Free text.
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
}

/// How far down.
#[derive(Debug, Args)]
pub(super) struct Depth {
    /// So many levels of namespaces; default: all.
    #[arg(long, value_name = "LEVELS", value_parser = clap::value_parser!(u64).range(0..=Namespace::DEPTH_MAX as u64))]
    max_depth: Option<u64>,
}

/// Of collections.
#[derive(Debug, Args)]
pub(super) struct Collection {
    /// gc: remove so many chunks a second at most.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_delete_rate: Option<u32>,
}

/// Of prunes.
#[derive(Debug, Args)]
pub(super) struct Keep {
    /// prune: keep the newest snapshots.
    #[arg(long = "keep-last", value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    last: Option<u64>,
    /// prune: keep the newest snapshot of so many hours.
    #[arg(long = "keep-hourly", value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    hourly: Option<u64>,
    /// prune: keep the newest snapshot of so many days.
    #[arg(long = "keep-daily", value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    daily: Option<u64>,
    /// prune: keep the newest snapshot of so many weeks.
    #[arg(long = "keep-weekly", value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    weekly: Option<u64>,
    /// prune: keep the newest snapshot of so many months.
    #[arg(long = "keep-monthly", value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    monthly: Option<u64>,
    /// prune: keep the newest snapshot of so many years.
    #[arg(long = "keep-yearly", value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    yearly: Option<u64>,
}

/// Of verifications.
#[derive(Debug, Args)]
pub(super) struct VerifyOptions {
    /// verify: whether snapshots that were verified before are skipped; default: true.
    #[arg(long, value_name = "BOOL")]
    ignore_verified: Option<bool>,
    /// verify: days after which a verification no longer counts.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(i64).range(0..=36_500))]
    outdated_after: Option<i64>,
    /// verify: chunks that are read and checked at once; default: 4.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..=32))]
    verify_threads: Option<u8>,
    /// verify: read so many bytes a second at most; K, M, G and T stand for powers of 1024.
    #[arg(long, value_name = "BYTES", value_parser = human::parse_bytes)]
    max_read_rate: Option<u64>,
}

/// Of pulls and pushes.
#[derive(Debug, Args)]
pub(super) struct Sync {
    /// pull, push: only these groups: `[include:|exclude:]` and `type:vm`, `group:vm/100` or `regex:…`; may be given more than once.
    #[arg(long = "group-filter", visible_alias = "group", value_name = "FILTER")]
    filters: Vec<GroupFilter>,
    /// pull, push: remove what the source no longer has, but for protected snapshots.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    remove_vanished: Option<bool>,
    /// pull, push: only so many of the newest snapshots of each group.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    transfer_last: Option<u64>,
    /// pull, push: only snapshots that were verified and found whole.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    verified_only: Option<bool>,
    /// pull, push: only snapshots that are encrypted whole.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    encrypted_only: Option<bool>,
    /// pull, push: so many groups at the same time; default: 1.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..=32))]
    parallel_groups: Option<u64>,
    /// pull, push: so many bytes a second at most; K, M, G and T stand for powers of 1024.
    #[arg(long, value_name = "BYTES", value_parser = human::parse_bytes)]
    rate_limit: Option<u64>,
}

/// Of pulls.
#[derive(Debug, Args)]
pub(super) struct PullOptions {
    /// pull: owner of the groups; default: whoever the job runs as.
    #[arg(long, value_name = "USER_OR_TOKEN")]
    owner: Option<Owner>,
    /// pull: copy snapshots again that failed their verification here.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    resync_corrupt: Option<bool>,
    /// pull: use chunks that the datastore has without fetching them: only for a remote that names no chunk which it does not have.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    trusted_remote: Option<bool>,
}

impl Common {
    pub(super) fn has_schedule(&self) -> bool {
        self.schedule.is_some()
    }

    /// Tells whether nothing is said.
    pub(super) fn is_empty(&self) -> bool {
        let Self { schedule, enabled, run_as, retries, retry_wait, notify_url, notify, .. } = self;
        schedule.is_none()
            && enabled.is_none()
            && run_as.is_none()
            && retries.is_none()
            && retry_wait.is_none()
            && notify_url.is_none()
            && notify.is_none()
            && self.notify_secret_file.is_none()
            && self.comment.is_none()
    }

    /// Returns what is said; reads the secret from its file.
    pub(super) fn settings(self) -> Result<JobSettings> {
        let secret = |path: PathBuf| {
            let context = || format!("cannot read the secret from {}", path.display());
            let line = first_line(File::open(&path).with_context(context)?).with_context(context)?;
            anyhow::Ok(Secret::new(line.as_str()))
        };
        Ok(JobSettings {
            schedule: self.schedule.map(|event| event.to_string()),
            enabled: self.enabled,
            run_as: self.run_as.map(|who| who.to_string()),
            retries: self.retries,
            retry_wait: self.retry_wait,
            notify_url: self.notify_url.map(|url| url.to_string()),
            notify: self.notify,
            notify_secret: self.notify_secret_file.map(secret).transpose()?,
            comment: self.comment,
            options: JobOptions::default(),
        })
    }
}

impl Depth {
    pub(super) fn add_to(self, options: &mut JobOptions) {
        options.max_depth = self.max_depth;
    }
}

impl Collection {
    pub(super) fn add_to(self, options: &mut JobOptions) {
        options.max_delete_rate = self.max_delete_rate;
    }
}

impl Keep {
    pub(super) fn add_to(self, options: &mut JobOptions) {
        options.keep_last = self.last;
        options.keep_hourly = self.hourly;
        options.keep_daily = self.daily;
        options.keep_weekly = self.weekly;
        options.keep_monthly = self.monthly;
        options.keep_yearly = self.yearly;
    }
}

impl VerifyOptions {
    pub(super) fn add_to(self, options: &mut JobOptions) {
        options.ignore_verified = self.ignore_verified;
        options.outdated_after = self.outdated_after;
        options.verify_threads = self.verify_threads;
        options.max_read_rate = self.max_read_rate.and_then(NonZeroU64::new);
    }
}

impl Sync {
    /// Tells whether nothing is said.
    pub(super) fn is_empty(&self) -> bool {
        let Self { filters, remove_vanished, transfer_last, verified_only, encrypted_only, .. } = self;
        filters.is_empty()
            && remove_vanished.is_none()
            && transfer_last.is_none()
            && verified_only.is_none()
            && encrypted_only.is_none()
            && self.parallel_groups.is_none()
            && self.rate_limit.is_none()
    }

    pub(super) fn add_to(self, options: &mut JobOptions, kind: JobKind) {
        let filters: Vec<String> = self.filters.iter().map(ToString::to_string).collect();
        options.group_filter = (!filters.is_empty()).then_some(filters);
        options.remove_vanished = self.remove_vanished;
        options.transfer_last = self.transfer_last;
        options.verified_only = self.verified_only;
        options.encrypted_only = self.encrypted_only;
        options.worker_threads = self.parallel_groups;
        match kind {
            JobKind::Push => options.rate_out = self.rate_limit,
            _ => options.rate_in = self.rate_limit,
        }
    }
}

impl PullOptions {
    pub(super) fn add_to(self, options: &mut JobOptions) {
        options.owner = self.owner;
        options.resync_corrupt = self.resync_corrupt;
        options.trusted_remote = self.trusted_remote;
    }
}
