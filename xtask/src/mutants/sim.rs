//! What the simulation makes of each rule that is switched off.
//!
//! The same campaign that passes with all rules in force must fail within so many seeds. Where it does not fail, the reason stands
//! here; such a rule rests on the tests of its row in [`RULES`](super::RULES).

/// What is expected of the simulation while a rule is off.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expected {
    /// It fails within so many seeds, from seed 1 on.
    Within(u64),
    /// It does not see it, because …
    Not(&'static str),
}

use Expected::{Not, Within};

/// By rule, in the order of [`RULES`](super::RULES). The numbers are about ten times what was measured.
pub(crate) const TABLE: &[(&str, Expected)] = &[
    // Nothing is lost while R4 sees the delete and uploads again: what is noticed is that a run deletes what its server uploads.
    ("r1", Within(40_000)),
    ("r2", Within(1_000)),
    // The look at what is there already; the unconditional last attempt is the simulated client's.
    ("r3", Within(1_000)),
    ("r4", Within(160_000)),
    ("r5", Within(100)),
    ("r6", Within(20_000)),
    ("r7", Within(500)),
    ("r8", Within(8_000)),
    ("r9", Within(700_000)),
    ("r10", Within(2_500)),
    ("r11", Not("servers take the bucket by force there, and a folder has one server")),
    ("r12", Within(1_000)),
    ("r13", Within(4_000)),
    ("r14", Within(6_000)),
    ("r15", Within(7_000)),
    ("r17", Not("possession is the datastore's, whose indexes are only modelled there")),
    ("r19", Within(100)),
    ("h19", Within(500)),
    ("i6", Within(30_000)),
    ("h38", Within(7_000)),
];

/// Within how many seeds histories of whole datastores fail, for rules of which those show what a datastore makes of them; about ten
/// times what was measured. The others need faults that are not drawn there, or more seeds than are worth their time.
pub(crate) const WHOLE: &[(&str, u64)] = &[
    ("r1", 30_000),
    ("r6", 2_500),
    ("r7", 1_200),
    ("r8", 8_000),
    ("r10", 400),
    ("r13", 5_500),
    ("r19", 5_000),
    ("i6", 12_500),
];

/// Returns within how many seeds of whole datastores it must fail while a rule is off.
pub(crate) fn expected_whole(rule: &str) -> Option<u64> {
    WHOLE.iter().find(|(name, _)| *name == rule).map(|(_, seeds)| *seeds)
}

/// Returns what is expected while a rule is off.
pub(crate) fn expected(rule: &str) -> Expected {
    let row = TABLE.iter().find(|(name, _)| *name == rule);
    row.map_or(Not("it has no row yet"), |(_, expected)| *expected)
}
