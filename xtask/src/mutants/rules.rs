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
    /// The tests of the S3 client over sockets, `tests/testbed/main.rs`.
    TestBed,
}

const STORE: Harness = Harness::Unit("coldkeep-chunk-store");
const GC: Harness = Harness::Integration("coldkeep-gc");
const S3: Harness = Harness::Integration("coldkeep-s3-client");
const DATASTORE: Harness = Harness::Integration("coldkeep-datastore");

/// All rules that are built and have a switch.
pub(crate) const RULES: &[Rule] = &[
    Rule {
        name: "r2",
        what: "a known chunk is neither refreshed nor compared by class",
        hazards: &[
            Hazard { harness: STORE, test: "h37_unchecked_blobs_do_not_claim_plain_chunks" },
            Hazard { harness: GC, test: "h02_a_known_chunk_is_refreshed_before_the_session_is_told" },
        ],
    },
    Rule {
        name: "r3",
        what: "the last attempt of a put stays conditional",
        hazards: &[
            Hazard { harness: S3, test: "h05_puts_that_keep_colliding_succeed_in_the_end" },
            Hazard {
                harness: Harness::TestBed,
                test: "h05_writers_succeed_where_every_conditional_put_collides",
            },
        ],
    },
    Rule {
        name: "r4",
        what: "a chunk is written in place",
        hazards: &[Hazard { harness: STORE, test: "a_replaced_chunk_stays_whole_for_whoever_is_reading_it" }],
    },
    Rule {
        name: "r5",
        what: "a referenced chunk is not refreshed",
        hazards: &[
            Hazard { harness: GC, test: "h07_a_reused_chunk_outlives_the_snapshot_it_came_from" },
            Hazard {
                harness: DATASTORE,
                test: "h07_a_reused_chunk_survives_prune_and_collection_before_the_commit",
            },
            Hazard { harness: DATASTORE, test: "h07_an_appended_chunk_stays_though_nothing_else_names_it" },
            Hazard { harness: DATASTORE, test: "h07_a_reused_index_holds_its_chunks" },
        ],
    },
    Rule {
        name: "r7",
        what: "a removal does not look again",
        hazards: &[
            Hazard { harness: STORE, test: "h02_a_chunk_touched_after_the_sweep_decided_is_kept" },
            Hazard { harness: GC, test: "h02_a_chunk_used_between_decision_and_removal_stays" },
        ],
    },
    Rule {
        name: "r9",
        what: "a later answer hides an earlier attempt without one",
        hazards: &[
            Hazard { harness: S3, test: "h21_a_success_after_a_lost_attempt_is_still_unclear" },
            Hazard { harness: S3, test: "an_unanswered_single_delete_is_not_reported_as_refused" },
            Hazard {
                harness: Harness::TestBed,
                test: "h10_a_delete_without_an_answer_is_unclear_until_its_expiry",
            },
            Hazard {
                harness: Harness::TestBed,
                test: "h21_an_unanswered_attempt_stays_unclear_after_a_success",
            },
        ],
    },
    Rule {
        name: "r11",
        what: "a store may have two owners",
        hazards: &[Hazard { harness: STORE, test: "a_store_has_one_owner" }],
    },
    Rule {
        name: "r12",
        what: "the store clock follows the wall clock, and file times are taken on trust",
        hazards: &[
            Hazard { harness: STORE, test: "h13_a_clock_that_steps_back_hides_no_use" },
            Hazard { harness: STORE, test: "collection_is_refused_where_times_are_not_kept" },
            Hazard { harness: GC, test: "h13_a_clock_that_steps_back_during_a_session_loses_nothing" },
            Hazard { harness: GC, test: "h13_a_wrong_date_after_a_restart_loses_nothing" },
        ],
    },
    Rule {
        name: "r13",
        what: "open sessions do not hold the cutoff",
        hazards: &[Hazard { harness: GC, test: "h07_the_cutoff_is_no_later_than_the_oldest_session" }],
    },
    Rule {
        name: "r15",
        what: "sessions that rely on a chunk set aside go on, and bad copies go at once",
        hazards: &[
            Hazard { harness: STORE, test: "h29_setting_a_chunk_aside_fails_the_sessions_that_rely_on_it" },
            Hazard { harness: STORE, test: "h29_sessions_fail_before_their_chunk_goes" },
            Hazard { harness: GC, test: "bad_copies_stay_while_an_index_refers_to_the_digest" },
        ],
    },
    Rule {
        name: "r17",
        what: "an index may name any chunk of the store",
        hazards: &[Hazard {
            harness: DATASTORE,
            test: "h34_an_index_cannot_name_a_chunk_that_its_session_never_had",
        }],
    },
    Rule {
        name: "i6",
        what: "a run goes on with an incomplete view",
        hazards: &[
            Hazard { harness: GC, test: "h15_an_unreadable_index_stops_the_run_before_anything_goes" },
            Hazard { harness: GC, test: "h15_an_index_that_is_cut_short_stops_the_run_before_anything_goes" },
            Hazard {
                harness: GC,
                test: "h15_an_index_that_is_listed_and_not_there_stops_the_run_before_anything_goes",
            },
            Hazard { harness: GC, test: "h15_a_failed_listing_stops_the_run_before_anything_goes" },
            Hazard {
                harness: DATASTORE,
                test: "an_index_that_vanished_is_an_error_unless_its_snapshot_is_gone",
            },
        ],
    },
    Rule {
        name: "h38",
        what: "a torn chunk counts as known after an unclean end",
        hazards: &[
            Hazard { harness: STORE, test: "h38_a_torn_chunk_does_not_count_as_known_after_an_unclean_end" },
            Hazard { harness: STORE, test: "h38_a_chunk_that_was_being_written_during_a_sync_stays_suspect" },
            Hazard { harness: STORE, test: "h38_a_chunk_written_after_the_clock_jumped_ahead_is_suspect" },
            Hazard { harness: STORE, test: "h38_a_suspect_chunk_stays_suspect_over_further_restarts" },
        ],
    },
];
