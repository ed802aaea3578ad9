//! The chunk store alone, in a folder: what goes in comes out again, once.

use std::error::Error;
use std::sync::Arc;

use coldkeep_chunk_store::blob::{Blob, Compression};
use coldkeep_chunk_store::{CheckedChunk, ChunkStore, Digest, Inserted, StoreOptions, SystemClock};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let store = ChunkStore::open(folder.path(), StoreOptions::new(Arc::new(SystemClock::new()))).await?;
    let session = store.begin_session().await?;
    let (data, digest) = (b"some data", Digest::of(b"some data"));
    for is_first in [true, false] {
        let body = Blob::encode(data, Compression::Zstd)?.into_bytes();
        let inserted = store.insert(&session, CheckedChunk::check(digest, data.len() as u64, body)?).await?;
        assert_eq!(matches!(inserted, Inserted::New { .. }), is_first);
    }
    assert_eq!(store.load(&digest).await?.decode(data.len())?, data[..]);
    drop(session);
    store.close().await?;
    Ok(())
}
