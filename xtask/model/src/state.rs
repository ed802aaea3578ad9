//! What a state holds: a bucket, hosts with a local directory and a memory, sessions, and requests under way.
//!
//! Times are small numbers. The store clock of a host advances by one at the start of each run, which is all that the comparison of an
//! atime with a cutoff needs. The backend's clock advances by ticks; a request bears the tick in which it was signed, and is refused
//! from the next tick on.

/// Digests, hosts, sessions and snapshot paths of the model. Path 0 is that of an earlier snapshot.
pub(crate) const DIGESTS: usize = 2;
pub(crate) const HOSTS: usize = 2;
pub(crate) const SESSIONS: usize = 2;
pub(crate) const PATHS: usize = 3;

/// Requests that can be under way at once; a scenario that needs more stops with an error.
const WIRE: usize = 5;

/// Set in an index that exists; the other bits are the digests that it names.
pub(crate) const INDEX: u8 = 0x80;

/// Who put a snapshot that was there at the start; session `i` is `i + 1`.
pub(crate) const EARLIER: u8 = 9;

/// A journal entry that nothing ends.
pub(crate) const NEVER: u8 = u8::MAX;

/// The bit of a small number in a set.
pub(crate) const fn bit(index: usize) -> u8 {
    1 << index
}

/// Whether a set has a number.
pub(crate) const fn has(set: u8, index: usize) -> bool {
    set & bit(index) != 0
}

/// What the backend holds for a digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Object {
    Absent,
    Good,
    /// Short, torn or rotten.
    Bad,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Bucket {
    pub(crate) objects: [Object; DIGESTS],
    pub(crate) token: u8,
    /// Per path: zero, or [`INDEX`] and the digests named.
    pub(crate) index: [u8; PATHS],
    /// Per path: zero, or who put it.
    pub(crate) manifest: [u8; PATHS],
    /// The backend's clock.
    pub(crate) now: u8,
}

/// A local file: its version is zero if it is absent, else its atime plus one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct File {
    version: u8,
    /// The versions that a power loss may leave, as a set.
    on_disk: u8,
}

impl File {
    pub(crate) const ABSENT: File = File { version: 0, on_disk: 1 };

    /// A file that is on disk.
    pub(crate) const fn old(atime: u8) -> File {
        File { version: atime + 1, on_disk: bit(atime as usize + 1) }
    }

    pub(crate) const fn is_there(self) -> bool {
        self.version != 0
    }

    /// Whether it is there and was used at `time` or later.
    pub(crate) const fn is_used_since(self, time: u8) -> bool {
        self.version > time
    }

    pub(crate) const fn atime(self) -> u8 {
        self.version.saturating_sub(1)
    }

    /// Creates it or sets its atime; not yet on disk.
    pub(crate) fn set(&mut self, atime: u8) {
        self.version = atime + 1;
        self.on_disk |= bit(usize::from(self.version));
    }

    /// Removes it; not yet on disk.
    pub(crate) fn remove(&mut self) {
        self.version = 0;
        self.on_disk |= bit(0);
    }

    pub(crate) fn sync(&mut self) {
        self.on_disk = bit(usize::from(self.version));
    }

    /// The files that a power loss may leave.
    pub(crate) fn after_power_loss(self) -> impl Iterator<Item = File> {
        (0..8_u8)
            .filter(move |version| has(self.on_disk, usize::from(*version)))
            .map(|version| File { version, on_disk: bit(usize::from(version)) })
    }
}

/// What survives the process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Disk {
    pub(crate) marker: [File; DIGESTS],
    pub(crate) uploading: [File; DIGESTS],
    /// Per digest: zero, or the expiry of its delete plus one.
    pub(crate) journal: [u8; DIGESTS],
    /// Per path: zero, or the expiry of the request that was sent for it plus one (R19).
    pub(crate) claims: [u8; PATHS],
    pub(crate) current: u8,
    /// Zero if there is none.
    pub(crate) proposed: u8,
    /// A rebuild has begun and is not finished.
    pub(crate) is_rebuilding: bool,
    /// The saved value of the clock (R12); zero where the wall clock is never wrong.
    pub(crate) floor: u8,
}

impl Disk {
    pub(crate) const EMPTY: Disk = Disk {
        marker: [File::ABSENT; DIGESTS],
        uploading: [File::ABSENT; DIGESTS],
        journal: [0; DIGESTS],
        claims: [0; PATHS],
        current: 0,
        proposed: 0,
        is_rebuilding: false,
        floor: 0,
    };

