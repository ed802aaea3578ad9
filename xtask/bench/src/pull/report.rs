//! What `coldkeep pull` says it did.

use anyhow::{Context, Result};
use serde::Deserialize;

/// The part of `coldkeep pull --output json` that is of interest here.
#[derive(Debug, PartialEq, Deserialize)]
pub(crate) struct PullReport {
    pub(crate) snapshots: u64,
    pub(crate) chunks_transferred: u64,
    pub(crate) chunks_reused: u64,
    pub(crate) bytes_transferred: u64,
    pub(crate) requests: u64,
    /// As the server counts, without the start of the command.
    pub(crate) seconds: f64,
}

#[derive(Deserialize)]
struct Output {
    report: PullReport,
}

impl PullReport {
    /// Reads the standard output of the command.
    pub(crate) fn parse(output: &str) -> Result<PullReport> {
        let Output { report } =
            serde_json::from_str(output).with_context(|| format!("the pull printed {output:?}"))?;
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_are_not_known_are_passed_over() {
        let output = r#"{"upid": "UPID:a", "report": {"groups": 1, "snapshots": 2, "chunks_transferred": 3,
            "bytes_transferred": 4, "chunks_reused": 5, "requests": 6, "seconds": 0.5, "errors": []}}"#;
        let expected = PullReport {
            snapshots: 2,
            chunks_transferred: 3,
            chunks_reused: 5,
            bytes_transferred: 4,
            requests: 6,
            seconds: 0.5,
        };
        assert_eq!(PullReport::parse(output).unwrap(), expected);
    }

    #[test]
    fn anything_else_is_shown() {
        for output in ["", "pulled", r#"{"upid": "UPID:a"}"#] {
            let error = PullReport::parse(output).unwrap_err();
            assert!(error.to_string().contains(&format!("{output:?}")), "{error}");
        }
    }
}
