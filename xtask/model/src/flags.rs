//! The command line.

use anyhow::{Context, Result, bail};
use lexopt::prelude::*;

use crate::rules::Rule;
use crate::scenario::Scenario;

/// What a usage error prints.
pub(crate) const USAGE: &str = "\
Usage: cargo xtask model [--quick] [--scenario NAME] [--off SWITCH] [--story none|short|full]
                         [--variant upload-marker-only] [--list]

  Without --off and --variant: every scenario with all rules on, then each part of a rule off.
  --quick          only what takes a moment
  --scenario NAME  only this scenario
  --off SWITCH     only this part of a rule, off
  --story          of a counterexample: only its length (none), its last steps (short), every step (full, the default)
  --variant        a simpler protocol, and the hazards that it leaves open
  --list           names of scenarios and switches";

/// How much of a counterexample is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Story {
    None,
    Short,
    Full,
}

/// The parsed command line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flags {
    pub(crate) quick: bool,
    pub(crate) list: bool,
    pub(crate) is_variant: bool,
    pub(crate) scenario: Option<&'static Scenario>,
    pub(crate) off: Option<Rule>,
    pub(crate) story: Story,
}

impl Flags {
    /// Parses the process's own arguments.
    pub(crate) fn from_env() -> Result<Flags> {
        Flags::parse(lexopt::Parser::from_env())
    }

    fn parse(mut args: lexopt::Parser) -> Result<Flags> {
        let mut flags = Flags {
            quick: false,
            list: false,
            is_variant: false,
            scenario: None,
            off: None,
            story: Story::Full,
        };
        while let Some(arg) = args.next()? {
            match arg {
                Long("quick") => flags.quick = true,
                Long("list") => flags.list = true,
                Long("variant") => match args.value()?.string()?.as_str() {
                    "upload-marker-only" => flags.is_variant = true,
                    other => bail!("there is no variant `{other}`"),
                },
                Long("scenario") => {
                    let name = args.value()?.string()?;
                    let found = Scenario::named(&name);
                    flags.scenario = Some(found.with_context(|| format!("there is no scenario `{name}`"))?);
                }
                Long("off") => {
                    let name = args.value()?.string()?;
                    let found = Rule::named(&name);
                    flags.off = Some(found.with_context(|| format!("there is no switch `{name}`"))?);
                }
                Long("story") => {
                    flags.story = match args.value()?.string()?.as_str() {
                        "none" => Story::None,
                        "short" => Story::Short,
                        "full" => Story::Full,
                        other => bail!("--story takes none, short or full, not `{other}`"),
                    };
                }
                other => return Err(other.unexpected().into()),
            }
        }
        if flags.is_variant && flags.off.is_some() {
            bail!("the variant has no switches");
        }
        Ok(flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Flags> {
        Flags::parse(lexopt::Parser::from_args(line.split_whitespace()))
    }

    #[test]
    fn flags_name_scenarios_and_switches() {
        let flags = parse("--quick --scenario insert --off r8-wait --story full").unwrap();
        assert!(flags.quick && !flags.list && !flags.is_variant);
        assert_eq!(flags.scenario.unwrap().name, "insert");
        assert_eq!((flags.off, flags.story), (Some(Rule::R8Wait), Story::Full));
    }

    #[test]
    fn unknown_names_are_refused() {
        for line in ["--off r99", "--scenario none", "--variant other", "--story long", "--fast"] {
            parse(line).unwrap_err();
        }
        parse("--variant upload-marker-only --off r1").unwrap_err();
    }
}
