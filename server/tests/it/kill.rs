//! SIGKILL of the server at random moments under load.
//!
//! Goal: what was acknowledged is there after a restart, whole, and nothing else is; no repair, no lock left behind.
//! Method: four writers, forgets and collections without grace against the real binary on one data folder, which is
//! killed and started again and again; once with the store in that folder, once with the store in a bucket, which in the end
//! must do without the folder. A ledger says what the clients were told. `COLDKEEP_KILL_ROUNDS` and `COLDKEEP_KILL_SEED`
//! choose how often and which choices; the kernel still decides who runs when.

pub(crate) mod ledger;
pub(crate) mod load;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coldkeep_client::{SnapshotItem, Store, TransferLimits};
use coldkeep_s3_testbed::Choices;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::live::Live;
use crate::on_server::{collect_all, lose_folder};
use crate::site::{Site, assert_restores, assert_verifies_in_time, chunk_files, collect};

use self::ledger::{Backup, IMAGE, Ledger, STREAM};
use self::load::{Event, Load, back_up};

const ROUNDS: u64 = 5;
/// Fewer: what a kill leaves in doubt has to expire, which takes a quarter of a minute each time.
const ROUNDS_IN_BUCKET: u64 = 2;
const WRITERS: u64 = 4;
/// A few backups of the load, so that some are evicted.
pub(crate) const CACHE_BYTES: u64 = 64 << 20;
/// Snapshots kept from one round to the next; more would only make the checks slow.
const KEPT: usize = 10;
/// How long an event that a kill waits for may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// When the server is killed: so long after this event was seen so many times.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    event: Event,
    times: usize,
    then: Duration,
}

impl Moment {
    /// One round in five at any time, the others where a crash hurts most: in and after commits, in collections and
    /// removals; at the first of them, or up to the one that is number `times_max`.
    pub(crate) fn choose(round: u64, times_max: usize, choices: &mut Choices) -> Self {
        let (event, micros) = match round % 5 {
            2 => (Event::Finishing, 30_000),
            3 => (Event::Finished, 2_000),
            4 => (Event::Collecting, 120_000),
            0 => (Event::Forgetting, 10_000),
            _ => (Event::Begun, 1_500_000),
        };
        let then = Duration::from_micros(choices.below(micros) as u64);
        Self { event, times: 1 + choices.below(times_max), then }
    }

    async fn wait(self, events: &mut UnboundedReceiver<Event>) {
        let mut left = self.times;
        while left > 0 {
            let event = events.recv().await.expect("the load ended by itself");
            left -= usize::from(event == self.event);
        }
        tokio::time::sleep(self.then).await;
    }
}

