//! Collects a chunk store whose references are text files of digests, one a line: the smallest possible `References`.
//!
//! `cargo run --example collect_folder`

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use coldkeep_chunk_store::blob::{Blob, Compression};
use coldkeep_chunk_store::{CheckedChunk, ChunkStore, Digest, StoreOptions, SystemClock};
use coldkeep_gc::{Control, Options, Outcome, References, Sink, collect};

/// A folder of index files; the first line of each says how many digests follow.
struct IndexFolder(PathBuf);

impl References for IndexFolder {
    type Index = String;
    type Error = io::Error;

    async fn list(&self) -> Result<Vec<String>, io::Error> {
        let names =
            std::fs::read_dir(&self.0)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect()
    }

    async fn read(&self, index: &String, mut sink: Sink) -> Result<Outcome, io::Error> {
        let path = self.0.join(index);
        // Blocking work belongs on a thread of its own; the sink goes along.
        let read = tokio::task::spawn_blocking(move || {
            let text = match std::fs::read_to_string(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Outcome::Gone),
                text => text?,
            };
            let (count, digests) = text.split_once('\n').ok_or(io::ErrorKind::InvalidData)?;
            let references = count.parse().map_err(|_| io::ErrorKind::InvalidData)?;
            let digests: Result<Vec<Digest>, _> = digests.lines().map(str::parse).collect();
            // Break means that the run has ended; nothing is left to do then.
            let _ = sink.push(&digests.map_err(io::Error::other)?);
            Ok(Outcome::Read { references, data_bytes: 0 })
        });
        read.await.map_err(io::Error::other)?
    }
}

async fn store_text(store: &ChunkStore, text: &str) -> Result<Digest, Box<dyn std::error::Error>> {
    let session = store.begin_session().await?;
    let digest = Digest::of(text.as_bytes());
    let body = Blob::encode(text.as_bytes(), Compression::None)?.into_bytes();
    store.insert(&session, CheckedChunk::check(digest, text.len() as u64, body)?).await?;
    Ok(digest)
}

fn write_index(folder: &Path, digests: &[Digest]) -> io::Result<()> {
    let mut file = io::BufWriter::new(std::fs::File::create(folder.join("index"))?);
    writeln!(file, "{}", digests.len())?;
    for digest in digests {
        writeln!(file, "{digest}")?;
    }
    file.flush()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (chunks, indexes) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let store = ChunkStore::open(chunks.path(), StoreOptions::new(Arc::new(SystemClock::new()))).await?;
    let needed = store_text(&store, "needed").await?;
    let garbage = store_text(&store, "garbage").await?;
    write_index(indexes.path(), &[needed])?;

    let options = Options::default().with_grace(Duration::ZERO).with_margin(Duration::ZERO);
    let references = IndexFolder(indexes.path().to_owned());
    let report = collect(&*store, &references, &options, &Control::new()).await?;
    println!("{report}");
    assert!(store.load(&needed).await.is_ok() && store.load(&garbage).await.is_err());
    store.close().await?;
    Ok(())
}
