//! The readers of what collections leave in a datastore's folder, for the fuzz targets and nothing else.

use coldkeep_gc::Report;
use serde_json::Value;

use super::history::{self, PastRun};
use super::status::{GcStatus, StatusFile};

/// Most runs and bytes that the history holds.
pub const HISTORY_MAX: (usize, usize) = (history::RUNS_MAX, history::BYTES_MAX);

/// Reads the history of collections; returns each run as it is written, the newest first, and its report.
pub fn history(text: &str) -> Vec<(String, Value)> {
    let line = |run: &PastRun| serde_json::to_string(run).expect("a run has a JSON form");
    history::parse(text).into_iter().map(|run| (line(&run), run.report)).collect()
}

/// Adds a line to the history.
pub fn with_line(before: &str, line: &str) -> String {
    history::with_line(before, line)
}

/// Reads the result of the last collection, and writes it again.
pub fn status_file(text: &[u8]) -> Vec<u8> {
    serde_json::to_vec(&StatusFile::parse(text)).expect("a status has a JSON form")
}

/// Writes what stock clients are told of a report.
pub fn status_of(report: &Report) -> Vec<u8> {
    let status = GcStatus::of(report, "UPID:x".to_owned());
    serde_json::to_vec(&status).expect("a status has a JSON form")
}
