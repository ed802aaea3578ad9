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

/// Why some rows say nothing yet.
const UNMEASURED: &str = "how many seeds it takes was not measured yet; its tests above notice it";

/// By rule, in the order of [`RULES`](super::RULES). The numbers are about ten times what was measured.
pub(crate) const TABLE: &[(&str, Expected)] = &[
    (
        "r1",
        Not(
            "20,000 seeds pass: whoever uploads is told by R4 that a delete came in between, and uploads again; \
             the upload marker only spares that",
        ),
    ),
    ("r2", Within(5_000)),
    ("r3", Not("no object goes bad by itself there, and the attempts are those of the simulated client")),
    ("r4", Not(UNMEASURED)),
    ("r5", Within(100)),
    ("r6", Not(UNMEASURED)),
    ("r7", Within(500)),
    ("r8", Within(2_000)),
    ("r9", Not(UNMEASURED)),
    ("r10", Not(UNMEASURED)),
    ("r11", Not("servers take the bucket by force there, and a folder has one server")),
    ("r12", Not(UNMEASURED)),
    ("r13", Not(UNMEASURED)),
    ("r14", Not(UNMEASURED)),
    ("r15", Not(UNMEASURED)),
    ("r17", Not("possession is the datastore's, whose indexes are only modelled there")),
    ("r19", Not(UNMEASURED)),
    ("h19", Not(UNMEASURED)),
    ("i6", Not(UNMEASURED)),
    ("h38", Not(UNMEASURED)),
];

/// Returns what is expected while a rule is off.
pub(crate) fn expected(rule: &str) -> Expected {
    let row = TABLE.iter().find(|(name, _)| *name == rule);
    row.map_or(Not("it has no row yet"), |(_, expected)| *expected)
}
