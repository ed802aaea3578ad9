//! Breadth-first search over all states of a system, with the shortest story to a state that must not be.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// A system whose states can be enumerated.
pub(crate) trait System {
    /// A small plain value; equal states are explored once.
    type State: Copy + Hash;
    /// What happened between two states.
    type Event: Copy;

    /// Where it starts.
    fn initial(&self) -> Self::State;

    /// Appends every state that one step can lead to, always in the same order.
    fn steps(&self, state: &Self::State, out: &mut Vec<(Self::Event, Self::State)>);

    /// Says what is wrong with a state, given what can follow it.
    fn flaw(&self, state: &Self::State, next: &[(Self::Event, Self::State)]) -> Option<String>;
}

/// What a search found.
#[derive(Debug)]
pub(crate) struct Outcome<E> {
    /// Distinct states met.
    pub(crate) states: usize,
    /// Steps taken, also those to states met before.
    pub(crate) steps: usize,
    /// Length of the longest shortest path from the start.
    pub(crate) depth: usize,
    pub(crate) verdict: Verdict<E>,
}

/// Whether the claims hold.
#[derive(Debug)]
pub(crate) enum Verdict<E> {
    /// In every reachable state.
    Holds,
    /// Not in the state that these events lead to; no shorter sequence leads to a flaw.
    Flawed { flaw: String, story: Vec<E> },
    /// There were more states than allowed; nothing is shown.
    TooMany,
}

/// How a state was reached: the state that was expanded, and which of its steps.
#[derive(Clone, Copy)]
struct Origin {
    parent: u32,
    step: u16,
}

/// Explores `system` to the end, or to the first flaw, or until it has more than `states_max` states.
///
/// States are told apart by 64-bit fingerprints: with 10 million states the chance that any two are taken for one is below
/// one in 300,000, and only such a pair could hide a flaw.
pub(crate) fn explore<S: System>(system: &S, states_max: usize) -> Outcome<S::Event> {
    let initial = system.initial();
    let mut seen: HashSet<u64, BuildHasherDefault<Identity>> = HashSet::default();
    seen.insert(fingerprint(&initial));
    let mut origins = vec![Origin { parent: 0, step: 0 }];
    let mut frontier = vec![(0_u32, initial)];
    let mut next = Vec::new();
    let mut out = Vec::new();
    let (mut steps, mut depth) = (0, 0);
    loop {
        for (id, state) in &frontier {
            out.clear();
            system.steps(state, &mut out);
            steps += out.len();
            if let Some(flaw) = system.flaw(state, &out) {
                let story = story(system, &origins, *id);
                return Outcome {
                    states: origins.len(),
                    steps,
                    depth,
                    verdict: Verdict::Flawed { flaw, story },
                };
            }
            for (step, (_, state)) in out.iter().enumerate() {
                if seen.insert(fingerprint(state)) {
                    next.push((origins.len() as u32, *state));
                    origins.push(Origin { parent: *id, step: step as u16 });
                }
            }
        }
        if origins.len() > states_max {
            return Outcome { states: origins.len(), steps, depth, verdict: Verdict::TooMany };
        }
        if next.is_empty() {
            return Outcome { states: origins.len(), steps, depth, verdict: Verdict::Holds };
        }
        depth += 1;
        std::mem::swap(&mut frontier, &mut next);
        next.clear();
    }
}

/// Walks back to the start and takes the same steps again: only their numbers were kept.
fn story<S: System>(system: &S, origins: &[Origin], last: u32) -> Vec<S::Event> {
    let mut path = Vec::new();
    let mut id = last;
    while id != 0 {
        let origin = origins[id as usize];
        path.push(origin.step);
        id = origin.parent;
    }
    let mut state = system.initial();
    let mut out = Vec::new();
    let mut events = Vec::new();
    for step in path.into_iter().rev() {
        out.clear();
        system.steps(&state, &mut out);
        let (event, following) = out[usize::from(step)];
        events.push(event);
        state = following;
    }
    events
}

