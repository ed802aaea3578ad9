//! Faults by chance against a simple model of what the client was told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use coldkeep_s3_client::ops::{DeleteTarget, ListObjectsV2};
use coldkeep_s3_client::{CallOptions, DeleteObject, Effect, ObjectKey, Outcome, PutNew, RequestError};
use coldkeep_s3_testbed::{Answer, Fault, FaultKind, Odds};

use crate::scene::*;

const OPERATIONS: usize = 200;
const KEYS: u64 = 24;
/// So many operations later every signature expires.
const LIFE: usize = 40;

/// What a key holds: content, or nothing.
type Content = Option<String>;

/// What the answers allow a key to hold.
struct Possible {
    now: BTreeSet<Content>,
    /// Changes that may still come.
    late: BTreeSet<Content>,
}

impl Default for Possible {
    fn default() -> Possible {
        Possible { now: BTreeSet::from([None]), late: BTreeSet::new() }
    }
}

impl Possible {
    fn allows(&self, content: &Content) -> bool {
        self.now.contains(content) || self.late.contains(content)
    }

    /// Takes note of a change that was asked for, and of what the client says about it.
    fn change(&mut self, to: Content, outcome: Outcome) {
        match outcome.effect() {
            Effect::None => {}
            Effect::Unknown => drop(self.now.insert(to.clone())),
            Effect::Applied => self.now = BTreeSet::from([to.clone()]),
        }
        if outcome.is_unclear() {
            self.late.insert(to);
        }
    }
}

/// Names the seed of a failed run.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the run failed with seed {}", self.0);
        }
    }
}

/// A generator of numbers (Marsaglia, "Xorshift RNGs", 2003).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

struct Run {
    scene: Scene,
    random: Random,
    model: BTreeMap<String, Possible>,
    /// Requests that were answered, a missing object being an answer.
    successes: usize,
    written: usize,
}

impl Run {
    async fn new(seed: u64) -> Run {
        let scene = Scene::new().await;
        // A rate limit after the effect would be a lie that no server tells; a 500 is none.
        let every_23rd = {
            let count = AtomicUsize::new(0);
            move |_: &coldkeep_s3_testbed::RequestHead| {
                count.fetch_add(1, Ordering::Relaxed) % 23 == seed as usize % 23
            }
        };
        scene.proxy.always(every_23rd, Fault::AnswerAfter(Answer::error(500, "InternalError")));
        scene.proxy.randomly(seed, Odds::each(30).with(FaultKind::AnswerAfter, 0));
        // A seed of 0 would give nothing but zeros.
        let random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        Run { scene, random, model: BTreeMap::new(), successes: 0, written: 0 }
    }

    fn key(&mut self) -> ObjectKey {
        key(&format!("key-{:02}", self.random.below(KEYS)))
    }

    fn content(&mut self) -> String {
        self.written += 1;
        // Some so long that they are cut in the middle.
        let padding = if self.random.below(4) == 0 { 100_000 } else { 10 };
        format!("content {} {}", self.written, "x".repeat(padding))
    }

    fn possible(&mut self, key: &ObjectKey) -> &mut Possible {
        self.model.entry(key.as_str().to_owned()).or_default()
    }

    fn check(&mut self, key: &ObjectKey, content: &Content) {
        let possible = self.possible(key);
        assert!(possible.allows(content), "{key} holds {:?}", content.as_ref().map(|content| &content[..20]));
    }

    async fn step(&mut self) {
        match self.random.below(10) {
            0..=2 => self.put().await,
            3 => self.put_new().await,
            4 => self.delete().await,
            5 => self.delete_batch().await,
            6..=8 => self.get().await,
            _ => self.list().await,
        }
    }

    async fn put(&mut self) {
        let (key, content) = (self.key(), self.content());
        let result = self.scene.client.send(&put(key.as_str(), &content)).await;
        self.successes += usize::from(result.is_ok());
        let outcome = result.as_ref().map_or_else(RequestError::outcome, |reply| reply.outcome);
        if result.is_ok() {
            assert_eq!(outcome.effect(), Effect::Applied);
        }
        self.possible(&key).change(Some(content), outcome);
    }

    async fn put_new(&mut self) {
        let (key, content) = (self.key(), self.content());
        let op = put(key.as_str(), &content);
        let result = self.scene.client.put_new_or_overwrite(&op, &CallOptions::default()).await;
        self.successes += usize::from(result.is_ok());
        let outcome = result.as_ref().map_or_else(RequestError::outcome, |reply| reply.outcome);
        if result.is_ok_and(|reply| reply.value != PutNew::AlreadyThere) {
            assert_eq!(outcome.effect(), Effect::Applied);
        }
        self.possible(&key).change(Some(content), outcome);
    }

    async fn delete(&mut self) {
        let key = self.key();
        let result = self.scene.client.send(&DeleteObject::new(key.clone())).await;
        self.successes += usize::from(result.is_ok());
        let outcome = result.as_ref().map_or_else(RequestError::outcome, |reply| reply.outcome);
        self.possible(&key).change(None, outcome);
    }