pub(crate) fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// Round by round: load, a kill, and all that was promised.
async fn run(mut site: Site, live: Option<&Live>) {
    let usual = if live.is_some() { ROUNDS_IN_BUCKET } else { ROUNDS };
    let rounds = setting("COLDKEEP_KILL_ROUNDS").unwrap_or(usual);
    let seed = setting("COLDKEEP_KILL_SEED").unwrap_or(0x00c0_1dbe);
    println!("COLDKEEP_KILL_ROUNDS={rounds} COLDKEEP_KILL_SEED={seed}");
    let mut choices = Choices::new(seed);
    let ledger = Arc::new(Ledger::default());
    for round in 1..=rounds {
        let moment = Moment::choose(round, 4, &mut choices);
        println!("round {round}: {moment:?}");
        let loads = run_until(&mut site, &ledger, &mut choices, moment, Site::kill).await;
        site.start();
        if let Some(live) = live {
            assert_markers_tell_the_truth(&site, live).await;
        }
        let store = site.store();
        let found = check(&store, &ledger, &mut choices).await;
        println!("round {round}: {loads} steps of load, {found} snapshots whole after the kill");
        // No lock is left and the store takes data: each group in turn gets a backup, at once.
        let id = round % WRITERS;
        back_up(&store, &ledger, &format!("w{id}"), Backup::choose(&mut choices), |_| {}).await.unwrap();
        thin_out(&store, &ledger).await;
    }
    if live.is_some() {
        lose_folder(&mut site);
        check(&site.store(), &ledger, &mut choices).await;
    }
    assert_space_comes_back(&site, live, &ledger).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_sigkill_at_any_moment_on_a_filesystem() {
    run(Site::on_filesystem(), None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_sigkill_at_any_moment_in_a_bucket() {
    run(Site::in_bucket(Live::any(), CACHE_BYTES), Some(Live::any())).await;
}

/// Lets the load run, ends the server at the moment, and returns how many steps of the load were done by then.
pub(crate) async fn run_until(
    site: &mut Site,
    ledger: &Arc<Ledger>,
    choices: &mut Choices,
    moment: Moment,
    end: impl FnOnce(&mut Site),
) -> usize {
    let (sender, mut events) = unbounded_channel();
    let is_killed = Arc::new(AtomicBool::new(false));
    let mut tasks = tokio::task::JoinSet::new();
    let mut load = || Load {
        store: site.store(),
        ledger: Arc::clone(ledger),
        choices: Choices::new(choices.number()),
        events: sender.clone(),
        is_killed: Arc::clone(&is_killed),
    };
    for writer in 0..WRITERS {
        tasks.spawn(load().write(format!("w{writer}")));
    }
    tasks.spawn(load().clean());
    drop(sender);
    let came = tokio::time::timeout(PATIENCE, moment.wait(&mut events)).await;
    assert!(came.is_ok(), "{moment:?} did not come");
    is_killed.store(true, Ordering::SeqCst);
    end(site);
    tasks.join_all().await.into_iter().sum()
}

/// Compares the store with the ledger, and all data with what it was made of.
pub(crate) async fn check(store: &Store, ledger: &Ledger, choices: &mut Choices) -> usize {
    let listed = store.snapshots(None, None).await.unwrap();
    for item in &listed {
        assert!(item.is_finished(), "unfinished {} is visible", item.name());
    }
    let unsure = ledger.settle(listed.iter().map(SnapshotItem::name));
    assert_verifies_in_time(store).await;
    let mut restored = unsure;
    let committed = ledger.committed();
    let samples = if committed.is_empty() { 0 } else { 4 };
    restored.extend((0..samples).map(|_| committed[choices.below(committed.len())].clone()));
    restored.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    restored.dedup_by(|a, b| a.0 == b.0);
    for (name, backup) in restored {
        let reader = store.open_snapshot(&name, TransferLimits::default()).await.unwrap();
        assert_restores(&reader, IMAGE, &backup.image).await;
        assert_restores(&reader, STREAM, &backup.stream).await;
    }
    committed.len()
}

pub(crate) async fn thin_out(store: &Store, ledger: &Ledger) {
    let committed = ledger.committed();
    for (name, _) in &committed[..committed.len().saturating_sub(KEPT)] {
        ledger.forgetting(name);
        store.forget(name).await.unwrap();
        ledger.forgotten(name);
    }
}

/// Every marker has its object (I2): what is journalled has none any more once the store is open.
pub(crate) async fn assert_markers_tell_the_truth(site: &Site, live: &Live) {
    let mut markers = site.stored_chunks(None).await;
    // Upload markers and temporary files promise nothing.
    markers.retain(|name| !name.contains('.'));
    let objects = site.stored_chunks(Some(live)).await;
    let untrue: Vec<_> = markers.difference(&objects).collect();
    assert!(untrue.is_empty(), "there are markers and no objects of {untrue:?}");
}

/// With all snapshots gone a collection leaves nothing of what the kills cut off.
async fn assert_space_comes_back(site: &Site, live: Option<&Live>, ledger: &Ledger) {
    let store = site.store();
    for (name, _) in ledger.committed() {
        store.forget(&name).await.unwrap();
    }
    match live {
        // Requests in doubt have to expire, and objects to be old enough.
        Some(_) => collect_all(&store).await,
        None => collect(&store).await.unwrap(),
    }
    let left = chunk_files(site);
    assert!(left.is_empty(), "{} files are left: {left:#?}", left.len());
    let left = site.stored_chunks(live).await;
    assert!(left.is_empty(), "{} chunks are left: {left:#?}", left.len());
}
