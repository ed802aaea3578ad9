//! The machine that figures belong to.

use std::fs;

use anyhow::{Context, Result};
use serde::Serialize;

/// What a reader needs to know to compare figures.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    cores: usize,
    cpu: String,
    memory_bytes: u64,
}

/// Describes this machine.
pub(crate) fn describe() -> Result<Machine> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").context("cannot read /proc/cpuinfo")?;
    let meminfo = fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    Ok(Machine {
        cores: std::thread::available_parallelism().context("cannot count the cores")?.get(),
        cpu: field(&cpuinfo, "model name").unwrap_or("unknown").to_owned(),
        memory_bytes: kibibytes(&meminfo, "MemTotal").context("/proc/meminfo has no MemTotal")?,
    })
}

/// Reads a field of a `/proc` file that is given in KiB, in bytes.
pub(crate) fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let kibibytes: u64 = field(text, name)?.strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "MemTotal:       2048 kB\nmodel name\t: Some CPU @ 3 GHz\nVmHWM:\t  10 kB\n";
        assert_eq!(kibibytes(text, "MemTotal"), Some(2 << 20));
        assert_eq!(kibibytes(text, "VmHWM"), Some(10 << 10));
        assert_eq!(field(text, "model name"), Some("Some CPU @ 3 GHz"));
        assert_eq!(kibibytes(text, "Mem"), None);
    }
}