    pub(crate) fn sync(&mut self) {
        for file in self.marker.iter_mut().chain(&mut self.uploading) {
            file.sync();
        }
    }
}

/// How far a server is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Up {
    Down,
    /// Has proposed a token and is about to swap `from` for it; a rebuild follows if that is foreign.
    Opening {
        from: u8,
        rebuild: bool,
    },
    /// Waits until everything signed up to that tick has expired.
    Waiting {
        signed: u8,
    },
    /// Has listed these objects, and is about to switch to markers for them.
    Listed {
        objects: u8,
    },
    Open,
    /// Has seen a foreign token.
    Closed,
}

/// A run of the collector.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Phase {
    Idle,
    Mark,
    Sweep,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Run {
    pub(crate) phase: Phase,
    pub(crate) cutoff: u8,
    pub(crate) marked: u8,
    /// Paths that were read.
    pub(crate) read: u8,
    /// Pages (one digest each) that were listed, and objects that were on them.
    pub(crate) pages: u8,
    pub(crate) listed: u8,
    /// Digests that were judged.
    pub(crate) judged: u8,
    /// Judged and to be condemned in a second step (only without `r7-one-step`).
    pub(crate) chosen: u8,
}

impl Run {
    pub(crate) const IDLE: Run =
        Run { phase: Phase::Idle, cutoff: 0, marked: 0, read: 0, pages: 0, listed: 0, judged: 0, chosen: 0 };
}

/// How far a batch of deletes is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Step {
    Free,
    Journalled,
    MarkersGone,
    Proposed,
    Swapped,
    Sending,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Batch {
    pub(crate) step: Step,
    pub(crate) digests: u8,
    pub(crate) expiry: u8,
    /// Digests whose delete was sent and not answered; sent at least once; over; and of which some attempt was not answered.
    pub(crate) waiting: u8,
    pub(crate) sent: u8,
    pub(crate) over: u8,
    pub(crate) unclear: u8,
    /// It sets a corrupt chunk aside (R15): upload markers stay.
    pub(crate) is_quarantine: bool,
}

impl Batch {
    pub(crate) const FREE: Batch = Batch {
        step: Step::Free,
        digests: 0,
        expiry: 0,
        waiting: 0,
        sent: 0,
        over: 0,
        unclear: 0,
        is_quarantine: false,
    };
}

impl Batch {
    /// The delete of a digest is over.
    pub(crate) fn end(&mut self, digest: usize) {
        self.waiting &= !bit(digest);
        self.over |= bit(digest);
    }
}

/// Something that a host does beside sessions and runs, on one digest, in more than one step.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Chore {
    None,
    /// A reader has fetched the chunk and will fill the cache.
    Fetched(u8),
    /// The evictor has chosen a marker with that atime (only without `r6-evict` or `r6-moment`).
    Evicting(u8, u8),
    /// Verification has found the object bad, or believes so.
    Suspected(u8, Object),
}

/// Healing has asked the backend, to create or to remove a marker; lock(d) is held.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Asked {
    pub(crate) digest: u8,
    pub(crate) create: bool,
    pub(crate) is_there: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Host {
    pub(crate) disk: Disk,
    pub(crate) up: Up,
    /// The store clock.
    pub(crate) now: u8,
    /// Markers that hold the blob.
    pub(crate) cached: u8,
    /// The journal in memory; differs from the disk only without `r7-journal`.
    pub(crate) journal: [u8; DIGESTS],
    pub(crate) condemned: u8,
    /// Digests whose lock is held over more than one step.
    pub(crate) locked: u8,
    pub(crate) run: Run,
    pub(crate) batch: Batch,
    pub(crate) chore: Chore,
    pub(crate) asked: Option<Asked>,
    /// The digest under the mutex of the whole store plus one (variant only).
    pub(crate) mutex: u8,
}

impl Host {
    pub(crate) const DOWN: Host = Host {
        disk: Disk::EMPTY,
        up: Up::Down,
        now: 1,
        cached: 0,
        journal: [0; DIGESTS],
        condemned: 0,
        locked: 0,
        run: Run::IDLE,
        batch: Batch::FREE,
        chore: Chore::None,
        asked: None,
        mutex: 0,
    };

    /// Whether `digest` may be touched: its lock, or that of the whole store, is free.
    pub(crate) fn is_free(&self, digest: usize) -> bool {
        !has(self.locked, digest) && self.mutex == 0
    }
}

