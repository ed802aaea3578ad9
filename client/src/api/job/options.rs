//! What a job may be told beside what all jobs have.

use std::num::NonZeroU64;

use coldkeep_datastore::{Namespace, Owner, RemoteName, StoreName};
use serde::{Deserialize, Serialize};

use crate::encoding::Parameters;

/// What a job may be told beside what all jobs have. Each goes with some kinds of jobs only, and means what it means in the call
/// that does the same by hand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct JobOptions {
    /// The namespace, of all jobs but gc.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ns: Option<Namespace>,
    /// How many levels of namespaces below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_depth: Option<u64>,
    /// gc: remove so many chunks a second at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_delete_rate: Option<u32>,
    /// prune: keep the newest snapshots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_last: Option<u64>,
    /// prune: keep the newest snapshot of so many hours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_hourly: Option<u64>,
    /// prune: keep the newest snapshot of so many days.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_daily: Option<u64>,
    /// prune: keep the newest snapshot of so many weeks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_weekly: Option<u64>,
    /// prune: keep the newest snapshot of so many months.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_monthly: Option<u64>,
    /// prune: keep the newest snapshot of so many years.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_yearly: Option<u64>,
    /// verify: whether snapshots that were verified before are skipped; they are by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore_verified: Option<bool>,
    /// verify: after so many days a verification no longer counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outdated_after: Option<i64>,
    /// verify: read and check so many chunks at once, 1 to 32.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify_threads: Option<u8>,
    /// verify: read so many bytes of chunks a second at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_read_rate: Option<NonZeroU64>,
    /// pull, push: the other server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<RemoteName>,
    /// pull, push: its datastore.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_store: Option<StoreName>,
    /// pull, push: its namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_ns: Option<Namespace>,
    /// pull: the owner of the groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// pull, push: whether what is gone from the source is removed from the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remove_vanished: Option<bool>,
    /// pull, push: which groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_filter: Option<Vec<String>>,
    /// pull, push: only so many snapshots of each group, the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transfer_last: Option<u64>,
    /// pull: whether snapshots whose verification failed are fetched again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resync_corrupt: Option<bool>,
    /// pull, push: only snapshots that are encrypted whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encrypted_only: Option<bool>,
    /// pull, push: only snapshots that were verified and found whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified_only: Option<bool>,
    /// pull, push: groups at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker_threads: Option<u64>,
    /// pull: most bytes a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_in: Option<u64>,
    /// push: most bytes a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_out: Option<u64>,
    /// pull: whether chunks that are here already are used although the group does not name them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trusted_remote: Option<bool>,
}

impl JobOptions {
    pub(super) fn add_to(&self, parameters: Parameters) -> Parameters {
        let filters = self.group_filter.as_deref();
        parameters
            .with_some("ns", self.ns.as_ref().map(Namespace::as_str))
            .with_some("max-depth", self.max_depth)
            .with_some("max-delete-rate", self.max_delete_rate)
            .with_some("keep-last", self.keep_last)
            .with_some("keep-hourly", self.keep_hourly)
            .with_some("keep-daily", self.keep_daily)
            .with_some("keep-weekly", self.keep_weekly)
            .with_some("keep-monthly", self.keep_monthly)
            .with_some("keep-yearly", self.keep_yearly)
            .with_some("ignore-verified", self.ignore_verified)
            .with_some("outdated-after", self.outdated_after)
            .with_some("verify-threads", self.verify_threads.map(u64::from))
            .with_some("max-read-rate", self.max_read_rate.map(NonZeroU64::get))
            .with_some("remote", self.remote.as_ref().map(RemoteName::as_str))
            .with_some("remote-store", self.remote_store.as_ref().map(StoreName::as_str))
            .with_some("remote-ns", self.remote_ns.as_ref().map(Namespace::as_str))
            .with_some("owner", self.owner.as_ref().map(ToString::to_string))
            .with_some("remove-vanished", self.remove_vanished)
            .with_some("group-filter", filters)
            .with_some("transfer-last", self.transfer_last)
            .with_some("resync-corrupt", self.resync_corrupt)
            .with_some("encrypted-only", self.encrypted_only)
            .with_some("verified-only", self.verified_only)
            .with_some("worker-threads", self.worker_threads)
            .with_some("rate-in", self.rate_in)
            .with_some("rate-out", self.rate_out)
            .with_some("trusted-remote", self.trusted_remote)
    }
}

#[cfg(test)]
mod tests {
    use coldkeep_datastore::GroupFilter;

    use super::*;

    // Goal: no option is kept from the server.
    // Method: what is sent against what would be shown.
    #[test]
    fn all_options_are_sent() {
        let text = |text: &str| text.to_owned();
        let options = JobOptions {
            ns: "a/b".parse().ok(),
            max_depth: Some(0),
            max_delete_rate: Some(1),
            keep_last: Some(1),
            keep_hourly: Some(2),
            keep_daily: Some(3),
            keep_weekly: Some(4),
            keep_monthly: Some(5),
            keep_yearly: Some(6),
            ignore_verified: Some(false),
            outdated_after: Some(30),
            verify_threads: Some(8),
            max_read_rate: NonZeroU64::new(1 << 20),
            remote: "off-site".parse().ok(),
            remote_store: "tank".parse().ok(),
            remote_ns: "c".parse().ok(),
            owner: "joe@pbs!ci".parse().ok(),
            remove_vanished: Some(true),
            group_filter: Some(vec!["type:vm".parse::<GroupFilter>().unwrap().to_string(), text("regex:x")]),
            transfer_last: Some(7),
            resync_corrupt: Some(true),
            encrypted_only: Some(true),
            verified_only: Some(true),
            worker_threads: Some(2),
            rate_in: Some(1000),
            rate_out: Some(2000),
            trusted_remote: Some(true),
        };
        let sent: serde_json::Value =
            serde_json::from_slice(&options.add_to(Parameters::new()).to_json()).unwrap();
        assert_eq!(sent, serde_json::to_value(&options).unwrap());
        assert_eq!(sent.as_object().unwrap().len(), 27);
        assert_eq!(serde_json::from_value::<JobOptions>(sent).unwrap(), options);
        let none = JobOptions::default();
        assert_eq!(none.add_to(Parameters::new()).to_json(), b"{}");
        assert_eq!(serde_json::to_value(none).unwrap(), serde_json::json!({}));
    }
}
