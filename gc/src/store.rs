//! The sweep of a [`ChunkStore`] on a filesystem.

use std::error::Error;
use std::time::Duration;

use coldkeep_chunk_store::blob::HEADER_BYTES;
use coldkeep_chunk_store::dir::{ChunkDir, EntryKind, Shard};
use coldkeep_chunk_store::{ChunkStore, Digest, ListedEntry, Run, RunError, StoreError};

use crate::target::{Agreement, Description, Page, Removal, Repair, RunTimes, SweepTarget};

/// Prefix folders listed by one hop to a blocking thread.
const FOLDERS: usize = 32;

/// Why a chunk store could not be swept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreSweepError {
    /// The run did not begin.
    #[error(transparent)]
    Begin(#[from] RunError),
    /// A file operation or a request failed, or the store takes no more work.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl StoreSweepError {
    /// Returns whether another run is under way: waiting helps.
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Begin(RunError::Busy))
    }
}

pub(crate) fn run_times(run: &Run) -> RunTimes {
    RunTimes {
        started_at: run.started_at(),
        cutoff: run.cutoff(),
        oldest_session_at: run.oldest_session_at(),
    }
}

/// What became of one file (hazard H18).
fn removal(outcome: Result<bool, StoreError>) -> Removal {
    match outcome {
        Ok(true) => Removal::Removed,
        Ok(false) => Removal::Kept,
        Err(error) => Removal::Refused(with_causes(&error)),
    }
}

fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |error| (*error).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

impl<D: ChunkDir> SweepTarget for ChunkStore<D> {
    type Run = Run;
    type Shard = Vec<Shard>;
    type Entry = ListedEntry;
    type Error = StoreSweepError;

    /// A cancelled run ends after at most this many more.
    const REMOVAL_MAX: usize = 1000;
    const REMOVALS: usize = 4;
    const LISTINGS: usize = 4;

    fn monotonic(&self) -> Duration {
        self.clock().monotonic()
    }

    async fn sleep(&self, duration: Duration) {
        self.clock().sleep(duration).await;
    }

    async fn begin_run(&self, grace: Duration, margin: Duration) -> Result<Run, StoreSweepError> {
        Ok(Self::begin_run(self, grace, margin).await?)
    }

    fn times(run: &Run) -> RunTimes {
        run_times(run)
    }

    async fn shards(&self, _run: &Run) -> Result<Vec<Vec<Shard>>, StoreSweepError> {
        Ok(Self::shards(self).await?.chunks(FOLDERS).map(<[Shard]>::to_vec).collect())
    }

    async fn list(&self, _run: &Run, shard: Vec<Shard>) -> Result<Page<Self>, StoreSweepError> {
        Ok(Page { entries: Self::list(self, shard).await?, rest: None })
    }

    fn describe(entry: &ListedEntry) -> Description {
        // DESIGN "Filesystem stores": a file shorter than a header is no chunk, whatever its name.
        let is_torn = entry.name.kind == EntryKind::Chunk && entry.len < HEADER_BYTES as u64;
        Description {
            digest: entry.name.digest,
            kind: entry.name.kind,
            size: entry.len,
            used_at: Some(entry.used_at),
            // The file is chunk, marker and object in one: its atime says it all (DESIGN "Filesystem stores").
            upload_started_at: None,
            modified_at: None,
            agreement: if is_torn { Agreement::NoObject } else { Agreement::Agrees },
        }
    }

    async fn remove(
        &self,
        run: &Run,
        batch: Vec<ListedEntry>,
        is_cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<Removal>, StoreSweepError> {
        if is_cancelled() {
            return Ok(Vec::new());
        }
        let names: Vec<_> = batch.iter().map(|entry| entry.name).collect();
        Ok(Self::remove(self, run, &names).await.into_iter().map(removal).collect())
    }

    /// The listing has just looked at the times of each file.
    async fn preview(&self, _run: &Run, batch: &[ListedEntry]) -> Result<Vec<Removal>, StoreSweepError> {
        Ok(vec![Removal::Removed; batch.len()])
    }

    /// Object and marker are one file.
    async fn heal(&self, _: &Run, _: &Digest, _is_referenced: bool) -> Result<Repair, StoreSweepError> {
        Ok(Repair::Nothing)
    }

    async fn preview_heal(
        &self,
        _: &Run,
        _: &Digest,
        _is_referenced: bool,
    ) -> Result<Repair, StoreSweepError> {
        Ok(Repair::Nothing)
    }

    async fn is_stored(&self, digest: &Digest) -> Result<bool, StoreSweepError> {
        Ok(self.stored_len(digest).await?.is_some_and(|len| len >= HEADER_BYTES as u64))
    }
}

#[cfg(test)]
mod tests {
    use coldkeep_chunk_store::dir::DirError;

    use super::*;

    #[test]
    fn a_file_that_cannot_be_removed_is_told_with_its_causes() {
        let source = std::io::Error::from_raw_os_error(1);
        let failed = DirError::new("remove", std::path::Path::new("/x"), source);
        let Removal::Refused(reason) = removal(Err(failed.into())) else { panic!("it was not removed") };
        assert!(reason.contains("/x") && reason.contains("not permitted"), "{reason}");
        assert_eq!([removal(Ok(true)), removal(Ok(false))], [Removal::Removed, Removal::Kept]);
    }
}
