//! Hazards of chunks that are used while they may be garbage: H1, H2, H3, H6, H20, H22.

use std::sync::Arc;

use coldkeep_chunk_store::testing::{RequestKind, Room, Which};

use super::scene::{CUT_SHORT, DAY, GARBAGE, KEPT, NEW, STRAY, Scene, UNCACHED, object_key, settle_down};
use super::sessions::Use;
use super::stops::{Stop, Stopped, as_filled, assert_completed, at_every_stop};
use crate::fixture::digest;

/// The next upload of a chunk.
fn upload(number: u32) -> Which {
    Which::next(RequestKind::PutNew).key(object_key(number))
}

/// H1 (R1, R13). Goal: an object whose upload is not over stays, whatever its age seems to be.
/// Method: a new chunk is uploaded while the run stands still; the reply is held back until the run has ended. The backend's
/// clock leaps ahead, so that the object looks old and nothing but its upload marker speaks for it.
#[tokio::test]
async fn h01_an_object_uploaded_at_any_step_stays_until_its_marker_is_there() {
    at_every_stop(as_filled, async |mut stopped| {
        let mut held = stopped.scene.backend.hold_after(upload(NEW));
        stopped.scene.begin(Use::InsertUncached, [NEW]).await;
        stopped.scene.backend_clock.advance(DAY);
        // Requests that were signed before the leap are too old now, so the run may fail.
        let (mut scene, _) = stopped.end_run().await;
        settle_down().await;
        let reply = held.try_arrived().unwrap();
        assert!(scene.has_object(NEW), "nobody took it away");
        reply.release();
        scene.assert_clean_end().await;
    })
    .await;
}

/// H2 (R2, R5, R7, R8): a run decides about a known chunk, a session uses it, the delete would land.
#[tokio::test]
async fn h02_a_known_chunk_used_at_any_step_stays() {
    for how in [Use::Insert, Use::Reference] {
        at_every_stop(as_filled, async |mut stopped| {
            stopped.scene.begin(how, [GARBAGE, UNCACHED]).await;
            stopped.assert_all_well().await;
        })
        .await;
    }
}

/// H2 (R8). Goal: what is condemned and not yet journalled is taken out of its batch. Method: there is so much garbage that
/// locks are taken in two groups; the run stands still where the first is condemned and the second is looked at.
#[tokio::test]
async fn h02_a_chunk_used_after_it_was_condemned_is_taken_out_of_the_batch() {
    let numbers = std::array::from_fn::<u32, 140, _>(|number| 100 + number as u32);
    let mut looks = 0;
    for call in 0.. {
        let scene = Scene::empty().await;
        for number in numbers {
            scene.place_object(number);
        }
        scene.advance(DAY);
        let mut stopped = Stopped::begin(scene, Stop::BeforeFileCall(call)).await;
        looks += usize::from(stopped.file_call() == Some("marks"));
        if looks < 2 {
            continue;
        }
        stopped.scene.begin(Use::Insert, numbers).await;
        let (mut scene, result) = stopped.end_run().await;
        let report = assert_completed(result);
        assert_eq!(scene.assert_nothing_lost().await, numbers);
        // A few of the 128 share a lock with one of the others, and wait.
        assert!(report.pending.count > 100 && report.removed.count > 0, "{report}");
        scene.assert_clean_end().await;
        break;
    }
}

/// H3 (R7, R8): a conditional put finds an object there, then a run deletes it.
#[tokio::test]
async fn h03_an_object_found_there_at_any_step_stays() {
    for how in [Use::Insert, Use::Reference] {
        at_every_stop(as_filled, async |mut stopped| {
            stopped.scene.begin(how, [STRAY, CUT_SHORT]).await;
            stopped.assert_all_well().await;
        })
        .await;
    }
}

/// H3 (R1, R7): the same, and the answer is still on its way when the run ends.
#[tokio::test]
async fn h03_an_object_found_there_stays_until_its_marker_is_there() {
    at_every_stop(as_filled, async |mut stopped| {
        let mut held = stopped.scene.backend.hold_after(upload(STRAY));
        stopped.scene.begin(Use::Insert, [STRAY]).await;
        // None yet if a delete is under way: then the insert waits for its end (R8).
        let answer = held.try_arrived();
        let (mut scene, result) = stopped.end_run().await;
        assert_completed(result);
        if let Some(answer) = answer {
            assert!(scene.has_object(STRAY), "nobody took it away");
            answer.release();
        }
        drop(held);
        assert_eq!(scene.assert_nothing_lost().await, [STRAY]);
        scene.assert_clean_end().await;
    })
    .await;
}

/// H6 (R6). Goal: a download that ends after the run makes no marker. Method: its reply is held back until then.
#[tokio::test]
async fn h06_a_download_that_began_at_any_step_makes_no_marker() {
    at_every_stop(as_filled, async |stopped| {
        let mut held = stopped.scene.backend.hold_after(Which::every(RequestKind::Get).about(is_chunk));
        let loads = [UNCACHED, STRAY, KEPT[1]].map(|number| {
            let store = Arc::clone(&stopped.scene.store);
            tokio::spawn(async move { store.load(&digest(number)).await })
        });
        settle_down().await;
        let (mut scene, result) = stopped.end_run().await;
        assert_completed(result);
        while let Some(reply) = held.try_arrived() {
            reply.release();
        }
        drop(held);
        for load in loads {
            // Gone, or what it was.
            let _ = scene.let_end(load).await;
        }
        scene.assert_clean_end().await;
    })
    .await;
}

/// H6 (R6): the same for evictions, which happen when the disk is full.
#[tokio::test]
async fn h06_an_eviction_at_any_step_makes_no_marker() {
    at_every_stop(as_filled, async |mut stopped| {
        stopped.scene.dir.leave_room(Room::Nothing);
        stopped.scene.begin(Use::Insert, [NEW]).await;
        stopped.scene.dir.leave_room(Room::Plenty);
        stopped.assert_all_well().await;
    })
    .await;
}

/// H20 (R13): an upload takes three days.
#[tokio::test]
async fn h20_the_upload_marker_of_a_very_long_upload_stays() {
    let held = std::sync::Mutex::new(None);
    let begin = async |scene: &mut Scene| {
        let mut requests = scene.backend.hold_before(upload(NEW));
        scene.begin(Use::Insert, [NEW]).await;
        *held.lock().unwrap() = Some(requests.arrived().await);
        scene.advance(3 * DAY);
    };
    at_every_stop(begin, async |stopped| {
        let (mut scene, result) = stopped.end_run().await;
        assert_completed(result);
        assert!(scene.marks(NEW).await.upload_started_at.is_some());
        drop(held.lock().unwrap().take());
        scene.assert_clean_end().await;
    })
    .await;
}

fn is_chunk(key: &str) -> bool {
    key.starts_with(".chunks/")
}
