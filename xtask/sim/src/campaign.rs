//! Many seeds on many cores.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::history::{Scene, play_seed};

/// Failing seeds after which a campaign ends: more of them tell nothing new.
const FAILURES_MAX: usize = 10;

/// What is to be played.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Campaign {
    pub(crate) first: u64,
    pub(crate) count: u64,
    /// The end comes by then, however many seeds are left.
    pub(crate) limit: Option<Duration>,
    pub(crate) jobs: usize,
    /// Whether the first failure ends it.
    pub(crate) stops_at_failure: bool,
}

/// What was played.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) seeds: u64,
    pub(crate) events: u64,
    pub(crate) commits: u64,
    /// Failing seeds, ascending, each with what was broken.
    pub(crate) failures: Vec<(u64, String)>,
    pub(crate) took: Duration,
}

impl Campaign {
    /// Plays the seeds. Each job takes the next one.
    pub(crate) fn run(&self, scene: &impl Scene) -> Outcome {
        let started = Instant::now();
        let next = AtomicU64::new(0);
        let outcome = Mutex::new(Outcome::default());
        let lock = || outcome.lock().unwrap_or_else(PoisonError::into_inner);
        thread::scope(|scope| {
            for _ in 0..self.jobs {
                scope.spawn(|| {
                    while self.limit.is_none_or(|limit| started.elapsed() < limit) {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= self.count {
                            return;
                        }
                        let seed = self.first.wrapping_add(number);
                        let verdict = play_seed(scene, seed);
                        let mut outcome = lock();
                        outcome.seeds += 1;
                        outcome.events += verdict.events;
                        outcome.commits += verdict.commits;
                        outcome.failures.extend(verdict.broken.map(|broken| (seed, broken)));
                        let failures_max = if self.stops_at_failure { 1 } else { FAILURES_MAX };
                        if outcome.failures.len() >= failures_max {
                            next.store(self.count, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        let mut outcome = outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
        outcome.failures.sort();
        outcome.took = started.elapsed();
        outcome
    }
}
