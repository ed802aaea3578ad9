//! Many writers of the same chunks, for a while.
//!
//! Goal: uploads of one chunk by many sessions at once, aborted ones and such without cache among them, and evictions all
//! the while, lose nothing. Method: eight writers that share most of their chunks, half of whose sessions end in the middle,
//! and readers, on a cache that holds a fraction; then the cache is deleted, and all that was committed is verified and
//! restored from the bucket alone. `COLDKEEP_STRESS_SECONDS` says for how long they write.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use coldkeep_client::Store;
use coldkeep_datastore::SnapshotName;

use super::{TIME, lose_folder};
use crate::kill::{Choices, setting};
use crate::live::Live;
use crate::material::{
    BACKUP, Chunk, Listed, append, backup_path, dynamic_csum, finish, noise, offsets, open_dynamic,
};
use crate::site::{Site, archive, assert_verifies, small, snapshot};
use crate::wire::{Session, Wire};

const WRITERS: u64 = 8;
const READERS: u64 = 2;
/// A few per cent of what is written.
const CACHE_BYTES: u64 = 512 << 10;
const ARCHIVE: &str = "a.bin.didx";
/// Chunks of a backup.
const CHUNKS: usize = 40;
/// Chunks that all writers choose from, at all times.
const COMMON: usize = 60;
/// After so many sessions there are new chunks for all writers to meet at.
const SESSIONS_AN_EPOCH: u64 = 6;
/// Snapshots that are restored in the end.
const SAMPLES: usize = 30;

/// What all of them know.
struct Shared {
    committed: Mutex<BTreeMap<SnapshotName, Vec<u64>>>,
    next_time: AtomicI64,
    sessions: AtomicU64,
    aborted: AtomicUsize,
    restored: AtomicUsize,
    until: Instant,
}

impl Shared {
    fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    fn committed(&self) -> BTreeMap<SnapshotName, Vec<u64>> {
        self.committed.lock().unwrap().clone()
    }
}

/// The chunk of this number, of 16 to 64 KiB.
fn chunk(number: u64) -> Chunk {
    let len = (16 << 10) + Choices(number).below(48 << 10);
    Chunk::of(noise(number + 1, len))
}

/// Chooses the chunks of a backup: a third that every one has, a third that is new to all writers, the rest from many.
fn choose(choices: &mut Choices, session: u64) -> Vec<u64> {
    let epoch = session / SESSIONS_AN_EPOCH;
    let mut number = |_| match choices.below(3) {
        0 => choices.below(COMMON) as u64,
        1 => 1_000 + epoch * 20 + choices.below(20) as u64,
        _ => 1_000 + choices.below(20 * (epoch as usize + 1)) as u64,
    };
    (0..CHUNKS).map(&mut number).collect()
}

async fn write(wire: Wire, shared: Arc<Shared>, writer: u64, mut choices: Choices) {
    let id = format!("w{writer}");
    loop {
        let time = TIME + shared.next_time.fetch_add(1, Ordering::Relaxed);
        let numbers = choose(&mut choices, shared.sessions.fetch_add(1, Ordering::Relaxed));
        let more = if choices.below(3) == 0 { "&no-cache=true" } else { "" };
        let session = begin(&wire, &backup_path(&id, time, more)).await;
        let uploading = upload(&session, &numbers);
        // Every second session ends in the middle: chunks and indexes on their way, or all but the commit done.
        if choices.below(2) == 0 {
            let moment = Duration::from_millis(choices.below(400) as u64);
            let _ = tokio::time::timeout(moment, uploading).await;
            session.drop_connection().await;
            shared.aborted.fetch_add(1, Ordering::Relaxed);
        } else {
            let listed = uploading.await;
            finish(&session, &id, time, &[listed]).await.ok();
            shared.committed.lock().unwrap().insert(snapshot(&id, time), numbers);
            session.drop_connection().await;
        }
        if shared.is_over() {
            return;
        }
    }
}

