//! Scenarios with the generation object: other servers, and disks that come back.

use super::{D, E, PLAIN, earlier, stored};
use crate::rules::Rule;
use crate::scenario::{Scenario, Writer};
use crate::state::{Budget, bit};

/// Restored and copied disks, second servers, and what is under way meanwhile.
pub(super) const GENERATIONS: &[Scenario] = &[
    Scenario {
        name: "restored-disk",
        about: "an older copy of the local disk comes back, with requests of the time since still under way",
        needs: &[
            (Rule::R10Rebuild, 16),
            (Rule::R10Batch, 14),
            (Rule::R10RebuildWait, 17),
            (Rule::R10Unfinished, 19),
            (Rule::R19Open, 12),
        ],
        is_quick: false,
        setup: |state| {
            stored(state, 0);
            state.budget = Budget {
                runs: 1,
                copies: 1,
                restores: 1,
                crashes: 1,
                opens: [2, 0],
                ticks: 2,
                ..Budget::NONE
            };
        },
        writers: &[Writer::new(1, &[D]), Writer::new(2, &[D])],
        has_generation: true,
        ..PLAIN
    },
    Scenario {
        name: "two-servers",
        about: "a second server opens the bucket while the first is at work",
        needs: &[
            (Rule::R10Ours, 17),
            (Rule::R10NeverBack, 23),
            (Rule::R10RebuildWait, 12),
            (Rule::R10ReadBefore, 13),
            (Rule::R10ReadAfter, 15),
            (Rule::R10SignBefore, 13),
        ],
        is_quick: false,
        setup: |state| {
            stored(state, 0);
            state.budget = Budget { runs: 2, prunes: 1, opens: [0, 1], ticks: 1, ..Budget::NONE };
        },
        writers: &[Writer::new(1, &[D]), Writer::new(2, &[D]).on_b()],
        has_generation: true,
        ..PLAIN
    },
    Scenario {
        name: "copied-disk",
        about: "a copy of the disk is opened by a second server while the first is at work",
        needs: &[(Rule::R10Open, 11), (Rule::R10Batch, 14)],
        is_quick: false,
        setup: |state| {
            stored(state, 0);
            state.budget = Budget { runs: 2, copies: 1, clones: 1, ticks: 1, ..Budget::NONE };
        },
        writers: &[Writer::new(1, &[D]), Writer::new(2, &[D]).on_b()],
        has_generation: true,
        ..PLAIN
    },
    Scenario {
        name: "superseded",
        about: "a server that does not own the bucket any more goes on pruning and collecting",
        needs: &[(Rule::R19Token, 4)],
        setup: |state| {
            stored(state, 0);
            earlier(state, bit(0));
            state.budget = Budget { runs: 1, prunes: 1, opens: [0, 1], ticks: 1, ..Budget::NONE };
        },
        writers: &[Writer::new(1, &[D]).on_b()],
        has_generation: true,
        ..PLAIN
    },
    Scenario {
        name: "restored-small",
        about: "an older copy of the local disk comes back, smaller: no crash beside it",
        needs: &[
            (Rule::R10Rebuild, 16),
            (Rule::R10Open, 11),
            (Rule::R10Batch, 14),
            (Rule::R10RebuildWait, 18),
            (Rule::R19Open, 12),
        ],
        setup: |state| {
            stored(state, 0);
            state.budget =
                Budget { runs: 1, copies: 1, restores: 1, opens: [1, 0], ticks: 1, ..Budget::NONE };
        },
        writers: &[Writer::new(1, &[D])],
        has_generation: true,
        ..PLAIN
    },
    Scenario {
        name: "generation-power",
        about: "two digests under a generation: power loss, a delete without an answer, tried again; runs heal",
        is_quick: false,
        setup: |state| {
            stored(state, 0);
            stored(state, 1);
            state.budget = Budget {
                runs: 2,
                power_losses: 1,
                lost_deletes: 1,
                retries: 1,
                opens: [1, 0],
                ticks: 2,
                ..Budget::NONE
            };
        },
        writers: &[Writer::new(1, &[D, E])],
        has_generation: true,
        heals: true,
        ..PLAIN
    },
    Scenario {
        name: "generation-wide",
        about: "two digests under a generation: a crash, a delete without an answer, tried again; runs heal",
        is_quick: false,
        setup: |state| {
            stored(state, 0);
            stored(state, 1);
            state.budget = Budget {
                runs: 1,
                crashes: 1,
                lost_deletes: 1,
                retries: 1,
                opens: [1, 0],
                ticks: 1,
                ..Budget::NONE
            };
        },
        writers: &[Writer::new(1, &[D, E])],
        has_generation: true,
        heals: true,
        ..PLAIN
    },
    Scenario {
        name: "restored-late",
        about: "an older copy of the local disk comes back while deletes have no answer and are tried again",
        is_quick: false,
        setup: |state| {
            stored(state, 0);
            state.budget = Budget {
                runs: 2,
                copies: 1,
                restores: 1,
                lost_deletes: 1,
                retries: 1,
                opens: [1, 0],
                ticks: 2,
                ..Budget::NONE
            };
        },
        writers: &[Writer::new(1, &[D])],
        has_generation: true,
        heals: true,
        ..PLAIN
    },
    Scenario {
        name: "two-servers-late",
        about: "a second server opens the bucket while deletes of the first have no answer; power loss; runs heal",
        needs: &[
            (Rule::R7Durable, 22),
            (Rule::R9Limbo, 24),
            (Rule::R10Batch, 15),
            (Rule::R10RebuildWait, 16),
        ],
        is_quick: false,
        setup: |state| {
            stored(state, 0);
            state.budget = Budget {
                runs: 1,
                lost_deletes: 1,
                retries: 1,
                power_losses: 1,
                opens: [0, 2],
                ticks: 2,
                ..Budget::NONE
            };
        },
        writers: &[Writer::new(1, &[D]).on_b()],
        has_generation: true,
        heals: true,
        ..PLAIN
    },
    Scenario {
        name: "back-again",
        about: "a second server takes the bucket, and the first, started anew, takes it back; a delete without an answer",
        is_quick: false,
        setup: |state| {
            stored(state, 0);
            state.budget = Budget {
                runs: 1,
                crashes: 1,
                lost_deletes: 1,
                retries: 1,
                opens: [1, 1],
                ticks: 2,
                ..Budget::NONE
            };
        },
        writers: &[Writer::new(1, &[D]), Writer::new(2, &[D]).on_b()],
        has_generation: true,
        ..PLAIN
    },
];
