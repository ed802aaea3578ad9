//! One seed from its first step to its verdict, and the shortest history that still fails.

use std::any::Any;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::choose;
use crate::chunks::ChunkSets;
use crate::log::Log;
use crate::net::{Net, Traits};
use crate::play::Play;
use crate::step::{Setup, Step};

/// What is simulated: how a seed becomes a history, and how that begins.
pub(crate) trait Scene: Sync {
    type Setup;
    type Step: Debug;
    type Play: Playing<Self::Step>;

    /// Chooses the setup and the steps of a seed.
    fn choose(&self, seed: u64) -> (Self::Setup, Vec<Self::Step>);

    fn begin(&self, setup: &Self::Setup, net: &Arc<Net>) -> Self::Play;

    fn net(&self, setup: &Self::Setup, log: Log) -> Arc<Net>;
}

/// A history while it is played.
pub(crate) trait Playing<Step> {
    fn take(&mut self, step: &Step);

    /// Returns the first promise that is broken at this moment.
    fn broken(&mut self) -> Option<String>;

    /// Ends the history; returns what does not hold.
    fn end(&mut self) -> Option<String>;

    /// Returns how many events there were, and how many commits.
    fn counts(&self) -> (u64, u64);
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
    play(scene, &setup, steps.iter().enumerate(), Log::default())
}

/// Plays some of the steps of a seed and tells the story.
pub(crate) fn tell(scene: &impl Scene, seed: u64, keep: Option<&[usize]>) -> Verdict {
    let (setup, steps) = scene.choose(seed);
    let kept = steps.iter().enumerate().filter(|(number, _)| keep.is_none_or(|keep| keep.contains(number)));
    play(scene, &setup, kept, Log::recording())
}

/// Returns the numbers of as few steps as still break a promise of the same kind: a loss does not become a leak.
pub(crate) fn shrink(scene: &impl Scene, seed: u64) -> Vec<usize> {
    let (setup, steps) = scene.choose(seed);
    let broken = |kept: &[usize]| {
        let kept = kept.iter().map(|number| (*number, &steps[*number]));
        play(scene, &setup, kept, Log::default()).broken
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

fn play<'a, S: Scene>(
    scene: &S,
    setup: &S::Setup,
    steps: impl Iterator<Item = (usize, &'a S::Step)>,
    log: Log,
) -> Verdict
where
    S::Step: 'a,
{
    let net = scene.net(setup, log);
    let mut counts = (0, 0);
    let played = catch_unwind(AssertUnwindSafe(|| {
        let mut play = scene.begin(setup, &net);
        let broken = play_all(&mut play, &net, steps);
        counts = play.counts();
        broken
    }));
    // A panic is a verdict like others.
    let broken = played.unwrap_or_else(|panic| Some(format!("panic: {}", message(panic.as_ref()))));
    if let Some(broken) = &broken {
        net.note(|| format!("BROKEN: {broken}"));
    }
    Verdict { broken, events: counts.0, commits: counts.1, story: net.story() }
}

fn play_all<'a, Step: Debug + 'a>(
    play: &mut impl Playing<Step>,
    net: &Net,
    steps: impl Iterator<Item = (usize, &'a Step)>,
) -> Option<String> {
    for (number, step) in steps {
        net.note(|| format!("--- step {number}: {step:?}"));
        play.take(step);
        if net.has_raced() {
            return None;
        }
        if let Some(broken) = play.broken() {
            return Some(broken);
        }
    }
    net.note(|| "--- the end".to_owned());
    play.end().filter(|_| !net.has_raced())
}

/// A chunk store and its collector.
impl Scene for ChunkSets {
    type Setup = Setup;
    type Step = Step;
    type Play = Play;

    fn choose(&self, seed: u64) -> (Setup, Vec<Step>) {
        choose::history(seed)
    }

    fn begin(&self, setup: &Setup, net: &Arc<Net>) -> Play {
        Play::new(setup, self, net)
    }

    fn net(&self, setup: &Setup, log: Log) -> Arc<Net> {
        let Setup { page_objects, heeds_conditions, .. } = *setup;
        // Indexes are modelled there, and have no checksum.
        Net::new(Traits { page_objects, heeds_conditions, cuts_snapshots: false }, log)
    }
}

impl Playing<Step> for Play {
    fn take(&mut self, step: &Step) {
        self.take(step);
    }

    fn broken(&mut self) -> Option<String> {
        self.broken().or_else(|| self.wrong_belief())
    }

    fn end(&mut self) -> Option<String> {
        self.end()
    }

    fn counts(&self) -> (u64, u64) {
        (self.events, self.ledger.commits())
    }
}

/// Says what a panic said.
pub(crate) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message").to_owned()
}

/// Returns what stands before the colon: the invariant or the rule, as far as one is named.
fn tag(broken: &str) -> &str {
    broken.split_once(':').map_or("", |(tag, _)| tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datastore::Datastores;

    fn check_that_a_seed_is_one_history<S: Scene>(new: impl Fn() -> S, seeds: u64) {
        for seed in 0..seeds {
            let (one, other) = (tell(&new(), seed, None), tell(&new(), seed, None));
            assert!(one.story.len() > 100, "seed {seed}");
            assert!(one == other, "seed {seed}:\n{}\n{}", one.story, other.story);
            // One that is not told is the same.
            assert_eq!(play_seed(&new(), seed), Verdict { story: String::new(), ..one }, "seed {seed}");
        }
    }

    #[test]
    fn a_seed_is_one_history_byte_for_byte() {
        check_that_a_seed_is_one_history(ChunkSets::new, 30);
    }

    #[test]
    fn a_seed_of_whole_datastores_is_one_history_byte_for_byte() {
        check_that_a_seed_is_one_history(Datastores::new, 60);
    }

    #[test]
    fn a_loss_has_another_tag_than_a_leak_and_than_what_names_no_invariant() {
        assert_eq!(tag("I1: chunk 2 of the committed snapshot a is gone: b"), "I1");
        assert_ne!(tag("I5: chunk 2 is left"), "I1");
        assert_eq!(tag("the last run fails although nothing goes wrong"), "");
    }
}