/// Begins a session; the group is free a moment after the last one ended.
async fn begin(wire: &Wire, path: &str) -> Session {
    let mut refusal = String::new();
    for _ in 0..400 {
        match wire.upgrade(path, BACKUP).await {
            Ok(session) => return session,
            Err(answer) => refusal = answer.text(),
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{path} was refused for 10 s: {refusal}");
}

/// Uploads the chunks, some at once and the same one more than once, and closes their index.
async fn upload(session: &Session, numbers: &[u64]) -> Listed {
    let wid = open_dynamic(session, ARCHIVE).await;
    let chunks: Vec<_> = numbers.iter().map(|number| chunk(*number)).collect();
    // Each of the four has every fourth.
    let upload = async |first: usize| {
        for chunk in chunks.iter().skip(first).step_by(4) {
            assert_eq!(chunk.upload(session, "dynamic", wid).await.data(), chunk.digest.to_string());
        }
    };
    tokio::join!(upload(0), upload(1), upload(2), upload(3));
    let chunks: Vec<_> = chunks.iter().collect();
    let (starts, size) = offsets(&chunks);
    session.put_json("/dynamic_index", &append(wid, &chunks, &starts)).await.ok();
    let (csum, count) = (dynamic_csum(&chunks), chunks.len());
    session.post(&format!("/dynamic_close?chunk-count={count}&csum={csum}&size={size}&wid={wid}")).await.ok();
    (ARCHIVE, csum, size)
}

async fn read(store: Store, shared: Arc<Shared>, mut choices: Choices) {
    while !shared.is_over() {
        let committed = shared.committed();
        if committed.is_empty() {
            tokio::time::sleep(Duration::from_millis(25)).await;
            continue;
        }
        let (name, numbers) = committed.iter().nth(choices.below(committed.len())).unwrap();
        assert_restores(&store, name, numbers).await;
        shared.restored.fetch_add(1, Ordering::Relaxed);
    }
}

async fn assert_restores(store: &Store, name: &SnapshotName, numbers: &[u64]) {
    let reader = store.open_snapshot(name, small()).await.unwrap();
    let content = reader.restore_to_writer(&archive(ARCHIVE), Vec::new()).await;
    let content = content.unwrap_or_else(|error| panic!("{name}: {error:?}"));
    let expected: Vec<u8> = numbers.iter().flat_map(|number| chunk(*number).plain).collect();
    assert!(content == expected, "{name} came back other than it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_under_stress_is_in_the_bucket() {
    let seconds = setting("COLDKEEP_STRESS_SECONDS").unwrap_or(5);
    let seed = setting("COLDKEEP_STRESS_SEED").unwrap_or(0x00c0_1dbe);
    println!("COLDKEEP_STRESS_SECONDS={seconds} COLDKEEP_STRESS_SEED={seed}");
    let mut choices = Choices(seed);
    let mut site = Site::in_bucket(Live::any(), CACHE_BYTES);
    let shared = Arc::new(Shared {
        committed: Mutex::default(),
        next_time: AtomicI64::new(0),
        sessions: AtomicU64::new(0),
        aborted: AtomicUsize::new(0),
        restored: AtomicUsize::new(0),
        until: Instant::now() + Duration::from_secs(seconds),
    });
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let wire = site.wire().await;
        tasks.spawn(write(wire, Arc::clone(&shared), writer, Choices(choices.next())));
    }
    for _ in 0..READERS {
        tasks.spawn(read(site.store(), Arc::clone(&shared), Choices(choices.next())));
    }
    tasks.join_all().await;

    let committed = shared.committed();
    let status = site.store().status().await.unwrap().bucket.unwrap();
    println!(
        "{} committed, {} aborted, {} restored, cache {}",
        committed.len(),
        shared.aborted.load(Ordering::Relaxed),
        shared.restored.load(Ordering::Relaxed),
        status["cache"]
    );
    assert!(shared.aborted.load(Ordering::Relaxed) > 0 && !committed.is_empty());
    assert!(status["cache"]["bytes"].as_u64() <= status["cache"]["bytes-max"].as_u64(), "{status}");

    lose_folder(&mut site);
    let store = site.store();
    let listed = store.snapshots(None, None).await.unwrap();
    assert!(
        listed.iter().all(coldkeep_client::SnapshotItem::is_finished),
        "an unfinished snapshot is visible"
    );
    let mut names: Vec<_> = listed.iter().map(coldkeep_client::SnapshotItem::name).collect();
    names.sort_unstable();
    assert!(names.iter().eq(committed.keys()), "{names:?} instead of {:?}", committed.keys());
    assert_verifies(&store).await;
    for _ in 0..SAMPLES.min(committed.len()) {
        let (name, numbers) = committed.iter().nth(choices.below(committed.len())).unwrap();
        assert_restores(&store, name, numbers).await;
    }
}
