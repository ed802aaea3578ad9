//! Backups, restores and collections over a line that fails all the time.
//!
//! Goal: between 5 and 30 per cent of all requests fail, are cut, stall, or take effect without an answer or later, and yet
//! every backup completes and restores, a collection takes nothing that is needed, and the server sends less than twice the
//! requests that the same work takes without faults. Method: rounds of the same work behind a proxy, the first of them
//! undisturbed, the others with other odds each; then the folder is deleted, everything is verified from the bucket alone, and
//! one more collection leaves exactly what the snapshots refer to. `COLDKEEP_FAULT_ROUNDS` and `COLDKEEP_FAULT_SEED` choose
//! how often and which.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use coldkeep_client::Store;
use coldkeep_datastore::SnapshotName;
use coldkeep_s3_testbed::{Choices, FaultKind, Odds};

use super::{Scene, TIME, collect_all, lose_folder, names};
use crate::kill::setting;
use crate::live::Live;
use crate::material::{Chunk, backup, noise};
use crate::site::{archive, assert_verifies, collect, small, snapshot};

const ARCHIVE: &str = "a.bin.didx";
/// Chunks of a backup that no other has.
const NEW: u64 = 60;
/// Chunks that all backups have.
const COMMON: u64 = 20;
/// Snapshots that are not forgotten.
const KEPT: usize = 4;
/// In requests of a thousand: the least and the most that get a fault.
const FAULTS: (usize, usize) = (50, 300);
/// Stalls last until the client gives the attempt up, so there are few of them.
const STALLS: u16 = 1;

fn chunk(number: u64) -> Chunk {
    Chunk::of(noise(number + 5_000_000, 20_000))
}

/// This many in a thousand in all.
fn odds(per_mille: u16) -> Odds {
    let odds = Odds::in_all(per_mille);
    [FaultKind::StallBody, FaultKind::StallUpload]
        .into_iter()
        .fold(odds, |odds, kind| odds.with(kind, STALLS))
}

/// What is there, and what comes next.
struct Work {
    scene: Scene,
    committed: BTreeMap<SnapshotName, Vec<u64>>,
    round: u64,
}

impl Work {
    /// A backup, a restore of another one, a removal and a collection; returns how many requests they took.
    async fn go_on(&mut self) -> usize {
        let before = self.scene.proxy.seen().len();
        let store = self.scene.site.store();
        let (id, time) = (format!("g{:04}", self.round), TIME + self.round as i64);
        let first = COMMON + self.round * NEW;
        let numbers: Vec<u64> = (0..COMMON).chain(first..first + NEW).collect();
        let chunks: Vec<Chunk> = numbers.iter().map(|number| chunk(*number)).collect();
        backup(&self.scene.site.wire().await, &id, time, &chunks.iter().collect::<Vec<_>>()).await;
        self.committed.insert(snapshot(&id, time), numbers);
        self.round += 1;
        let (oldest, numbers) = self.committed.first_key_value().expect("one was just made");
        assert_restores(&store, oldest, numbers).await;
        if self.committed.len() > KEPT {
            let oldest = oldest.clone();
            // One that a request in doubt keeps closed (R19) is forgotten in a later round. One that lost its manifest before a
            // request failed for good is gone, and what is left of it goes with a collection.
            let forgotten = store.forget(&oldest).await;
            if forgotten.is_ok() || !names(&store).await.contains(&oldest) {
                self.committed.remove(&oldest);
            }
        }
        // A listing that fails for good ends a run (I6); what it has taken by then was garbage.
        let _ = collect(&store).await;
        self.scene.proxy.seen().len() - before
    }
}

async fn assert_restores(store: &Store, name: &SnapshotName, numbers: &[u64]) {
    let reader = store.open_snapshot(name, small()).await.unwrap();
    let content = reader.restore_to_writer(&archive(ARCHIVE), Vec::new()).await.unwrap();
    let expected: Vec<u8> = numbers.iter().flat_map(|number| chunk(*number).plain).collect();
    assert!(content == expected, "{name} came back other than it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_complete_and_nothing_is_lost_where_requests_fail_all_the_time() {
    let rounds = setting("COLDKEEP_FAULT_ROUNDS").unwrap_or(3);
    let seed = setting("COLDKEEP_FAULT_SEED").unwrap_or(0x00c0_1dbe);
    println!("COLDKEEP_FAULT_ROUNDS={rounds} COLDKEEP_FAULT_SEED={seed}");
    let mut choices = Choices::new(seed);
    let mut work = Work { scene: Scene::new(), committed: BTreeMap::new(), round: 0 };
    for _ in 0..KEPT {
        work.go_on().await;
    }
    let undisturbed = work.go_on().await;
    let mut disturbed = 0;
    for round in 0..rounds {
        let per_mille = FAULTS.0 + choices.below(FAULTS.1 - FAULTS.0);
        work.scene.proxy.randomly(choices.number(), odds(per_mille as u16));
        let began = Instant::now();
        let requests = work.go_on().await;
        let ratio = requests as f64 / undisturbed as f64;
        println!(
            "round {round}: {per_mille} faults in 1000, {ratio:.2} times the requests, {:?}",
            began.elapsed()
        );
        disturbed += requests;
        // What was late lands now, in the middle of what comes next.
        work.scene.proxy.release_all();
    }
    let amplification = disturbed as f64 / (undisturbed as f64 * rounds as f64);
    println!("{rounds} rounds: {amplification:.2} times the requests of undisturbed work");
    assert!(amplification < 2.0, "{amplification}");

    work.scene.proxy.clear();
    work.scene.proxy.release_all();
    lose_folder(&mut work.scene.site);
    let store = work.scene.site.store();
    assert_verifies(&store).await;
    for (name, numbers) in &work.committed {
        assert_restores(&store, name, numbers).await;
    }
    collect_all(&store).await;
    let numbers: BTreeSet<u64> = work.committed.values().flatten().copied().collect();
    let wanted: BTreeSet<String> = numbers.iter().map(|number| chunk(*number).digest.to_string()).collect();
    let stored = work.scene.site.stored_chunks(Some(Live::any())).await;
    assert!(stored == wanted, "{:?} are left over", stored.symmetric_difference(&wanted));
}