fn fingerprint<T: Hash>(state: &T) -> u64 {
    let mut hasher = Mixer::default();
    state.hash(&mut hasher);
    hasher.finish()
}

/// Folds the bytes of a state, eight at a time, with a 128-bit multiplication each.
#[derive(Default)]
struct Mixer {
    mixed: u64,
    word: u64,
    bytes: u32,
}

impl Mixer {
    fn mix(&mut self) {
        let product = u128::from(self.mixed ^ self.word ^ 0x9E37_79B9_7F4A_7C15)
            .wrapping_mul(u128::from(0xD6E8_FEB8_6659_FD93_u64));
        self.mixed = (product as u64) ^ ((product >> 64) as u64) ^ self.mixed.rotate_left(23);
        self.word = 0;
        self.bytes = 0;
    }
}

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u8(*byte);
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.word = self.word << 8 | u64::from(byte);
        self.bytes += 1;
        if self.bytes == 8 {
            self.mix();
        }
    }

    /// Discriminants of enums, and lengths of arrays of bytes: small numbers.
    fn write_isize(&mut self, number: isize) {
        self.write_u8(number as u8);
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u8(number as u8);
    }

    fn finish(&self) -> u64 {
        let mut last = Mixer { mixed: self.mixed, word: self.word ^ u64::from(self.bytes) << 56, bytes: 0 };
        last.mix();
        last.mix();
        last.mixed
    }
}

/// Fingerprints are mixed already.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two jugs of 3 and 5: the shortest way to 4 takes six steps.
    struct Jugs {
        wanted: u8,
    }

    impl System for Jugs {
        type State = (u8, u8);
        type Event = &'static str;

        fn initial(&self) -> (u8, u8) {
            (0, 0)
        }

        fn steps(&self, &(three, five): &(u8, u8), out: &mut Vec<(&'static str, (u8, u8))>) {
            let (there, back) = (three.min(5 - five), five.min(3 - three));
            out.push(("fill 3", (3, five)));
            out.push(("fill 5", (three, 5)));
            out.push(("empty 3", (0, five)));
            out.push(("empty 5", (three, 0)));
            out.push(("pour 3 into 5", (three - there, five + there)));
            out.push(("pour 5 into 3", (three + back, five - back)));
        }

        fn flaw(&self, &(three, five): &(u8, u8), _: &[(&'static str, (u8, u8))]) -> Option<String> {
            (three == self.wanted || five == self.wanted).then(|| "measured".to_owned())
        }
    }

    #[test]
    fn the_shortest_story_is_found() {
        let outcome = explore(&Jugs { wanted: 4 }, 1000);
        let Verdict::Flawed { story, .. } = outcome.verdict else { panic!("{outcome:?}") };
        let expected = ["fill 5", "pour 5 into 3", "empty 3", "pour 5 into 3", "fill 5", "pour 5 into 3"];
        assert_eq!(story, expected);
    }

    #[test]
    fn every_state_is_met_once() {
        // All pairs in which one jug is full or empty: 6 + 6 + 4 + 4 less the four corners counted twice.
        let outcome = explore(&Jugs { wanted: 9 }, 1000);
        assert!(matches!(outcome.verdict, Verdict::Holds));
        assert_eq!((outcome.states, outcome.steps), (16, 96));
    }

    #[test]
    fn a_search_that_was_cut_shows_nothing() {
        assert!(matches!(explore(&Jugs { wanted: 9 }, 5).verdict, Verdict::TooMany));
    }

    #[test]
    fn fingerprints_of_close_states_differ() {
        let mut seen = HashSet::new();
        for a in 0..=255_u8 {
            for b in 0..=255_u8 {
                assert!(seen.insert(fingerprint(&[a, 0, b])));
                assert!(seen.insert(fingerprint(&[a, b])));
            }
        }
    }
}
