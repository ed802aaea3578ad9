//! The choices of a seed: a setup and a list of steps.

use coldkeep_chunk_store::{CacheUse, SyncLevel};

use crate::chunks::{CHUNKS, Form};
use crate::net::Mishap;
use crate::rng::Rng;
use crate::step::{Ending, Failing, Flavour, Hold, Setup, Step};
use crate::work::{End, How, RunPlan, Use, WritePlan};

/// Calls of a directory that fail in some histories.
const FAILING: &[&str] = &[
    "place_marker",
    "put_upload_marker",
    "sync",
    "save_state",
    "remove_markers",
    "use_marker",
    "marks",
    "names",
    "begin_fresh",
    "add_fresh",
    "sync_fresh",
    "switch_to_fresh",
    "fill_marker",
    "empty_marker",
    "put",
    "touch",
    "remove_unused",
    "rename",
];

/// How often each kind of step comes up. Every history leaves some kinds out and has much of others, so that each meets
/// each other often enough (swarm testing: Groce et al. 2012).
struct Weights(Vec<(Kind, usize)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Write,
    Read,
    Verify,
    Prune,
    Run,
    Stop,
    Housekeeping,
    Flow,
    Mishap,
    Outage,
    Land,
    Wait,
    SetWall,
    LeapBucket,
    Crash,
    PowerLoss,
    TakeOver,
    Image,
    Restore,
    Fill,
    FailCalls,
    Tear,
    Rot,
    Elsewhere,
}

const KINDS: &[(Kind, usize)] = &[
    (Kind::Write, 16),
    (Kind::Read, 3),
    (Kind::Verify, 2),
    (Kind::Prune, 7),
    (Kind::Run, 9),
    (Kind::Stop, 2),
    (Kind::Housekeeping, 2),
    (Kind::Flow, 40),
    (Kind::Mishap, 9),
    (Kind::Outage, 2),
    (Kind::Land, 6),
    (Kind::Wait, 8),
    (Kind::SetWall, 4),
    (Kind::LeapBucket, 1),
    (Kind::Crash, 2),
    (Kind::PowerLoss, 2),
    (Kind::TakeOver, 1),
    (Kind::Image, 2),
    (Kind::Restore, 1),
    (Kind::Fill, 1),
    (Kind::FailCalls, 2),
    (Kind::Tear, 1),
    (Kind::Rot, 2),
    (Kind::Elsewhere, 4),
];

impl Weights {
    fn of(rng: &mut Rng) -> Self {
        let mut weights = KINDS.to_vec();
        for (kind, weight) in &mut weights {
            let factor = match kind {
                Kind::Write | Kind::Flow => rng.pick(&[1, 1, 2]),
                Kind::Run | Kind::Prune | Kind::Wait => rng.pick(&[1, 1, 2, 3]),
                _ => rng.pick(&[0, 0, 1, 1, 3]),
            };
            *weight *= factor;
        }
        Self(weights)
    }

    fn pick(&self, rng: &mut Rng) -> Kind {
        let mut left = rng.below(self.0.iter().map(|(_, weight)| weight).sum());
        for (kind, weight) in &self.0 {
            if left < *weight {
                return *kind;
            }
            left -= weight;
        }
        Kind::Flow
    }
}

/// Chooses the setup and the steps of a seed.
pub(crate) fn history(seed: u64) -> (Setup, Vec<Step>) {
    let mut rng = Rng::new(seed);
    // Numbers of their own: other histories stay what they are.
    let mut traits = Rng::new(!seed);
    let heeds_conditions = !traits.percent(15);
    let setup = Setup {
        flavour: if rng.percent(15) { Flavour::Folder } else { Flavour::Bucket },
        chunks: rng.pick(&[1, 2, 2, 3, 3, 4, CHUNKS]),
        page_objects: rng.pick(&[2, 4, 1000, 1000]),
        gates_calls: rng.percent(50),
        cache_bytes: rng.pick(&[0, 200, 100_000, 100_000]),
        lifetime: rng.pick(&[(20, 5), (60, 60), (60, 10)]),
        pace: rng.pick(&[0, 0, 10, 200, 1000]),
        ending: rng.pick(&[Ending::GoOn, Ending::GoOn, Ending::Reopen, Ending::Fresh]),
        sync_level: rng.pick(&[SyncLevel::Filesystem, SyncLevel::Filesystem, SyncLevel::File]),
        heeds_conditions,
        is_mixed: traits.percent(25),
        // Without conditions less keeps a claim from its aim.
        claims_percent: traits.pick(if heeds_conditions { &[0, 0, 0, 0, 10, 30] } else { &[0, 30, 30, 60] }),
        others_percent: traits.pick(&[0, 0, 0, 20]),
    };
    let weights = Weights::of(&mut rng);
    let count = rng.between(10, 140);
    let steps = (0..count).map(|_| step(weights.pick(&mut rng), &setup, &mut rng)).collect();
    (setup, steps)
}

