//! What a replication came to.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use coldkeep_datastore::{GroupName, Namespace};
use serde::{Serialize, Serializer};

use super::place;
use crate::tasks::{TaskHandle, Upid};

/// Reports that are remembered.
const REPORTS_MAX: usize = 64;
/// Failures that a report names; the log has them all.
const FAILURES_MAX: usize = 1000;

/// Counters of a replication that is under way.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) groups_done: AtomicU64,
    pub(crate) snapshots_copied: AtomicU64,
    pub(crate) snapshots_repaired: AtomicU64,
    pub(crate) snapshots_unchanged: AtomicU64,
    pub(crate) snapshots_skipped: AtomicU64,
    pub(crate) snapshots_vanished: AtomicU64,
    pub(crate) chunks_transferred: AtomicU64,
    pub(crate) bytes_transferred: AtomicU64,
    pub(crate) chunks_reused: AtomicU64,
    pub(crate) bytes_reused: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) removed_snapshots: AtomicU64,
    pub(crate) removed_groups: AtomicU64,
    pub(crate) removed_namespaces: AtomicU64,
}

/// Adds to a counter, which nothing is ordered by.
pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

/// Reads a counter.
pub(crate) fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// What a replication came to; in a dry run what it would have.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct SyncReport {
    pub(crate) dry_run: bool,
    /// Namespaces of the source that were looked through.
    pub(crate) namespaces: u64,
    /// Groups of the source that the filters let pass.
    pub(crate) groups: u64,
    /// Snapshots that are new in the target.
    pub(crate) snapshots: u64,
    /// Snapshots that were damaged in the target, or differed from the source.
    pub(crate) repaired: u64,
    /// Snapshots that were looked at again and are as in the source.
    pub(crate) unchanged: u64,
    /// Snapshots that were not looked at: older than the last one of the target, or not among the newest.
    pub(crate) skipped: u64,
    /// Snapshots that were gone from the source when they were to be copied.
    pub(crate) vanished: u64,
    pub(crate) chunks_transferred: u64,
    /// As they travelled over the network.
    pub(crate) bytes_transferred: u64,
    /// References to chunks that did not have to be transferred.
    pub(crate) chunks_reused: u64,
    /// Plain bytes of them.
    pub(crate) bytes_reused: u64,
    /// Requests to the other server.
    pub(crate) requests: u64,
    pub(crate) removed_snapshots: u64,
    pub(crate) removed_groups: u64,
    pub(crate) removed_namespaces: u64,
    pub(crate) failures: Vec<Failure>,
    pub(crate) seconds: f64,
}

/// A namespace, group or snapshot that could not be copied or removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Failure {
    /// The namespace in the target.
    pub(crate) ns: Namespace,
    /// The group; none if it is about the whole namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(serialize_with = "as_text")]
    pub(crate) group: Option<GroupName>,
    /// Why, with its causes.
    pub(crate) error: String,
}

impl SyncReport {
    /// Takes the counters over.
    pub(crate) fn count(&mut self, figures: &Figures) {
        let of = read;
        self.snapshots = of(&figures.snapshots_copied);
        self.repaired = of(&figures.snapshots_repaired);
        self.unchanged = of(&figures.snapshots_unchanged);
        self.skipped = of(&figures.snapshots_skipped);
        self.vanished = of(&figures.snapshots_vanished);
        self.chunks_transferred = of(&figures.chunks_transferred);
        self.bytes_transferred = of(&figures.bytes_transferred);
        self.chunks_reused = of(&figures.chunks_reused);
        self.bytes_reused = of(&figures.bytes_reused);
        self.requests = of(&figures.requests);
        self.removed_snapshots = of(&figures.removed_snapshots);
        self.removed_groups = of(&figures.removed_groups);
        self.removed_namespaces = of(&figures.removed_namespaces);
    }

    /// Logs and notes a failure, as long as the report does not become too long; returns 1, which is to be counted.
    pub(crate) fn fail(&mut self, failure: Failure, task: &TaskHandle) -> u64 {
        let of = match &failure.group {
            Some(group) => place(&failure.ns, group),
            None => format!("namespace {:?}", failure.ns.as_str()),
        };
        task.log(format!("{of} FAILED: {}", failure.error));
        if self.failures.len() < FAILURES_MAX {
            self.failures.push(failure);
        }
        1
    }

    /// Logs what it came to; chunks were fetched or sent.
    pub(crate) fn log(&self, task: &TaskHandle, moved: &str) {
        let Self { groups, snapshots, repaired, unchanged, skipped, vanished, .. } = self;
        let would = if self.dry_run { "would be " } else { "" };
        task.log(format!(
            "{groups} groups: {snapshots} snapshots {would}copied, {repaired} {would}made as in the source, {unchanged} \
             unchanged, {skipped} skipped, {vanished} gone"
        ));
        if self.dry_run {
            return;
        }
        let Self { chunks_transferred, bytes_transferred, chunks_reused, requests, seconds, .. } = self;
        task.log(format!(
            "{chunks_transferred} chunks with {bytes_transferred} bytes {moved}, {chunks_reused} used as they were; \
             {requests} requests in {seconds:.1} s"
        ));
        let Self { removed_snapshots, removed_groups, removed_namespaces, .. } = self;
        if removed_snapshots + removed_groups + removed_namespaces > 0 {
            task.log(format!(
                "removed {removed_snapshots} snapshots, {removed_groups} groups, {removed_namespaces} namespaces"
            ));
        }
    }
}

impl Failure {
    /// Describes a failure by its text, with its causes.
    pub(crate) fn of(ns: &Namespace, group: Option<&GroupName>, error: String) -> Self {
        Self { ns: ns.clone(), group: group.cloned(), error }
    }
}

#[expect(clippy::ref_option, reason = "serde gives it so")]
fn as_text<S: Serializer>(group: &Option<GroupName>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&group.as_ref().map_or_else(String::new, GroupName::to_string))
}

/// The reports of the last replications of this process.
#[derive(Debug, Default)]
pub(crate) struct SyncReports {
    kept: Mutex<VecDeque<(Upid, SyncReport)>>,
}

impl SyncReports {
    /// Adds a report; the oldest makes room.
    pub(crate) fn add(&self, upid: Upid, report: SyncReport) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back((upid, report));
        while kept.len() > REPORTS_MAX {
            kept.pop_front();
        }
    }

    /// Returns the report of a task.
    pub(crate) fn get(&self, upid: &Upid) -> Option<SyncReport> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().rev().find(|(known, _)| known == upid).map(|(_, report)| report.clone())
    }
}
