//! What collections leave in a datastore's folder: past runs with their reports, and the result of the last one.

use coldkeep_client::{GcRun, GcStatus};
use coldkeep_gc::Report;
use coldkeep_server::cli::fuzzing as cli;
use coldkeep_server::collect::fuzzing;

/// Lines, runs and reports are read as they were written, and whatever stands in a report can be shown.
pub fn check(input: &[u8]) {
    let status = fuzzing::status_file(input);
    assert_eq!(fuzzing::status_file(&status), status);
    if let Ok(report) = serde_json::from_slice(input) {
        check_report(&report);
    }
    if let Ok(status) = serde_json::from_slice::<GcStatus>(input) {
        cli::status(&status);
    }
    let Ok(text) = str::from_utf8(input) else { return };
    let runs = fuzzing::history(text);
    assert!(runs.len() <= text.lines().count());
    for (line, report) in runs {
        assert_eq!(fuzzing::history(&line), [(line.clone(), report.clone())]);
        if let Ok(report) = serde_json::from_value(report) {
            check_report(&report);
        }
        if let Ok(run) = serde_json::from_str::<GcRun>(&line) {
            cli::past_runs(&[run]);
        }
        check_line(text, &line);
    }
}

fn check_report(report: &Report) {
    // A person sees it, and so does a stock client.
    let shown = report.to_string() + &cli::report(report);
    fuzzing::status_of(report);
    let written = serde_json::to_vec(report).expect("a report has a JSON form");
    assert!(shown.len() <= 4096 + 8 * written.len());
    let again: Report = serde_json::from_slice(&written).expect("what was written is read");
    assert_eq!(again, *report);
}

fn check_line(before: &str, line: &str) {
    let (runs_max, bytes_max) = fuzzing::HISTORY_MAX;
    let after = fuzzing::with_line(before, line);
    assert!(after.lines().count() <= runs_max);
    assert!(after.len() <= bytes_max.max(line.len() + 1));
    assert_eq!(after.lines().last(), Some(line));
}
