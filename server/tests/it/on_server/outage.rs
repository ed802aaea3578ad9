//! A backend that goes away during a backup.

use std::collections::BTreeSet;
use std::time::Duration;

use coldkeep_s3_testbed::Fault;

use super::{CHUNKS, Data, Scene, TIME, is_chunk_put, names};
use crate::site::{assert_verifies, snapshot};

/// How long a busy machine may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// Lets some chunks pass and then nothing: connections are made, and reset at the first request.
fn go_away(scene: &Scene, passing: usize) {
    for _ in 0..passing {
        scene.proxy.next_for(is_chunk_put, Fault::Pass);
    }
    scene.proxy.always(|head| head.path().contains(CHUNKS), Fault::ResetAtHead);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_outage_is_survived() {
    let scene = Scene::new();
    let (store, data) = (scene.site.store(), Data::new(1));
    go_away(&scene, 2);
    let writing = {
        let data = data.clone();
        tokio::spawn(async move { data.back_up(&store, &snapshot("h1", TIME)).await })
    };
    let is_refused = |seen: &coldkeep_s3_testbed::Seen| seen.path.contains(CHUNKS) && !seen.forwarded;
    let refused = scene.proxy.until(|seen| seen.iter().filter(|seen| is_refused(seen)).count() > 2);
    tokio::time::timeout(PATIENCE, refused).await.expect("requests are refused");
    scene.proxy.clear();
    writing.await.unwrap().unwrap();
    let store = scene.site.store();
    data.assert_restores(&store, &snapshot("h1", TIME)).await;
    assert_verifies(&store).await;
}

// Goal: a long outage fails the session in order, and the next one sends only what was not stored.
// Method: two chunks pass, no other ever does; everything passes again once the session has failed.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_long_outage_only_what_was_not_stored_is_sent() {
    let scene = Scene::new();
    let (store, data) = (scene.site.store(), Data::new(1));
    go_away(&scene, 2);
    let name = snapshot("h1", TIME);
    let writing = tokio::time::timeout(PATIENCE, data.back_up(&store, &name));
    let error = writing.await.expect("the session neither failed nor went on").unwrap_err();
    let text = coldkeep_server::api::chain(&error);
    assert!(!text.is_empty(), "{error:?}");
    let stored: BTreeSet<_> = scene
        .proxy
        .seen()
        .into_iter()
        .filter(|seen| seen.method == "PUT" && seen.path.contains(CHUNKS) && seen.forwarded)
        .map(|seen| seen.path)
        .collect();
    assert_eq!(stored.len(), 2, "{stored:?}");
    scene.proxy.clear();
    let before = scene.chunks_sent().len();
    data.back_up(&store, &snapshot("h1", TIME + 1)).await.unwrap();
    let again: BTreeSet<_> = scene.chunks_sent()[before..].iter().cloned().collect();
    assert!(!again.is_empty() && again.is_disjoint(&stored), "{again:?} after {stored:?}");
    let found = names(&store).await;
    assert_eq!(found, [snapshot("h1", TIME + 1)]);
    data.assert_restores(&store, &snapshot("h1", TIME + 1)).await;
}
