//! What the command line makes of answers, for the fuzz targets and nothing else.

use coldkeep_client::{GcRun, GcStatus};
use coldkeep_gc::Report;

use super::gc;

/// Writes a report of a collection for a person.
pub fn report(report: &Report) -> String {
    gc::report::describe(report)
}

/// Writes past collections for a person.
pub fn past_runs(runs: &[GcRun]) -> String {
    gc::history_table(runs)
}

/// Writes the figures of the last collection for a person.
pub fn status(status: &GcStatus) -> String {
    gc::describe(status)
}
