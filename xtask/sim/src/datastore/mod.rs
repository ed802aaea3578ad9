//! Whole datastores: their snapshot trees, what becomes of commits and removals, and the refresh of what is local.
//!
//! The bucket and the way there are those of the other histories. The local side is a real folder in memory (`FsChunkDir` and
//! the files of the tree), and each process has a runtime of its own, so that it ends as a killed process does; blocking work is
//! done in place, so that a seed is one history here, too. Between two requests everybody goes on until all of them wait.

mod choose;
mod ending;
mod folder;
mod ledger;
mod play;
mod references;
mod server;
mod work;

use crate::chunks::ChunkSets;
use crate::history::{Scene, Verdict, verdict_of};
use crate::log::Log;
use choose::{Setup, Step};
use play::Play;

/// Histories of whole datastores.
pub(crate) struct Datastores(ChunkSets);

impl Datastores {
    pub(crate) fn new() -> Self {
        Self(ChunkSets::new())
    }
}

impl Scene for Datastores {
    type Setup = Setup;
    type Step = Step;

    fn choose(&self, seed: u64) -> (Setup, Vec<Step>) {
        choose::history(seed)
    }

    fn play<'a>(&self, setup: &Setup, steps: impl Iterator<Item = (usize, &'a Step)>, log: Log) -> Verdict {
        let mut play = Play::new(setup, &self.0.plain, log);
        let net = play.net();
        let broken = verdict_of(|| {
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
        });
        if let Some(broken) = &broken {
            net.note(|| format!("BROKEN: {broken}"));
        }
        Verdict { broken, events: play.events(), commits: play.commits(), story: net.story() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::tell;

    #[test]
    fn a_seed_is_one_history_byte_for_byte() {
        let scene = Datastores::new();
        for seed in 0..20 {
            let (one, other) = (tell(&scene, seed, None), tell(&scene, seed, None));
            assert!(one.story.len() > 100, "seed {seed}");
            assert_eq!(one, other, "seed {seed}");
        }
    }
}
