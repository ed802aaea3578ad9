//! Deletes without a certain answer: H10, H18, H21.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use coldkeep_chunk_store::testing::{HeldRequest, Late, RequestKind, Which};
use coldkeep_gc::Control;

use super::scene::{GARBAGE, Scene, UNCACHED, no_grace, object_key, settle_down};
use super::sessions::Use;
use super::stops::{as_filled, assert_completed, at_every_stop};

/// When a late delete takes effect, counted from the end of the run that sent it.
#[derive(Debug, Clone, Copy)]
enum Landing {
    /// So much later, while a session wants to upload the chunk again.
    After(Duration),
    /// Just before or after the effect of that upload.
    AtUpload { is_after: bool },
    /// When the session was told.
    Told,
}

fn landings() -> impl Iterator<Item = Landing> {
    let later = (0..40).map(|number| Landing::After(Duration::from_secs(5 * number)));
    let at_upload = [false, true].map(|is_after| Landing::AtUpload { is_after });
    later.chain(at_upload).chain([Landing::Told])
}

/// Has the delete of a run's chunks end as `lose` says, lets a session upload one of them again, and the delete land.
async fn play(lose: fn(HeldRequest) -> Late, landing: Landing) {
    println!("{landing:?}");
    let mut scene = Scene::filled().await;
    let delete = Which::next(RequestKind::Delete).key(object_key(GARBAGE));
    let mut held = scene.backend.hold_before(delete);
    let run = scene.spawn_run(&Control::new());
    settle_down().await;
    let late = lose(held.try_arrived().unwrap());
    let report = assert_completed(scene.let_end(run).await);
    let upload = Which::next(RequestKind::PutNew).key(object_key(GARBAGE));
    let mut uploads = match landing {
        Landing::AtUpload { is_after: false } => Some(scene.backend.hold_before(upload)),
        Landing::AtUpload { is_after: true } => Some(scene.backend.hold_after(upload)),
        _ => None,
    };
    scene.begin(Use::Insert, [GARBAGE]).await;
    let waited = match landing {
        Landing::After(waited) => waited,
        // More than a minute of validity and one of margin.
        _ => Duration::from_secs(200),
    };
    for _ in 0..waited.as_secs() / 5 {
        scene.advance(Duration::from_secs(5));
        settle_down().await;
    }
    let request = uploads.as_mut().map(|uploads| uploads.try_arrived().unwrap());
    // Refused if it has expired.
    let _ = late.land().await;
    drop(request);
    assert_eq!(scene.assert_nothing_lost().await, [GARBAGE]);
    scene.assert_clean_end().await;
    assert!(report.in_limbo.count > 0 && report.removed.count == 0, "{report}");
}

/// A session wants the chunk at each step of a run whose delete of it ends as `lose` says, and lands when the run is over.
async fn play_at_every_stop(lose: fn(HeldRequest) -> Late) {
    let lost = AtomicUsize::new(0);
    at_every_stop(as_filled, async |mut stopped| {
        let delete = Which::next(RequestKind::Delete).key(object_key(GARBAGE));
        let mut held = stopped.scene.backend.hold_before(delete);
        stopped.scene.begin(Use::Insert, [GARBAGE]).await;
        let is_delete = |request: &HeldRequest| request.request().kind == RequestKind::Delete;
        // Any other goes on.
        let mut late = stopped.unsent().filter(is_delete).map(lose);
        drop(stopped.step.take());
        for _ in 0..400 {
            settle_down().await;
            if stopped.run.is_finished() {
                break;
            }
            late = late.or(held.try_arrived().map(lose));
            stopped.scene.advance(Duration::from_secs(5));
        }
        let (mut scene, result) = stopped.end_run().await;
        assert_completed(result);
        scene.backend.clear_rules();
        if let Some(late) = late {
            lost.fetch_add(1, Ordering::Relaxed);
            // Refused if it has expired.
            let _ = late.land().await;
        }
        assert_eq!(scene.assert_nothing_lost().await, [GARBAGE]);
        scene.assert_clean_end().await;
    })
    .await;
    let lost = lost.into_inner();
    assert!(lost >= 5, "the session came while the delete was decided or under way {lost} times");
}

/// H10 (R9): a delete gets no answer and takes effect later.
#[tokio::test]
async fn h10_a_delete_without_an_answer_never_lands_on_a_chunk_uploaded_again() {
    for landing in landings() {
        play(HeldRequest::lose_now_land_later, landing).await;
    }
    play_at_every_stop(HeldRequest::lose_now_land_later).await;
}

/// H21 (R9): the first attempt of a delete gets no answer, the second one does, and then the first one takes effect.
#[tokio::test]
async fn h21_a_delete_that_was_repeated_never_lands_on_a_chunk_uploaded_again() {
    for landing in landings() {
        play(HeldRequest::repeat_now_land_later, landing).await;
    }
    play_at_every_stop(HeldRequest::repeat_now_land_later).await;
}

/// H18 (R7, I5): the backend refuses some keys of a delete. They are reported, and the next run tries again.
#[tokio::test]
async fn h18_refused_keys_are_reported_and_go_with_the_next_run() {
    let mut scene = Scene::filled().await;
    let refused = object_key(GARBAGE);
    scene.backend.refuse_deletes(move |key| key == refused, "locked");
    for _ in 0..2 {
        let report = assert_completed(scene.run_with(no_grace()).await);
        let reasons: Vec<&str> = report.failures.iter().map(|failure| failure.reason.as_str()).collect();
        assert_eq!((report.failed.count, &reasons[..]), (1, &["locked"][..]), "{report}");
        assert!(scene.has_object(GARBAGE) && !scene.has_object(UNCACHED));
    }
    // It can be used meanwhile, too.
    scene.begin(Use::Insert, [GARBAGE]).await;
    assert_eq!(scene.assert_nothing_lost().await, [GARBAGE]);
    scene.backend.clear_rules();
    scene.assert_clean_end().await;
}

/// H18 (R7, I5): the same, while a session wants the chunk at each step of the run.
#[tokio::test]
async fn h18_a_refused_key_can_be_used_at_any_step() {
    let refuse = async |scene: &mut Scene| {
        let refused = object_key(GARBAGE);
        scene.backend.refuse_deletes(move |key| key == refused, "locked");
    };
    at_every_stop(refuse, async |mut stopped| {
        stopped.scene.begin(Use::Insert, [GARBAGE]).await;
        let (mut scene, result) = stopped.end_run().await;
        assert_completed(result);
        assert_eq!(scene.assert_nothing_lost().await, [GARBAGE]);
        scene.backend.clear_rules();
        scene.forget_committed();
        scene.assert_clean_end().await;
    })
    .await;
}
