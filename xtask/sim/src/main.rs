//! Deterministic simulation of the chunk store and the collector: `cargo xtask sim`.
//!
//! One seed decides a history: who writes, reads, prunes and collects, in which order every request and every file operation
//! takes effect, and what goes wrong. The crates under it are the published ones, unchanged; what they meet is simulated.

mod campaign;
mod choose;
mod chunks;
mod datastore;
mod ending;
mod executor;
mod flags;
mod history;
mod ledger;
mod local;
mod log;
mod machine;
mod net;
mod play;
mod rng;
mod step;
mod work;

use std::process::ExitCode;

use crate::campaign::{Campaign, Outcome};
use crate::chunks::ChunkSets;
use crate::datastore::Datastores;
use crate::flags::Flags;
use crate::history::Scene;

/// Stories told at the end of a campaign; each takes a second or so to shorten.
const STORIES_MAX: usize = 2;

fn main() -> ExitCode {
    let flags = match Flags::parse(lexopt::Parser::from_env()) {
        Ok(flags) => flags,
        Err(error) => {
            eprintln!("sim: {error:#}\n\n{}", flags::USAGE);
            return ExitCode::from(2);
        }
    };
    if flags.whole { run(&flags, &Datastores::new()) } else { run(&flags, &ChunkSets::new()) }
}

fn run(flags: &Flags, scene: &impl Scene) -> ExitCode {
    if flags.tells || flags.steps.is_some() {
        return tell(flags, scene);
    }
    // A panic is a verdict like others; its message is in there.
    std::panic::set_hook(Box::new(|_| {}));
    let Flags { first, count, limit, jobs, stops_at_failure, .. } = *flags;
    let outcome = Campaign { first, count, limit, jobs, stops_at_failure }.run(scene);
    for (seed, broken) in &outcome.failures {
        println!("seed {seed}: {broken}");
    }
    let stories = if stops_at_failure { 0 } else { STORIES_MAX };
    for (seed, _) in outcome.failures.iter().take(stories) {
        tell_shortest(*seed, flags, scene);
    }
    println!("{}", closing_line(&outcome, jobs));
    if outcome.failures.is_empty() && outcome.seeds > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn tell(flags: &Flags, scene: &impl Scene) -> ExitCode {
    let verdict = history::tell(scene, flags.first, flags.steps.as_deref());
    print!("{}", verdict.story);
    match verdict.broken {
        None => {
            println!("sim: seed {} keeps every promise ({} events)", flags.first, verdict.events);
            ExitCode::SUCCESS
        }
        Some(broken) => {
            println!("sim: seed {} fails: {broken}", flags.first);
            ExitCode::FAILURE
        }
    }
}

/// Tells the shortest story of a failing seed, and how to see it again.
fn tell_shortest(seed: u64, flags: &Flags, scene: &impl Scene) {
    let kept = history::shrink(scene, seed);
    let verdict = history::tell(scene, seed, Some(&kept));
    let whole = if flags.whole { " --whole" } else { "" };
    println!("\nseed {seed}, {} steps:\n{}", kept.len(), verdict.story);
    println!("to replay: cargo xtask sim{whole} --seed {seed} --steps {}", flags::list(&kept));
    println!("all of it: cargo xtask sim{whole} --seed {seed} --story\n");
}

fn closing_line(outcome: &Outcome, jobs: usize) -> String {
    let seconds = outcome.took.as_secs_f64();
    let rate = outcome.seeds as f64 / seconds / jobs as f64;
    format!(
        "sim: {} seeds ({} events, {} commits) in {seconds:.1} s on {jobs} cores: {rate:.0} seeds a second and core; {} failed",
        outcome.seeds,
        outcome.events,
        outcome.commits,
        outcome.failures.len()
    )
}