/// How far a session is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Stage {
    Unborn,
    /// About to do the next item of its script, or to commit after the last.
    Ready,
    /// Has seen the marker (only without `r2-one-step`).
    Known,
    /// The put, or the HEAD of a reference, is on its way.
    Sent,
    /// It took effect; the answer is on its way.
    Landed,
    /// Has removed the upload marker (only without `r4-one-step`).
    Bare,
    /// Indexes are durable, the manifest is signed.
    Indexed,
    /// The token was ours.
    Checked,
    /// The manifest is on its way.
    Manifest,
    /// It was acknowledged.
    Written,
    Committed,
    Failed,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Session {
    pub(crate) stage: Stage,
    pub(crate) started: u8,
    /// Items of the script that are done.
    pub(crate) done: u8,
    /// Digests that it was told are stored.
    pub(crate) told: u8,
    /// Builds on path 0.
    pub(crate) based: bool,
    /// The digest it is busy with was in the journal since its upload marker was set.
    pub(crate) dirty: bool,
    /// When the manifest expires.
    pub(crate) expiry: u8,
}

impl Session {
    pub(crate) const UNBORN: Session =
        Session { stage: Stage::Unborn, started: 0, done: 0, told: 0, based: false, dirty: false, expiry: 0 };

    pub(crate) const fn is_open(self) -> bool {
        !matches!(self.stage, Stage::Unborn | Stage::Committed | Stage::Failed)
    }

    /// Whether a put or HEAD of the script's next item is under way.
    pub(crate) const fn is_uploading(self) -> bool {
        matches!(self.stage, Stage::Sent | Stage::Landed | Stage::Bare)
    }

    pub(crate) fn fail(&mut self) {
        *self = Session { stage: Stage::Failed, ..Session::UNBORN };
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Kind {
    Nothing,
    /// Delete of a chunk, sent by a host.
    Delete,
    /// Put of a manifest, sent by a session.
    Manifest,
    /// Delete of a snapshot's objects, sent by a host.
    Prune,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Progress {
    /// Has not taken effect.
    Pending,
    Done,
    /// Was refused; the answer is on its way.
    Refused,
    /// Has not taken effect, and nobody waits any more.
    Orphan,
}

/// A request on its way, or its answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Request {
    pub(crate) kind: Kind,
    /// The digest or path.
    pub(crate) what: u8,
    /// The host or session.
    pub(crate) from: u8,
    /// The tick in which it was signed; it is refused from the next on.
    pub(crate) expiry: u8,
    pub(crate) progress: Progress,
}

impl Request {
    const NOTHING: Request =
        Request { kind: Kind::Nothing, what: 0, from: 0, expiry: 0, progress: Progress::Pending };
}

/// Requests under way, sorted, so that equal sets are equal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Wire([Request; WIRE]);

impl Wire {
    pub(crate) const EMPTY: Wire = Wire([Request::NOTHING; WIRE]);

    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, Request)> + '_ {
        let there = self.0.iter().copied().enumerate();
        there.filter(|(_, request)| request.kind != Kind::Nothing)
    }

    /// # Panics
    /// If there is no room: the scenario's bounds are wrong.
    pub(crate) fn send(&mut self, request: Request) {
        let free = self.0.iter_mut().find(|slot| slot.kind == Kind::Nothing);
        *free.expect("invariant: a scenario has room for all its requests") = request;
        self.0.sort_unstable();
    }

    /// Changes or removes the request at a position.
    pub(crate) fn replace(&mut self, position: usize, progress: Option<Progress>) {
        match progress {
            Some(progress) => self.0[position].progress = progress,
            None => self.0[position] = Request::NOTHING,
        }
        self.0.sort_unstable();
    }

    /// Nobody waits any more for requests of a kind and sender.
    pub(crate) fn forsake(&mut self, kind: Kind, from: usize) {
        for request in &mut self.0 {
            if request.kind == kind && usize::from(request.from) == from {
                match request.progress {
                    Progress::Pending => request.progress = Progress::Orphan,
                    Progress::Done | Progress::Refused => *request = Request::NOTHING,
                    Progress::Orphan => {}
                }
            }
        }
        self.0.sort_unstable();
    }

    /// Refuses what was signed before `now`.
    pub(crate) fn expire(&mut self, now: u8) {
        for request in self.0.iter_mut().filter(|request| request.expiry < now) {
            match request.progress {
                Progress::Pending => request.progress = Progress::Refused,
                Progress::Orphan => *request = Request::NOTHING,
                Progress::Done | Progress::Refused => {}
            }
        }
        self.0.sort_unstable();
    }
}

