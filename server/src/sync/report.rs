//! What a replication came to.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use coldkeep_client::{SyncFailure, SyncReport};
use coldkeep_datastore::{GroupName, Namespace};

use super::error::SyncError;
use super::place;
use crate::api::chain;
use crate::tasks::{TaskHandle, Upid};

/// Reports that are remembered.
const REPORTS_MAX: usize = 64;
/// Failures that a report names; the log has them all.
const FAILURES_MAX: usize = 1000;
/// Of each failure so much is kept: what another server says may be part of it.
const ERROR_BYTES_MAX: usize = 4096;

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

/// Takes the counters over.
pub(super) fn count(report: &mut SyncReport, figures: &Figures) {
    let of = read;
    report.snapshots = of(&figures.snapshots_copied);
    report.repaired = of(&figures.snapshots_repaired);
    report.unchanged = of(&figures.snapshots_unchanged);
    report.skipped = of(&figures.snapshots_skipped);
    report.vanished = of(&figures.snapshots_vanished);
    report.chunks_transferred = of(&figures.chunks_transferred);
    report.bytes_transferred = of(&figures.bytes_transferred);
    report.chunks_reused = of(&figures.chunks_reused);
    report.bytes_reused = of(&figures.bytes_reused);
    report.requests = of(&figures.requests);
    report.removed_snapshots = of(&figures.removed_snapshots);
    report.removed_groups = of(&figures.removed_groups);
    report.removed_namespaces = of(&figures.removed_namespaces);
}

/// Logs and notes what failed of the target, as long as the report does not become too long; returns 1, which is to be
/// counted.
pub(super) fn fail(
    report: &mut SyncReport,
    (ns, group): (&Namespace, Option<&GroupName>),
    error: &SyncError,
    task: &TaskHandle,
) -> u64 {
    let of = match group {
        Some(group) => place(ns, group),
        None => format!("namespace {:?}", ns.as_str()),
    };
    let mut error = chain(error);
    error.truncate(error.floor_char_boundary(ERROR_BYTES_MAX));
    task.log(format!("{of} FAILED: {error}"));
    if report.failures.len() < FAILURES_MAX {
        report.failures.push(SyncFailure::new(ns, group, error));
    }
    1
}

/// Logs what a replication came to; chunks were fetched or sent.
pub(super) fn log(report: &SyncReport, task: &TaskHandle, moved: &str) {
    let SyncReport { groups, snapshots, repaired, unchanged, skipped, vanished, .. } = report;
    let would = if report.dry_run { "would be " } else { "" };
    task.log(format!(
        "{groups} groups: {snapshots} snapshots {would}copied, {repaired} {would}made as in the source, {unchanged} \
         unchanged, {skipped} skipped, {vanished} gone"
    ));
    if report.dry_run {
        return;
    }
    let SyncReport { chunks_transferred, bytes_transferred, chunks_reused, requests, seconds, .. } = report;
    task.log(format!(
        "{chunks_transferred} chunks with {bytes_transferred} bytes {moved}, {chunks_reused} used as they were; \
         {requests} requests in {seconds:.1} s"
    ));
    let SyncReport { removed_snapshots, removed_groups, removed_namespaces, .. } = report;
    if removed_snapshots + removed_groups + removed_namespaces > 0 {
        task.log(format!(
            "removed {removed_snapshots} snapshots, {removed_groups} groups, {removed_namespaces} namespaces"
        ));
    }
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