    async fn delete_batch(&mut self) {
        let keys: BTreeSet<ObjectKey> = (0..3).map(|_| self.key()).collect();
        let targets: Vec<_> = keys.iter().cloned().map(DeleteTarget::new).collect();
        match self.scene.client.delete_batch(&targets, &CallOptions::default()).await {
            Ok(reply) => {
                self.successes += 1;
                let report = reply.value;
                assert_eq!(report.deleted.len() + report.failed.len() + report.unreported.len(), keys.len());
                let certain = |effect| Outcome::new(effect, reply.outcome.pending());
                for deleted in report.deleted {
                    self.possible(&deleted.target.key).change(None, certain(Effect::Applied));
                }
                for failed in report.failed {
                    self.possible(&failed.target.key).change(None, certain(Effect::None));
                }
                for target in report.unreported {
                    self.possible(&target.key).change(None, certain(Effect::Unknown));
                }
            }
            Err(error) => keys.iter().for_each(|key| self.possible(key).change(None, error.outcome())),
        }
    }

    async fn get(&mut self) {
        let key = self.key();
        match self.scene.client.send(&get(key.as_str())).await {
            Ok(reply) => {
                self.successes += 1;
                assert_eq!(reply.outcome, Outcome::NONE);
                let content = String::from_utf8(reply.value.content.to_vec()).unwrap();
                self.check(&key, &Some(content));
            }
            Err(error) if error.is_not_found() => {
                self.successes += 1;
                self.check(&key, &None);
            }
            Err(error) => assert_eq!(error.outcome(), Outcome::NONE),
        }
    }

    async fn list(&mut self) {
        let mut listing = self.scene.client.list(ListObjectsV2::new().with_keys_max(7));
        let mut listed = BTreeSet::new();
        loop {
            match listing.next_object().await {
                Ok(Some(object)) => assert!(listed.insert(object.key), "listed twice"),
                Ok(None) => break,
                Err(error) => return assert_eq!(error.outcome(), Outcome::NONE),
            }
        }
        self.successes += 1;
        for (name, possible) in &self.model {
            let is_listed = listed.contains(&key(name));
            let may_be_missing = possible.allows(&None);
            let may_be_there = possible.now.iter().chain(&possible.late).any(Option::is_some);
            assert!(if is_listed { may_be_there } else { may_be_missing }, "{name}: {is_listed}");
        }
    }

    /// Compares what the server holds with the model; returns how many keys the model was certain of.
    fn compare(&mut self) -> usize {
        let names: Vec<_> = self.model.keys().cloned().collect();
        for name in &names {
            let held = self.scene.held(name);
            self.check(&key(name), &held);
        }
        assert!(self.scene.origin.keys(BUCKET).iter().all(|held| names.contains(held)));
        let is_certain =
            |possible: &&Possible| possible.now.len() == 1 && possible.late.is_subset(&possible.now);
        self.model.values().filter(is_certain).count()
    }

    /// Lets every signature expire: what is still held up changes nothing from then on.
    async fn expire(&mut self) {
        let contents =
            |scene: &Scene| (0..KEYS).map(|at| scene.held(&format!("key-{at:02}"))).collect::<Vec<_>>();
        self.scene.clock.advance(2 * WINDOW);
        let before = contents(&self.scene);
        let (seen, _) = self.scene.counts();
        self.scene.proxy.release_all();
        self.scene.proxy.finished(seen).await;
        assert!(contents(&self.scene) == before, "a request landed after its expiry");
        for possible in self.model.values_mut() {
            // What was late may have come already.
            possible.now.append(&mut possible.late);
        }
    }

    /// Without faults, everything works at once.
    async fn recover(&self) {
        self.scene.proxy.clear();
        for at in 0..KEYS {
            let name = format!("key-{at:02}");
            let reply = self.scene.client.send(&put(&name, "the end")).await.unwrap();
            assert_eq!((reply.attempts, reply.outcome), (1, Outcome::APPLIED));
            assert_eq!(self.scene.client.send(&get(&name)).await.unwrap().value.content, "the end");
        }
    }
}

/// Goal: whatever goes wrong, nothing contradicts what the client said. Method: operations and faults from one seed; the model keeps what
/// the outcomes allow each key to hold, and is compared with what is read, with what is listed, and in the end with what is there.
async fn run(seed: u64) {
    let named = Seed(seed);
    let mut run = Run::new(seed).await;
    for number in 1..=OPERATIONS {
        run.step().await;
        if number % LIFE == 0 {
            run.expire().await;
        }
    }
    let certain = run.compare();
    // The run must say something: the faults leave most requests a way, and the model must not allow everything.
    assert!(run.successes > OPERATIONS * 9 / 10, "{} successes", run.successes);
    assert!(certain >= KEYS as usize / 2, "certain of {certain} keys");
    let faults = run.scene.proxy.seen().iter().filter(|seen| seen.fault != FaultKind::Pass).count();
    assert!(faults > OPERATIONS / 4, "{faults} faults");
    run.recover().await;
    drop(named);
}

#[tokio::test]
async fn nothing_contradicts_the_outcomes_seed_1() {
    run(1).await;
}

#[tokio::test]
async fn nothing_contradicts_the_outcomes_seed_2() {
    run(2).await;
}

#[tokio::test]
async fn nothing_contradicts_the_outcomes_seed_3() {
    run(3).await;
}

#[tokio::test]
async fn nothing_contradicts_the_outcomes_of_further_seeds() {
    for seed in 4..12 {
        run(seed).await;
    }
}
