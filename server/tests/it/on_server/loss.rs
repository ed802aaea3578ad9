//! What becomes of a store whose folder is lost or whose server is killed.

use std::collections::BTreeSet;
use std::time::Duration;

use coldkeep_s3_testbed::{Fault, Gate};

use super::{Data, Scene, TIME, is_chunk_put, lose_folder, names};
use crate::site::{assert_verifies, chunk_files, snapshot};

/// How long a busy machine may take.
const PATIENCE: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_folder_costs_time_and_no_data() {
    let mut scene = Scene::new();
    let (data, changed) = (Data::new(1), Data::new(2));
    data.back_up(&scene.site.store(), &snapshot("h1", TIME)).await.unwrap();
    let sent = scene.chunks_sent().len();
    let markers = chunk_files(&scene.site).len();

    lose_folder(&mut scene.site);
    assert_eq!(chunk_files(&scene.site).len(), markers);
    let store = scene.site.store();
    let progress = data.back_up(&store, &snapshot("h1", TIME + 1)).await.unwrap();
    assert!(progress.transferred_bytes < 1000, "{progress:?}");
    assert_eq!(scene.chunks_sent().len(), sent, "chunks were sent again");
    changed.back_up(&store, &snapshot("h1", TIME + 2)).await.unwrap();
    assert!(scene.chunks_sent().len() < 2 * sent, "shared chunks were sent again");
    data.assert_restores(&store, &snapshot("h1", TIME)).await;
    data.assert_restores(&store, &snapshot("h1", TIME + 1)).await;
    changed.assert_restores(&store, &snapshot("h1", TIME + 2)).await;
    assert_verifies(&store).await;
}

// Goal: what was acknowledged survives SIGKILL, and what was stored before is not sent again.
// Method: some chunks of a backup pass, the others wait in the proxy for ever; then the server is killed.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_sends_only_what_was_not_stored() {
    let mut scene = Scene::new();
    let (data, changed) = (Data::new(1), Data::new(2));
    data.back_up(&scene.site.store(), &snapshot("h1", TIME)).await.unwrap();
    let known = chunk_files(&scene.site).len();
    for _ in 0..2 {
        scene.proxy.next_for(is_chunk_put, Fault::Pass);
    }
    scene.proxy.always(is_chunk_put, Fault::Delay(Gate::closed()));
    let before = scene.chunks_sent().len();
    let store = scene.site.store();
    let writing = {
        let changed = changed.clone();
        tokio::spawn(async move { changed.back_up(&store, &snapshot("h1", TIME + 1)).await })
    };
    let stored = async {
        while chunk_files(&scene.site).iter().filter(|path| path.extension().is_none()).count() < known + 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        scene.proxy.stalled(1).await;
    };
    tokio::time::timeout(PATIENCE, stored).await.expect("two chunks are stored and another is on its way");
    let stored: BTreeSet<_> = scene.chunks_sent()[before..before + 2].iter().cloned().collect();
    scene.site.kill();
    assert!(writing.await.unwrap().is_err(), "a backup ended well on a server that was killed");
    scene.proxy.clear();

    scene.site.start();
    let store = scene.site.store();
    let found = names(&store).await;
    assert_eq!(found, [snapshot("h1", TIME)]);
    assert_verifies(&store).await;
    let before = scene.chunks_sent().len();
    changed.back_up(&store, &snapshot("h1", TIME + 2)).await.unwrap();
    let again: BTreeSet<_> = scene.chunks_sent()[before..].iter().cloned().collect();
    assert!(!again.is_empty() && again.is_disjoint(&stored), "{again:?} after {stored:?}");
    data.assert_restores(&store, &snapshot("h1", TIME)).await;
    changed.assert_restores(&store, &snapshot("h1", TIME + 2)).await;
}
