//! What a history is made of: a setup and a list of steps, all of them chosen by the seed.
//!
//! Each step carries the numbers that it needs, so that leaving others out changes nothing about it: that is what makes a
//! failing history short.

use coldkeep_chunk_store::{CacheUse, SyncLevel};

use crate::chunks::CHUNKS;
use crate::net::Mishap;
use crate::rng::Rng;
use crate::work::{End, How, RunPlan, Use, WritePlan};

/// What holds for a whole history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setup {
    pub(crate) flavour: Flavour,
    /// So many chunks there are.
    pub(crate) chunks: usize,
    pub(crate) page_objects: usize,
    /// Whether file operations wait, too.
    pub(crate) gates_calls: bool,
    pub(crate) cache_bytes: u64,
    /// How long deletes and requests for snapshots are valid, and the margin, in seconds.
    pub(crate) lifetime: (u64, u64),
    /// Time that passes with each event, in milliseconds.
    pub(crate) pace: u64,
    pub(crate) ending: Ending,
    /// Of a store on a filesystem.
    pub(crate) sync_level: SyncLevel,
}

/// Where the chunks are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavour {
    Bucket,
    Folder,
}

/// Who looks at the bucket at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The server that has it.
    GoOn,
    /// The same, started again.
    Reopen,
    /// A server that has nothing but the bucket.
    Fresh,
}

/// What keeps still while others go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    Nothing,
    Deletes,
    ChunkPuts,
    Answers,
    Run,
    Writers,
    Calls,
}

/// What happens next. Numbers choose among what there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Write(WritePlan),
    ReadSnapshot(usize),
    ReadChunk(usize),
    Verify(usize),
    Prune(usize),
    Run(RunPlan),
    Cancel,
    DropRun,
    /// A session's task is dropped in mid-air.
    DropWrite(usize),
    /// What is due once a minute.
    Tick,
    Scan,
    /// So many events, chosen by `salt` among those that `hold` leaves.
    Flow {
        count: usize,
        hold: Hold,
        salt: u64,
    },
    /// Something goes wrong with one request.
    Mishap {
        number: usize,
        mishap: Mishap,
    },
    /// The same with a delete of chunks, of which there are few.
    MishapOfDelete {
        number: usize,
        mishap: Mishap,
    },
    /// Nobody answers the next requests.
    Outage(usize),
    /// Something that is late arrives.
    Land(usize),
    Wait {
        seconds: u64,
    },
    /// The wall clock of a server is set.
    SetWall {
        ahead: bool,
        seconds: u64,
    },
    /// The clock of the bucket leaps ahead. Never back: what it once refused as expired it must not take later (R9).
    LeapBucket(u64),
    /// The process ends, with power loss or without, and is started again.
    Crash {
        power: Option<u64>,
    },
    /// The store is closed cleanly, which takes its time.
    Close,
    /// The other server takes the bucket.
    TakeOver,
    /// An image of the disk is made, or the process ends and the image takes the disk's place.
    Image,
    Restore,
    /// The disk has no room, or has it again.
    Fill {
        is_full: bool,
    },
    /// Some calls of the directory fail, or none any more.
    FailCalls(Option<&'static str>),
    /// A cached file is cut.
    Tear(usize),
}

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
}

const KINDS: &[(Kind, usize)] = &[
    (Kind::Write, 16),
    (Kind::Read, 3),
    (Kind::Verify, 1),
    (Kind::Prune, 7),
    (Kind::Run, 9),
    (Kind::Stop, 2),
    (Kind::Housekeeping, 2),
    (Kind::Flow, 40),
    (Kind::Mishap, 9),
    (Kind::Outage, 2),
    (Kind::Land, 6),
    (Kind::Wait, 8),
    (Kind::SetWall, 2),
    (Kind::LeapBucket, 1),
    (Kind::Crash, 2),
    (Kind::PowerLoss, 2),
    (Kind::TakeOver, 1),
    (Kind::Image, 2),
    (Kind::Restore, 1),
    (Kind::Fill, 1),
    (Kind::FailCalls, 1),
    (Kind::Tear, 1),
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
    let setup = Setup {
        flavour: if rng.percent(15) { Flavour::Folder } else { Flavour::Bucket },
        chunks: rng.pick(&[1, 2, 2, 3, 3, 4, CHUNKS]),
        page_objects: rng.pick(&[2, 4, 1000, 1000]),
        gates_calls: rng.percent(50),
        cache_bytes: rng.pick(&[0, 100, 100_000, 100_000]),
        lifetime: rng.pick(&[(20, 5), (60, 60), (60, 10)]),
        pace: rng.pick(&[0, 0, 10, 200, 1000]),
        ending: rng.pick(&[Ending::GoOn, Ending::GoOn, Ending::Reopen, Ending::Fresh]),
        sync_level: rng.pick(&[SyncLevel::Filesystem, SyncLevel::Filesystem, SyncLevel::File]),
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
            Step::SetWall { ahead: rng.percent(40), seconds: rng.pick(&[5, 100, 5_000, 500_000]) }
        }
        Kind::LeapBucket => Step::LeapBucket(rng.pick(&[5, 100, 5_000])),
        Kind::Crash => Step::Crash { power: None },
        Kind::PowerLoss => Step::Crash { power: Some(rng.next()) },
        Kind::TakeOver => Step::TakeOver,
        Kind::Image => Step::Image,
        Kind::Restore => Step::Restore,
        Kind::Fill => Step::Fill { is_full: rng.percent(50) },
        Kind::FailCalls => Step::FailCalls(rng.percent(50).then(|| rng.pick(FAILING))),
        Kind::Tear => Step::Tear(rng.below(16)),
    }
}

fn write_plan(setup: &Setup, rng: &mut Rng) -> WritePlan {
    let count = rng.between(0, 3);
    let one = |rng: &mut Rng| Use {
        number: rng.below(setup.chunks),
        how: if rng.percent(75) { How::Insert } else { How::Reference },
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

fn mishap(rng: &mut Rng) -> Mishap {
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
