//! A store in the synthetic bucket, opened as a server opens it.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use coldkeep_chunk_store::backend::{RequestBound, S3Backend};
use coldkeep_chunk_store::bucket::{BucketOptions, BucketStore, Holder};
use coldkeep_chunk_store::dir::{FsChunkDir, MarkerDir, StateFile};
use coldkeep_chunk_store::{Clock, StoreTime, SystemClock, SystemRandom};
use coldkeep_s3_client::{Client, Config, Credentials};

use crate::bucket::{AGE, BUCKET, STORE, SyntheticBucket};
use crate::objects::Objects;

/// The token of the generation that bucket and local state agree on: the store is opened as after an orderly end.
const TOKEN: &str = "00000000000000000000000000000001";

/// Markers that are made by one call.
const FILL_BATCH: u64 = 10_000;

/// The client for the synthetic bucket.
pub(crate) fn client(bucket: &SyntheticBucket) -> Result<Client<SyntheticBucket>> {
    let credentials = Credentials::new("bench", "bench")?;
    let config =
        Config::new("http://127.0.0.1:1".parse()?, "us-east-1".parse()?, BUCKET.parse()?, credentials)?;
    Ok(Client::builder(config).build_with(bucket.clone()))
}

/// The store's part of the bucket.
pub(crate) fn backend(bucket: &SyntheticBucket) -> Result<S3Backend<SyntheticBucket>> {
    Ok(S3Backend::new(client(bucket)?, STORE, RequestBound::Presigned)?)
}

/// Opens the store; its directory is that of [`generation_state`].
pub(crate) async fn open<D: MarkerDir>(
    dir: D,
    bucket: &SyntheticBucket,
) -> Result<BucketStore<D, S3Backend<SyntheticBucket>>> {
    let generation =
        serde_json::json!({ "token": TOKEN, "host": "bench", "written_at": 0, "requests_last": 0 });
    bucket.put(".generation", generation.to_string());
    let holder = Holder { host: "bench".into(), process: std::process::id(), id: "bench".into() };
    let random = SystemRandom::new().context("the system has no random bytes")?;
    let options = BucketOptions::new(Arc::new(SystemClock::new()), Arc::new(random), holder);
    let store = BucketStore::open(dir, backend(bucket)?, options, None).await?;
    ensure!(!store.is_rebuilding(), "the local state is not that of the bucket");
    Ok(store)
}

/// The state file that belongs to the bucket's generation (`docs/FORMAT.md`).
pub(crate) fn generation_state() -> Bytes {
    serde_json::json!({ "current": TOKEN }).to_string().into()
}

/// The last use of every marker: as old as its object.
pub(crate) fn used_at() -> StoreTime {
    SystemClock::new().wall().minus(AGE)
}

/// Makes the markers of all objects in a folder, in place of those that may be there.
pub(crate) async fn fill_markers(folder: &Path, objects: Objects) -> Result<()> {
    // Before there are new ones: a filesystem in memory has room for so many files and no more.
    match fs::remove_dir_all(folder.join(".chunks")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        removed => removed.with_context(|| format!("cannot remove the markers in {}", folder.display()))?,
    }
    let dir = open_markers(folder)?;
    dir.begin_fresh(false).await?;
    let (used_at, mut next) = (used_at(), 0);
    while next < objects.count() {
        let end = objects.count().min(next + FILL_BATCH);
        dir.add_fresh((next..end).map(|number| objects.digest(number)).collect(), used_at).await?;
        next = end;
    }
    Ok(dir.switch_to_fresh().await?)
}

/// Takes the markers in a folder, with a state that fits the bucket.
pub(crate) fn open_markers(folder: &Path) -> Result<FsChunkDir> {
    let dir = FsChunkDir::create(folder)?;
    let state = folder.join(".coldkeep");
    fs::write(state.join(StateFile::Generation.file_name()), generation_state())
        .with_context(|| format!("cannot write to {}", state.display()))?;
    Ok(dir)
}
