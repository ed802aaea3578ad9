//! Power cuts at random moments under load, on a disk that loses what was not synced.
//!
//! Goal: what a client was told is there after the power is back (I1, I4), what it was told is gone stays gone, the server
//! and its store start by themselves, and one more collection leaves exactly what is referenced (I5). Method: the load of
//! the kills, with the data folder on a [`PowerDisk`]. A round takes the power away from disk and server at one instant, the
//! disk keeps what was synced and of the rest what a seed decides, the server is started again and everything is compared.
//! `COLDKEEP_POWER_ROUNDS` and `COLDKEEP_POWER_SEED` choose how often and which; who runs when is still up to the kernel.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use coldkeep_chunk_store::Digest;
use coldkeep_powercut::PowerDisk;
use coldkeep_s3_testbed::Choices;

use super::{collect_all, lose_folder};
use crate::kill::ledger::Ledger;
use crate::kill::load::back_up;
use crate::kill::{CACHE_BYTES, Moment, assert_markers_tell_the_truth, check, run_until, setting, thin_out};
use crate::live::Live;
use crate::site::{Site, assert_verifies, collect};

/// Room for all that a round writes.
const DISK_BYTES: usize = 3 << 30;
const ROUNDS: u64 = 2;

/// Mounts a disk. Where that is not possible the test is skipped, unless somebody asked for it.
fn mount(test: &str) -> Option<PowerDisk> {
    match PowerDisk::mount(DISK_BYTES) {
        Ok(disk) => Some(disk),
        Err(error) if setting("COLDKEEP_POWER_ROUNDS").is_none() => {
            println!("SKIPPED {test}: cannot {}", coldkeep_server::api::chain(&error));
            None
        }
        Err(error) => panic!("cannot {}", coldkeep_server::api::chain(&error)),
    }
}

/// Round by round: load, a power cut, and all that was promised; then what was being written once more.
async fn run(mut disk: PowerDisk, mut site: Site, live: Option<&Live>) -> (PowerDisk, Site) {
    let rounds = setting("COLDKEEP_POWER_ROUNDS").unwrap_or(ROUNDS);
    let seed = setting("COLDKEEP_POWER_SEED").unwrap_or(0x00c0_1dbe);
    println!("COLDKEEP_POWER_ROUNDS={rounds} COLDKEEP_POWER_SEED={seed}");
    let (mut choices, ledger) = (Choices::new(seed), Arc::new(Ledger::default()));
    for round in 1..=rounds {
        let moment = Moment::choose(round, 5, &mut choices);
        let seed = choices.number();
        println!("round {round}: {moment:?}, cut {seed}");
        let mut loss = None;
        let cut = |site: &mut Site| loss = Some(site.lose_power(&mut disk, seed));
        let loads = run_until(&mut site, &ledger, &mut choices, moment, cut).await;
        site.start();
        if let Some(live) = live {
            assert_markers_tell_the_truth(&site, live).await;
        }
        let store = site.store();
        let found = check(&store, &ledger, &mut choices).await;
        println!("round {round}: {loads} steps of load, {found} snapshots whole after {loss:?}");
        // Chunks that were cut in the middle are uploaded again, and must not count as known (H38).
        for (id, backup) in ledger.begun() {
            back_up(&store, &ledger, &id, backup, |_| {}).await.unwrap();
        }
        if live.is_none() {
            collect(&store).await.unwrap();
            assert_is_what_is_referenced(&site, live).await;
        }
        thin_out(&store, &ledger).await;
    }
    let store = site.store();
    collect_all(&store).await;
    assert_is_what_is_referenced(&site, live).await;
    check(&store, &ledger, &mut choices).await;
    (disk, site)
}

/// Nothing is stored but what an index names, and all of that (I5, I1).
async fn assert_is_what_is_referenced(site: &Site, live: Option<&Live>) {
    let mut wanted = BTreeSet::new();
    for top in ["host", "vm", "ct"] {
        digests_below(&site.store_folder().join(top), &mut wanted);
    }
    let stored = site.stored_chunks(live).await;
    assert!(stored == wanted, "{:?} are too many or missing", stored.symmetric_difference(&wanted));
}

/// Adds the digests in all indexes below a folder, read here from the description of the formats.
fn digests_below(folder: &Path, digests: &mut BTreeSet<String>) {
    const HEADER_BYTES: usize = 4096;
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        let (entry_bytes, digest_at) = match path.extension().and_then(|extension| extension.to_str()) {
            Some("fidx") => (32, 0),
            Some("didx") => (40, 8),
            _ if path.is_dir() => {
                digests_below(&path, digests);
                continue;
            }
            _ => continue,
        };
        let index = std::fs::read(&path).unwrap();
        let entries = index[HEADER_BYTES..].chunks_exact(entry_bytes);
        let digest = |entry: &[u8]| Digest::from_bytes(entry[digest_at..].try_into().unwrap()).to_string();
        digests.extend(entries.map(digest));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_power_cuts_on_a_filesystem() {
    let Some(disk) = mount("power on a filesystem") else { return };
    // Nobody syncs what the first start makes, nor the folder itself, but the server.
    let site = Site::at(&disk.path().join("data"));
    run(disk, site, None).await;
}

// Here no `syncfs` makes up for what was not synced by itself: each file and each folder counts.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_power_cuts_where_each_file_is_synced() {
    let Some(disk) = mount("power where each file is synced") else { return };
    let folder = disk.path().join("data");
    let mut site = Site::at(&folder);
    site.stop();
    let path = folder.join("config/datastores.json");
    let mut stores: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    stores[0]["sync-level"] = "file".into();
    std::fs::write(&path, stores.to_string()).unwrap();
    disk.sync();
    site.start();
    run(disk, site, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_power_cuts_before_a_bucket() {
    let Some(disk) = mount("power before a bucket") else { return };
    let live = Live::any();
    let site = Site::in_bucket_at(&disk.path().join("data"), live, CACHE_BYTES);
    // The configuration was put there by this test, as by somebody who knows when it is on the disk.
    disk.sync();
    let (_disk, mut site) = run(disk, site, Some(live)).await;
    lose_folder(&mut site);
    assert_verifies(&site.store()).await;
}
