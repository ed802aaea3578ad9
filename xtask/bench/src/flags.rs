//! The command line of `e2e`, written by `cargo xtask bench`.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, ensure};
use lexopt::prelude::*;

/// What to measure, and with which programs.
#[derive(Debug)]
pub(crate) struct Flags {
    /// The release binary.
    pub(crate) coldkeep: PathBuf,
    /// The worker of `gc`, for the mark.
    pub(crate) gc_worker: Option<PathBuf>,
    /// Other tools on this machine: `restic`, `borg`.
    pub(crate) peers: Vec<String>,
    /// One JSON object on standard output instead of a table.
    pub(crate) json: bool,
    /// Size of the data that is backed up.
    pub(crate) bytes: u64,
    /// How often each case runs; the median counts.
    pub(crate) runs: usize,
    /// Chunks in the store that is collected.
    pub(crate) chunks: usize,
    /// Only cases that contain this.
    pub(crate) case: Option<String>,
}

impl Flags {
    /// Parses the process's own arguments behind the benchmark's name.
    pub(crate) fn parse(args: &mut lexopt::Parser) -> Result<Flags> {
        let (mut coldkeep, mut gc_worker, mut peers, mut json, mut case) =
            (None, None, Vec::new(), false, None);
        let (mut bytes, mut runs, mut chunks) = (2 << 30, 3, 500_000);
        while let Some(arg) = args.next()? {
            match arg {
                Long("coldkeep") => coldkeep = Some(PathBuf::from(args.value()?)),
                Long("gc-worker") => gc_worker = Some(PathBuf::from(args.value()?)),
                Long("peer") => peers.push(args.value()?.string()?),
                Long("json") => json = true,
                Long("size") => bytes = parse_size(&args.value()?.string()?)?,
                Long("runs") => runs = args.value()?.parse()?,
                Long("chunks") => chunks = args.value()?.parse()?,
                Long("case") => case = Some(args.value()?.string()?),
                other => return Err(other.unexpected().into()),
            }
        }
        ensure!(runs > 0, "--runs must be at least 1");
        ensure!(chunks > 1, "--chunks must be at least 2");
        ensure!(bytes >= 64 << 20, "--size must be at least 64MiB: less measures process starts");
        let coldkeep = coldkeep.context("--coldkeep is missing")?;
        Ok(Flags { coldkeep, gc_worker, peers, json, bytes, runs, chunks, case })
    }

    /// Whether a case was asked for.
    pub(crate) fn wants(&self, case: &str) -> bool {
        self.case.as_deref().is_none_or(|wanted| case.contains(wanted))
    }
}

/// Reads `2GiB`, `512MiB` or a number of bytes.
pub(crate) fn parse_size(text: &str) -> Result<u64> {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("", 1)];
    let (number, unit) = units
        .iter()
        .find_map(|(name, bytes)| Some((text.strip_suffix(name)?, *bytes)))
        .with_context(|| format!("{text:?} is no size"))?;
    let number: u64 =
        number.trim().parse().map_err(|_| anyhow!("{text:?} is no size; write 2GiB or 512MiB"))?;
    number.checked_mul(unit).with_context(|| format!("{text:?} is too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Flags> {
        Flags::parse(&mut lexopt::Parser::from_args(line.split_whitespace()))
    }

    #[test]
    fn sizes_have_binary_units() {
        assert_eq!(parse_size("2GiB").unwrap(), 2 << 30);
        assert_eq!(parse_size("512 MiB").unwrap(), 512 << 20);
        assert_eq!(parse_size("7").unwrap(), 7);
        for text in ["", "GiB", "2GB", "-1", "99999999999GiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn defaults_are_those_of_the_recorded_figures() {
        let flags = parse("--coldkeep c").unwrap();
        assert_eq!((flags.bytes, flags.runs, flags.chunks), (2 << 30, 3, 500_000));
        assert!(flags.wants("restore") && !flags.json);
        let flags = parse("--coldkeep c --case rest").unwrap();
        assert!(flags.wants("restore") && !flags.wants("mark"));
    }

    #[test]
    fn nonsense_is_refused() {
        for line in ["", "--coldkeep c --runs 0", "--coldkeep c --size 1MiB"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
