//! Splits a file into pieces of 64 KiB, stores them, and shows how many the store had already.
//!
//! `cargo run -p coldkeep-chunk-store --example dedup -- FILE FOLDER`; run it twice.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use coldkeep_chunk_store::blob::{Blob, Compression};
use coldkeep_chunk_store::{CheckedChunk, ChunkStore, Digest, Inserted, StoreOptions, SystemClock};

const PIECE_BYTES: usize = 64 << 10;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(file), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err("usage: dedup FILE FOLDER".into());
    };
    std::fs::create_dir_all(&folder)?;
    let store = ChunkStore::open(&folder, StoreOptions::new(Arc::new(SystemClock::new()))).await?;
    let session = store.begin_session().await?;
    let (mut new, mut known) = (0, 0);
    for piece in std::fs::read(file)?.chunks(PIECE_BYTES) {
        let blob = Blob::encode(piece, Compression::Zstd)?;
        let chunk = CheckedChunk::check(Digest::of(piece), piece.len() as u64, blob.into_bytes())?;
        match store.insert(&session, chunk).await? {
            Inserted::New { .. } => new += 1,
            Inserted::Known => known += 1,
        }
    }
    store.sync().await?;
    drop(session);
    store.close().await?;
    println!("{new} new pieces, {known} known");
    Ok(())
}
