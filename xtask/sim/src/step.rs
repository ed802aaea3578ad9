//! What a history is made of: a setup and a list of steps, all of them chosen by the seed ([`choose`](crate::choose)).
//!
//! Each step carries the numbers that it needs, so that leaving others out changes nothing about it: that is what makes a
//! failing history short.

use coldkeep_chunk_store::SyncLevel;

use crate::net::{Kind, Mishap, Moving};
use crate::work::{RunPlan, WritePlan};

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
    /// Whether the bucket's server heeds conditions of puts.
    pub(crate) heeds_conditions: bool,
    /// Whether every other chunk is encrypted.
    pub(crate) is_mixed: bool,
    /// Inserts of a hundred that claim the digest of another's chunk (hazard H37).
    pub(crate) claims_percent: usize,
    /// Inserts of a hundred with another encoding than the usual one (R3).
    pub(crate) others_percent: usize,
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

impl Hold {
    /// Returns whether a request may go on.
    pub(crate) fn lets_go(self, moving: &Moving) -> bool {
        match self {
            Self::Deletes => {
                !(moving.is_arriving && matches!(moving.kind, Kind::DeleteChunks | Kind::Delete))
            }
            Self::ChunkPuts => moving.kind != Kind::PutChunk,
            Self::Answers => moving.is_arriving,
            Self::Nothing | Self::Run | Self::Writers | Self::Calls => true,
        }
    }
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
    /// The wall clock of a server is set so far from the truth; by nothing, it is right again.
    SetWall {
        ahead: bool,
        seconds: u64,
    },
    /// A stored chunk goes bad.
    Rot(usize),
    /// The same as it says, on the server that the operator has left for the other.
    Elsewhere(Box<Step>),
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
    /// An image of the disk is made.
    Image,
    /// The process ends, and the image of a disk takes its disk's place; on the other server, that has the bucket then.
    Restore {
        is_elsewhere: bool,
    },
    /// The disk has no room, or has it again.
    Fill {
        is_full: bool,
    },
    /// Some calls of the directory fail, or none any more.
    FailCalls(Option<Failing>),
    /// A cached file is cut.
    Tear(usize),
}

/// A call of the directory that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failing {
    pub(crate) method: &'static str,
    /// Once it has had its effect.
    pub(crate) is_late: bool,
}
