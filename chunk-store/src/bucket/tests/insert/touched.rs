//! Referencing (R5), and H7: what is referenced is in use.

use super::*;
use crate::store::TouchError;
use crate::store::state::UNSAVED_MAX;

#[tokio::test]
async fn h07_a_referenced_chunk_is_in_use() {
    let (scene, store) = Scene::opened().await;
    let digest = scene.place_chunk(&store, b"abc").await;
    scene.clock.advance(DAY);
    let session = session(&store).await;
    store.touch(&session, &[digest]).await.unwrap();
    assert_eq!(scene.condemned(&store, digest).await.1, Condemned::InUse);
    assert!(marks(&store, &digest).await.marker.unwrap().used_at > session.started_at());
}

#[tokio::test]
async fn what_has_no_marker_is_looked_up_and_refused_if_the_backend_lacks_it() {
    let (scene, store) = Scene::opened().await;
    let session = session(&store).await;
    let known = scene.place_chunk(&store, b"abc").await;
    let unmarked = scene.place_object(b"def");
    let mut short = *Digest::of(b"ghi").as_bytes();
    store.touch(&session, &[known, unmarked]).await.unwrap();
    let marks = marks(&store, &unmarked).await;
    assert!(marks.upload_started_at.is_none() && marks.marker.unwrap().class.is_none());
    assert_eq!(store.registry.fail_told(&unmarked), 1, "the session was told");
    for has_short_object in [false, true] {
        short[31] ^= 1;
        let missing = Digest::from_bytes(short);
        if has_short_object {
            scene.backend.inner().place(key_of(&missing).as_str(), "short");
        }
        let error = store.touch(&session, &[known, missing]).await.unwrap_err();
        assert!(matches!(error, TouchError::Missing { digest } if digest == missing));
        assert!(!has_marker(&store, &missing).await);
    }
    scene.backend.down();
    let error = store.touch(&session, &[known, scene.place_object(b"jkl")]).await.unwrap_err();
    assert!(matches!(error, TouchError::Backend(_)), "a backend that is down does not mean missing");
}

#[tokio::test]
async fn a_journalled_chunk_is_waited_for_before_it_is_referenced() {
    let (scene, store) = Scene::opened().await;
    let digest = scene.place_chunk(&store, b"abc").await;
    assert!(store.journal.condemn(&digest));
    let (id, _) = store.journal.enter(&[digest], START, "token".to_owned()).unwrap();
    let touch = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let session = session(&store).await;
            store.touch(&session, &[digest]).await
        })
    };
    settle_down().await;
    assert!(!touch.is_finished());
    scene.remove_chunk(&store, &digest).await;
    store.journal.settle(id, None);
    assert!(matches!(touch.await.unwrap(), Err(TouchError::Missing { .. })));
}

/// A way to use a chunk.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Use {
    InsertNew,
    InsertKnown,
    Refer,
    ReferUnmarked,
}

/// Goal: a wrong date keeps no garbage for longer than that date lasts (H30, I5).
/// Method: the date jumps ahead, a chunk is used in each way there is, the process dies, the date is right again.
#[tokio::test]
async fn h30_what_was_used_while_the_date_was_ahead_is_collected_when_it_is_right_again() {
    for how in [Use::InsertNew, Use::InsertKnown, Use::Refer, Use::ReferUnmarked] {
        let (scene, store) = Scene::opened().await;
        let digest = match how {
            Use::InsertNew => Digest::of(b"abc"),
            Use::InsertKnown | Use::Refer => scene.place_chunk(&store, b"abc").await,
            Use::ReferUnmarked => scene.place_object(b"abc"),
        };
        let right = scene.clock.wall();
        {
            let session = session(&store).await;
            scene.clock.step_wall(right.plus(400 * DAY));
            match how {
                Use::InsertNew | Use::InsertKnown => {
                    let inserted = store.insert(&session, chunk(b"abc")).await.unwrap();
                    assert_eq!(inserted == Inserted::Known, how == Use::InsertKnown);
                }
                Use::Refer | Use::ReferUnmarked => store.touch(&session, &[digest]).await.unwrap(),
            }
        }
        drop(store);
        scene.clock.step_wall(right);
        let store = scene.open(&scene.dir).await;
        scene.clock.advance(2 * UNSAVED_MAX);
        let run = store.begin_run(Duration::ZERO, Duration::ZERO).await.unwrap();
        let candidate = Candidate { digest, written_at: None };
        let decisions = store.condemn(&run, &mut Batch::default(), &[candidate]).await.unwrap();
        assert_eq!(decisions, [Condemned::Yes], "{how:?}");
    }
}
