//! What the sweep of a bucket is measured against: a plain listing with the same client, and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, ensure};
use coldkeep_s3_client::ops::ListObjectsV2;

use crate::bucket::{STORE, SyntheticBucket};
use crate::flags::Scene;
use crate::measured::{Measured, Stopwatch};
use crate::store::client;

/// First bytes of digests: each is listed on its own.
const PREFIXES: u64 = 256;

/// Lists all chunks, as many prefixes at once as the scene says.
pub(crate) async fn all(scene: &Scene) -> Result<Measured> {
    let bucket = SyntheticBucket::new(scene.objects(), scene.latency);
    let client = client(&bucket)?;
    let next = Arc::new(AtomicU64::new(0));
    let stopwatch = Stopwatch::start()?;
    // Tasks, so that answers are read on all processors.
    let tasks: Vec<_> = (0..scene.parallel)
        .map(|_| {
            let (client, next) = (client.clone(), Arc::clone(&next));
            tokio::spawn(async move {
                let mut count = 0;
                loop {
                    let first = next.fetch_add(1, Ordering::Relaxed);
                    if first >= PREFIXES {
                        return anyhow::Ok(count);
                    }
                    let prefix = format!("{STORE}/.chunks/{first:02x}");
                    let mut listing = client.list(ListObjectsV2::new().with_prefix(&prefix));
                    while let Some(page) = listing.next_page().await? {
                        count += page.value.objects.len() as u64;
                    }
                }
            })
        })
        .collect();
    let mut listed = 0;
    for task in tasks {
        listed += task.await??;
    }
    let measured = stopwatch.stop()?;
    ensure!(listed == scene.objects, "{listed} of {} objects were listed", scene.objects);
    let (requests, requests_at_once) = (bucket.requests(), bucket.requests_at_once());
    Ok(Measured { listed, requests, requests_at_once, ..measured })
}
