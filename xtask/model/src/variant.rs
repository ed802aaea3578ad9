//! The protocol as it was first published for this problem: upload markers, a mutex of the whole store around check and delete,
//! conditional put; no journal, no generation, no limbo. Here each hazard that it leaves open has a scenario of its own.

use crate::flags::Flags;
use crate::rules::{Rule, Rules};
use crate::scenario::Scenario;

pub(crate) const HAZARDS: &[Scenario] = &[];

/// What is left of the rules.
pub(crate) fn rules() -> Rules {
    const GONE: &[Rule] = &[Rule::R7Durable];
    GONE.iter().fold(Rules::ALL, |rules, rule| rules.without(*rule))
}

pub(crate) fn run(flags: &Flags, hazard: &mut dyn FnMut(&'static Scenario)) {
    for scenario in HAZARDS.iter().filter(|s| flags.scenario.is_none_or(|only| only.name == s.name)) {
        hazard(scenario);
    }
}
