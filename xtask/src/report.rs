//! What a verb ran, and the closing line that says so.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

/// The outcome of one verb, step by step.
pub(crate) struct Report {
    verb: &'static str,
    started_at: Instant,
    ran: Vec<String>,
    failed: Vec<String>,
    skipped: Vec<String>,
}

impl Report {
    /// Starts the report of `verb`.
    pub(crate) fn new(verb: &'static str) -> Report {
        Report { verb, started_at: Instant::now(), ran: Vec::new(), failed: Vec::new(), skipped: Vec::new() }
    }

    /// Runs one step; a failure is printed and remembered, and the next step still runs, so that one run shows every problem.
    pub(crate) fn step(&mut self, name: &str, step: impl FnOnce() -> Result<()>) {
        self.counted(name, || step().map(|()| String::new()));
    }

    /// Like [`Report::step`], for a step that says how much it did (`212 tests`).
    pub(crate) fn counted(&mut self, name: &str, step: impl FnOnce() -> Result<String>) {
        let started_at = Instant::now();
        eprintln!("--- {name}");
        match step() {
            Ok(detail) => {
                let seconds = started_at.elapsed().as_secs_f64();
                let detail = if detail.is_empty() { detail } else { format!("{detail}, ") };
                eprintln!("--- {name}: ok ({detail}{seconds:.1} s)");
                self.ran.push(format!("{name} ({detail}{seconds:.0} s)"));
            }
            Err(error) => {
                eprintln!("--- {name}: FAILED: {error:#}");
                self.failed.push(format!("{name}: {error:#}"));
            }
        }
    }

    /// Remembers something that should have run but could not, and why.
    pub(crate) fn skip(&mut self, name: &str, why: &str) {
        eprintln!("--- {name}: skipped: {why}");
        self.skipped.push(format!("{name}: {why}"));
    }

    /// Whether any step failed so far.
    pub(crate) fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }

    /// Prints the closing line; a verb that ran nothing has failed.
    pub(crate) fn finish(self, to_stderr: bool) -> ExitCode {
        let line = self.line();
        if to_stderr {
            eprintln!("{line}");
        } else {
            println!("{line}");
        }
        if self.failed.is_empty() && !self.ran.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn line(&self) -> String {
        format!(
            "xtask {}: ran {}, failed {}, skipped {} in {:.0} s",
            self.verb,
            listed(&self.ran),
            listed(&self.failed),
            listed(&self.skipped),
            self.started_at.elapsed().as_secs_f64()
        )
    }
}

/// `2 [first; second]`, or `0`.
fn listed(items: &[String]) -> String {
    if items.is_empty() { "0".to_owned() } else { format!("{} [{}]", items.len(), items.join("; ")) }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn the_line_names_what_ran_failed_and_was_skipped() {
        let mut report = Report::new("test");
        report.step("one", || Ok(()));
        report.step("two", || bail!("broken"));
        report.skip("three", "no server");
        let line = report.line();
        assert!(line.starts_with("xtask test: ran 1 [one (0 s)], failed 1 [two: broken], "), "{line}");
        assert!(line.contains("skipped 1 [three: no server]"), "{line}");
        assert_eq!(report.finish(true), ExitCode::FAILURE);
    }

    #[test]
    fn skips_alone_are_no_success() {
        let mut report = Report::new("matrix");
        report.skip("moto", "not installed");
        assert_eq!(report.finish(true), ExitCode::FAILURE);
    }
}
