//! What a history of a datastore is made of, and the choices of a seed.

use crate::choose::mishap;
use crate::net::Mishap;
use crate::rng::Rng;
use crate::step::{Ending, Hold};

/// What holds for a whole history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setup {
    pub(super) page_objects: usize,
    pub(super) heeds_conditions: bool,
    pub(super) cache_bytes: u64,
    /// How long deletes and requests for snapshots are valid, and the margin, in seconds.
    pub(super) lifetime: (u64, u64),
    /// Time that passes with each event, in milliseconds.
    pub(super) pace: u64,
    pub(super) ending: Ending,
}

/// How a backup is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Commit,
    Abort,
    /// With its index closed.
    AbortLate,
    /// Its writer is dropped once the manifest is uploaded.
    Drop,
}

/// What a backup is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BackupPlan {
    pub(super) group: usize,
    /// Who asks, of two.
    pub(super) user: usize,
    /// Of the snapshot, in seconds from the start. Two backups may ask for the same.
    pub(super) time: usize,
    /// Whether it names what the snapshot before names (R17).
    pub(super) builds_on: bool,
    /// Chunks that it uploads.
    pub(super) chunks: Vec<usize>,
    pub(super) is_parallel: bool,
    pub(super) no_cache: bool,
    pub(super) end: End,
}

/// What happens next. Numbers choose among what there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Backup(BackupPlan),
    Restore(usize),
    Forget(usize),
    ForgetGroup(usize),
    /// The notes of a snapshot change, and with them its manifest.
    Annotate(usize),
    Run {
        grace: u64,
    },
    Cancel,
    /// A backup's task is dropped in mid-air.
    DropBackup(usize),
    Tick,
    Close,
    /// The same as it says, on the server that the operator has left for the other.
    Elsewhere(Box<Step>),
    /// So many requests go on, chosen by `salt` among those that `hold` leaves.
    Flow {
        count: usize,
        hold: Hold,
        salt: u64,
    },
    Mishap {
        number: usize,
        mishap: Mishap,
        of_delete: bool,
    },
    Outage(usize),
    Land(usize),
    Wait {
        seconds: u64,
    },
    /// The process ends and is started again.
    Crash,
    /// The other server takes the bucket.
    TakeOver,
    /// The process ends, and the folder is gone.
    LoseFolder,
    /// An image of the folder is made.
    Image,
    /// The process ends, and the image takes its folder's place; or that of the other server, which has the bucket then.
    Restored {
        is_elsewhere: bool,
    },
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Backup,
    Restore,
    Forget,
    Annotate,
    Run,
    Stop,
    Housekeeping,
    Flow,
    Mishap,
    Outage,
    Land,
    Wait,
    Crash,
    TakeOver,
    LoseFolder,
    Image,
    Restored,
    Elsewhere,
}

/// How often each kind comes up, and whether some histories have none of it.
const KINDS: &[(Kind, usize, bool)] = &[
    (Kind::Backup, 16, false),
    (Kind::Restore, 3, true),
    (Kind::Forget, 8, false),
    (Kind::Annotate, 2, true),
    (Kind::Run, 9, false),
    (Kind::Stop, 3, true),
    (Kind::Housekeeping, 2, true),
    (Kind::Flow, 40, false),
    (Kind::Mishap, 9, true),
    (Kind::Outage, 2, true),
    (Kind::Land, 6, true),
    (Kind::Wait, 8, false),
    (Kind::Crash, 3, true),
    (Kind::TakeOver, 1, true),
    (Kind::LoseFolder, 1, true),
    (Kind::Image, 2, true),
    (Kind::Restored, 1, true),
    (Kind::Elsewhere, 4, true),
];

/// Chunks that backups choose among.
const CHUNKS: usize = 5;

