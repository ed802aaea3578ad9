//! Development chores of Coldkeep: `cargo xtask VERB`.
//!
//! One front door for every check, the same on each machine and in CI. Each verb ends with one line that says what ran, what failed and
//! what was skipped; a skip is never a pass. This program links no product crate: everything it checks runs as a process of its own.

mod bench;
mod campaign;
mod check;
mod flags;
mod fuzz;
mod matrix;
mod model;
mod mutants;
mod report;
mod shell;
mod sim;
mod test;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;

use crate::flags::{Flags, Verb};
use crate::report::Report;
use crate::workspace::Workspace;

fn main() -> ExitCode {
    let flags = match Flags::from_env() {
        Ok(flags) => flags,
        Err(error) => {
            eprintln!("xtask: {error:#}\n\n{}", flags::USAGE);
            return ExitCode::from(2);
        }
    };
    match run(&flags.verb) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: &Verb) -> Result<ExitCode> {
    if let Verb::Help = verb {
        println!("{}", flags::USAGE);
        return Ok(ExitCode::SUCCESS);
    }
    let workspace = Workspace::load()?;
    let mut report = Report::new(verb.name());
    match verb {
        Verb::Help => {}
        Verb::Test => test::run(&workspace, &mut report),
        Verb::Check => check::run(&workspace, &mut report),
        Verb::Mutants(flags) => mutants::run(&workspace, flags, &mut report)?,
        Verb::Matrix(flags) => matrix::run(&workspace, flags, &mut report),
        Verb::Sim(flags) => sim::run(&workspace, flags, &mut report),
        Verb::Model(flags) => model::run(&workspace, flags, &mut report),
        Verb::Crash(flags) => campaign::crash(&workspace, flags, &mut report),
        Verb::Faults(flags) => campaign::faults(&workspace, flags, &mut report),
        Verb::Fuzz(flags) => fuzz::run(&workspace, flags, &mut report)?,
        Verb::Bench(flags) => bench::run(&workspace, flags, &mut report),
    }
    // With `--json` exactly one object goes to standard output, so the closing line moves to standard error.
    let json = matches!(verb, Verb::Bench(flags) if flags.json);
    Ok(report.finish(json))
}
