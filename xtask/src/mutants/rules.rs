//! The rule switches and the tests that must notice them.

/// One rule with a switch.
pub(crate) struct Rule {
    /// What `COLDKEEP_OFF` names.
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
#[derive(PartialEq)]
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
        name: "r1",
        what: "an upload leaves without its upload marker",
        hazards: &[
            Hazard {
                harness: STORE,
                test: "h17_a_session_without_cache_leaves_marks_that_the_sweep_respects",
            },
            Hazard { harness: STORE, test: "h04_a_failed_upload_leaves_another_one_its_protection" },
            Hazard {
                harness: STORE,
                test: "h08_what_a_crash_cut_short_is_protected_found_again_and_collected_if_nobody_wants_it",
            },
            Hazard {
                harness: GC,
                test: "h01_an_object_uploaded_at_any_step_stays_until_its_marker_is_there",
            },
            Hazard { harness: GC, test: "h03_an_object_found_there_stays_until_its_marker_is_there" },
            Hazard {
                harness: GC,
                test: "h08_an_upload_that_a_crash_at_any_step_cut_short_is_protected_found_and_collected",
            },
        ],
    },
    Rule {
        name: "r2",
        what: "a known chunk is neither refreshed nor compared by class",
        hazards: &[
            Hazard { harness: STORE, test: "h37_a_plain_chunk_cannot_be_claimed_by_what_nobody_can_check" },
            Hazard { harness: STORE, test: "h37_a_plain_chunk_takes_the_place_of_a_claim" },
            Hazard { harness: STORE, test: "h37_unchecked_blobs_do_not_claim_plain_chunks" },
            Hazard { harness: GC, test: "h02_a_known_chunk_is_refreshed_before_the_session_is_told" },
            Hazard { harness: GC, test: "h02_a_known_chunk_used_at_any_step_stays" },
        ],
    },
    Rule {
        name: "r3",
        what: "the last attempt of a put stays conditional",
        hazards: &[
            Hazard { harness: STORE, test: "h32_a_bad_object_that_is_already_there_is_replaced" },
            Hazard { harness: STORE, test: "h32_a_good_object_of_another_encoding_is_kept_and_cached" },
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
        hazards: &[
            Hazard { harness: STORE, test: "h04_a_failed_upload_leaves_another_one_its_protection" },
            Hazard { harness: STORE, test: "h22_an_acknowledgement_from_before_a_delete_does_not_count" },
            Hazard { harness: STORE, test: "a_replaced_chunk_stays_whole_for_whoever_is_reading_it" },
            Hazard {
                harness: GC,
                test: "h22_an_acknowledgement_from_before_a_delete_does_not_count_at_any_step",
            },
        ],
    },
    Rule {
        name: "r5",
        what: "a referenced chunk is not refreshed",
        hazards: &[
            Hazard { harness: STORE, test: "h07_a_referenced_chunk_is_in_use" },
            Hazard { harness: GC, test: "h07_a_reused_chunk_outlives_the_snapshot_it_came_from" },
            Hazard {
                harness: DATASTORE,
                test: "h07_a_reused_chunk_survives_prune_and_collection_before_the_commit",
            },
            Hazard { harness: DATASTORE, test: "h07_an_appended_chunk_stays_though_nothing_else_names_it" },
            Hazard { harness: DATASTORE, test: "h07_a_reused_index_holds_its_chunks" },
            Hazard { harness: DATASTORE, test: "h07_a_collection_during_a_copy_takes_nothing_from_it" },
            Hazard { harness: GC, test: "h02_a_known_chunk_used_at_any_step_stays" },
        ],
    },
    Rule {
        name: "r6",
        what: "a read makes markers, and eviction does not look again",
        hazards: &[
            Hazard { harness: STORE, test: "h06_a_download_that_ends_after_the_marker_went_makes_none" },
            Hazard { harness: STORE, test: "h06_what_is_journalled_is_not_cached" },
            Hazard { harness: STORE, test: "h14_a_chunk_that_is_read_after_it_was_chosen_is_not_evicted" },
            Hazard { harness: GC, test: "h06_a_download_that_began_at_any_step_makes_no_marker" },
            Hazard { harness: GC, test: "h06_an_eviction_at_any_step_makes_no_marker" },
        ],
    },
    Rule {
        name: "r7",
        what: "a removal neither looks again nor at its answer, and what it began is ended by nobody",
        hazards: &[
            Hazard { harness: STORE, test: "h01_an_object_whose_upload_is_not_over_is_not_condemned" },
            Hazard { harness: STORE, test: "h28_replay_of_the_journal_deletes_nothing_and_trusts_nothing" },
            Hazard { harness: STORE, test: "h02_a_chunk_touched_after_the_sweep_decided_is_kept" },
            Hazard { harness: GC, test: "h02_a_chunk_used_between_decision_and_removal_stays" },
            Hazard { harness: STORE, test: "h18_refused_keys_are_reported_and_left_to_a_later_run" },
            Hazard {
                harness: STORE,
                test: "h27_a_batch_given_up_in_mid_air_is_in_limbo_and_inserts_go_on_after_it",
            },
            Hazard { harness: GC, test: "h02_a_known_chunk_used_at_any_step_stays" },
            Hazard { harness: GC, test: "h03_an_object_found_there_at_any_step_stays" },
            Hazard { harness: GC, test: "h09_power_loss_at_any_step_brings_no_marker_back_over_nothing" },
            Hazard { harness: GC, test: "h18_refused_keys_are_reported_and_go_with_the_next_run" },
            Hazard {
                harness: GC,
                test: "h27_a_run_that_is_dropped_at_any_step_keeps_nobody_waiting_for_ever",
            },
            Hazard {
                harness: GC,
                test: "h28_an_image_of_the_disk_made_at_any_step_deletes_nothing_when_it_is_opened_again",
            },
        ],
    },
    Rule {
        name: "r8",
        what: "inserts and references go on over condemned and journalled digests",
        hazards: &[
            Hazard {
                harness: STORE,
                test: "h02_a_chunk_used_after_it_was_condemned_is_taken_out_of_the_batch",
            },
            Hazard {
                harness: STORE,
                test: "h02_an_insert_while_the_delete_is_on_its_way_waits_and_uploads_anew",
            },
            Hazard { harness: GC, test: "h02_a_chunk_used_after_it_was_condemned_is_taken_out_of_the_batch" },
            Hazard { harness: GC, test: "h02_a_known_chunk_used_at_any_step_stays" },
            Hazard { harness: GC, test: "h03_an_object_found_there_at_any_step_stays" },
        ],
    },
    Rule {
        name: "r9",
        what: "a later answer hides an earlier attempt without one",
        hazards: &[
            Hazard {
                harness: STORE,
                test: "h10_a_delete_without_an_answer_never_lands_on_a_chunk_uploaded_again",
            },
            Hazard {
                harness: STORE,
                test: "h21_a_first_attempt_that_lands_late_is_feared_even_if_the_second_one_succeeded",
            },
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
            Hazard {
                harness: GC,
                test: "h10_a_delete_without_an_answer_never_lands_on_a_chunk_uploaded_again",
            },
            Hazard {
                harness: GC,
                test: "h21_a_delete_that_was_repeated_never_lands_on_a_chunk_uploaded_again",
            },
            Hazard { harness: GC, test: "h30_one_date_far_ahead_does_not_end_limbo" },
        ],
    },
    Rule {
        name: "r10",
        what: "whatever token stands in the bucket counts as ours",
        hazards: &[
            Hazard { harness: STORE, test: "h11_markers_of_a_restored_disk_count_for_nothing" },
            Hazard { harness: STORE, test: "h11_another_server_has_had_the_bucket_since" },
            Hazard {
                harness: STORE,
                test: "h12_a_forced_takeover_ends_the_first_server_and_the_second_one_goes_on",
            },
            Hazard { harness: STORE, test: "h12_a_bucket_taken_over_during_a_commit_is_not_acknowledged" },
            Hazard {
                harness: STORE,
                test: "h23_a_disk_copied_in_the_middle_of_a_run_belongs_to_no_generation",
            },
            Hazard {
                harness: STORE,
                test: "h24_a_rebuild_waits_until_deletes_of_the_predecessor_have_expired",
            },
            Hazard { harness: STORE, test: "h36_a_superseded_server_neither_deletes_nor_rewrites" },
        ],
    },
    Rule {
        name: "r11",
        what: "a store may have two owners",
        hazards: &[
            Hazard { harness: STORE, test: "h12_a_second_server_is_refused_and_told_who_has_the_bucket" },
            Hazard { harness: STORE, test: "a_store_has_one_owner" },
        ],
    },
    Rule {
        name: "r12",
        what: "the store clock follows the wall clock, and file times are taken on trust",
        hazards: &[
            Hazard { harness: STORE, test: "h13_a_clock_that_steps_back_hides_no_use" },
            Hazard { harness: STORE, test: "collection_is_refused_where_times_are_not_kept" },
            Hazard { harness: GC, test: "h13_a_clock_that_steps_back_during_a_session_loses_nothing" },
            Hazard { harness: GC, test: "h13_a_wrong_date_after_a_restart_loses_nothing" },
            Hazard { harness: GC, test: "h13_a_date_that_steps_back_at_any_step_hides_no_use" },
            Hazard {
                harness: GC,
                test: "h13_a_date_that_steps_back_before_a_run_neither_hides_uses_nor_keeps_garbage",
            },
            Hazard {
                harness: GC,
                test: "h30_what_was_used_at_a_date_far_ahead_is_collected_when_nobody_needs_it",
            },
        ],
    },
    Rule {
        name: "r13",
        what: "open sessions do not hold the cutoff",
        hazards: &[
            Hazard { harness: GC, test: "h07_the_cutoff_is_no_later_than_the_oldest_session" },
            Hazard { harness: DATASTORE, test: "h07_a_collection_during_a_copy_takes_nothing_from_it" },
            Hazard { harness: GC, test: "h20_the_upload_marker_of_a_very_long_upload_stays" },
        ],
    },
    Rule {
        name: "r14",
        what: "healing acts on a listing, without a look under lock(d), and fails no session",
        hazards: &[
            Hazard {
                harness: STORE,
                test: "h26_healing_does_not_remove_the_marker_of_a_chunk_uploaded_meanwhile",
            },
            Hazard {
                harness: STORE,
                test: "h26_healing_puts_no_marker_over_an_object_that_is_being_deleted",
            },
            Hazard {
                harness: GC,
                test: "h16_a_marker_without_object_is_relied_on_by_no_session_that_goes_on",
            },
            Hazard { harness: GC, test: "h26_a_chunk_uploaded_at_any_step_keeps_its_marker_and_its_session" },
            Hazard { harness: GC, test: "h26_no_marker_is_made_for_an_object_that_is_set_aside_at_any_step" },
        ],
    },
    Rule {
        name: "r15",
        what: "sessions that rely on a chunk set aside go on, and bad copies go at once",
        hazards: &[
            Hazard { harness: STORE, test: "h31_a_fetch_that_fails_or_goes_wrong_once_sets_nothing_aside" },
            Hazard {
                harness: STORE,
                test: "h29_a_session_that_relies_on_a_chunk_set_aside_fails_and_the_next_one_uploads_it",
            },
            Hazard { harness: STORE, test: "h29_setting_a_chunk_aside_fails_the_sessions_that_rely_on_it" },
            Hazard { harness: STORE, test: "h29_sessions_fail_before_their_chunk_goes" },
            Hazard { harness: GC, test: "bad_copies_stay_while_an_index_refers_to_the_digest" },
        ],
    },
    Rule {
        name: "r17",
        what: "an index may name any chunk of the store",
        hazards: &[
            Hazard {
                harness: DATASTORE,
                test: "h34_an_index_cannot_name_a_chunk_that_its_session_never_had",
            },
            Hazard { harness: DATASTORE, test: "h34_a_copy_uses_what_its_group_names_and_nothing_else" },
        ],
    },
    Rule {
        name: "r19",
        what: "a path is free although a request for it may still take effect",
        hazards: &[
            Hazard { harness: STORE, test: "h35_a_late_put_does_not_undo_a_later_one" },
            Hazard { harness: STORE, test: "h35_a_late_delete_does_not_hit_a_path_that_is_used_again" },
            Hazard { harness: STORE, test: "h35_a_request_given_up_in_mid_air_closes_the_path" },
            Hazard { harness: STORE, test: "h25_a_manifest_that_may_still_land_keeps_its_path_closed" },
            Hazard { harness: DATASTORE, test: "h35_a_retry_with_the_same_time_meets_no_late_put" },
            Hazard {
                harness: DATASTORE,
                test: "h25_a_disk_from_before_the_session_leaves_it_its_index_until_nothing_can_land",
            },
        ],
    },
    Rule {
        name: "h19",
        what: "what the cache holds is served without a check",
        hazards: &[Hazard { harness: STORE, test: "h19_a_torn_cached_file_is_not_served_and_is_replaced" }],
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
            Hazard {
                harness: GC,
                test: "h15_an_index_that_is_unreadable_at_any_step_stops_the_run_or_comes_too_late",
            },
            Hazard {
                harness: GC,
                test: "h15_a_listing_that_fails_at_any_page_stops_the_run_before_anything_goes",
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
