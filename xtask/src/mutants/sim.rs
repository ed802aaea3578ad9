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
    (
        "r1",
        Not(
            "40,000 seeds pass: whoever uploads is told by R4 that a delete came in between, and uploads again; \
             the upload marker only spares that",
        ),
    ),
    ("r2", Within(1_000)),
    (
        "r3",
        Not(
            "a chunk that went bad before the commit is excused there, whoever took it for good, and the attempts are those of the \
             simulated client",
        ),
    ),
    ("r4", Within(120_000)),
    ("r5", Within(100)),
    ("r6", Within(70_000)),
    ("r7", Within(500)),
    ("r8", Within(3_000)),
    ("r9", Within(180_000)),
    ("r10", Within(2_500)),
    ("r11", Not("servers take the bucket by force there, and a folder has one server")),
    ("r12", Within(1_000)),
    ("r13", Within(2_500)),
    ("r14", Within(6_000)),
    ("r15", Within(7_000)),
    ("r17", Not("possession is the datastore's, whose indexes are only modelled there")),
    ("r19", Within(100)),
    ("h19", Within(500)),
    ("i6", Within(13_000)),
    ("h38", Within(7_000)),
];

/// Returns what is expected while a rule is off.
pub(crate) fn expected(rule: &str) -> Expected {
    let row = TABLE.iter().find(|(name, _)| *name == rule);
    row.map_or(Not("it has no row yet"), |(_, expected)| *expected)
}
