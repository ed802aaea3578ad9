//! What a run found and did.

use std::collections::BTreeMap;
use std::time::Duration;

use coldkeep_chunk_store::Digest;
use serde::{Deserialize, Serialize};

use crate::control::{Phase, per_second};
use crate::references::Tidied;
use crate::target::RunTimes;

mod display;

/// Files or objects, and the bytes that they take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// How many.
    pub count: u64,
    /// Stored bytes of all of them.
    pub bytes: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, size: u64) {
        // Sizes come from a listing, which may state anything.
        self.count += 1;
        self.bytes = self.bytes.saturating_add(size);
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// All was looked at.
    Completed,
    /// It was cancelled; what it did until then stands.
    #[default]
    Cancelled,
    /// It failed; what it did until then stands.
    Failed,
}

/// What a run found and did. The names of the fields are stable; times are Unix seconds of the store clock. Reads what
/// earlier versions wrote: what they did not know has its default.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Report {
    /// Whether all was looked at.
    pub end: End,
    /// Whether nothing was removed; `removed` and its like then say what would have been.
    pub dry_run: bool,
    /// Start of the run.
    pub started_at: i64,
    /// Chunks used at this instant or later stay (R13).
    pub cutoff: i64,
    /// Start of the oldest session that was open when the run began.
    pub oldest_session_at: Option<i64>,

    /// Indexes read.
    pub indexes: u64,
    /// Indexes whose snapshot was removed while they were being read.
    pub vanished_indexes: u64,
    /// Indexes where none is expected; they count as all others do. The first of them by name, at most
    /// [`UNEXPECTED_MAX`](crate::UNEXPECTED_MAX).
    pub unexpected_indexes: Vec<String>,
    /// Unexpected indexes beyond those named.
    pub unexpected_indexes_unnamed: u64,
    /// Unfinished snapshots that ended sessions left.
    pub unfinished: Tidied,
    /// References in these indexes.
    pub references: u64,
    /// Distinct chunks that they refer to.
    pub distinct_chunks: u64,
    /// Bytes of the archives that the indexes describe.
    pub index_data_bytes: u64,
    /// `index_data_bytes` for each stored byte of the chunks that stay; 1 where one of them is 0.
    pub dedup_factor: f64,
    /// Most memory that the set of referenced chunks took.
    pub set_memory_bytes: u64,

    /// Chunks found in the store.
    pub listed: Tally,
    /// Chunks that an index refers to.
    pub kept: Tally,
    /// Chunks that no index refers to and that stay for now: used too recently to be removed, used since they were listed,
    /// or not reached before the run was cancelled or failed.
    pub pending: Tally,
    /// Chunks removed.
    pub removed: Tally,
    /// Garbage of which a delete was sent whose outcome is not certain (R9), by this run or an earlier one.
    pub in_limbo: Tally,
    /// Garbage that the store refused to delete (hazard H18); the next run tries again.
    pub failed: Tally,
    /// The first of these refusals, at most [`FAILURES_MAX`](crate::FAILURES_MAX).
    pub failures: Vec<Failure>,
    /// Bad copies that stay (R15).
    pub bad_kept: Tally,
    /// Bad copies removed.
    pub bad_removed: Tally,
    /// Temporary files that are too young to be called left over.
    pub temporary_kept: Tally,
    /// Left-over temporary files removed.
    pub temporary_removed: Tally,
    /// Upload markers of uploads that may be under way.
    pub uploads_kept: Tally,
    /// Left-over upload markers removed, beside those of removed chunks.
    pub uploads_removed: Tally,
    /// What was put right between objects and local records (R14).
    pub healed: Healed,

    /// Chunks that an index refers to and that the store does not have.
    pub missing: Missing,

    /// Time of each phase, in order.
    pub phases: Vec<PhaseTime>,
    /// References read a second.
    pub references_per_second: f64,
    /// Files or objects listed a second, judged and removed where due.
    pub listed_per_second: f64,
    /// Chunks removed a second of the sweep.
    pub removed_per_second: f64,
    /// Requests to the backend by type, every attempt counted; those of sessions that went on meanwhile are among them.
    pub requests: BTreeMap<String, u64>,
}

/// A chunk or a copy that the store refused to delete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Its digest.
    pub digest: Digest,
    /// What the store said.
    pub reason: String,
}

/// Most refusals that a report names.
pub const FAILURES_MAX: usize = 100;

/// Most unexpected indexes that a report names.
pub const UNEXPECTED_MAX: usize = 1000;

/// What was put right between objects and local records (R14); in a dry run, what would be, but for sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Healed {
    /// Objects that an index refers to and whose marker was missing.
    pub markers_created: u64,
    /// Markers whose object was missing.
    pub markers_removed: u64,
    /// Open sessions that failed because they were told of a chunk that is missing.
    pub failed_sessions: u64,
}

