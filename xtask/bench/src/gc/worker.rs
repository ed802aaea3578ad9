//! The worker, which does one job in a process of its own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::process;

/// What a job prints.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Measured {
    pub(crate) wall_seconds: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) mark_seconds: f64,
    pub(crate) peak_memory_bytes: u64,
    pub(crate) grown_bytes: u64,
    pub(crate) references: u64,
    pub(crate) distinct_chunks: u64,
    pub(crate) set_memory_bytes: u64,
    pub(crate) listed: u64,
    pub(crate) removed: u64,
    pub(crate) requests: BTreeMap<String, u64>,
    requests_at_once: u64,
}

impl Measured {
    /// All but the mark.
    pub(crate) fn sweep_seconds(&self) -> f64 {
        self.wall_seconds - self.mark_seconds
    }

    /// Requests that change something.
    pub(crate) fn writes(&self) -> u64 {
        let reads = ["list", "get", "head"];
        self.requests.iter().filter(|(kind, _)| !reads.contains(&kind.as_str())).map(|(_, count)| count).sum()
    }
}

/// Runs a job to its end.
pub(crate) fn run(worker: &Path, job: &str, args: &[OsString]) -> Result<Measured> {
    let mut command = Command::new(worker);
    command.arg(job).args(args).stdin(Stdio::null());
    let shown = process::shown(&command);
    eprintln!("$ {shown}");
    let output = command.output().context("cannot start the worker")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{shown}: {}", error.trim());
    let measured: Measured =
        serde_json::from_slice(&output.stdout).context("cannot parse what the worker printed")?;
    let Measured { wall_seconds, cpu_seconds, requests_at_once, .. } = measured;
    eprintln!("  {wall_seconds:.3} s, {cpu_seconds:.3} s of CPU time, {requests_at_once} requests at once");
    Ok(measured)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changes_something_is_a_write() {
        let text = r#"{"wall_seconds": 3.0, "cpu_seconds": 1.0, "mark_seconds": 0.5, "peak_memory_bytes": 1, "grown_bytes": 1,
            "references": 1, "distinct_chunks": 1, "set_memory_bytes": 1, "listed": 1, "removed": 1,
            "requests_at_once": 1, "requests": {"list": 9, "get": 2, "head": 3, "put": 4, "delete": 5, "other": 6}}"#;
        let measured: Measured = serde_json::from_str(text).unwrap();
        assert_eq!(measured.writes(), 15);
        assert!((measured.sweep_seconds() - 2.5).abs() < 1e-9);
    }

    #[test]
    fn a_job_that_fails_says_why() {
        let error =
            run(Path::new("/bin/sh"), "-c", &["printf 'no such %s' store >&2; exit 1".into()]).unwrap_err();
        assert!(error.to_string().contains("no such store"), "{error:#}");
    }
}
