//! What a run sees and what is there: H15, H16, H22, H26, and dry runs.

use std::sync::Arc;

use coldkeep_chunk_store::backend::Fault;
use coldkeep_chunk_store::testing::{RequestKind, Which};
use coldkeep_gc::testing::ReadFault;
use coldkeep_gc::{CollectError, Report};

use super::scene::{HOLLOW, INDEX, LOST, Scene, no_grace, object_key, settle_down};
use super::sessions::Use;
use super::stops::{as_filled, assert_completed, at_every_stop};
use crate::fixture::digest;

/// A chunk that a snapshot names, whose object is no blob and has no marker.
const TORN: u32 = 20;
/// A chunk that a snapshot names, whose object is missing and whose marker knows no class.
const LOST_UNKNOWN: u32 = 21;

const OTHER_INDEX: &str = "host/a/2/root.didx";

async fn with_torn_chunk(scene: &mut Scene) {
    scene.backend.inner().place(&object_key(TORN), "no blob at all");
    scene.add_index(OTHER_INDEX, &[TORN]);
    scene.lost.insert(TORN);
}

/// H15 (I6): an index cannot be read, from some step on.
#[tokio::test]
async fn h15_an_index_that_is_unreadable_at_any_step_stops_the_run_or_comes_too_late() {
    at_every_stop(as_filled, async |stopped| {
        stopped.scene.references.set_fault(INDEX, ReadFault::Unreadable);
        let objects = stopped.scene.backend.inner().keys();
        let (mut scene, result) = stopped.end_run().await;
        if result.is_err() {
            assert_eq!(scene.backend.inner().keys(), objects, "nothing goes");
        }
        scene.references.set_fault(INDEX, ReadFault::None);
        scene.assert_clean_end().await;
    })
    .await;
}

/// H15 (I6): some page of the listing of chunks fails.
#[tokio::test]
async fn h15_a_listing_that_fails_at_any_page_stops_the_run_before_anything_goes() {
    for page in 0.. {
        let mut scene = Scene::filled().await;
        scene.backend.fail(Which::next(RequestKind::List).after(page), Fault::Unavailable, false);
        let objects = scene.backend.inner().keys();
        let lists = scene.backend.requests(RequestKind::List);
        let result = scene.run_with(no_grace()).await;
        if scene.backend.requests(RequestKind::List) - lists <= page {
            assert_completed(result);
            assert!(page > 10);
            break;
        }
        let Err(CollectError::Sweep { removed, .. }) = result else { panic!("page {page}: {result:?}") };
        assert_eq!((removed.count, scene.backend.inner().keys()), (0, objects), "page {page}");
        scene.assert_clean_end().await;
    }
}

/// H15 (R14): some page of the listing of chunks is cut, and nobody says so. What is not listed is looked for before a marker
/// goes or an alarm is given.
#[tokio::test]
async fn h15_a_listing_that_is_cut_at_any_page_costs_no_marker_and_gives_no_alarm() {
    for (page, objects) in (0..30).flat_map(|page| [(page, 0), (page, 1)]) {
        let mut scene = Scene::filled().await;
        scene.backend.cut_listings(Which::next(RequestKind::List).after(page), objects);
        let report = assert_completed(scene.run_with(no_grace()).await);
        assert_eq!(report.missing.sample, [digest(LOST)], "page {page}");
        // Garbage whose object was not listed counts as a marker, too; it goes with the batch all the same.
        assert!(report.healed.markers_removed >= 1, "page {page}");
        scene.backend.clear_rules();
        scene.assert_clean_end().await;
    }
}

/// H16 (R14): there is a marker without object. Whoever is told of it fails, and the next backup uploads the chunk.
#[tokio::test]
async fn h16_a_marker_without_object_is_relied_on_by_no_session_that_goes_on() {
    for how in [Use::Insert, Use::Reference] {
        at_every_stop(as_filled, async |mut stopped| {
            stopped.scene.begin(how, [LOST]).await;
            stopped.scene.begin(how, [HOLLOW]).await;
            let (mut scene, result) = stopped.end_run().await;
            assert_completed(result);
            scene.assert_nothing_lost().await;
            // Whatever became of them, the next one succeeds.
            scene.begin(Use::Insert, [LOST, HOLLOW]).await;
            assert_eq!(scene.assert_nothing_lost().await, [LOST, HOLLOW]);
            scene.assert_clean_end().await;
        })
        .await;
    }
}

/// H26 (R14). Goal: healing does not remove the marker of a chunk that is uploaded meanwhile, nor fail its session.
/// Method: the marker knows no class, so that an insert looks for the object and uploads it.
#[tokio::test]
async fn h26_a_chunk_uploaded_at_any_step_keeps_its_marker_and_its_session() {
    let with_lost_chunk = async |scene: &mut Scene| {
        scene.place_marker(LOST_UNKNOWN, None).await;
        scene.add_index(OTHER_INDEX, &[LOST_UNKNOWN]);
        scene.lost.insert(LOST_UNKNOWN);
    };
    at_every_stop(with_lost_chunk, async |mut stopped| {
        stopped.scene.begin(Use::Insert, [LOST_UNKNOWN]).await;
        let (mut scene, result) = stopped.end_run().await;
        assert_completed(result);
        let told = scene.assert_nothing_lost().await;
        assert_eq!(told, [LOST_UNKNOWN], "its session need not fail");
        assert!(scene.marks(LOST_UNKNOWN).await.marker.is_some());
        scene.assert_clean_end().await;
    })
    .await;
}

