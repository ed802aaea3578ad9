//! Collections that are cancelled or killed at random points.
//!
//! Goal: wherever a collection is cut short, the next start settles what it left, nothing that is committed is lost, not even
//! chunks that were uploaded again right after, and the next collection takes the rest. Method: round by round, many small
//! chunks lose their snapshots, and a collection is stopped or its server killed after a random part of the time that a
//! whole one takes. `COLDKEEP_KILL_ROUNDS` and `COLDKEEP_KILL_SEED` choose how often and which.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use coldkeep_client::Store;
use coldkeep_datastore::SnapshotName;
use coldkeep_s3_testbed::Choices;

use super::TIME;
use crate::kill::setting;
use crate::live::Live;
use crate::material::{Chunk, backup, noise};
use crate::site::{CACHE_BYTES, Site, assert_verifies, collect, snapshot};

/// Chunks that every round makes garbage of.
const GARBAGE: u64 = 400;
/// Chunks of a backup: what a session uploads one after the other.
const CHUNKS: u64 = 100;
/// Longest time until the backend has refused whatever was sent, and its clock shows it.
const SETTLED_WITHIN: Duration = Duration::from_mins(1);

fn chunk(number: u64) -> Chunk {
    Chunk::of(noise(number + 1_000_000, 600))
}

/// The next backup times and chunk numbers.
struct Numbers {
    time: i64,
    chunk: u64,
}

impl Numbers {
    fn chunks(&mut self, count: u64) -> Vec<u64> {
        self.chunk += count;
        (self.chunk - count..self.chunk).collect()
    }
}

/// Backs chunks up as a snapshot of a group of its own: paths that were in use when a server was killed are closed for a
/// while (R19).
async fn back_up(site: &Site, numbers: &mut Numbers, chunks: &[u64]) -> SnapshotName {
    numbers.time += 1;
    let id = format!("g{}", numbers.time);
    let chunks: Vec<Chunk> = chunks.iter().map(|number| chunk(*number)).collect();
    backup(&site.wire().await, &id, numbers.time, &chunks.iter().collect::<Vec<_>>()).await;
    snapshot(&id, numbers.time)
}

/// Stores garbage: chunks of a snapshot that is forgotten again. Returns their numbers.
async fn make_garbage(site: &Site, numbers: &mut Numbers) -> Vec<u64> {
    let mut garbage = Vec::new();
    for _ in 0..GARBAGE / CHUNKS {
        let chunks = numbers.chunks(CHUNKS);
        let name = back_up(site, numbers, &chunks).await;
        site.store().forget(&name).await.unwrap();
        garbage.extend(chunks);
    }
    // Objects are dated in whole seconds, and what was written less than three of them ago may be in use.
    tokio::time::sleep(Duration::from_secs(4)).await;
    garbage
}

/// Cuts a collection short after `after`: kills the server, or asks the task to stop. Returns whether it was under way.
async fn interrupt(site: &mut Site, is_kill: bool, after: Duration) -> bool {
    let upid = site.store().start_gc().await.unwrap();
    tokio::time::sleep(after).await;
    if is_kill {
        site.kill();
        site.start();
    } else {
        let store = site.store();
        store.client().stop_task(&upid).await.ok();
        // It may have ended before, or say that it was stopped.
        let _ = store.client().wait_task(&upid, |_| {}).await;
    }
    let runs = site.store().gc_history(Some(&upid)).await.unwrap();
    // It may have been killed before it was noted.
    let state = runs.first().map_or("interrupted", |run| run.state.as_str());
    let cut = if is_kill { "interrupted" } else { "stopped" };
    assert!(state == "OK" || state == cut, "{runs:?}");
    state == cut
}

/// Collects until no delete is in doubt any more; returns how long the first one was at work.
async fn collect_all(store: &Store) -> Duration {
    let until = Instant::now() + SETTLED_WITHIN;
    let mut first = None;
    loop {
        collect(store).await.unwrap();
        let report = store.gc_history(None).await.unwrap().swap_remove(0).report;
        assert_eq!(report["missing"]["chunks"], 0, "{report}");
        let left = ["in_limbo", "pending", "failed"].map(|what| report[what]["count"].as_u64().unwrap());
        let seconds =
            report["phases"].as_array().into_iter().flatten().map(|phase| phase["seconds"].as_f64());
        let took = *first.get_or_insert_with(|| seconds.flatten().sum());
        if left == [0, 0, 0] {
            return Duration::from_secs_f64(took);
        }
        assert!(Instant::now() < until, "it is not over: {report}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn run(mut site: Site, live: Option<&Live>) {
    let rounds = setting("COLDKEEP_KILL_ROUNDS").unwrap_or(2);
    let seed = setting("COLDKEEP_KILL_SEED").unwrap_or(0x00c0_1dbe);
    println!("COLDKEEP_KILL_ROUNDS={rounds} COLDKEEP_KILL_SEED={seed}");
    let (mut choices, mut numbers) = (Choices::new(seed), Numbers { time: TIME, chunk: 0 });
    let kept = numbers.chunks(CHUNKS);
    back_up(&site, &mut numbers, &kept).await;
    make_garbage(&site, &mut numbers).await;
    let mut whole = collect_all(&site.store()).await;
    let mut cut = 0;
    for round in 0..rounds {
        let garbage = make_garbage(&site, &mut numbers).await;
        let after = Duration::from_micros(choices.below(whole.as_micros() as usize * 5 / 4) as u64);
        let is_kill = round % 2 == 0;
        println!("round {round}: {} after {after:?} of {whole:?}", if is_kill { "kill" } else { "cancel" });
        cut += u64::from(interrupt(&mut site, is_kill, after).await);
        // What was about to go is backed up again at once, before anything is settled.
        let again: Vec<u64> = garbage.iter().copied().filter(|_| choices.below(4) == 0).collect();
        let name = back_up(&site, &mut numbers, &again).await;
        let store = site.store();
        assert_eq!(store.snapshots(None, None).await.unwrap().len(), 2, "one kept and one of this round");
        assert_verifies(&store).await;
        whole = collect_all(&store).await;
        assert_verifies(&store).await;
        let wanted: BTreeSet<String> =
            kept.iter().chain(&again).map(|number| chunk(*number).digest.to_string()).collect();
        assert!(site.stored_chunks(live).await == wanted, "round {round} left other chunks");
        store.forget(&name).await.unwrap();
    }
    println!("{cut} of {rounds} collections were cut short while they were under way");
    assert!(cut >= rounds / 3, "most of them ended before they were cut short");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_of_a_bucket_cut_short_at_any_point_loses_nothing() {
    run(Site::in_bucket(Live::any(), CACHE_BYTES), Some(Live::any())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_of_a_filesystem_cut_short_at_any_point_loses_nothing() {
    run(Site::on_filesystem(), None).await;
}
