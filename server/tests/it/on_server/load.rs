//! The load of a site: 16 clients at work, four of them on images, 200 that idle, and collections, prunes and verifications
//! all the while.
//!
//! Goal: nothing is lost, nothing is left over, and the server stays under the memory that is promised for it. Method: the
//! writers and readers of `stress`, with idle connections and one verification after the other beside them; in the end
//! everything is compared and restored. `COLDKEEP_STRESS_SECONDS=600` makes it the load test of a release:
//! `cargo test --release -p coldkeep-server --test it sixteen_clients -- --nocapture`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use coldkeep_client::{ImageSource, Store, VerifyOptions, VerifyScope};
use coldkeep_datastore::SnapshotName;

use super::TIME;
use super::stress::{
    Cleaning, Load, Shared, assert_nothing_is_left_over, assert_whole, begin_run, seed, work,
};
use crate::site::{Content, Site, archive, assert_restores, begin_when_free, small, snapshot};

/// Clients at work.
const LOAD: Load = Load { writers: 8, readers: 4 };
/// Clients that write and read images, in chunks of 4 MiB: the others have small ones.
const IMAGE_CLIENTS: usize = 4;
const IMAGE_BYTES: usize = (16 << 20) + 4096;
const IDLE_CONNECTIONS: usize = 200;
/// How long a connection idles before it is opened anew: the server closes it after two minutes.
const IDLE_FOR: Duration = Duration::from_secs(90);
/// Most memory of the server with all that.
const RSS_BYTES_MAX: u64 = 300 << 20;

/// Verifies everything, again and again; returns how often.
async fn verify_again_and_again(store: Store, shared: Arc<Shared>) -> usize {
    let mut runs = 0;
    // At least one, however short the time is.
    while runs == 0 || !shared.is_over() {
        let upid = store.start_verify(&VerifyScope::All, &VerifyOptions::default()).await.unwrap();
        let mut log = String::new();
        let end = store.client().wait_task(&upid, |line| log.extend([line, "\n"])).await;
        assert!(end.is_ok(), "{end:?}\n{log}");
        runs += 1;
    }
    runs
}

/// Writes an image, reads it back and removes it, again and again; returns how often.
async fn images_again_and_again(store: Store, shared: Arc<Shared>, client: usize) -> usize {
    let id = format!("image{client}");
    let mut rounds = 0;
    while rounds == 0 || !shared.is_over() {
        let name = snapshot(&id, TIME + rounds as i64);
        // Half of it is that of the others, and half of it new.
        let pieces = vec![(0, IMAGE_BYTES / 2), ((client + 1) * 100_000 + rounds % 1000, IMAGE_BYTES / 2)];
        let image = Content { pieces };
        let session = begin_when_free(&store, &name).await;
        let source = ImageSource::reader(image.reader(), image.len() as u64);
        session.upload_image(&archive("d.img.fidx"), source).await.unwrap();
        session.finish().await.unwrap();
        let reader = store.open_snapshot(&name, small()).await.unwrap();
        assert_restores(&reader, "d.img.fidx", &image).await;
        drop(reader);
        forget(&store, &name).await;
        rounds += 1;
    }
    rounds
}

/// Removes a snapshot as soon as neither a reader nor a verification has it.
async fn forget(store: &Store, name: &SnapshotName) {
    let mut refusal = None;
    for _ in 0..2400 {
        match store.forget(name).await {
            Ok(()) => return,
            Err(error) => refusal = Some(error),
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{name} was in use for a minute: {refusal:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_clients_lose_nothing_beside_collections_verifications_and_idle_connections() {
    let mut choices = seed();
    let mut site = Site::on_filesystem();
    let shared = begin_run(Cleaning::Yes);
    let verifying = tokio::spawn(verify_again_and_again(site.store(), Arc::clone(&shared)));
    let mut imaging = tokio::task::JoinSet::new();
    for client in 0..IMAGE_CLIENTS {
        imaging.spawn(images_again_and_again(site.store(), Arc::clone(&shared), client));
    }
    let idle_count = AtomicUsize::new(0);
    let idling = async {
        loop {
            let mut idle = Vec::new();
            for _ in 0..IDLE_CONNECTIONS {
                idle.push(site.idle_connection().await);
            }
            idle_count.store(idle.len(), Ordering::Relaxed);
            tokio::time::sleep(IDLE_FOR).await;
        }
    };
    tokio::select! {
        () = work(&site, LOAD, &shared, &mut choices) => {}
        () = idling => {}
    }
    let verifications = verifying.await.unwrap();
    let images: usize = imaging.join_all().await.into_iter().sum();
    let peak = site.peak_rss_bytes();
    println!(
        "{images} images, {verifications} verifications, {} idle connections, {} MiB at most",
        idle_count.into_inner(),
        peak >> 20
    );
    assert!(peak < RSS_BYTES_MAX, "{peak} bytes");
    site.stop();
    site.start();
    assert_whole(&site, &shared, &mut choices).await;
    assert_nothing_is_left_over(&site, None, &shared).await;
}
