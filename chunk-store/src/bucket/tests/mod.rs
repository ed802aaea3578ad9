//! Hazards of a store in a bucket, by number, on a directory in memory and a backend that stops where a test says.

use std::sync::Arc;

use super::open::Parts;
use super::{BucketOptions, BucketStore, Holder, generation, journal};
use crate::backend::ObjectBackend;
use crate::store::state;
use crate::testing::{ManualClock, MemoryDir, TestRandom};
use crate::time::StoreTime;

/// A day in the middle of nowhere.
const START: StoreTime = StoreTime::from_unix(1_700_000_000, 0);

/// Makes a clock on which every wait is over at once.
fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::skipping(START))
}

/// Returns the options of a server named `host`.
fn options(host: &str, clock: &Arc<ManualClock>) -> BucketOptions {
    let seed = u64::from(crc32fast::hash(host.as_bytes()));
    let holder = Holder { host: host.to_owned(), process: 7, id: format!("id of {host}") };
    BucketOptions::new(Arc::clone(clock) as _, Arc::new(TestRandom::new(seed)), holder)
}

/// Opens a store whose rebuild, if one was needed, is finished.
async fn open_store<B: ObjectBackend>(
    dir: MemoryDir,
    backend: B,
    clock: &Arc<ManualClock>,
) -> Arc<BucketStore<MemoryDir, B>> {
    let options = options("one", clock);
    let (store_clock, state) = state::open(&dir, Arc::clone(clock) as _).await.unwrap();
    let journal = journal::Journal::load(&dir).await.unwrap();
    let generation = generation::Generation::default();
    let owner = None;
    let parts = Parts { dir, backend, options, clock: store_clock, state, journal, generation, owner };
    Arc::new(BucketStore::assemble(parts))
}
