//! Backups into a bucket and back, by the real binary on a real S3 server where the environment names one, else on one
//! in memory: what clients see, and what becomes of lost folders, killed servers and backends that go away.

mod faults;
mod interrupted;
mod life;
mod load;
mod loss;
mod outage;
mod power;
mod stress;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use coldkeep_client::{BackupError, ImageSource, ProgressSnapshot, SnapshotItem, Store};
use coldkeep_datastore::SnapshotName;
use coldkeep_s3_testbed::{FaultProxy, RequestHead, Seen};

use crate::live::Live;
use crate::site::{CACHE_BYTES, Content, Site, archive, assert_restores, begin_when_free, collect, small};

const TIME: i64 = 1_700_000_000;
const MIB: usize = 1 << 20;

/// A server with its store in a bucket, behind a proxy that sees all requests.
struct Scene {
    site: Site,
    proxy: FaultProxy,
}

impl Scene {
    fn new() -> Self {
        Self::with_cache(CACHE_BYTES)
    }

    fn with_cache(bytes: u64) -> Self {
        let (live, proxy) = Live::any().through_proxy();
        Self { site: Site::in_bucket(&live, bytes), proxy }
    }

    /// The keys of all chunks that were sent so far, once for each time.
    fn chunks_sent(&self) -> Vec<String> {
        let sent = |seen: &Seen| seen.method == "PUT" && seen.path.contains(CHUNKS);
        self.proxy.seen().into_iter().filter(sent).map(|seen| seen.path).collect()
    }
}

/// Removes the store's folder, the cache, while the server is stopped.
pub(crate) fn lose_folder(site: &mut Site) {
    site.stop();
    std::fs::remove_dir_all(site.store_folder()).unwrap();
    site.start();
}

/// Longest time until the backend has refused whatever was sent, and its clock shows it.
const SETTLED_WITHIN: Duration = Duration::from_mins(2);
/// What is in the path of every chunk.
const CHUNKS: &str = "/.chunks/";

fn is_chunk_put(head: &RequestHead) -> bool {
    head.method == "PUT" && head.path().contains(CHUNKS)
}

/// An image and a stream. Those of equal numbers are the same, those of others share most of their chunks.
#[derive(Debug, Clone)]
struct Data {
    disk: Content,
    stream: Content,
}

impl Data {
    fn new(number: usize) -> Self {
        let disk = Content { pieces: vec![(0, 8 * MIB), (number * 1000, 4 * MIB), (9 * MIB, 12_345)] };
        let stream = Content { pieces: vec![(10 * MIB, 10 * MIB), (number * 1000, 3 * MIB)] };
        Self { disk, stream }
    }

    /// Makes a backup, and tells what was sent to the server.
    async fn back_up(&self, store: &Store, name: &SnapshotName) -> Result<ProgressSnapshot, BackupError> {
        let session = begin_when_free(store, name).await;
        let disk = ImageSource::reader(self.disk.reader(), self.disk.len() as u64);
        session.upload_image(&archive("d.img.fidx"), disk).await?;
        session.upload_stream(&archive("s.bin.didx"), self.stream.reader()).await?;
        session.upload_blob(&archive("c.conf.blob"), "key = value".into()).await?;
        let progress = session.progress();
        session.finish().await?;
        Ok(progress.snapshot())
    }

    async fn assert_restores(&self, store: &Store, name: &SnapshotName) {
        let reader = store.open_snapshot(name, small()).await.unwrap();
        assert_restores(&reader, "d.img.fidx", &self.disk).await;
        assert_restores(&reader, "s.bin.didx", &self.stream).await;
        assert_eq!(reader.load_blob(&archive("c.conf.blob")).await.unwrap(), "key = value");
    }
}

fn distinct(keys: &[String]) -> BTreeSet<&String> {
    keys.iter().collect()
}

/// The snapshots that a client sees.
async fn names(store: &Store) -> Vec<SnapshotName> {
    store.snapshots(None, None).await.unwrap().iter().map(SnapshotItem::name).collect()
}

/// Collects until no delete is in doubt and nothing is too young any more.
pub(crate) async fn collect_all(store: &Store) {
    let until = Instant::now() + SETTLED_WITHIN;
    loop {
        collect(store).await.unwrap();
        let report = store.gc_history(None).await.unwrap().swap_remove(0).report;
        assert_eq!(report["missing"]["chunks"], 0, "{report}");
        let left = ["in_limbo", "pending", "failed"].map(|what| report[what]["count"].as_u64().unwrap());
        if left == [0, 0, 0] && report["unfinished"]["in_use"].as_u64().unwrap_or(0) == 0 {
            return;
        }
        assert!(Instant::now() < until, "it is not over: {report}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
