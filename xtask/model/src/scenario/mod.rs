//! Bounded scenarios: who takes part, what may happen, and how often.

mod hazards;
mod table;

use crate::rules::Rule;
use crate::state::State;

pub(crate) use hazards::{HAZARDS, upload_marker_only};
pub(crate) use table::scenarios;

/// One item of what a session does before it commits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Item {
    /// Uploads a digest.
    Insert(u8),
    /// Names a digest of an earlier snapshot.
    Refer(u8),
}

impl Item {
    pub(crate) fn digest(self) -> usize {
        let (Item::Insert(digest) | Item::Refer(digest)) = self;
        usize::from(digest)
    }
}

/// When a session may begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Begin {
    Anytime,
    /// After the other session has ended.
    AfterOther,
    /// After a complete run.
    AfterRun,
}

/// A session of a scenario.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writer {
    pub(crate) script: &'static [Item],
    pub(crate) host: u8,
    pub(crate) path: u8,
    pub(crate) begin: Begin,
    /// Builds on the earlier snapshot, if that is there: then it counts as told of its chunks.
    pub(crate) based: bool,
    /// Commits only after a complete run (where the fault at the start is no fault of the protocol).
    pub(crate) commits_after_run: bool,
}

impl Writer {
    /// On server A, at any time.
    pub(crate) const fn new(path: u8, script: &'static [Item]) -> Writer {
        Writer { script, host: 0, path, begin: Begin::Anytime, based: false, commits_after_run: false }
    }

    pub(crate) const fn on_b(self) -> Writer {
        Writer { host: 1, ..self }
    }

    pub(crate) const fn based(self) -> Writer {
        Writer { based: true, ..self }
    }

    pub(crate) const fn begin(self, begin: Begin) -> Writer {
        Writer { begin, ..self }
    }

    pub(crate) const fn commits_after_run(self) -> Writer {
        Writer { commits_after_run: true, ..self }
    }
}

/// Which claims a scenario is about, beside I1 to I3.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claims {
    /// marker(d) means object(d). Not where an object is lost by something else at the start.
    pub(crate) i2: bool,
    /// One clean run leaves what is referenced.
    pub(crate) i5: bool,
    /// A bad object is a loss. Not where it was rotten before.
    pub(crate) bad_is_lost: bool,
}

impl Claims {
    pub(crate) const ALL: Claims = Claims { i2: true, i5: true, bad_is_lost: true };
}

/// A bounded world.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "rows of a table, where each is named")]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// The rule parts that this scenario needs, and within how many steps something is wrong without.
    pub(crate) needs: &'static [(Rule, usize)],
    /// In the quick tier.
    pub(crate) is_quick: bool,
    /// Changes what is there at the start; beforehand there is an open server A, and nothing else.
    pub(crate) setup: fn(&mut State),
    pub(crate) writers: &'static [Writer],
    /// The generation object is part of it.
    pub(crate) has_generation: bool,
    /// Runs heal.
    pub(crate) heals: bool,
    /// Wall clocks may be wrong, and the clock is saved on disk.
    pub(crate) has_wall: bool,
    pub(crate) claims: Claims,
}

impl Scenario {
    /// The scenario of that name.
    pub(crate) fn named(name: &str) -> Option<&'static Scenario> {
        scenarios().chain(HAZARDS).find(|scenario| scenario.name == name)
    }
}

/// Two parts that cover for each other.
pub(crate) struct Pair {
    pub(crate) rules: [Rule; 2],
    pub(crate) scenario: &'static str,
    pub(crate) steps_max: usize,
}

/// A part without which nothing is wrong.
pub(crate) struct Redundant {
    pub(crate) rule: Rule,
    pub(crate) scenarios: &'static [&'static str],
    pub(crate) why: &'static str,
}

pub(crate) const PAIRS: &[Pair] = &[
    Pair { rules: [Rule::R7UploadMarker, Rule::R4Journal], scenario: "insert", steps_max: 29 },
    Pair { rules: [Rule::R4Failed, Rule::R4Journal], scenario: "insert", steps_max: 32 },
];

pub(crate) const REDUNDANT: &[Redundant] = &[
    Redundant {
        rule: Rule::R6Atime,
        scenarios: &["cache"],
        why: "A fresh atime keeps garbage for one run more",
    },
    Redundant {
        rule: Rule::R7UploadMarker,
        scenarios: &["insert", "late-delete", "crash", "batches"],
        why: "The watch of r4-journal makes such an upload start over; the upload marker spares it that",
    },
    Redundant {
        rule: Rule::R4Failed,
        scenarios: &["insert", "late-delete", "crash", "batches"],
        why: "The same: whoever loses the upload marker to another's failure starts over when it is swept",
    },
    Redundant {
        rule: Rule::R7MarkersFirst,
        scenarios: &[
            "insert",
            "late-delete",
            "crash",
            "power-loss",
            "cache",
            "cache-power",
            "restored-disk",
            "copied-disk",
            "generation-power",
            "two-servers-late",
        ],
        why: "The journal covers what its markers say, until they are gone for good",
    },
    Redundant {
        rule: Rule::R7Expired,
        scenarios: &["late-delete", "crash", "generation-power", "restored-late", "two-servers-late"],
        why: "The backend refuses what is sent too late",
    },
    Redundant {
        rule: Rule::R10Discard,
        scenarios: &["restored-disk", "copied-disk", "generation-power", "restored-late", "two-servers-late"],
        why: "Its entries have expired when the rebuild is over, and only make chunks wait",
    },
];