fn step(kind: Kind, setup: &Setup, rng: &mut Rng) -> Step {
    match kind {
        Kind::Write => Step::Write(write_plan(setup, rng)),
        Kind::Read if rng.percent(50) => Step::ReadSnapshot(rng.below(16)),
        Kind::Read => Step::ReadChunk(rng.below(setup.chunks)),
        Kind::Verify => Step::Verify(rng.below(setup.chunks)),
        Kind::Prune => Step::Prune(rng.below(16)),
        Kind::Run => {
            Step::Run(RunPlan { grace: rng.pick(&[0, 0, 0, 1, 30]), parallel: rng.pick(&[1, 2, 32]) })
        }
        Kind::Stop => match rng.below(4) {
            0 => Step::Cancel,
            1 => Step::DropRun,
            _ => Step::DropWrite(rng.below(16)),
        },
        Kind::Housekeeping => match rng.below(10) {
            0..6 => Step::Tick,
            6..8 => Step::Scan,
            _ => Step::Close,
        },
        Kind::Flow => flow(rng),
        Kind::Mishap => {
            let number = rng.below(64);
            let mishap = mishap(rng);
            if rng.percent(30) {
                Step::MishapOfDelete { number, mishap }
            } else {
                Step::Mishap { number, mishap }
            }
        }
        Kind::Outage => Step::Outage(rng.between(2, 6)),
        Kind::Land => Step::Land(rng.below(16)),
        Kind::Wait => Step::Wait { seconds: rng.pick(&[1, 3, 3, 10, 40, 70, 130]) },
        Kind::SetWall => {
            Step::SetWall { ahead: rng.percent(50), seconds: rng.pick(&[0, 0, 5, 100, 5_000, 500_000]) }
        }
        Kind::LeapBucket => Step::LeapBucket(rng.pick(&[5, 100, 5_000])),
        Kind::Crash => Step::Crash { power: None },
        Kind::PowerLoss => Step::Crash { power: Some(rng.next()) },
        Kind::TakeOver => Step::TakeOver,
        Kind::Image => Step::Image,
        Kind::Restore => Step::Restore { is_elsewhere: rng.percent(40) },
        Kind::Fill => Step::Fill { is_full: rng.percent(50) },
        Kind::FailCalls => Step::FailCalls(
            rng.percent(60).then(|| Failing { method: rng.pick(FAILING), is_late: rng.percent(30) }),
        ),
        Kind::Tear => Step::Tear(rng.below(16)),
        Kind::Rot => Step::Rot(rng.below(setup.chunks)),
        Kind::Elsewhere => {
            let kind = rng.pick(&[
                Kind::Write,
                Kind::Write,
                Kind::Prune,
                Kind::Prune,
                Kind::Run,
                Kind::Verify,
                Kind::Read,
                Kind::Housekeeping,
            ]);
            Step::Elsewhere(Box::new(step(kind, setup, rng)))
        }
    }
}

fn write_plan(setup: &Setup, rng: &mut Rng) -> WritePlan {
    let count = rng.between(0, 3);
    let one = |rng: &mut Rng| Use {
        number: rng.below(setup.chunks),
        how: if rng.percent(75) { How::Insert } else { How::Reference },
        form: form(setup, rng),
    };
    WritePlan {
        place: rng.below(5),
        cache: if rng.percent(60) { CacheUse::Keep } else { CacheUse::Skip },
        base: rng.percent(30).then(|| rng.below(16)),
        uses: (0..count).map(|_| one(rng)).collect(),
        is_parallel: rng.percent(50),
        end: rng.pick(&[End::Commit, End::Commit, End::Commit, End::Commit, End::Abort, End::AbortLate]),
    }
}

fn form(setup: &Setup, rng: &mut Rng) -> Form {
    let (claims, others) = (setup.claims_percent, setup.others_percent);
    // Histories with none of these need no number.
    match if claims + others == 0 { 100 } else { rng.below(100) } {
        number if number < claims => Form::Claim,
        number if number < claims + others => Form::Other,
        _ => Form::Usual,
    }
}

fn flow(rng: &mut Rng) -> Step {
    let hold = if rng.percent(60) {
        Hold::Nothing
    } else {
        rng.pick(&[
            Hold::Deletes,
            Hold::Deletes,
            Hold::ChunkPuts,
            Hold::Answers,
            Hold::Run,
            Hold::Writers,
            Hold::Calls,
        ])
    };
    Step::Flow { count: rng.pick(&[1, 3, 6, 10, 15, 20, 30, 60, 150]), hold, salt: rng.next() }
}

pub(crate) fn mishap(rng: &mut Rng) -> Mishap {
    match rng.below(12) {
        0..2 => Mishap::Lose,
        2..6 => Mishap::Late,
        6 => Mishap::Fail { has_effect: false },
        7 => Mishap::Fail { has_effect: true },
        8 => Mishap::Throttle,
        9 => Mishap::Conflict,
        10 => Mishap::RefuseKeys(rng.next()),
        _ => Mishap::Truncate,
    }
}
