//! The collector alone, with references from a list in memory: what nothing refers to goes.

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use coldkeep_chunk_store::blob::{Blob, Compression};
use coldkeep_chunk_store::{CheckedChunk, ChunkStore, Digest, StoreOptions, SystemClock};
use coldkeep_gc::{Control, Options, Outcome, References, Sink, collect};

/// One index.
struct Needed(Vec<Digest>);

impl References for Needed {
    type Index = String;
    type Error = Infallible;

    async fn list(&self) -> Result<Vec<String>, Infallible> {
        Ok(vec!["all".to_owned()])
    }

    async fn read(&self, _index: &String, mut sink: Sink) -> Result<Outcome, Infallible> {
        let _ = sink.push(&self.0);
        Ok(Outcome::Read { references: self.0.len() as u64, data_bytes: 0 })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let store = ChunkStore::open(folder.path(), StoreOptions::new(Arc::new(SystemClock::new()))).await?;
    let session = store.begin_session().await?;
    for data in [b"needed ", b"garbage"] {
        let body = Blob::encode(data, Compression::None)?.into_bytes();
        store.insert(&session, CheckedChunk::check(Digest::of(data), data.len() as u64, body)?).await?;
    }
    drop(session);
    let options = Options::default().with_grace(Duration::ZERO).with_margin(Duration::ZERO);
    let needed = Digest::of(b"needed ");
    let report = collect(&*store, &Needed(vec![needed]), &options, &Control::new()).await?;
    assert_eq!((report.kept.count, report.removed.count), (1, 1));
    assert!(store.load(&needed).await.is_ok() && store.load(&Digest::of(b"garbage")).await.is_err());
    store.close().await?;
    Ok(())
}
