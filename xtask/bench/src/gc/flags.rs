//! The command line of `gc`, written by `cargo xtask bench`.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use lexopt::prelude::*;

/// What to measure, and with which program.
#[derive(Debug, PartialEq)]
pub(crate) struct Flags {
    /// Does one case.
    pub(crate) worker: PathBuf,
    /// One JSON object on standard output instead of a table.
    pub(crate) json: bool,
    /// How often each case runs; the median counts.
    pub(crate) runs: usize,
    /// Only cases that contain this.
    pub(crate) case: Option<String>,
    /// Distinct chunks that indexes name for the larger of two marks.
    pub(crate) mark_chunks: usize,
    /// Chunks of the stores whose chunk files or markers are real files.
    pub(crate) chunks: usize,
    /// Objects of the bucket whose markers are in memory.
    pub(crate) objects: usize,
    /// How long each request takes.
    pub(crate) delay_millis: u64,
    /// Listings at once.
    pub(crate) parallel: usize,
    /// Where the stores are made; in memory if it is not given and there is room.
    pub(crate) folder: Option<PathBuf>,
}

impl Flags {
    /// Parses the process's own arguments behind the benchmark's name.
    pub(crate) fn parse(args: &mut lexopt::Parser) -> Result<Flags> {
        let (mut worker, mut json, mut case, mut folder, mut quick) = (None, false, None, None, false);
        let (mut runs, mut mark_chunks, mut chunks, mut objects) = (None, None, None, None);
        let (mut delay_millis, mut parallel) = (30, 32);
        while let Some(arg) = args.next()? {
            match arg {
                Long("worker") => worker = Some(PathBuf::from(args.value()?)),
                Long("json") => json = true,
                Long("quick") => quick = true,
                Long("runs") => runs = Some(args.value()?.parse()?),
                Long("case") => case = Some(args.value()?.string()?),
                Long("mark-chunks") => mark_chunks = Some(args.value()?.parse()?),
                Long("chunks") => chunks = Some(args.value()?.parse()?),
                Long("objects") => objects = Some(args.value()?.parse()?),
                Long("delay-ms") => delay_millis = args.value()?.parse()?,
                Long("parallel") => parallel = args.value()?.parse()?,
                Long("folder") => folder = Some(PathBuf::from(args.value()?)),
                other => return Err(other.unexpected().into()),
            }
        }
        let either = |given: Option<usize>, whole, small| given.unwrap_or(if quick { small } else { whole });
        let flags = Flags {
            worker: worker.context("--worker is missing")?,
            json,
            runs: either(runs, 3, 1),
            case,
            mark_chunks: either(mark_chunks, 50_000_000, 1_000_000),
            chunks: either(chunks, 1_000_000, 20_000),
            objects: either(objects, 10_000_000, 200_000),
            delay_millis,
            parallel,
            folder,
        };
        ensure!(flags.runs > 0 && flags.parallel > 0, "--runs and --parallel start at 1");
        ensure!(flags.chunks != flags.objects, "--chunks and --objects must differ: they name the cases");
        let least = flags.mark_chunks.min(flags.chunks).min(flags.objects);
        ensure!(
            least >= 1000,
            "--mark-chunks, --chunks and --objects start at 1000: less measures process starts"
        );
        Ok(flags)
    }

    /// Whether a case was asked for.
    pub(crate) fn wants(&self, case: &str) -> bool {
        self.case.as_deref().is_none_or(|wanted| case.contains(wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Flags> {
        Flags::parse(&mut lexopt::Parser::from_args(line.split_whitespace()))
    }

    #[test]
    fn defaults_are_those_of_the_recorded_figures() {
        let flags = parse("--worker w").unwrap();
        assert_eq!((flags.mark_chunks, flags.chunks, flags.objects), (50_000_000, 1_000_000, 10_000_000));
        assert_eq!((flags.runs, flags.delay_millis, flags.parallel), (3, 30, 32));
        assert!(flags.wants("mark 50M") && !flags.json);
    }

    #[test]
    fn quick_is_small_unless_told_otherwise() {
        let flags = parse("--worker w --quick --chunks 5000").unwrap();
        assert_eq!((flags.runs, flags.chunks, flags.objects), (1, 5000, 200_000));
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "",
            "--worker w --runs 0",
            "--worker w --parallel 0",
            "--worker w --objects 10",
            "--worker w --objects 1000000",
        ] {
            parse(line).unwrap_err();
        }
    }
}
