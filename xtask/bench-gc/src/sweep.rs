//! The collection of a store in the synthetic bucket.

use std::path::Path;

use anyhow::{Result, ensure};
use coldkeep_chunk_store::backend::S3Backend;
use coldkeep_chunk_store::bucket::BucketStore;
use coldkeep_chunk_store::dir::MarkerDir;
use coldkeep_gc::{Control, End, Options, collect};

use crate::bucket::{Requests, SyntheticBucket};
use crate::changes::Since;
use crate::flags::Scene;
use crate::measured::{Measured, Stopwatch};
use crate::memory_dir::MemoryMarkers;
use crate::references::AllButGarbage;
use crate::store;

/// Collects with markers in a folder, which were made before.
pub(crate) async fn on_disk(folder: &Path, scene: &Scene) -> Result<Measured> {
    let bucket = SyntheticBucket::new(scene.objects(), scene.latency);
    let store = store::open(store::open_markers(folder)?, &bucket).await?;
    let since = Since::now().await;
    let measured = run(&store, &bucket, scene).await?;
    if scene.garbage_percent == 0 {
        since.check_unchanged(folder)?;
    }
    store.close().await?;
    Ok(measured)
}

/// Collects with markers in memory.
pub(crate) async fn in_memory(scene: &Scene) -> Result<Measured> {
    let bucket = SyntheticBucket::new(scene.objects(), scene.latency);
    let markers = MemoryMarkers::new(scene.objects());
    let store = store::open(markers.clone(), &bucket).await?;
    let before = markers.written();
    let measured = run(&store, &bucket, scene).await?;
    let written: Vec<_> =
        markers.written().into_iter().filter(|(what, count)| before.get(what) != Some(count)).collect();
    ensure!(
        scene.garbage_percent > 0 || written.iter().all(|(what, _)| *what == "clock"),
        "there is no garbage, and yet were written {written:?}"
    );
    ensure!(markers.removed() == bucket.deleted(), "{} markers were removed", markers.removed());
    store.close().await?;
    Ok(measured)
}

async fn run<D: MarkerDir>(
    store: &BucketStore<D, S3Backend<SyntheticBucket>>,
    bucket: &SyntheticBucket,
    scene: &Scene,
) -> Result<Measured> {
    let mut options = Options::default();
    options.sweep_parallel = Some(scene.parallel);
    let before = bucket.requests();
    let stopwatch = Stopwatch::start()?;
    let report = collect(store, &AllButGarbage(scene.objects()), &options, &Control::new()).await?;
    let measured = stopwatch.stop()?.with_report(&report);
    ensure!(report.end == End::Completed, "the collection did not run to its end");
    ensure!(report.missing.chunks == 0, "{} chunks are missing", report.missing.chunks);
    ensure!(report.removed.count == bucket.deleted(), "{} objects were deleted", bucket.deleted());
    let requests = since(&before, bucket.requests());
    Ok(Measured { requests, requests_at_once: bucket.requests_at_once(), ..measured })
}

/// What came to the counts of requests.
fn since(before: &Requests, mut now: Requests) -> Requests {
    for (kind, count) in &mut now {
        *count -= before.get(kind).copied().unwrap_or(0);
    }
    now.retain(|_, count| *count > 0);
    now
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const OBJECTS: u64 = 3000;

    fn scene(garbage_percent: u64) -> Scene {
        Scene { objects: OBJECTS, garbage_percent, latency: Duration::ZERO, parallel: 8 }
    }

    fn writes(measured: &Measured) -> u64 {
        let reads = ["list", "get", "head"];
        measured.requests.iter().filter(|(kind, _)| !reads.contains(kind)).map(|(_, count)| count).sum()
    }

    #[tokio::test]
    async fn a_store_without_garbage_is_listed_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        store::fill_markers(folder.path(), scene(0).objects()).await.unwrap();
        let on_disk = on_disk(folder.path(), &scene(0)).await.unwrap();
        for measured in [on_disk, in_memory(&scene(0)).await.unwrap()] {
            assert_eq!((measured.listed, measured.removed, writes(&measured)), (OBJECTS, 0, 0));
            assert!(measured.requests["list"] >= OBJECTS / 1000, "{measured:?}");
        }
    }

    #[tokio::test]
    async fn garbage_goes_with_its_markers() {
        let folder = tempfile::tempdir().unwrap();
        store::fill_markers(folder.path(), scene(5).objects()).await.unwrap();
        let on_disk = on_disk(folder.path(), &scene(5)).await.unwrap();
        for measured in [on_disk, in_memory(&scene(5)).await.unwrap()] {
            assert_eq!((measured.listed, measured.removed), (OBJECTS, OBJECTS / 20));
            assert!(measured.requests["delete"] > 0 && measured.requests["put"] > 0, "{measured:?}");
        }
        let shards = std::fs::read_dir(folder.path().join(".chunks")).unwrap();
        let left = shards.map(|shard| std::fs::read_dir(shard.unwrap().path()).unwrap().count());
        assert_eq!(left.sum::<usize>() as u64, OBJECTS - OBJECTS / 20);
    }
}
