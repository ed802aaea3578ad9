//! Runs scenarios and switches, and says what came of it.

use std::time::{Duration, Instant};

use crate::event::Event;
use crate::explore::{Outcome, System as _, Verdict, explore};
use crate::flags::{Flags, Story};
use crate::machine::{Claimed, Machine};
use crate::rules::{PARTS, Rule, Rules};
use crate::scenario::{HAZARDS, PAIRS, REDUNDANT, Scenario, scenarios, upload_marker_only};

/// More states than any scenario has; about 2 GiB.
const STATES_MAX: usize = 40_000_000;

/// Parts of the rules that no scenario can show, and why.
const NOT_MODELLED: &[(&str, &str)] = &[
    ("R2 (class, checks)", "contents are not modelled; shown by the real code"),
    ("R7 (age of the object), R11", "redundant: they are left out of every scenario, and all hold without"),
    ("R7 (one run at a time)", "a host has one run"),
    ("R13 (grace, margin)", "both are zero in every scenario, and all hold without"),
    (
        "R14 (key ranges listed completely)",
        "redundant beside the question under lock(d); a cut page is not modelled",
    ),
    ("R16, R17, R18", "moves, possession and limits of waiting are shown by the real code"),
];

/// What a campaign has come to.
#[derive(Default)]
struct Tally {
    ran: usize,
    states: usize,
    failed: Vec<String>,
    skipped: Vec<String>,
}

/// Runs what the flags ask for; says whether all of it came out as claimed.
pub(crate) fn run(flags: &Flags) -> bool {
    let started = Instant::now();
    let mut tally = Tally::default();
    if flags.list {
        list();
        return true;
    }
    if flags.is_variant {
        tally.hazards(flags);
    } else if let Some(rule) = flags.off {
        println!("off: {}: {}", rule.part().name, rule.part().text);
        for scenario in chosen(flags) {
            tally.look(scenario, rule, flags);
        }
    } else {
        tally.all_on(flags);
        tally.each_off(flags);
        tally.pairs(flags);
        tally.redundant(flags);
        tally.unshown();
    }
    tally.finish(started.elapsed())
}

fn list() {
    println!("scenarios");
    for scenario in scenarios() {
        println!("  {:<18} {}", scenario.name, scenario.about);
        println!("  {:<18}   {}", "", bounds(scenario));
    }
    println!("switches");
    for part in PARTS {
        println!("  {:<18} {}", part.name, part.text);
    }
    println!("scenarios of the variant upload-marker-only");
    for scenario in HAZARDS {
        println!("  {:<18} {}", scenario.name, scenario.about);
        println!("  {:<18}   {}", "", bounds(scenario));
    }
}

/// The bounds of a scenario: nothing is shown beyond them.
fn bounds(scenario: &'static Scenario) -> String {
    let machine = Machine { scenario, rules: Rules::ALL, is_variant: false, claimed: Claimed::All };
    let items = scenario.writers.iter().flat_map(|writer| writer.script);
    let digests = if items.map(|item| item.digest()).max() == Some(1) { 2 } else { 1 };
    let generation = if scenario.has_generation { "; generation" } else { "" };
    let healing = if scenario.heals { "; healing" } else { "" };
    let (sessions, faults) = (scenario.writers.len(), machine.initial().budget.bounds());
    format!("digests {digests}, sessions {sessions}; {faults}{generation}{healing}")
}

/// The scenarios asked for; those of hazards only by name.
fn chosen(flags: &Flags) -> Vec<&'static Scenario> {
    match flags.scenario {
        Some(scenario) => vec![scenario],
        None => scenarios().filter(|scenario| scenario.is_quick || !flags.quick).collect(),
    }
}

/// Explores a scenario under rules, with all its claims.
fn search(scenario: &'static Scenario, rules: Rules) -> Outcome<Event> {
    explore(&Machine { scenario, rules, is_variant: false, claimed: Claimed::All }, STATES_MAX)
}

/// Looks for what is wrong without a rule; I1 to I3 are claimed first, because their stories say more than a leak.
fn counterexample(scenario: &'static Scenario, rules: Rules) -> Outcome<Event> {
    let machine = Machine { scenario, rules, is_variant: false, claimed: Claimed::Safety };
    let outcome = explore(&machine, STATES_MAX);
    if matches!(outcome.verdict, Verdict::Holds) { search(scenario, rules) } else { outcome }
}

