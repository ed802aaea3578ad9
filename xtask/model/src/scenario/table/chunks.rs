//! Scenarios of one server that keeps its bucket.

use super::{D, E, PLAIN, earlier, stored};
use crate::rules::Rule;
use crate::scenario::{Begin, Claims, Item, Scenario, Writer};
use crate::state::{Budget, File, Object, bit};

/// Uploads, runs, readers, verification, crashes and power losses, clocks.
pub(super) const CHUNKS: &[Scenario] = &[
    Scenario {
        name: "insert",
        about: "two sessions upload a chunk that is garbage by now; one upload may fail; two runs",
        needs: &[
            (Rule::R1, 29),
            (Rule::R2Refresh, 12),
            (Rule::R2OneStep, 13),
            (Rule::R4Last, 14),
            (Rule::R4OneStep, 30),
            (Rule::R7OneStep, 13),
            (Rule::R7Marker, 12),
            (Rule::R7Markers, 11),
            (Rule::R8TakeOut, 12),
            (Rule::R8Wait, 12),
            (Rule::R13Session, 12),
            (Rule::R13First, 19),
        ],
        setup: |state| {
            stored(state, 0);
            state.budget = Budget { runs: 2, failed_uploads: 1, ..Budget::NONE };
        },
        writers: &[Writer::new(1, &[D]), Writer::new(2, &[D])],
        ..PLAIN
    },
    Scenario {
        name: "late-delete",
        about: "deletes without an answer, tried again, late; local clock jumps; two runs and an upload",
        needs: &[
            (Rule::R7SkipJournal, 32),
            (Rule::R9Limbo, 17),
            (Rule::R9AnyAttempt, 19),
            (Rule::R9Wait, 18),
            (Rule::R9Clock, 18),
            (Rule::R9Signing, 19),
        ],
        setup: |state| {
            stored(state, 0);
            state.budget =
                Budget { runs: 2, lost_deletes: 2, retries: 1, ticks: 2, jumps: 1, ..Budget::NONE };
        },
        writers: &[Writer::new(1, &[D])],
        ..PLAIN
    },
    Scenario {
        name: "crash",
        about: "the process dies at any point of a run or an upload, and starts again",
        needs: &[(Rule::R7Journal, 16), (Rule::R7Replay, 19)],
        setup: |state| {
            stored(state, 0);
            state.budget = Budget { runs: 2, crashes: 1, opens: [1, 0], ticks: 1, ..Budget::NONE };
        },
        writers: &[Writer::new(1, &[D]), Writer::new(2, &[D])],
        ..PLAIN
    },
    Scenario {
        name: "leftover",
        about: "an upload is cut short by a crash, and what it leaves is collected",
        needs: &[(Rule::R7LocalFiles, 3)],
        setup: |state| {
            state.budget = Budget { runs: 1, crashes: 1, opens: [1, 0], ..Budget::NONE };
        },
        writers: &[Writer::new(1, &[D])],
        ..PLAIN
    },
    Scenario {
        name: "power-loss",
        about: "the power fails at any point; each unsynced change of a file is lost or not",
        needs: &[(Rule::R7Durable, 14), (Rule::R7ReplayMarkers, 14)],
        setup: |state| {
            stored(state, 0);
            state.budget = Budget { runs: 2, power_losses: 1, opens: [1, 0], ticks: 1, ..Budget::NONE };
        },
        writers: &[Writer::new(1, &[D]), Writer::new(2, &[D])],
        ..PLAIN
    },
    Scenario {
        name: "batches",
        about: "two digests in one batch or two; keys refused, a run cancelled",
        needs: &[(Rule::R7Cancel, 8)],
        setup: |state| {
            stored(state, 0);
            stored(state, 1);
            state.budget = Budget { runs: 2, refused: 1, cancels: 1, ticks: 1, ..Budget::NONE };
        },
        writers: &[Writer::new(1, &[D, E])],
        ..PLAIN
    },
    Scenario {
        name: "base",
        about: "a session builds on a snapshot that is removed meanwhile",
        needs: &[(Rule::R5Refresh, 14), (Rule::R5Lookup, 16), (Rule::R5Base, 13)],
        setup: |state| {
            stored(state, 0);
            earlier(state, bit(0));
            state.budget = Budget { runs: 2, prunes: 1, ..Budget::NONE };
        },
        writers: &[Writer::new(1, &[Item::Refer(0)]).based(), Writer::new(2, &[D]).begin(Begin::AfterOther)],
        ..PLAIN
    },
    Scenario {
        name: "cache",
        about: "a reader fills the cache and the evictor empties markers while a chunk is swept or used",
        needs: &[(Rule::R6Fill, 14), (Rule::R6Evict, 14), (Rule::R6Moment, 14)],
        setup: |state| {
            stored(state, 0);
            state.budget = Budget { runs: 2, reads: 1, evictions: 1, ..Budget::NONE };
        },
        writers: &[Writer::new(1, &[D])],
        ..PLAIN
    },
    Scenario {
        name: "bad-object",
        about: "an upload finds a bad object under its name",
        needs: &[(Rule::R3, 4)],
        setup: |state| {
            state.bucket.objects[0] = Object::Bad;
            state.budget = Budget { runs: 1, ..Budget::NONE };
        },
        writers: &[Writer::new(1, &[D])],
        ..PLAIN
    },
    Scenario {
        name: "rot",
        about: "verification sets a rotten chunk aside while sessions dedup against it",
        needs: &[(Rule::R15Told, 7), (Rule::R15Journal, 7)],
        setup: |state| {
            stored(state, 0);
            state.bucket.objects[0] = Object::Bad;
            earlier(state, bit(0));
            state.broken = bit(0);
            state.budget = Budget { verifications: 1, lost_deletes: 1, ticks: 1, ..Budget::NONE };
        },
        writers: &[Writer::new(1, &[D]), Writer::new(2, &[D])],
        claims: Claims { bad_is_lost: false, ..Claims::ALL },
        ..PLAIN
    },
    Scenario {
        name: "replaced",
        about: "a bad object without marker is replaced by an upload while verification has found it bad",
        needs: &[(Rule::R4Journal, 9), (Rule::R15Same, 13), (Rule::R15StartOver, 9)],
        setup: |state| {
            state.bucket.objects[0] = Object::Bad;
            state.budget = Budget { runs: 1, verifications: 1, lost_deletes: 1, ticks: 1, ..Budget::NONE };
        },
        writers: &[Writer::new(1, &[D]), Writer::new(2, &[D])],
        ..PLAIN
    },
    Scenario {
        name: "healthy",
        about: "verification reads a good chunk, and one body is damaged on the way",
        needs: &[(Rule::R15Twice, 5)],
        setup: |state| {
            stored(state, 0);
            earlier(state, bit(0));
            state.budget = Budget { runs: 1, verifications: 2, damaged_bodies: 1, ..Budget::NONE };
        },
        writers: &[Writer::new(1, &[D])],
        ..PLAIN
    },
    Scenario {
        name: "lost-object",
        about: "an object was lost outside of us and its marker stands; runs heal, sessions commit after one",
        needs: &[(Rule::R14Heal, 15), (Rule::R14Told, 16)],
        setup: |state| {
            state.hosts[0].disk.marker[0] = File::old(0);
            state.budget = Budget { runs: 2, ..Budget::NONE };
        },
        writers: &[Writer::new(1, &[D]).commits_after_run(), Writer::new(2, &[D]).begin(Begin::AfterRun)],
        heals: true,
        claims: Claims { i2: false, ..Claims::ALL },
        ..PLAIN
    },
    Scenario {
        name: "heal-race",
        about: "a run heals a listed object without marker while it is set aside",
        needs: &[(Rule::R14Head, 13), (Rule::R14Lock, 14), (Rule::R14Journal, 14)],
        setup: |state| {
            state.bucket.objects[0] = Object::Bad;
            earlier(state, bit(0));
            state.broken = bit(0);
            state.budget = Budget { runs: 1, verifications: 1, lost_deletes: 1, ticks: 1, ..Budget::NONE };
        },
        writers: &[Writer::new(1, &[D])],
        heals: true,
        claims: Claims { bad_is_lost: false, ..Claims::ALL },
        ..PLAIN
    },
    Scenario {
        name: "incomplete-view",
        about: "an index that cannot be read, a listing that is cut short",
        needs: &[(Rule::I6Index, 10), (Rule::I6Listing, 8)],
        setup: |state| {
            stored(state, 0);
            earlier(state, bit(0));
            state.budget = Budget { runs: 2, unreadable: 1, cut_listings: 1, ..Budget::NONE };
        },
        writers: &[Writer::new(1, &[D])],
        ..PLAIN
    },
    Scenario {
        name: "clock-back",
        about: "the wall clock is set back at any time",
        needs: &[(Rule::R12, 13)],
        setup: |state| {
            stored(state, 0);
            state.hosts[0].now = 3;
            state.budget = Budget { runs: 2, steps_back: 1, ..Budget::NONE };
        },
        writers: &[Writer::new(1, &[D]), Writer::new(2, &[D])],
        ..PLAIN
    },
    Scenario {
        name: "late-manifest",
        about: "a manifest without an answer: its session fails, and it lands late",
        needs: &[(Rule::R10Index, 19), (Rule::R10IndexWait, 11)],
        setup: |state| {
            state.budget = Budget { runs: 2, lost_manifests: 1, aborts: 1, ticks: 2, ..Budget::NONE };
        },
        writers: &[Writer::new(1, &[D])],
        ..PLAIN
    },
    Scenario {
        name: "reused-path",
        about: "a snapshot is removed or fails without an answer, and its path is used again",
        needs: &[(Rule::R19Path, 17)],
        setup: |state| {
            state.budget =
                Budget { runs: 1, lost_manifests: 1, prunes: 2, lost_prunes: 1, ticks: 1, ..Budget::NONE };
        },
        writers: &[Writer::new(1, &[D]), Writer::new(1, &[D]).begin(Begin::AfterOther)],
        ..PLAIN
    },
    Scenario {
        name: "wide",
        about: "two digests, two sessions, deletes without an answer, keys refused, a crash, an abort",
        is_quick: false,
        setup: |state| {
            stored(state, 0);
            stored(state, 1);
            state.budget = Budget {
                runs: 1,
                lost_deletes: 1,
                retries: 1,
                refused: 1,
                crashes: 1,
                aborts: 1,
                opens: [1, 0],
                ticks: 1,
                ..Budget::NONE
            };
        },
        writers: &[Writer::new(1, &[D, E]), Writer::new(2, &[E])],
        heals: true,
        ..PLAIN
    },
    Scenario {
        name: "wall-clock",
        about: "the wall clock leaps ahead during sessions and runs, the process dies, and the clock is set back",
        needs: &[(Rule::R12Floor, 5), (Rule::R12Use, 5)],
        setup: |state| {
            stored(state, 0);
            state.budget = Budget { runs: 1, leaps: 1, crashes: 1, opens: [1, 0], ..Budget::NONE };
        },
        writers: &[Writer::new(1, &[D]), Writer::new(2, &[D])],
        has_wall: true,
        ..PLAIN
    },
    Scenario {
        name: "cache-power",
        about: "a reader fills the cache, the evictor empties markers, and the power fails",
        needs: &[(Rule::R6Fill, 14), (Rule::R6Evict, 14), (Rule::R7Durable, 14), (Rule::R7ReplayMarkers, 22)],
        is_quick: false,
        setup: |state| {
            stored(state, 0);
            state.budget =
                Budget { runs: 2, reads: 1, evictions: 1, power_losses: 1, opens: [1, 0], ..Budget::NONE };
        },
        writers: &[Writer::new(1, &[D])],
        ..PLAIN
    },
];
