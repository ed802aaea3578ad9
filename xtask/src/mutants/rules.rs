//! The rule switches and the tests that must notice them.

/// One rule with a switch.
pub(crate) struct Rule {
    /// The value of `coldkeep_off`.
    pub(crate) name: &'static str,
    /// What the code no longer does with the switch on.
    pub(crate) what: &'static str,
    /// Each of these must fail with the switch on.
    pub(crate) hazards: &'static [Hazard],
}

/// One test, by harness and name (or the start of its name).
pub(crate) struct Hazard {
    pub(crate) harness: Harness,
    pub(crate) test: &'static str,
}

/// A test binary, by package.
pub(crate) enum Harness {
    /// The unit tests of a library.
    Unit(&'static str),
    /// The integration tests, `tests/it/main.rs`.
    Integration(&'static str),
}

const STORE: &str = "coldkeep-chunk-store";
const DATASTORE: &str = "coldkeep-datastore";
const GC: &str = "coldkeep-gc";

/// All rules that are built and have a switch.
pub(crate) const RULES: &[Rule] = &[
    Rule {
        name: "r2",
        what: "a chunk's content and class are taken on trust",
        hazards: &[Hazard { harness: Harness::Integration(STORE), test: "h37_" }],
    },
    Rule {
        name: "r5",
        what: "a referenced chunk is not refreshed",
        hazards: &[Hazard { harness: Harness::Integration(GC), test: "h07_" }],
    },
    Rule {
        name: "r12",
        what: "the store clock follows the wall clock backwards",
        hazards: &[Hazard { harness: Harness::Unit(STORE), test: "h13_" }],
    },
    Rule {
        name: "r13",
        what: "open sessions do not hold the cutoff",
        hazards: &[Hazard { harness: Harness::Integration(GC), test: "h07_" }],
    },
    Rule {
        name: "r17",
        what: "an index may name any chunk of the store",
        hazards: &[Hazard { harness: Harness::Integration(DATASTORE), test: "h34_" }],
    },
];