/// Chunks that an index refers to and that the store does not have: data that is lost unless it is backed up again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Missing {
    /// How many distinct chunks.
    pub chunks: u64,
    /// The first of them in ascending order, at most [`MISSING_SAMPLE_MAX`](crate::MISSING_SAMPLE_MAX).
    pub sample: Vec<Digest>,
    /// Indexes that refer to them, in the order of their names, at most
    /// [`BROKEN_INDEXES_MAX`](crate::BROKEN_INDEXES_MAX).
    pub broken_indexes: Vec<BrokenIndex>,
    /// Broken indexes beyond those named.
    pub broken_indexes_unnamed: u64,
    /// Indexes that could not be read a second time, so that it is not known whether they are broken.
    pub unread_indexes: u64,
    /// What kept the missing chunks from being looked for once more; they are then counted as the sweep found them.
    pub failure: Option<String>,
}

/// An index that refers to missing chunks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokenIndex {
    /// Its name.
    pub index: String,
    /// References to missing chunks in it.
    pub missing_references: u64,
}

/// How long a phase took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PhaseTime {
    /// The phase.
    pub phase: Phase,
    /// Its time in seconds.
    pub seconds: f64,
}

impl Report {
    pub(crate) fn new(dry_run: bool) -> Self {
        Self { dry_run, dedup_factor: 1.0, ..Self::default() }
    }

    /// Notes that the run has begun.
    pub(crate) fn note_begun(&mut self, times: RunTimes) {
        self.started_at = times.started_at.unix_seconds();
        self.cutoff = times.cutoff.unix_seconds();
        self.oldest_session_at = times.oldest_session_at.map(coldkeep_chunk_store::StoreTime::unix_seconds);
    }

    /// Returns the stored bytes of the chunks that stay.
    pub const fn stored_bytes(&self) -> u64 {
        self.kept.bytes.saturating_add(self.pending.bytes)
    }

    pub(crate) fn note_tidied(&mut self, unfinished: Tidied, elapsed: Duration) {
        self.unfinished = unfinished;
        self.phases.push(PhaseTime { phase: Phase::Starting, seconds: elapsed.as_secs_f64() });
    }

    /// Notes the indexes that were found where none is expected.
    pub(crate) fn note_unexpected(&mut self, mut indexes: Vec<String>) {
        indexes.sort_unstable();
        self.unexpected_indexes_unnamed = indexes.len().saturating_sub(UNEXPECTED_MAX) as u64;
        indexes.truncate(UNEXPECTED_MAX);
        self.unexpected_indexes = indexes;
    }

    pub(crate) fn note_mark(&mut self, elapsed: Duration) {
        self.phases.push(PhaseTime { phase: Phase::Mark, seconds: elapsed.as_secs_f64() });
        self.references_per_second = per_second(self.references, elapsed);
    }

    pub(crate) fn note_sweep(&mut self, elapsed: Duration) {
        self.phases.push(PhaseTime { phase: Phase::Sweep, seconds: elapsed.as_secs_f64() });
        self.listed_per_second = per_second(self.listed.count, elapsed);
        self.removed_per_second = per_second(self.removed.count, elapsed);
        if self.stored_bytes() > 0 && self.index_data_bytes > 0 {
            self.dedup_factor = self.index_data_bytes as f64 / self.stored_bytes() as f64;
        }
    }

    /// Notes how many requests of each type there were since `before`.
    pub(crate) fn note_requests(&mut self, before: &BTreeMap<String, u64>, after: BTreeMap<String, u64>) {
        let since = |(kind, count): (String, u64)| {
            let count = count.saturating_sub(before.get(&kind).copied().unwrap_or(0));
            (count > 0).then_some((kind, count))
        };
        self.requests = after.into_iter().filter_map(since).collect();
    }

    pub(crate) fn note_find_missing(&mut self, elapsed: Duration) {
        self.phases.push(PhaseTime { phase: Phase::FindMissing, seconds: elapsed.as_secs_f64() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_that_somebody_else_wrote_is_shown_whatever_it_says() {
        let most = Tally { count: u64::MAX, bytes: u64::MAX };
        let mut report =
            Report { kept: most, pending: most, bad_kept: most, bad_removed: most, ..Report::default() };
        report.unfinished = Tidied { removed: u64::MAX, in_use: u64::MAX, ..Tidied::default() };
        report.healed = Healed { markers_created: u64::MAX, markers_removed: u64::MAX, failed_sessions: 0 };
        report.missing.chunks = 1;
        report.missing.broken_indexes = vec![BrokenIndex { index: "a".to_owned(), missing_references: 1 }];
        report.missing.broken_indexes_unnamed = u64::MAX;
        assert!(report.to_string().contains(&format!("broken: {} indexes", u64::MAX)));
        assert_eq!(report.stored_bytes(), u64::MAX);
    }
}