/// H26 (R14): healing puts no marker over an object that is being set aside.
#[tokio::test]
async fn h26_no_marker_is_made_for_an_object_that_is_set_aside_at_any_step() {
    at_every_stop(with_torn_chunk, async |stopped| {
        let delete = Which::next(RequestKind::Delete).key(object_key(TORN));
        let mut held = stopped.scene.backend.hold_before(delete);
        let store = Arc::clone(&stopped.scene.store);
        let setting_aside = tokio::spawn(async move { store.quarantine(&digest(TORN)).await });
        settle_down().await;
        let (mut scene, result) = stopped.end_run().await;
        assert_completed(result);
        drop(held.try_arrived());
        drop(held);
        scene.let_end(setting_aside).await.unwrap();
        assert!(!scene.has_object(TORN) && scene.marks(TORN).await.marker.is_none());
        scene.assert_clean_end().await;
    })
    .await;
}

/// H22 (R4): an upload is acknowledged before a delete that was sent takes effect. Goal: the acknowledgement does not count.
/// Method: verification sets a torn chunk aside while an insert replaces it.
#[tokio::test]
async fn h22_an_acknowledgement_from_before_a_delete_does_not_count_at_any_step() {
    at_every_stop(with_torn_chunk, async |mut stopped| {
        let replace = Which::next(RequestKind::Put).key(object_key(TORN));
        let delete = Which::next(RequestKind::Delete).key(object_key(TORN));
        let mut puts = stopped.scene.backend.hold_before(replace);
        let mut deletes = stopped.scene.backend.hold_before(delete);
        stopped.scene.begin(Use::Insert, [TORN]).await;
        let store = Arc::clone(&stopped.scene.store);
        let setting_aside = tokio::spawn(async move { store.quarantine(&digest(TORN)).await });
        settle_down().await;
        // Some of it may wait for the run.
        let (mut scene, result) = stopped.end_run().await;
        assert_completed(result);
        settle_down().await;
        let (put, delete) = (puts.try_arrived(), deletes.try_arrived());
        drop(put);
        settle_down().await;
        drop(delete);
        drop((puts, deletes));
        scene.let_end(setting_aside).await.unwrap();
        assert_eq!(scene.assert_nothing_lost().await, [TORN]);
        scene.assert_clean_end().await;
    })
    .await;
}

/// A dry run sends no write and changes no file beside the clock's, and says exactly what the real one then does.
#[tokio::test]
async fn a_dry_run_changes_nothing_and_foretells_the_real_one() {
    let mut scene = Scene::filled().await;
    let (requests, objects) = (scene.backend.log().len(), scene.backend.inner().keys());
    let files = scene.local_files().await;
    let mut marks = Vec::new();
    for number in 0..10 {
        marks.push(scene.marks(number).await);
    }
    let dry = assert_completed(scene.run_with(no_grace().with_dry_run(true)).await);
    let log = scene.backend.log();
    assert!(log[requests..].iter().all(|request| !request.kind.is_write()));
    assert_eq!((scene.backend.inner().keys(), scene.local_files().await), (objects, files));
    for (number, marks) in (0..10).zip(marks) {
        assert_eq!(scene.marks(number).await, marks);
    }
    let real = assert_completed(scene.run_with(no_grace()).await);
    let counts = |report: &Report| {
        let chunks = (report.listed, report.kept, report.pending, report.removed);
        let others = (report.bad_kept, report.bad_removed, report.temporary_removed, report.uploads_removed);
        (chunks, others, report.healed, report.missing.clone())
    };
    assert_eq!(counts(&dry), counts(&real));
    assert!(dry.removed.count >= 4 && dry.healed.markers_created == 1, "{dry}");
    scene.assert_clean_end().await;
}

/// Goal: a dry run tells of markers only what the real run would do to them.
/// Method: some page of the listing is cut, in both: an object that was not listed is there for whoever asks for it.
#[tokio::test]
async fn a_dry_run_whose_listing_is_cut_foretells_the_real_one() {
    for page in 0..30 {
        let mut scene = Scene::filled().await;
        let mut healed = Vec::new();
        for dry_run in [true, false] {
            scene.backend.cut_listings(Which::next(RequestKind::List).after(page), 1);
            let report = assert_completed(scene.run_with(no_grace().with_dry_run(dry_run)).await);
            scene.backend.clear_rules();
            healed.push((report.healed, report.missing.chunks));
        }
        assert_eq!(healed[0], healed[1], "page {page}");
        scene.assert_clean_end().await;
    }
}
