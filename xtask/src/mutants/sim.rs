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

/// By rule, in the order of [`RULES`](super::RULES).
pub(crate) const TABLE: &[(&str, Expected)] = &[];

/// Returns what is expected while a rule is off.
pub(crate) fn expected(rule: &str) -> Expected {
    let row = TABLE.iter().find(|(name, _)| *name == rule);
    row.map_or(Not("it has no row yet"), |(_, expected)| *expected)
}
