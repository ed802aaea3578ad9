//! The command line of `store`, written by `cargo xtask bench`.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use lexopt::prelude::*;

use crate::flags::parse_size;

/// What to measure, and with which programs.
#[derive(Debug)]
pub(crate) struct Flags {
    /// The release binary.
    pub(crate) coldkeep: PathBuf,
    /// The S3 server in memory.
    pub(crate) origin: PathBuf,
    /// The proxy that delays answers.
    pub(crate) delay: PathBuf,
    /// One JSON object on standard output instead of a table.
    pub(crate) json: bool,
    /// Size of the data that is backed up.
    pub(crate) bytes: u64,
    /// By how much answers are delayed in the second round.
    pub(crate) delay_millis: u64,
    /// How often each case runs; the median counts.
    pub(crate) runs: usize,
    /// Only rounds whose name contains this.
    pub(crate) case: Option<String>,
}

impl Flags {
    /// Parses the process's own arguments behind the benchmark's name.
    pub(crate) fn parse(args: &mut lexopt::Parser) -> Result<Flags> {
        let (mut coldkeep, mut origin, mut delay, mut json, mut case) = (None, None, None, false, None);
        let (mut bytes, mut delay_millis, mut runs) = (4 << 30, 30, 1);
        while let Some(arg) = args.next()? {
            match arg {
                Long("coldkeep") => coldkeep = Some(PathBuf::from(args.value()?)),
                Long("origin") => origin = Some(PathBuf::from(args.value()?)),
                Long("delay") => delay = Some(PathBuf::from(args.value()?)),
                Long("json") => json = true,
                Long("size") => bytes = parse_size(&args.value()?.string()?)?,
                Long("delay-ms") => delay_millis = args.value()?.parse()?,
                Long("runs") => runs = args.value()?.parse()?,
                Long("case") => case = Some(args.value()?.string()?),
                other => return Err(other.unexpected().into()),
            }
        }
        ensure!(runs > 0, "--runs must be at least 1");
        ensure!(bytes >= 64 << 20, "--size must be at least 64MiB: less measures process starts");
        Ok(Flags {
            coldkeep: coldkeep.context("--coldkeep is missing")?,
            origin: origin.context("--origin is missing")?,
            delay: delay.context("--delay is missing")?,
            json,
            bytes,
            delay_millis,
            runs,
            case,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_recorded_figures() {
        let parse = |line: &str| Flags::parse(&mut lexopt::Parser::from_args(line.split_whitespace()));
        let flags = parse("--coldkeep c --origin o --delay d").unwrap();
        assert_eq!((flags.bytes, flags.delay_millis, flags.runs), (4 << 30, 30, 1));
        for line in ["", "--coldkeep c --origin o", "--coldkeep c --origin o --delay d --size 1MiB"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
