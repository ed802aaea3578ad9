//! One seed from its first step to its verdict, and the shortest history that still fails.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::choose;
use crate::chunks::ChunkSets;
use crate::log::Log;
use crate::play::Play;
use crate::step::{Setup, Step};

/// What is simulated: how a seed becomes a history, and how that is played.
pub(crate) trait Scene: Sync {
    type Setup;
    type Step: Debug;

    /// Chooses the setup and the steps of a seed.
    fn choose(&self, seed: u64) -> (Self::Setup, Vec<Self::Step>);

    /// Plays steps, each with its number.
    fn play<'a>(
        &self,
        setup: &Self::Setup,
        steps: impl Iterator<Item = (usize, &'a Self::Step)>,
        log: Log,
    ) -> Verdict
    where
        Self::Step: 'a;
}

/// How a history ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// What was promised and not kept.
    pub(crate) broken: Option<String>,
    pub(crate) events: u64,
    pub(crate) commits: u64,
    /// What happened, if it was recorded.
    pub(crate) story: String,
}

/// Plays a seed with all its steps.
pub(crate) fn play_seed(scene: &impl Scene, seed: u64) -> Verdict {
    let (setup, steps) = scene.choose(seed);
    scene.play(&setup, steps.iter().enumerate(), Log::default())
}

/// Plays some of the steps of a seed and tells the story.
pub(crate) fn tell(scene: &impl Scene, seed: u64, keep: Option<&[usize]>) -> Verdict {
    let (setup, steps) = scene.choose(seed);
    let kept = steps.iter().enumerate().filter(|(number, _)| keep.is_none_or(|keep| keep.contains(number)));
    scene.play(&setup, kept, Log::recording())
}

/// Returns the numbers of as few steps as still break a promise of the same kind: a loss does not become a leak.
pub(crate) fn shrink(scene: &impl Scene, seed: u64) -> Vec<usize> {
    let (setup, steps) = scene.choose(seed);
    let broken = |kept: &[usize]| {
        let kept = kept.iter().map(|number| (*number, &steps[*number]));
        scene.play(&setup, kept, Log::default()).broken
    };
    let mut kept: Vec<usize> = (0..steps.len()).collect();
    let all = broken(&kept);
    let fails = |kept: &[usize]| broken(kept).as_deref().map(tag) == all.as_deref().map(tag);
    let mut size = kept.len().div_ceil(2).max(1);
    loop {
        let before = kept.len();
        let mut start = 0;
        while start < kept.len() {
            let end = (start + size).min(kept.len());
            let without: Vec<usize> = kept[..start].iter().chain(&kept[end..]).copied().collect();
            if fails(&without) {
                kept = without;
            } else {
                start = end;
            }
        }
        if size > 1 {
            size = size.div_ceil(2);
        } else if kept.len() == before {
            return kept;
        }
    }
}

/// A chunk store and its collector.
impl Scene for ChunkSets {
    type Setup = Setup;
    type Step = Step;

    fn choose(&self, seed: u64) -> (Setup, Vec<Step>) {
        choose::history(seed)
    }

    fn play<'a>(&self, setup: &Setup, steps: impl Iterator<Item = (usize, &'a Step)>, log: Log) -> Verdict {
        let mut play = Play::new(setup, self, log);
        let broken = verdict_of(|| {
            for (number, step) in steps {
                play.net.note(|| format!("--- step {number}: {step:?}"));
                play.take(step);
                if play.net.has_raced() {
                    return None;
                }
                if let Some(broken) = play.broken().or_else(|| play.wrong_belief()) {
                    return Some(broken);
                }
            }
            play.net.note(|| "--- the end".to_owned());
            play.end().filter(|_| !play.net.has_raced())
        });
        if let Some(broken) = &broken {
            play.net.note(|| format!("BROKEN: {broken}"));
        }
        Verdict { broken, events: play.events, commits: play.ledger.commits(), story: play.net.story() }
    }
}

/// Returns what was found broken; a panic is a verdict like others.
pub(crate) fn verdict_of(played: impl FnOnce() -> Option<String>) -> Option<String> {
    let played = catch_unwind(AssertUnwindSafe(played));
    played.unwrap_or_else(|panic| Some(format!("panic: {}", message(panic.as_ref()))))
}

/// Returns what stands before the colon: the invariant or the rule, as far as one is named.
fn tag(broken: &str) -> &str {
    broken.split_once(':').map_or("", |(tag, _)| tag)
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_one_history_byte_for_byte() {
        let chunks = ChunkSets::new();
        for seed in 0..30 {
            let (one, other) = (tell(&chunks, seed, None), tell(&ChunkSets::new(), seed, None));
            assert!(one.story.len() > 100, "seed {seed}");
            assert_eq!(one, other, "seed {seed}");
        }
    }

    #[test]
    fn a_history_that_is_not_told_is_the_same() {
        let chunks = ChunkSets::new();
        for seed in 0..30 {
            let told = tell(&chunks, seed, None);
            assert_eq!(play_seed(&chunks, seed), Verdict { story: String::new(), ..told }, "seed {seed}");
        }
    }

    #[test]
    fn a_loss_has_another_tag_than_a_leak_and_than_what_names_no_invariant() {
        assert_eq!(tag("I1: chunk 2 of the committed snapshot a is gone: b"), "I1");
        assert_ne!(tag("I5: chunk 2 is left"), "I1");
        assert_eq!(tag("the last run fails although nothing goes wrong"), "");
    }
}
