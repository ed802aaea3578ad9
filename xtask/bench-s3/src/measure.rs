//! What one run cost this process, as the kernel accounts it.

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result};
use rustix::time::{ClockId, Timespec, clock_gettime};
use serde::Serialize;

/// What is printed.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    wall_seconds: f64,
    /// User and system time of all threads.
    cpu_seconds: f64,
    /// Most memory that was ever resident, the program itself included.
    peak_memory_bytes: u64,
    objects: u64,
    bytes: u64,
}

/// A running measurement.
pub(crate) struct Stopwatch {
    started_at: Instant,
    cpu_seconds: f64,
}

impl Stopwatch {
    /// Starts now.
    pub(crate) fn start() -> Stopwatch {
        Stopwatch { started_at: Instant::now(), cpu_seconds: cpu_seconds() }
    }

    /// Stops, for so many objects of so many bytes together.
    pub(crate) fn stop(self, objects: u64, bytes: u64) -> Result<Measured> {
        let wall_seconds = self.started_at.elapsed().as_secs_f64();
        let cpu_seconds = cpu_seconds() - self.cpu_seconds;
        Ok(Measured { wall_seconds, cpu_seconds, peak_memory_bytes: peak_memory_bytes()?, objects, bytes })
    }
}

fn cpu_seconds() -> f64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::ProcessCPUTime);
    tv_sec as f64 + tv_nsec as f64 / 1e9
}

fn peak_memory_bytes() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    Ok(kibibytes.context("/proc/self/status has no VmHWM")? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_and_memory_are_seen() {
        let stopwatch = Stopwatch::start();
        let block = std::hint::black_box(vec![1_u8; 32 << 20]);
        let sum: u64 = (0..4).map(|_| block.iter().map(|byte| u64::from(*byte)).sum::<u64>()).sum();
        let measured = stopwatch.stop(4, sum).unwrap();
        assert!(measured.cpu_seconds > 0.0 && measured.wall_seconds > 0.0, "{measured:?}");
        assert!(measured.peak_memory_bytes >= 32 << 20, "{measured:?}");
    }
}
