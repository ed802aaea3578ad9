//! The suite of this client on a real server: `cargo xtask matrix` runs it on several, and on any that a user has.
//!
//! The server comes from the environment (see [`env`]); without one nothing runs and nothing is claimed. To add a test, write an
//! `async fn name(env: Env)` that panics on failure in the module of its operation, and add a line to [`TESTS`]. A test uses keys of
//! [`env::Env::key`] only, and names what it needs of a server: where that is lacking it is reported as ignored.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod accounting;
mod between;
mod bucket;
mod buckets;
mod conditions;
mod copies;
mod deletes;
mod env;
mod integrity;
mod keys;
mod listing;
mod many;
mod multipart;
mod objects;
mod presigned;
mod probe;
mod ranges;
mod runner;
mod sample;
mod signatures;
mod two_writers;

use std::process::ExitCode;

use crate::runner::{Test, test};

const TESTS: &[Test] = &[
    test!(objects::what_was_put_comes_back_with_its_facts),
    test!(objects::user_metadata_comes_back, needs "user-metadata"),
    test!(objects::the_second_put_counts),
    test!(objects::an_empty_object_is_an_object),
    test!(objects::twenty_mebibytes_come_back_whole_and_in_pieces),
    test!(objects::a_deleted_object_is_gone),
    test!(objects::deletes_do_no_harm_to_neighbours, needs "deletes-apart"),
    test!(objects::checksums_come_back, needs "checksums"),
    test!(objects::uploads_work_with_any_checksum),
    test!(ranges::each_kind_of_range_is_read),
    test!(ranges::more_than_there_is_at_the_end_is_all_or_refused),
    test!(ranges::a_range_of_nothing_is_refused),
    test!(ranges::a_range_is_streamed),
    test!(conditions::a_put_if_absent_creates_once, needs "conditional-put"),
    test!(conditions::a_refused_put_of_a_large_body_is_no_network_error, needs "conditional-put"),
    test!(conditions::put_new_says_what_it_did),
    test!(conditions::a_race_of_puts_if_absent_has_one_winner, needs "conditional-put-atomic"),
    test!(conditions::a_put_if_match_replaces_what_it_knows, needs "conditional-swap"),
    test!(
        conditions::a_race_of_puts_if_match_has_one_winner_at_most,
        needs "conditional-swap",
        "conditional-put-atomic"
    ),
    test!(conditions::if_match_takes_a_quoted_tag, needs "conditional-swap", "if-match-quoted"),
    test!(conditions::a_quirk_rules_a_condition_out_before_it_is_sent),
    test!(conditions::a_get_if_match_is_refused_once_the_object_changed, needs "conditional-get"),
    test!(two_writers::none_fails_in_a_thousand_rounds),
    test!(two_writers::the_object_is_one_writers, needs "one-writer-wins"),
    test!(deletes::a_thousand_objects_go_in_one_request),
    test!(deletes::quiet_mode_deletes_as_well),
    test!(deletes::missing_objects_count_as_deleted),
    test!(deletes::a_batch_goes_without_multi_delete),
    test!(deletes::a_batch_is_one_request),
    test!(listing::pages_hold_each_key_once),
    test!(listing::pages_are_as_short_as_asked),
    test!(listing::a_page_of_exactly_all_keys_is_the_last),
    test!(listing::nothing_is_an_empty_page),
    test!(listing::a_prefix_is_no_folder),
    test!(listing::a_delimiter_rolls_keys_up),
    test!(listing::rolled_up_keys_come_in_pages_too),
    test!(listing::start_after_leaves_out_what_comes_before),
    test!(listing::a_listed_object_comes_with_its_facts),
    test!(keys::plain_keys_round_trip),
    test!(keys::odd_keys_round_trip),
    test!(keys::generated_keys_round_trip),
    test!(copies::a_copy_is_the_same_with_its_metadata),
    test!(copies::a_copy_can_have_metadata_of_its_own),
    test!(copies::a_copy_onto_itself_keeps_the_content),
    test!(copies::a_missing_source_is_not_found),
    test!(copies::a_source_that_changed_is_not_copied, needs "conditional-copy"),
    test!(multipart::parts_become_one_object),
    test!(multipart::a_part_replaces_the_one_before, needs "part-replace"),
    test!(multipart::an_aborted_upload_leaves_nothing),
    test!(multipart::a_wrong_tag_completes_nothing, needs "part-tag-check"),
    test!(multipart::a_part_that_was_not_uploaded_completes_nothing),
    test!(multipart::an_unknown_upload_is_no_such_upload),
    test!(buckets::the_bucket_is_there),
    test!(buckets::a_bucket_comes_and_goes, needs "own-buckets"),
    test!(buckets::a_full_bucket_cannot_be_deleted, needs "own-buckets", "full-buckets-stay"),
    test!(buckets::what_is_in_a_missing_bucket_is_not_found, needs "own-buckets", "no-such-bucket"),
    test!(buckets::making_a_bucket_again_leaves_what_is_in_it, needs "own-buckets"),
    test!(buckets::versioning_is_off_or_an_error, needs "own-buckets"),
    test!(buckets::object_lock_is_off_or_an_error, needs "own-buckets"),
    test!(buckets::a_lifecycle_is_empty_or_an_error, needs "own-buckets"),
    test!(presigned::links_work_without_a_client, needs "presign"),
    test!(presigned::every_operation_can_be_sent_presigned, needs "presign"),
    test!(presigned::a_multi_delete_can_be_sent_presigned, needs "presign"),
    test!(presigned::a_range_of_a_link_is_answered_with_206, needs "presign", "range-206"),
    test!(presigned::an_expired_delete_deletes_nothing, needs "presign", "presign-expiry"),
    test!(presigned::an_expired_multi_delete_deletes_nothing, needs "presign", "presign-expiry"),
    test!(presigned::an_expired_put_stores_nothing, needs "presign", "presign-expiry"),
    test!(presigned::a_link_for_one_object_is_no_link_for_another, needs "presign", "signature-check"),
    test!(signatures::a_wrong_secret_is_access_denied, needs "signature-check"),
    test!(signatures::an_unknown_key_is_access_denied, needs "signature-check"),
    test!(signatures::nothing_goes_without_a_signature, needs "signature-check"),
    test!(signatures::another_region_is_refused, needs "signature-check", "region-check"),
    test!(signatures::an_old_signature_is_refused, needs "date-check"),
    test!(signatures::a_wrong_clock_is_put_right, needs "date-check"),
    test!(integrity::a_body_that_is_not_what_was_signed_is_refused, needs "payload-hash-check"),
    test!(
        integrity::a_body_that_does_not_match_its_checksum_is_refused,
        needs "presign",
        "checksum-check"
    ),
    test!(integrity::a_part_that_does_not_match_its_md5_is_refused, needs "presign", "md5-check"),
    test!(accounting::sixty_four_at_once_do_not_mix_up),
    test!(accounting::every_request_is_counted),
    test!(probe::it_finds_what_the_table_says),
];

fn main() -> ExitCode {
    runner::run(TESTS)
}
