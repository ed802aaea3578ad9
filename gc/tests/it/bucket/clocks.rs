//! Clocks that are wrong: H13, H30.

use std::time::Duration;

use coldkeep_chunk_store::Clock as _;
use coldkeep_chunk_store::testing::{RequestKind, Which};
use coldkeep_gc::Control;

use super::scene::{DAY, GARBAGE, NEW, STRAY, Scene, UNCACHED, object_key, settle_down};
use super::sessions::Use;
use super::stops::{as_filled, assert_completed, at_every_stop};
use crate::fixture::{HOUR, START};

/// H13 (R12): the date steps back while a session uses chunks, and is put right again.
#[tokio::test]
async fn h13_a_date_that_steps_back_at_any_step_hides_no_use() {
    at_every_stop(as_filled, async |mut stopped| {
        stopped.scene.clock.step_wall(START.minus(10 * HOUR));
        stopped.scene.begin(Use::Insert, [GARBAGE, STRAY, NEW]).await;
        stopped.scene.clock.step_wall(START.plus(DAY));
        stopped.assert_all_well().await;
    })
    .await;
}

/// H13 (R12): the date steps back before a run. Goal: the run still knows what is old. Method: a session that is open since
/// before uses a chunk at every step.
#[tokio::test]
async fn h13_a_date_that_steps_back_before_a_run_neither_hides_uses_nor_keeps_garbage() {
    let step_back = async |scene: &mut Scene| scene.clock.step_wall(START.minus(10 * DAY));
    at_every_stop(step_back, async |mut stopped| {
        stopped.scene.begin(Use::Reference, [GARBAGE]).await;
        let (mut scene, result) = stopped.end_run().await;
        assert!(assert_completed(result).removed.count > 0, "the rest of the garbage");
        assert!(!scene.has_object(UNCACHED));
        scene.assert_clean_end().await;
    })
    .await;
}

/// H30 (R12): the date leaps ten years ahead while chunks are used, and back. Goal: they can be collected all the same.
#[tokio::test]
async fn h30_what_was_used_at_a_date_far_ahead_is_collected_when_nobody_needs_it() {
    at_every_stop(as_filled, async |mut stopped| {
        stopped.scene.clock.step_wall(START.plus(3650 * DAY));
        stopped.scene.begin(Use::Insert, [GARBAGE, NEW]).await;
        stopped.scene.clock.step_wall(START.plus(DAY));
        let (mut scene, result) = stopped.end_run().await;
        assert_completed(result);
        assert_eq!(scene.assert_nothing_lost().await, [GARBAGE, NEW]);
        scene.forget_committed();
        scene.assert_clean_end().await;
    })
    .await;
}

/// H30 (R9, R7): one answer of the backend bears a date far ahead, at any step of a run, while a session uses chunks.
#[tokio::test]
async fn h30_one_date_far_ahead_at_any_step_loses_nothing() {
    at_every_stop(as_filled, async |mut stopped| {
        stopped.scene.begin(Use::Insert, [GARBAGE, NEW]).await;
        stopped.scene.backend_clock.advance(DAY);
        drop(stopped.step.take());
        for _ in 0..3 {
            settle_down().await;
        }
        let ahead = stopped.scene.backend_clock.wall();
        stopped.scene.backend_clock.step_wall(ahead.minus(DAY));
        let (mut scene, result) = stopped.end_run().await;
        // Deletes that were signed for another time are refused as expired; the next run sends them.
        result.unwrap();
        scene.assert_clean_end().await;
    })
    .await;
}

/// H30 (R9): one answer of the backend bears a date far ahead while a delete is in limbo. Goal: that does not end it.
/// Method: the delete takes effect after that answer, while a session waits to upload the chunk again.
#[tokio::test]
async fn h30_one_date_far_ahead_does_not_end_limbo() {
    let mut scene = Scene::filled().await;
    let delete = Which::next(RequestKind::Delete).key(object_key(GARBAGE));
    let mut held = scene.backend.hold_before(delete);
    let run = scene.spawn_run(&Control::new());
    settle_down().await;
    let late = held.try_arrived().unwrap().lose_now_land_later();
    assert_completed(scene.let_end(run).await);
    scene.begin(Use::Insert, [GARBAGE]).await;
    let looks = scene.backend.log().len();
    scene.backend_clock.advance(DAY);
    scene.advance(Duration::from_secs(10));
    settle_down().await;
    assert!(scene.backend.log().len() > looks, "the wait has looked at the backend's clock");
    scene.backend_clock.step_wall(START.plus(DAY).plus(Duration::from_secs(10)));
    scene.advance(Duration::from_secs(10));
    settle_down().await;
    assert!(!scene.uses[0].is_finished());
    late.land().await.unwrap();
    assert_eq!(scene.assert_nothing_lost().await, [GARBAGE]);
    scene.assert_clean_end().await;
}
