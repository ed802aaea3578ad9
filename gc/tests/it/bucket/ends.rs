//! Runs that do not end as they should: H8, H9, H27, H28, and failures of single requests and file operations.

use coldkeep_chunk_store::backend::Fault;
use coldkeep_chunk_store::testing::{HeldRequest, RequestKind, Which};
use coldkeep_gc::End;

use super::scene::{DAY, GARBAGE, NEW, STRAY, Scene, UNCACHED, no_grace, object_key, settle_down};
use super::sessions::Use;
use super::stops::{as_filled, at_every_stop};
use crate::fixture::HOUR;

/// Lets what a process was about to send when it crashed reach the bucket after all.
async fn land(request: Option<HeldRequest>) {
    if let Some(request) = request {
        // Refused if it has expired.
        let _ = request.lose_now_land_later().land().await;
    }
}

/// H8 (R1, R7, I5): a crash comes between an upload and its marker. Goal: what it left is as young as its upload marker, can
/// be used, and goes if nobody does. Method: the upload's reply is held back; after the crash the backend's clock leaps
/// ahead, so that nothing but the upload marker speaks for the object.
#[tokio::test]
async fn h08_an_upload_that_a_crash_at_any_step_cut_short_is_protected_found_and_collected() {
    for is_wanted in [true, false] {
        at_every_stop(as_filled, async |mut stopped| {
            let new = Which::next(RequestKind::PutNew).key(object_key(NEW));
            let mut held = stopped.scene.backend.hold_after(new);
            stopped.scene.begin(Use::Insert, [NEW]).await;
            // None if the session waits for the run, which saves the clock.
            let is_sent = held.try_arrived().is_some();
            drop(held);
            let (mut scene, _) = stopped.crash(false).await;
            scene.reopen().await;
            scene.backend_clock.advance(DAY);
            let options = no_grace().with_grace(HOUR);
            scene.run_with(options).await.unwrap();
            assert_eq!(scene.has_object(NEW), is_sent, "it is younger than the grace");
            if is_wanted {
                scene.begin(Use::Insert, [NEW]).await;
                assert_eq!(scene.assert_nothing_lost().await, [NEW]);
            }
            scene.assert_clean_end().await;
        })
        .await;
    }
}

/// H9 (R7): power loss brings markers back whose objects were deleted. What the run was about to send lands before or
/// after the next open.
#[tokio::test]
async fn h09_power_loss_at_any_step_brings_no_marker_back_over_nothing() {
    for lands_before in [true, false] {
        at_every_stop(as_filled, async |stopped| {
            let (mut scene, mut request) = stopped.crash(true).await;
            if lands_before {
                land(request.take()).await;
            }
            scene.reopen().await;
            scene.begin(Use::Insert, [GARBAGE, UNCACHED, STRAY]).await;
            land(request).await;
            assert_eq!(scene.assert_nothing_lost().await, [GARBAGE, UNCACHED, STRAY]);
            scene.assert_clean_end().await;
        })
        .await;
    }
}

/// H27 (R7): a cancelled run leaves nothing behind that anybody waits for.
#[tokio::test]
async fn h27_a_run_that_is_cancelled_at_any_step_keeps_nobody_waiting() {
    at_every_stop(as_filled, async |mut stopped| {
        stopped.scene.begin(Use::Insert, [GARBAGE]).await;
        stopped.control.cancel();
        let has_ended = stopped.step.is_none();
        let (mut scene, result) = stopped.end_run().await;
        assert_eq!(result.unwrap().end == End::Completed, has_ended);
        assert_eq!(scene.store.status().journal.journalled, 0, "every outcome is certain");
        scene.begin(Use::Insert, [UNCACHED]).await;
        scene.assert_clean_end().await;
    })
    .await;
}

/// H27 (R7): the same if the run is dropped, and what it was about to send lands late.
#[tokio::test]
async fn h27_a_run_that_is_dropped_at_any_step_keeps_nobody_waiting_for_ever() {
    at_every_stop(as_filled, async |mut stopped| {
        stopped.run.abort();
        settle_down().await;
        let request = stopped.unsent();
        let mut scene = stopped.scene;
        scene.begin(Use::Insert, [GARBAGE, UNCACHED, STRAY]).await;
        land(request).await;
        assert_eq!(scene.assert_nothing_lost().await, [GARBAGE, UNCACHED, STRAY]);
        scene.assert_clean_end().await;
    })
    .await;
}

/// H28 (R7): replay of a journal that an image of the disk brings back. Goal: it deletes nothing. Method: the image is made
/// while the run stands still; the run ends, its garbage is uploaded again and committed, and the image is restored.
#[tokio::test]
async fn h28_an_image_of_the_disk_made_at_any_step_deletes_nothing_when_it_is_opened_again() {
    at_every_stop(as_filled, async |stopped| {
        let image = stopped.scene.dir.snapshot();
        let (mut scene, result) = stopped.end_run().await;
        result.unwrap();
        scene.begin(Use::Insert, [GARBAGE, UNCACHED, STRAY]).await;
        scene.assert_nothing_lost().await;
        scene.dir.restore(&image);
        scene.reopen().await;
        assert!(scene.assert_nothing_lost().await.is_empty());
        scene.assert_clean_end().await;
    })
    .await;
}

/// Nothing is lost by a run one of whose requests fails, with or without effect, and the next run goes on.
#[tokio::test]
async fn a_request_that_fails_at_any_step_costs_nothing() {
    for (is_lost, is_unclear) in [(false, false), (false, true), (true, true)] {
        for number in 0.. {
            let mut scene = Scene::filled().await;
            let which = Which::any().after(number);
            if is_lost {
                scene.backend.lose_replies(which);
            } else {
                scene.backend.fail(which, Fault::Unavailable, is_unclear);
            }
            let before = scene.backend.log().len();
            let _ = scene.run_with(no_grace()).await;
            let is_over = scene.backend.log().len() - before <= number;
            scene.backend.clear_rules();
            scene.begin(Use::Insert, [GARBAGE, STRAY]).await;
            scene.assert_clean_end().await;
            if is_over {
                assert!(number > 20);
                break;
            }
        }
    }
}

/// Nor by one that meets a disk on which something fails.
#[tokio::test]
async fn a_disk_that_fails_costs_nothing() {
    let methods = [
        "keeps_times",
        "marks",
        "names",
        "place_marker",
        "remove_markers",
        "remove_unused",
        "save_state",
        "shards",
        "sync",
    ];
    for method in methods {
        let mut scene = Scene::filled().await;
        scene.dir.fail(&[method]);
        scene.run_with(no_grace()).await.unwrap_err();
        scene.dir.fail(&[]);
        scene.begin(Use::Insert, [GARBAGE, STRAY]).await;
        scene.assert_clean_end().await;
    }
}
