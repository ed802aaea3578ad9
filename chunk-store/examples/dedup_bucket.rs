//! Splits a file into pieces of 64 KiB, stores them in a bucket, and shows how many the store had already.
//!
//! `cargo run -p coldkeep-chunk-store --example dedup_bucket -- ENDPOINT BUCKET REGION FILE FOLDER`, with the keys in
//! `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`; run it twice. The folder holds markers and the cache. An empty one
//! beside a bucket that holds something makes the first run wait for 2 minutes or more.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use coldkeep_chunk_store::backend::{RequestBound, S3Backend};
use coldkeep_chunk_store::blob::{Blob, Compression};
use coldkeep_chunk_store::bucket::{BucketOptions, BucketStore, Holder};
use coldkeep_chunk_store::dir::FsChunkDir;
use coldkeep_chunk_store::{CacheUse, CheckedChunk, Digest, Inserted, OwnerLock, SystemClock, SystemRandom};
use coldkeep_s3_client::probe::RequestBound as Found;
use coldkeep_s3_client::{Client, Config, Credentials, ProbeOptions};

const PIECE_BYTES: usize = 64 << 10;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [endpoint, bucket, region, file, folder] = arguments.as_slice() else {
        return Err("usage: dedup_bucket ENDPOINT BUCKET REGION FILE FOLDER".into());
    };
    #[expect(clippy::disallowed_methods, reason = "an example is a binary, too")]
    let lookup = |name: &str| std::env::var(name).ok();
    let keys = Credentials::from_lookup(lookup)?;
    let config = Config::new(endpoint.parse()?, region.parse()?, bucket.parse()?, keys)?;

    // What the server does decides how long a lost request is feared.
    let probe = Client::builder(config.clone()).build()?.probe(&ProbeOptions::new()).await?;
    let bounds = (probe.delete_bound(), probe.put_bound());
    if !matches!(bounds, (Found::Presigned { .. }, Found::Presigned { .. })) {
        return Err("the server does not enforce the expiry of presigned requests".into());
    }
    let client = Client::builder(config.with_quirks(probe.quirks())).build()?;
    let backend = S3Backend::new(client, "dedup-example", RequestBound::Presigned)?;

    // Both are kept for as long as the store is open.
    let folder = Path::new(folder);
    fs::create_dir_all(folder.join(".coldkeep"))?;
    let owner = OwnerLock::take(folder)?;
    let dir = FsChunkDir::create(folder)?;
    let holder = Holder { host: "example".into(), process: std::process::id(), id: "dedup-example".into() };
    let options = BucketOptions::new(Arc::new(SystemClock::new()), Arc::new(SystemRandom::new()?), holder);
    let store = BucketStore::open(dir, backend, options, Some(owner)).await?;
    if store.is_rebuilding() {
        // Whoever keeps more than chunks in the bucket restores that first.
        store.finish_rebuild().await?;
    }

    let session = store.begin_session(CacheUse::Keep).await?;
    let (mut new, mut known) = (0, 0);
    for piece in fs::read(file)?.chunks(PIECE_BYTES) {
        let blob = Blob::encode(piece, Compression::Zstd)?;
        let chunk = CheckedChunk::check(Digest::of(piece), piece.len() as u64, blob.into_bytes())?;
        match store.insert(&session, chunk).await? {
            Inserted::New { .. } => new += 1,
            Inserted::Known => known += 1,
        }
    }
    drop(session);
    store.close().await?;
    println!("{new} new pieces, {known} known");
    Ok(())
}
