//! The command line.

use std::time::Duration;

use anyhow::{Result, bail};
use lexopt::prelude::*;

pub(crate) const USAGE: &str = "\
Usage: cargo xtask sim [--seeds N] [--seed S] [--minutes M] [--whole] [--jobs J] [--story] [--steps LIST]

  --seeds N        so many seeds (default 5000, whole 1000; with --minutes as many as there is time for)
  --seed S         the first seed (default 1); without --seeds and --minutes that one alone
  --minutes M      ends after so long
  --whole          plays whole datastores, not chunk stores alone
  --jobs J         histories at once (default: one a core)
  --story          tells the story of --seed even if it passes
  --steps 3,7-9    plays these steps of --seed alone, and tells the story
  --first-failure  ends with the first failing seed, and tells no story";

/// Seeds of the quick tier.
const SEEDS_DEFAULT: u64 = 5000;

/// Seeds of the quick tier of whole datastores.
const WHOLE_SEEDS_DEFAULT: u64 = 1000;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flags {
    pub(crate) first: u64,
    pub(crate) count: u64,
    pub(crate) limit: Option<Duration>,
    pub(crate) jobs: usize,
    pub(crate) tells: bool,
    pub(crate) steps: Option<Vec<usize>>,
    pub(crate) stops_at_failure: bool,
    /// Whether whole datastores are played.
    pub(crate) whole: bool,
}

impl Flags {
    pub(crate) fn parse(mut args: lexopt::Parser) -> Result<Self> {
        let (mut seed, mut seeds, mut minutes, mut jobs) = (None, None, None, None);
        let (mut tells, mut steps, mut stops_at_failure, mut whole) = (false, None, false, false);
        while let Some(arg) = args.next()? {
            match arg {
                Long("seeds") => seeds = Some(args.value()?.parse::<u64>()?),
                Long("seed") => seed = Some(args.value()?.parse::<u64>()?),
                Long("minutes") => minutes = Some(args.value()?.parse::<f64>()?),
                Long("jobs") => jobs = Some(args.value()?.parse::<usize>()?),
                Long("story") => tells = true,
                Long("first-failure") => stops_at_failure = true,
                Long("whole") => whole = true,
                Long("steps") => steps = Some(numbers(&args.value()?.string()?)?),
                other => return Err(other.unexpected().into()),
            }
        }
        if (tells || steps.is_some()) && (seed.is_none() || seeds.is_some() || minutes.is_some()) {
            bail!("a story is that of one --seed");
        }
        let limit = minutes.map(|minutes| Duration::try_from_secs_f64(minutes * 60.0)).transpose()?;
        let count = match (seeds, seed, limit) {
            (Some(0), ..) => bail!("--seeds must be at least 1"),
            (Some(seeds), ..) => seeds,
            (None, _, Some(_)) => u64::MAX,
            (None, Some(_), None) => 1,
            (None, None, None) if whole => WHOLE_SEEDS_DEFAULT,
            (None, None, None) => SEEDS_DEFAULT,
        };
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let jobs = jobs.filter(|jobs| *jobs > 0).unwrap_or_else(cores);
        Ok(Self { first: seed.unwrap_or(1), count, limit, jobs, tells, steps, stops_at_failure, whole })
    }
}

/// Reads `3,7-9`.
fn numbers(text: &str) -> Result<Vec<usize>> {
    let mut numbers = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        match part.split_once('-') {
            Some((from, to)) => numbers.extend(from.parse::<usize>()?..=to.parse()?),
            None => numbers.push(part.parse()?),
        }
    }
    Ok(numbers)
}

/// Writes what [`numbers`] reads.
pub(crate) fn list(numbers: &[usize]) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, to)) if *to + 1 == *number => *to = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    let range =
        |(from, to): (usize, usize)| if from == to { from.to_string() } else { format!("{from}-{to}") };
    ranges.into_iter().map(range).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Flags> {
        Flags::parse(lexopt::Parser::from_args(line.split_whitespace()))
    }

    #[test]
    fn one_seed_is_one_history_and_no_seed_the_quick_tier() {
        let flags = parse("--seed 7").unwrap();
        assert_eq!((flags.first, flags.count), (7, 1));
        let flags = parse("").unwrap();
        assert_eq!((flags.first, flags.count, flags.limit), (1, SEEDS_DEFAULT, None));
        let flags = parse("--whole").unwrap();
        assert_eq!((flags.count, flags.whole), (WHOLE_SEEDS_DEFAULT, true));
        let flags = parse("--minutes 0.5 --jobs 3").unwrap();
        assert_eq!((flags.count, flags.limit, flags.jobs), (u64::MAX, Some(Duration::from_secs(30)), 3));
        for line in ["--story", "--seeds 0", "--seed 1 --seeds 2 --story", "--minutes -1", "all"] {
            parse(line).unwrap_err();
        }
    }

    #[test]
    fn a_list_of_steps_survives_the_round_trip() {
        let steps = vec![1, 2, 3, 7, 9, 10];
        assert_eq!(list(&steps), "1-3,7,9-10");
        assert_eq!(parse("--seed 1 --steps 1-3,7,9-10").unwrap().steps, Some(steps));
        assert_eq!(parse("--seed 1 --steps ,").unwrap().steps, Some(Vec::new()));
    }
}
