//! Hazards of a store in a bucket, by number, on a directory in memory and a backend that stops where a test says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{BucketOptions, BucketStore, Holder};
use crate::backend::ObjectBackend;
use crate::testing::{ManualClock, MemoryDir, TestRandom};
use crate::time::StoreTime;

/// A day in the middle of nowhere.
const START: StoreTime = StoreTime::from_unix(1_700_000_000, 0);

/// Makes a clock on which every wait is over at once.
fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::skipping(START))
}

/// Returns the options of a server named `host`. Each one has random numbers of its own, also after a restart.
fn options(host: &str, clock: &Arc<ManualClock>) -> BucketOptions {
    static SEED: AtomicU64 = AtomicU64::new(1);
    let seed = SEED.fetch_add(1, Ordering::Relaxed);
    let holder = Holder { host: host.to_owned(), process: 7, id: format!("id of {host}") };
    BucketOptions::new(Arc::clone(clock) as _, Arc::new(TestRandom::new(seed)), holder)
}

/// Opens a store whose rebuild, if one was needed, is finished.
async fn open_store<B: ObjectBackend>(
    dir: MemoryDir,
    backend: B,
    clock: &Arc<ManualClock>,
) -> Arc<BucketStore<MemoryDir, B>> {
    open_with(dir, backend, options("one", clock)).await
}

/// The same with options of its own.
async fn open_with<B: ObjectBackend>(
    dir: MemoryDir,
    backend: B,
    options: BucketOptions,
) -> Arc<BucketStore<MemoryDir, B>> {
    let store = BucketStore::open(dir, backend, options, None).await.unwrap();
    if store.is_rebuilding() {
        store.finish_rebuild().await.unwrap();
    }
    Arc::new(store)
}