/// How often each thing may still happen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Budget {
    pub(crate) runs: u8,
    pub(crate) ticks: u8,
    pub(crate) crashes: u8,
    pub(crate) power_losses: u8,
    /// Starts of each server that is down.
    pub(crate) opens: [u8; HOSTS],
    /// Deletes without an answer, their further attempts, and keys refused.
    pub(crate) lost_deletes: u8,
    pub(crate) retries: u8,
    pub(crate) refused: u8,
    pub(crate) failed_uploads: u8,
    pub(crate) aborts: u8,
    pub(crate) lost_manifests: u8,
    pub(crate) prunes: u8,
    pub(crate) lost_prunes: u8,
    pub(crate) cancels: u8,
    pub(crate) reads: u8,
    pub(crate) evictions: u8,
    pub(crate) verifications: u8,
    /// Bodies damaged on the way.
    pub(crate) damaged_bodies: u8,
    pub(crate) unreadable: u8,
    pub(crate) cut_listings: u8,
    /// The wall clock is set back; the local clock jumps ahead.
    pub(crate) steps_back: u8,
    pub(crate) jumps: u8,
    /// A wall clock leaps ahead, and is right again when its server starts anew.
    pub(crate) leaps: u8,
    /// The disk of host 0 is copied; the copy is put back, or given to host 1, which then may start once.
    pub(crate) copies: u8,
    pub(crate) restores: u8,
    pub(crate) clones: u8,
}

impl Budget {
    pub(crate) const NONE: Budget = Budget {
        runs: 0,
        ticks: 0,
        crashes: 0,
        power_losses: 0,
        opens: [0; HOSTS],
        lost_deletes: 0,
        retries: 0,
        refused: 0,
        failed_uploads: 0,
        aborts: 0,
        lost_manifests: 0,
        prunes: 0,
        lost_prunes: 0,
        cancels: 0,
        reads: 0,
        evictions: 0,
        verifications: 0,
        damaged_bodies: 0,
        unreadable: 0,
        cut_listings: 0,
        steps_back: 0,
        jumps: 0,
        leaps: 0,
        copies: 0,
        restores: 0,
        clones: 0,
    };
}

impl Budget {
    /// What may happen at all, and how often.
    pub(crate) fn bounds(&self) -> String {
        let counts = [
            ("runs", self.runs),
            ("ticks", self.ticks),
            ("crashes", self.crashes),
            ("power losses", self.power_losses),
            ("starts of A", self.opens[0]),
            ("starts of B", self.opens[1]),
            ("lost deletes", self.lost_deletes),
            ("retries", self.retries),
            ("refused keys", self.refused),
            ("failed uploads", self.failed_uploads),
            ("aborts", self.aborts),
            ("lost manifests", self.lost_manifests),
            ("prunes", self.prunes),
            ("lost prunes", self.lost_prunes),
            ("cancels", self.cancels),
            ("reads", self.reads),
            ("evictions", self.evictions),
            ("verifications", self.verifications),
            ("damaged bodies", self.damaged_bodies),
            ("unreadable indexes", self.unreadable),
            ("cut listings", self.cut_listings),
            ("steps back", self.steps_back),
            ("jumps", self.jumps),
            ("leaps", self.leaps),
            ("copies", self.copies),
            ("restores", self.restores),
            ("clones", self.clones),
        ];
        let there = counts.iter().filter(|(_, count)| *count > 0);
        there.map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct State {
    pub(crate) bucket: Bucket,
    pub(crate) wire: Wire,
    pub(crate) hosts: [Host; HOSTS],
    pub(crate) sessions: [Session; SESSIONS],
    pub(crate) budget: Budget,
    /// The copy of a disk, if one was made.
    pub(crate) copy: Option<Disk>,
    /// Per path: zero, or who was promised that the snapshot is stored, until somebody asks for its removal.
    pub(crate) promised: [u8; PATHS],
    /// Paths of snapshots that were found broken by something that is no fault of the protocol: rot.
    pub(crate) broken: u8,
    /// The last token given out.
    pub(crate) tokens: u8,
    /// Complete runs, up to one.
    pub(crate) has_run: bool,
}

impl State {
    /// Ends a session without success; what it sent stays under way.
    pub(crate) fn fail(&mut self, session: usize) {
        self.wire.forsake(Kind::Manifest, session);
        self.sessions[session].fail();
    }

    /// Whether nobody may use a snapshot's path yet (R19).
    pub(crate) fn is_closed_path(&self, host: usize, path: usize) -> bool {
        self.hosts[host].disk.claims[path] > self.bucket.now
    }
}