impl Tally {
    fn all_on(&mut self, flags: &Flags) {
        println!("all rules on");
        for scenario in chosen(flags) {
            let started = Instant::now();
            let outcome = search(scenario, Rules::ALL);
            self.note(scenario.name, &outcome, started.elapsed());
            if !matches!(outcome.verdict, Verdict::Holds) {
                self.failed.push(format!("{} with all rules on", scenario.name));
                tell(&outcome, Story::Full);
            }
        }
        let slow = scenarios().filter(|scenario| flags.quick && !scenario.is_quick);
        self.skipped.extend(slow.map(|scenario| scenario.name.to_owned()));
    }

    fn each_off(&mut self, flags: &Flags) {
        println!("each part of a rule off");
        for part in PARTS {
            for scenario in chosen(flags) {
                let need = scenario.needs.iter().find(|(rule, _)| *rule == part.rule);
                let Some((rule, steps_max)) = need else { continue };
                println!("  {}: {}", part.name, part.text);
                self.must_fail(scenario, Rules::ALL.without(*rule), (part.name, *steps_max), flags);
            }
        }
    }

    fn pairs(&mut self, flags: &Flags) {
        for pair in PAIRS {
            let Some(scenario) = chosen(flags).into_iter().find(|scenario| scenario.name == pair.scenario)
            else {
                continue;
            };
            let [one, other] = pair.rules;
            let name = format!("{} and {}", one.part().name, other.part().name);
            println!("  {name}: each covers for the other; both off");
            let rules = Rules::ALL.without(one).without(other);
            self.must_fail(scenario, rules, (&name, pair.steps_max), flags);
        }
    }

    fn must_fail(&mut self, scenario: &'static Scenario, rules: Rules, need: (&str, usize), flags: &Flags) {
        let started = Instant::now();
        let outcome = counterexample(scenario, rules);
        self.note(scenario.name, &outcome, started.elapsed());
        let (name, steps_max) = need;
        match &outcome.verdict {
            Verdict::Flawed { story, .. } if story.len() <= steps_max => {}
            Verdict::Flawed { story, .. } => {
                let steps = story.len();
                self.failed.push(format!("{name} in {}: {steps} steps, not {steps_max}", scenario.name));
            }
            _ => self.failed.push(format!("{name} in {}: no counterexample", scenario.name)),
        }
        tell(&outcome, flags.story);
    }

    fn redundant(&mut self, flags: &Flags) {
        if flags.quick {
            self.skipped.push("redundant parts".to_owned());
            return;
        }
        println!("redundant in these bounds: off, and nothing is wrong");
        for redundant in REDUNDANT {
            let part = redundant.rule.part();
            if !chosen(flags).iter().any(|scenario| redundant.scenarios.contains(&scenario.name)) {
                continue;
            }
            println!("  {}: {}. {}", part.name, part.text, redundant.why);
            for scenario in
                chosen(flags).into_iter().filter(|scenario| redundant.scenarios.contains(&scenario.name))
            {
                let started = Instant::now();
                let outcome = search(scenario, Rules::ALL.without(redundant.rule));
                self.note(scenario.name, &outcome, started.elapsed());
                if !matches!(outcome.verdict, Verdict::Holds) {
                    let name = part.name;
                    self.failed.push(format!("{name} in {}: not redundant", scenario.name));
                    tell(&outcome, Story::Full);
                }
            }
        }
    }

    /// A switch that no scenario needs and that is not called redundant is a gap.
    fn unshown(&mut self) {
        println!("not in the model");
        for (what, why) in NOT_MODELLED {
            println!("  {what}: {why}");
        }
        for part in PARTS.iter().filter(|part| !is_shown(part.rule)) {
            println!("  {}: NOT SHOWN", part.name);
            self.failed.push(format!("{}: no scenario needs it", part.name));
        }
    }

    /// Shows what becomes of a scenario without a rule, without a claim.
    fn look(&mut self, scenario: &'static Scenario, rule: Rule, flags: &Flags) {
        let started = Instant::now();
        let outcome = counterexample(scenario, Rules::ALL.without(rule));
        self.note(scenario.name, &outcome, started.elapsed());
        tell(&outcome, flags.story);
    }

