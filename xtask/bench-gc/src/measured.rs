//! What a job found, and what it cost.

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use anyhow::{Context, Result};
use coldkeep_gc::{Phase, Report};
use rustix::time::{ClockId, Timespec, clock_gettime};
use serde::Serialize;

/// What is printed.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Measured {
    pub(crate) wall_seconds: f64,
    /// User and system time of all threads.
    pub(crate) cpu_seconds: f64,
    /// Of `wall_seconds`, the reading of the indexes.
    pub(crate) mark_seconds: f64,
    /// Most memory that was ever resident, the program itself included.
    pub(crate) peak_memory_bytes: u64,
    /// By how much that is more than what was resident at the start.
    pub(crate) grown_bytes: u64,
    pub(crate) references: u64,
    pub(crate) distinct_chunks: u64,
    pub(crate) set_memory_bytes: u64,
    pub(crate) listed: u64,
    pub(crate) removed: u64,
    /// Requests by kind.
    pub(crate) requests: BTreeMap<&'static str, u64>,
    /// Most requests that were under way at once.
    pub(crate) requests_at_once: u64,
}

/// A running measurement.
pub(crate) struct Stopwatch {
    started_at: Instant,
    cpu_seconds: f64,
    resident_bytes: u64,
}

impl Stopwatch {
    /// Starts now.
    pub(crate) fn start() -> Result<Stopwatch> {
        let resident_bytes = memory_bytes("VmRSS:")?;
        Ok(Stopwatch { started_at: Instant::now(), cpu_seconds: cpu_seconds(), resident_bytes })
    }

    pub(crate) fn stop(&self) -> Result<Measured> {
        let wall_seconds = self.started_at.elapsed().as_secs_f64();
        let cpu_seconds = cpu_seconds() - self.cpu_seconds;
        let peak_memory_bytes = memory_bytes("VmHWM:")?;
        let grown_bytes = peak_memory_bytes.saturating_sub(self.resident_bytes);
        Ok(Measured { wall_seconds, cpu_seconds, peak_memory_bytes, grown_bytes, ..Measured::default() })
    }
}

impl Measured {
    /// Adds what a collection found.
    #[must_use]
    pub(crate) fn with_report(self, report: &Report) -> Measured {
        let mark = report.phases.iter().find(|phase| phase.phase == Phase::Mark);
        Measured {
            mark_seconds: mark.map_or(0.0, |phase| phase.seconds),
            references: report.references,
            distinct_chunks: report.distinct_chunks,
            set_memory_bytes: report.set_memory_bytes,
            listed: report.listed.count,
            removed: report.removed.count,
            ..self
        }
    }
}

fn cpu_seconds() -> f64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::ProcessCPUTime);
    tv_sec as f64 + tv_nsec as f64 / 1e9
}

fn memory_bytes(field: &str) -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kibibytes = line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    Ok(kibibytes.with_context(|| format!("/proc/self/status has no {field}"))? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_and_memory_are_seen() {
        let stopwatch = Stopwatch::start().unwrap();
        let block = std::hint::black_box(vec![1_u8; 64 << 20]);
        let measured = stopwatch.stop().unwrap();
        drop(block);
        assert!(measured.cpu_seconds > 0.0 && measured.wall_seconds > 0.0, "{measured:?}");
        assert!(measured.peak_memory_bytes >= 64 << 20 && measured.grown_bytes >= 32 << 20, "{measured:?}");
    }
}
