//! The sweep of a [`ChunkStore`] on a filesystem.

use std::time::Duration;

use coldkeep_chunk_store::dir::{ChunkDir, Shard};
use coldkeep_chunk_store::{ChunkStore, Digest, ListedEntry, Run, RunError, StoreError};

use crate::target::{Description, Page, Removal, RunTimes, SweepTarget};

/// Why a chunk store could not be swept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreSweepError {
    /// The run did not begin.
    #[error(transparent)]
    Begin(#[from] RunError),
    /// A file operation failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl StoreSweepError {
    /// Returns whether another run is under way: waiting helps.
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Begin(RunError::Busy))
    }
}

impl<D: ChunkDir> SweepTarget for ChunkStore<D> {
    type Run = Run;
    type Shard = Shard;
    type Entry = ListedEntry;
    type Error = StoreSweepError;

    fn monotonic(&self) -> Duration {
        self.clock().monotonic()
    }

    async fn begin_run(&self, grace: Duration, margin: Duration) -> Result<Run, StoreSweepError> {
        Ok(Self::begin_run(self, grace, margin).await?)
    }

    fn times(run: &Run) -> RunTimes {
        RunTimes {
            started_at: run.started_at(),
            cutoff: run.cutoff(),
            oldest_session_at: run.oldest_session_at(),
        }
    }

    async fn shards(&self, _run: &Run) -> Result<Vec<Shard>, StoreSweepError> {
        Ok(Self::shards(self).await?)
    }

    async fn list(&self, _run: &Run, shard: Shard) -> Result<Page<Self>, StoreSweepError> {
        Ok(Page { entries: Self::list(self, shard).await?, rest: None })
    }

    fn describe(entry: &ListedEntry) -> Description {
        Description {
            digest: entry.name.digest,
            kind: entry.name.kind,
            size: entry.len,
            used_at: Some(entry.used_at),
            // The file is chunk, marker and object in one: its atime says it all (DESIGN "Filesystem stores").
            upload_started_at: None,
            modified_at: None,
        }
    }

    async fn remove(&self, run: &Run, batch: Vec<ListedEntry>) -> Result<Vec<Removal>, StoreSweepError> {
        let names: Vec<_> = batch.iter().map(|entry| entry.name).collect();
        let gone = Self::remove(self, run, &names).await?;
        Ok(gone.into_iter().map(|gone| if gone { Removal::Removed } else { Removal::Kept }).collect())
    }

    async fn is_stored(&self, digest: &Digest) -> Result<bool, StoreSweepError> {
        Ok(self.stored_len(digest).await?.is_some())
    }
}