    /// Each hazard is open in the simpler protocol and closed with all rules.
    fn hazards(&mut self, flags: &Flags) {
        println!("upload-marker-only leaves open");
        let only = flags.scenario.map(|scenario| scenario.name);
        for scenario in HAZARDS.iter().filter(|scenario| only.is_none_or(|name| name == scenario.name)) {
            println!("  {}", scenario.about);
            let started = Instant::now();
            let rules = upload_marker_only();
            let outcome =
                explore(&Machine { scenario, rules, is_variant: true, claimed: Claimed::NoLoss }, STATES_MAX);
            self.note(scenario.name, &outcome, started.elapsed());
            if !matches!(outcome.verdict, Verdict::Flawed { .. }) {
                self.failed.push(format!("{}: no counterexample", scenario.name));
            }
            tell(&outcome, flags.story);
            let started = Instant::now();
            let outcome = search(scenario, Rules::ALL);
            self.note("  with all rules", &outcome, started.elapsed());
            if !matches!(outcome.verdict, Verdict::Holds) {
                self.failed.push(format!("{} with all rules on", scenario.name));
                tell(&outcome, Story::Full);
            }
        }
    }

    fn note(&mut self, name: &str, outcome: &Outcome<Event>, took: Duration) {
        self.ran += 1;
        self.states += outcome.states;
        let verdict = match &outcome.verdict {
            Verdict::Holds => "holds".to_owned(),
            Verdict::TooMany => "too many states: nothing is shown".to_owned(),
            Verdict::Flawed { flaw, story } => format!("after {} steps: {flaw}", story.len()),
        };
        let Outcome { states, steps, depth, .. } = outcome;
        let seconds = took.as_secs_f64();
        println!(
            "    {name:<18} {states:>9} states {steps:>10} steps depth {depth:>3} {seconds:>6.1} s  {verdict}"
        );
    }

    fn finish(&self, took: Duration) -> bool {
        for failed in &self.failed {
            println!("FAILED: {failed}");
        }
        let Tally { ran, states, failed, skipped } = self;
        println!(
            "model: ran {ran} searches ({states} states), failed {}, skipped {} in {:.0} s",
            failed.len(),
            if skipped.is_empty() { "none".to_owned() } else { skipped.join(", ") },
            took.as_secs_f64()
        );
        failed.is_empty() && *ran > 0
    }
}

fn is_shown(rule: Rule) -> bool {
    scenarios().any(|scenario| scenario.needs.iter().any(|(need, _)| *need == rule))
        || REDUNDANT.iter().any(|redundant| redundant.rule == rule)
}

/// Steps at the end of a story that a short one has.
const SHORT: usize = 4;

fn tell(outcome: &Outcome<Event>, how: Story) {
    let Verdict::Flawed { story, .. } = &outcome.verdict else { return };
    let skipped = match how {
        Story::None => story.len(),
        Story::Short => story.len().saturating_sub(SHORT),
        Story::Full => 0,
    };
    for (number, event) in story.iter().enumerate().skip(skipped) {
        println!("      {:>2}. {event}", number + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a debug build explores in a moment; the rest is the same table in release mode, `cargo xtask model --quick`.
    const SMALL: &[&str] =
        &["base", "cache", "bad-object", "rot", "healthy", "lost-object", "heal-race", "leftover"];

    #[test]
    fn each_part_off_is_noticed_within_its_steps() {
        for scenario in scenarios().filter(|scenario| SMALL.contains(&scenario.name)) {
            assert!(!scenario.needs.is_empty(), "{}", scenario.name);
            for (rule, steps_max) in scenario.needs {
                let outcome = counterexample(scenario, Rules::ALL.without(*rule));
                let Verdict::Flawed { story, .. } = outcome.verdict else {
                    panic!("{} without {}", scenario.name, rule.part().name)
                };
                assert_eq!(story.len(), *steps_max, "{} without {}", scenario.name, rule.part().name);
                assert!(story.iter().all(|event| !event.to_string().is_empty()));
            }
        }
    }

    #[test]
    fn small_scenarios_hold_with_all_rules() {
        for scenario in scenarios().filter(|scenario| SMALL.contains(&scenario.name)) {
            let outcome = search(scenario, Rules::ALL);
            assert!(matches!(outcome.verdict, Verdict::Holds), "{}", scenario.name);
        }
    }

    #[test]
    fn the_simpler_protocol_loses_chunks_where_the_rules_do_not() {
        for scenario in HAZARDS {
            let rules = upload_marker_only();
            let machine = Machine { scenario, rules, is_variant: true, claimed: Claimed::NoLoss };
            let outcome = explore(&machine, STATES_MAX);
            assert!(matches!(outcome.verdict, Verdict::Flawed { .. }), "{}", scenario.name);
            let outcome = search(scenario, Rules::ALL);
            assert!(matches!(outcome.verdict, Verdict::Holds), "{}", scenario.name);
        }
    }

    #[test]
    fn each_part_is_shown_or_called_redundant() {
        for part in PARTS {
            assert!(is_shown(part.rule), "{}", part.name);
        }
    }
}
