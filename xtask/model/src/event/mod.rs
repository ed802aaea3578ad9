//! What can happen.

mod story;

/// One step. Hosts, sessions, digests and paths are numbers; a story calls them by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    SessionBegins { session: u8, host: u8, based: bool },
    Known { session: u8, digest: u8, took_out: bool },
    SeesMarker { session: u8, digest: u8 },
    Sends { session: u8, digest: u8, is_reference: bool, has_upload_marker: bool },
    Believes { session: u8, digest: u8 },
    Lands { session: u8, digest: u8, what: Landing },
    StartsOver { session: u8, digest: u8 },
    RemovesUploadMarker { session: u8, digest: u8 },
    Places { session: u8, digest: u8 },
    UploadFails { session: u8, digest: u8 },
    Indexed { session: u8 },
    TokenOurs { session: u8, again: bool },
    TokenForeign { session: u8 },
    TokenNotRead { session: u8 },
    SendsManifest { session: u8 },
    ManifestAnswered { session: u8, refused: bool },
    ManifestUnclear { session: u8 },
    Committed { session: u8 },
    Aborts { session: u8 },
    RunStarts { host: u8, cutoff: u8 },
    ReadsPath { host: u8, path: u8, what: Reading },
    CutoffLate { host: u8, cutoff: u8 },
    Stops { host: u8, why: Stop },
    Lists { host: u8, digest: u8, is_there: bool },
    Judges { host: u8, digest: u8, what: Judgement },
    RunEnds { host: u8 },
    Asks { host: u8, digest: u8, is_there: bool },
    Heals { host: u8, digest: u8, what: Healing },
    Journals { host: u8, digests: u8, expiry: u8 },
    RemovesMarkers { host: u8, digests: u8 },
    Proposes { host: u8, token: u8 },
    Swaps { host: u8, token: u8 },
    SwapTakenForOurs { host: u8 },
    TakesBack { host: u8, token: u8 },
    FindsForeign { host: u8 },
    SendsDeletes { host: u8, digests: u8, again: bool },
    DeleteAnswered { host: u8, digest: u8, refused: bool },
    DeleteUnclear { host: u8, digest: u8 },
    GivesUp { host: u8, digest: u8 },
    Settles { host: u8, digests: u8, limbo: u8 },
    LimboEnds { host: u8, digest: u8, why: LimboEnd },
    TakesMutex { host: u8, digest: u8 },
    DeleteTakesEffect { digest: u8, late: bool },
    ManifestTakesEffect { session: u8, path: u8, late: bool },
    PruneTakesEffect { path: u8, late: bool },
    KeyRefused { digest: u8 },
    Tick { now: u8 },
    Crash { host: u8 },
    PowerLoss { host: u8, back: u8, lost: u8 },
    Opens { host: u8, how: Opening },
    OpensOn { host: u8 },
    OpenRefused { host: u8 },
    RebuildWaits { host: u8 },
    RebuildLists { host: u8, objects: u8 },
    RebuildSwitches { host: u8 },
    Prunes { host: u8, path: u8, promised: bool },
    PruneAnswered { host: u8, path: u8 },
    PruneUnclear { host: u8, path: u8 },
    Fetches { host: u8, digest: u8 },
    Fills { host: u8, digest: u8, what: Filling },
    ChoosesEviction { host: u8, digest: u8 },
    Evicts { host: u8, digest: u8, what: Filling },
    FindsBad { host: u8, digest: u8, damaged: bool },
    SetsAside { host: u8, digest: u8 },
    DropsSuspicion { host: u8, digest: u8 },
    ClockBack { host: u8, now: u8 },
    WallAhead { host: u8, now: u8 },
    WallBack { host: u8, now: u8 },
    CopiesDisk,
    RestoresDisk,
    ClonesDisk,
    Cancels { host: u8 },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Landing {
    Written,
    AlreadyThere,
    Overwritten,
    BadTakenForGood,
    Found,
    NotFound,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reading {
    Nothing,
    Index,
    WithoutManifest,
    NotCounted,
    Removed,
    Unreadable,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stop {
    Index,
    Listing,
    CutIgnored,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Judgement {
    Journalled,
    Referenced,
    /// Referenced, and an upload marker was left over.
    Tidied,
    UploadMarker,
    Marker,
    Nothing,
    Chosen,
    Condemned,
    ToHeal,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Healing {
    MarkerCreated,
    MarkerRemoved,
    Nothing,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LimboEnd {
    Expired,
    AtOnce,
    ClockJumped,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Opening {
    Ours,
    Trusted,
    Compared,
    Foreign,
    Plain,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Filling {
    Filled,
    Created,
    Gone,
}

impl Event {
    /// Whether it is a fault or a whim, without which everything must come to an end.
    pub(crate) fn is_fault(self) -> bool {
        matches!(
            self,
            Event::Crash { .. }
                | Event::PowerLoss { .. }
                | Event::Aborts { .. }
                | Event::UploadFails { .. }
                | Event::DeleteUnclear { .. }
                | Event::ManifestUnclear { .. }
                | Event::PruneUnclear { .. }
                | Event::KeyRefused { .. }
                | Event::ClockBack { .. }
                | Event::WallAhead { .. }
                | Event::WallBack { .. }
                | Event::CopiesDisk
                | Event::RestoresDisk
                | Event::ClonesDisk
                | Event::Cancels { .. }
                | Event::Fetches { .. }
                | Event::ChoosesEviction { .. }
                | Event::Evicts { .. }
                | Event::FindsBad { .. }
                | Event::Prunes { .. }
                | Event::Stops { .. }
        )
    }
}
