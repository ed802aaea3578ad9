//! Measures what inserting a chunk costs beside its bytes: markers, locks, the gate, the way to threads for file work.
//!
//! `cargo run --release --example insert_work -- [chunks] [in flight]`; prints one JSON object for a session that caches
//! and for one that does not. The bucket is in memory and the chunks have a few bytes, so that neither is what is
//! measured; the directory is a temporary one (`TMPDIR`).

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use coldkeep_chunk_store::blob::{Blob, Compression};
use coldkeep_chunk_store::bucket::{BucketOptions, BucketStore, Holder};
use coldkeep_chunk_store::dir::FsChunkDir;
use coldkeep_chunk_store::testing::{MemoryBackend, TestRandom};
use coldkeep_chunk_store::{CacheUse, CheckedChunk, Digest, SystemClock};
use futures_util::{StreamExt, TryStreamExt, stream};

/// Clock ticks per second in `/proc/self/stat`: `USER_HZ`, 100 on every Linux architecture we build for (proc(5)).
const TICKS_PER_SECOND: f64 = 100.0;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| arguments.next().map_or(Ok(default), |text| text.parse::<usize>());
    let (chunks, in_flight) = (number(50_000)?, number(16)?.max(1));
    for cache in [CacheUse::Keep, CacheUse::Skip] {
        let folder = tempfile::tempdir()?;
        let clock = Arc::new(SystemClock::new());
        let backend = MemoryBackend::new(Arc::clone(&clock) as _);
        let holder = Holder { host: "bench".to_owned(), process: 1, id: "bench".to_owned() };
        let options = BucketOptions::new(clock, Arc::new(TestRandom::new(1)), holder);
        let dir = FsChunkDir::create(folder.path())?;
        let store = BucketStore::open(dir, backend, options, None).await?;
        if store.is_rebuilding() {
            store.finish_rebuild().await?;
        }
        let session = store.begin_session(cache).await?;
        // The second pass finds all prefix folders made: that is done once in the life of a store.
        for pass in 0..2 {
            let checked = (0..chunks).map(|number| chunk(pass, number)).collect::<Result<Vec<_>, _>>()?;
            let (started_at, cpu_before) = (Instant::now(), cpu_seconds()?);
            let inserts = stream::iter(checked).map(|chunk| store.insert(&session, chunk));
            inserts.buffer_unordered(in_flight).try_for_each(|_| async { Ok(()) }).await?;
            let wall = started_at.elapsed().as_secs_f64();
            let cpu = cpu_seconds()? - cpu_before;
            println!(
                "{}",
                serde_json::json!({
                    "cached": cache == CacheUse::Keep,
                    "folders_made": pass > 0,
                    "chunks": chunks,
                    "in_flight": in_flight,
                    "cpu_microseconds_per_chunk": cpu * 1e6 / chunks as f64,
                    "chunks_per_second": chunks as f64 / wall,
                })
            );
        }
        drop(session);
        store.close().await?;
    }
    Ok(())
}

fn chunk(pass: usize, number: usize) -> Result<CheckedChunk, Box<dyn Error>> {
    let data = [pass.to_le_bytes(), number.to_le_bytes()].concat();
    let blob = Blob::encode(&data, Compression::None)?.into_bytes();
    Ok(CheckedChunk::check(Digest::of(&data), data.len() as u64, blob)?)
}

/// Reads user and system time of this process: fields 14 and 15, counted behind the command's name.
fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let rest = stat.rsplit(')').next().unwrap_or_default();
    let ticks = rest.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / TICKS_PER_SECOND)
}
