//! Measures the mark on one core: references a second and memory for each distinct chunk.
//!
//! `cargo run --release --example mark_rate -- [distinct chunks] [indexes]`; prints one JSON object. Every index names
//! every chunk, each starting at another one, as the daily snapshots of one machine do. The records lie in memory, so
//! that the disk is not what is measured.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use coldkeep_chunk_store::{ChunkStore, Digest, StoreOptions, SystemClock};
use coldkeep_gc::{Control, Options, Outcome, References, Sink, collect};

/// Digests in each slice: what a read of 1 MiB of a fixed index gives.
const SLICE: usize = 32 * 1024;

struct Snapshots {
    records: Vec<u8>,
    indexes: usize,
    listed: AtomicBool,
}

impl References for Snapshots {
    type Index = usize;
    type Error = std::convert::Infallible;

    async fn list(&self) -> Result<Vec<usize>, Self::Error> {
        // The second listing is for chunks that are missing, here all of them: not what is measured.
        let again = self.listed.swap(true, Ordering::Relaxed);
        Ok(if again { Vec::new() } else { (0..self.indexes).collect() })
    }

    async fn read(&self, index: &usize, mut sink: Sink) -> Result<Outcome, Self::Error> {
        let (records, _) = self.records.as_chunks::<32>();
        let (end, start) = records.split_at(records.len() / self.indexes * index);
        let mut digests = Vec::with_capacity(SLICE);
        for slice in start.chunks(SLICE).chain(end.chunks(SLICE)) {
            digests.clear();
            digests.extend(slice.iter().map(|record| Digest::from_bytes(*record)));
            if sink.push(&digests).is_break() {
                break;
            }
        }
        Ok(Outcome::Read { references: records.len() as u64, data_bytes: 0 })
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| arguments.next().map_or(Ok(default), |text| text.parse::<usize>());
    let (chunks, indexes) = (number(4_000_000)?, number(10)?.max(1));
    let mut records = Vec::with_capacity(chunks * 32);
    // Any spread-out bytes do; hashing each would take longer than the mark.
    let mut state = 1_u64;
    for _ in 0..chunks * 4 {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        records.extend_from_slice(&(mixed ^ (mixed >> 29)).to_le_bytes());
    }
    let snapshots = Snapshots { records, indexes, listed: AtomicBool::new(false) };
    let folder = tempfile::tempdir()?;
    let report = OnceLock::new();
    tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
        let store = ChunkStore::open(folder.path(), StoreOptions::new(Arc::new(SystemClock::new()))).await?;
        let collected = collect(&*store, &snapshots, &Options::default(), &Control::new()).await?;
        let _ = report.set(collected);
        Ok::<_, Box<dyn std::error::Error>>(())
    })?;
    let report = report.get().ok_or("no report")?;
    let json = serde_json::json!({
        "references": report.references,
        "distinct_chunks": report.distinct_chunks,
        "references_per_second_per_core": report.references_per_second.round(),
        "bytes_per_chunk": report.set_memory_bytes as f64 / report.distinct_chunks.max(1) as f64,
    });
    println!("{json}");
    Ok(())
}
