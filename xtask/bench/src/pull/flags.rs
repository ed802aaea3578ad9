//! The command line of `pull`, written by `cargo xtask bench`.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use lexopt::prelude::*;

/// What to measure, and with which program.
#[derive(Debug)]
pub(crate) struct Flags {
    /// The release binary.
    pub(crate) coldkeep: PathBuf,
    /// One JSON object on standard output instead of a table.
    pub(crate) json: bool,
    /// Size of all snapshots together, in MiB; rounded up to whole MiB for each.
    pub(crate) mib: u64,
    /// The round trip of the distant pull.
    pub(crate) delay_millis: u64,
    /// How often each case runs; the median counts.
    pub(crate) runs: usize,
    /// Only rounds whose name contains this.
    pub(crate) case: Option<String>,
}

impl Flags {
    /// Parses the process's own arguments behind the benchmark's name.
    pub(crate) fn parse(args: &mut lexopt::Parser) -> Result<Flags> {
        let (mut coldkeep, mut json, mut case) = (None, false, None);
        let (mut mib, mut delay_millis, mut runs) = (4096, 50, 3);
        while let Some(arg) = args.next()? {
            match arg {
                Long("coldkeep") => coldkeep = Some(PathBuf::from(args.value()?)),
                Long("json") => json = true,
                Long("mib") => mib = args.value()?.parse()?,
                Long("delay-ms") => delay_millis = args.value()?.parse()?,
                Long("runs") => runs = args.value()?.parse()?,
                Long("case") => case = Some(args.value()?.string()?),
                other => return Err(other.unexpected().into()),
            }
        }
        ensure!(runs > 0, "--runs must be at least 1");
        ensure!(delay_millis > 0, "--delay-ms must be at least 1: there is a round without delay anyway");
        ensure!(mib >= 400, "--mib must be at least 400: with less, no fifth of a snapshot is a chunk");
        Ok(Flags {
            coldkeep: coldkeep.context("--coldkeep is missing")?,
            json,
            mib,
            delay_millis,
            runs,
            case,
        })
    }

    /// Whether a round was asked for.
    pub(crate) fn wants(&self, round: &str) -> bool {
        self.case.as_deref().is_none_or(|wanted| round.contains(wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Flags> {
        Flags::parse(&mut lexopt::Parser::from_args(line.split_whitespace()))
    }

    #[test]
    fn defaults_are_those_of_the_goals() {
        let flags = parse("--coldkeep c").unwrap();
        assert_eq!((flags.mib, flags.delay_millis, flags.runs, flags.json), (4096, 50, 3, false));
        assert!(flags.wants("50ms"));
    }

    #[test]
    fn rounds_are_chosen_by_a_part_of_their_name() {
        let flags = parse("--coldkeep c --mib 400 --delay-ms 20 --runs 1 --case 20ms --json").unwrap();
        assert_eq!((flags.mib, flags.delay_millis, flags.runs, flags.json), (400, 20, 1, true));
        assert!(flags.wants("20ms") && !flags.wants("direct"));
    }

    #[test]
    fn nonsense_is_refused() {
        for rest in ["--runs 0", "--mib 399", "--mib 4GiB", "--delay-ms 0", "--peer restic"] {
            assert!(parse(&format!("--coldkeep c {rest}")).is_err(), "{rest}");
        }
        assert!(parse("--mib 400").is_err(), "no binary");
    }
}