/// Chooses the setup and the steps of a seed.
pub(super) fn history(seed: u64) -> (Setup, Vec<Step>) {
    let mut rng = Rng::new(seed ^ 0xda7a_5708);
    let setup = Setup {
        page_objects: rng.pick(&[2, 4, 1000, 1000]),
        heeds_conditions: !rng.percent(10),
        cache_bytes: rng.pick(&[0, 200, 100_000]),
        lifetime: rng.pick(&[(20, 5), (60, 60), (60, 10)]),
        pace: rng.pick(&[0, 0, 10, 200, 1000]),
        ending: rng.pick(&[Ending::GoOn, Ending::GoOn, Ending::Reopen, Ending::Fresh]),
    };
    let weights: Vec<(Kind, usize)> = KINDS
        .iter()
        .map(|(kind, weight, is_optional)| {
            let factor = rng.pick(if *is_optional { &[0, 0, 1, 1, 3] } else { &[1, 1, 1, 2, 3] });
            (*kind, weight * factor)
        })
        .collect();
    let total = weights.iter().map(|(_, weight)| weight).sum();
    let count = rng.between(10, 100);
    let mut backups = 0;
    let steps = (0..count)
        .map(|_| {
            let mut left = rng.below(total);
            let chosen = weights.iter().find(|(_, weight)| {
                let is_it = left < *weight;
                left = left.saturating_sub(*weight);
                is_it
            });
            step(chosen.map_or(Kind::Flow, |(kind, _)| *kind), &mut backups, &mut rng)
        })
        .collect();
    (setup, steps)
}

fn step(kind: Kind, backups: &mut usize, rng: &mut Rng) -> Step {
    match kind {
        Kind::Backup => Step::Backup(backup(backups, rng)),
        Kind::Restore => Step::Restore(rng.below(16)),
        Kind::Forget if rng.percent(20) => Step::ForgetGroup(rng.below(2)),
        Kind::Forget => Step::Forget(rng.below(16)),
        Kind::Annotate => Step::Annotate(rng.below(16)),
        Kind::Run => Step::Run { grace: rng.pick(&[0, 0, 0, 1, 30]) },
        Kind::Stop if rng.percent(40) => Step::Cancel,
        Kind::Stop => Step::DropBackup(rng.below(16)),
        Kind::Housekeeping if rng.percent(70) => Step::Tick,
        Kind::Housekeeping => Step::Close,
        Kind::Flow => {
            let hold = if rng.percent(60) {
                Hold::Nothing
            } else {
                rng.pick(&[Hold::Deletes, Hold::ChunkPuts, Hold::Answers])
            };
            Step::Flow { count: rng.pick(&[1, 3, 6, 10, 15, 20, 30, 60, 150]), hold, salt: rng.next() }
        }
        Kind::Mishap => {
            Step::Mishap { number: rng.below(64), mishap: mishap(rng), of_delete: rng.percent(20) }
        }
        Kind::Outage => Step::Outage(rng.between(2, 6)),
        Kind::Land => Step::Land(rng.below(16)),
        Kind::Wait => Step::Wait { seconds: rng.pick(&[1, 3, 3, 10, 40, 70, 130]) },
        Kind::Crash => Step::Crash,
        Kind::TakeOver => Step::TakeOver,
        Kind::LoseFolder => Step::LoseFolder,
        Kind::Image => Step::Image,
        Kind::Restored => Step::Restored { is_elsewhere: rng.percent(40) },
        Kind::Elsewhere => {
            let kinds = [Kind::Backup, Kind::Backup, Kind::Forget, Kind::Run, Kind::Restore, Kind::Annotate];
            let kind = rng.pick(&kinds);
            Step::Elsewhere(Box::new(step(kind, backups, rng)))
        }
    }
}

fn backup(backups: &mut usize, rng: &mut Rng) -> BackupPlan {
    *backups += 1;
    let count = rng.between(1, 3);
    BackupPlan {
        group: rng.below(2),
        user: usize::from(rng.percent(10)),
        // Whoever comes after one that failed may ask for its place.
        time: *backups / 2,
        builds_on: rng.percent(60),
        chunks: (0..count).map(|_| rng.below(CHUNKS)).collect(),
        is_parallel: rng.percent(50),
        no_cache: rng.percent(30),
        end: rng.pick(&[
            End::Commit,
            End::Commit,
            End::Commit,
            End::Commit,
            End::Commit,
            End::Abort,
            End::AbortLate,
            End::Drop,
        ]),
    }
}
