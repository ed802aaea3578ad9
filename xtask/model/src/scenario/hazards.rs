//! What the simpler protocol leaves open, one scenario a hazard.

use super::table::{D, PLAIN, earlier, stored};
use super::{Begin, Claims, Scenario, Writer};
use crate::rules::{Rule, Rules};
use crate::state::{Budget, File, Object, bit};

/// The protocol as it was first published for this problem: upload markers, a mutex of the whole store around check and delete,
/// conditional put; no journal, no generation, no limbo. What stays in force is what that needs.
pub(crate) fn upload_marker_only() -> Rules {
    const GONE: &[Rule] = &[
        Rule::R4Journal,
        Rule::R7SkipJournal,
        Rule::R7Journal,
        Rule::R7Durable,
        Rule::R7ReplayMarkers,
        Rule::R8TakeOut,
        Rule::R8Wait,
        Rule::R9Limbo,
        Rule::R9AnyAttempt,
        Rule::R9Wait,
        Rule::R10Open,
        Rule::R10Batch,
        Rule::R10Rebuild,
        Rule::R10ReadBefore,
        Rule::R10ReadAfter,
        Rule::R10Index,
        Rule::R10IndexWait,
        Rule::R12,
        Rule::R14Heal,
        Rule::R15Told,
        Rule::R15StartOver,
        Rule::R15Journal,
        Rule::R19Token,
        Rule::R19Path,
        Rule::R19Open,
    ];
    GONE.iter().fold(Rules::ALL, |rules, rule| rules.without(*rule))
}

/// Every hazard: open in the simpler protocol, closed with all rules.
pub(crate) const HAZARDS: &[Scenario] = &[
    Scenario {
        name: "h09",
        about: "H9: power loss brings an unlinked marker back after its object was deleted",
        setup: |state| {
            stored(state, 0);
            state.budget = Budget { runs: 1, power_losses: 1, opens: [1, 0], ticks: 1, ..Budget::NONE };
        },
        writers: &[Writer::new(1, &[D]).begin(Begin::AfterRun)],
        ..PLAIN
    },
    Scenario {
        name: "h10",
        about: "H10: a delete without an answer takes effect later, on a chunk that was uploaded again",
        setup: |state| {
            stored(state, 0);
            state.budget = Budget { runs: 1, lost_deletes: 1, ticks: 1, ..Budget::NONE };
        },
        writers: &[Writer::new(1, &[D])],
        ..PLAIN
    },
    Scenario {
        name: "h11",
        about: "H11: a restored disk claims chunks that were swept since",
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
        name: "h12",
        about: "H12: two servers on one bucket",
        setup: |state| {
            stored(state, 0);
            state.budget = Budget { runs: 1, opens: [0, 1], ticks: 1, ..Budget::NONE };
        },
        writers: &[Writer::new(1, &[D]).on_b()],
        has_generation: true,
        ..PLAIN
    },
    Scenario {
        name: "h13",
        about: "H13: the clock steps back during a session",
        setup: |state| {
            stored(state, 0);
            state.hosts[0].now = 3;
            state.budget = Budget { runs: 1, steps_back: 1, ..Budget::NONE };
        },
        writers: &[Writer::new(1, &[D])],
        ..PLAIN
    },
    Scenario {
        name: "h16",
        about: "H16: a marker for a missing object makes every later backup dedup against nothing",
        setup: |state| {
            state.hosts[0].disk.marker[0] = File::old(0);
            state.budget = Budget { runs: 1, ..Budget::NONE };
        },
        writers: &[Writer::new(1, &[D]).commits_after_run()],
        heals: true,
        claims: Claims { i2: false, ..Claims::ALL },
        ..PLAIN
    },
    Scenario {
        name: "h21",
        about: "H21: attempt 1 has no answer, attempt 2 succeeds, the chunk is uploaded again, attempt 1 lands",
        setup: |state| {
            stored(state, 0);
            state.budget = Budget { runs: 1, lost_deletes: 1, retries: 1, ticks: 1, ..Budget::NONE };
        },
        writers: &[Writer::new(1, &[D])],
        ..PLAIN
    },
    Scenario {
        name: "h23",
        about: "H23: a copy of the disk is opened later by a second server",
        setup: |state| {
            stored(state, 0);
            state.budget = Budget { runs: 1, copies: 1, clones: 1, ticks: 1, ..Budget::NONE };
        },
        writers: &[Writer::new(1, &[D]).on_b()],
        has_generation: true,
        ..PLAIN
    },
    Scenario {
        name: "h25",
        about: "H25: a manifest without an answer; its session fails, its chunks are swept, the manifest lands",
        setup: |state| {
            state.budget = Budget { runs: 1, lost_manifests: 1, ticks: 1, ..Budget::NONE };
        },
        writers: &[Writer::new(1, &[D])],
        ..PLAIN
    },
    Scenario {
        name: "h29",
        about: "H29: verification sets a chunk aside while an insert dedups against it",
        setup: |state| {
            stored(state, 0);
            state.bucket.objects[0] = Object::Bad;
            earlier(state, bit(0));
            state.broken = bit(0);
            state.budget = Budget { verifications: 1, ticks: 1, ..Budget::NONE };
        },
        writers: &[Writer::new(1, &[D])],
        claims: Claims { bad_is_lost: false, ..Claims::ALL },
        ..PLAIN
    },
    Scenario {
        name: "h35",
        about: "H35: a manifest without an answer lands late, on a path that was used again",
        setup: |state| {
            state.budget = Budget { lost_manifests: 1, ticks: 1, ..Budget::NONE };
        },
        writers: &[Writer::new(1, &[D]), Writer::new(1, &[D]).begin(Begin::AfterOther)],
        ..PLAIN
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hazards_asked_for_are_there() {
        for name in ["h09", "h10", "h11", "h12", "h13", "h16", "h21", "h25", "h29"] {
            assert!(HAZARDS.iter().any(|scenario| scenario.name == name), "{name}");
        }
    }
}
