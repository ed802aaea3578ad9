//! Referencing (R5), and H7: what is referenced is in use.

use super::*;
use crate::store::TouchError;

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
