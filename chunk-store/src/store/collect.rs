//! The collector's half of the protocol: cutoff, listing, removal (R7, R12, R13).

use std::collections::BTreeMap;
use std::time::Duration;

use super::{ChunkStore, StoreError};
use crate::backend::BackendError;
use crate::bucket::Closed;
use crate::dir::{ChunkDir, DirError, EntryKind, EntryName, PROBE_TIME, Shard};
use crate::locks::DigestGuard;
use crate::session::Run;
use crate::switch::is_off;
use crate::time::StoreTime;

/// Most files whose locks are held at once by a removal.
const REMOVE_BATCH: usize = 128;

/// Why a run could not start; nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// Another run is in progress; wait for it or stop it.
    #[error("a collection of this store is running already")]
    Busy,
    /// The filesystem does not keep the times that are set, so that uses of chunks cannot be seen (R12).
    #[error(
        "the filesystem of the store does not keep file times; collection would lose chunks and is refused"
    )]
    TimesNotKept,
    /// A file operation failed.
    #[error(transparent)]
    Dir(#[from] DirError),
    /// A request to the backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The store takes no work.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// A file as the sweep sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedEntry {
    /// The file.
    pub name: EntryName,
    /// Its length in bytes.
    pub len: u64,
    /// Its last use.
    pub used_at: StoreTime,
}

impl<D: ChunkDir> ChunkStore<D> {
    /// Starts a run and evaluates its cutoff: the earlier of its start less `grace` and the start of the oldest open
    /// session, less `margin` (R13). Both may be zero: safety does not rest on them.
    ///
    /// # Errors
    /// [`RunError`]: nothing was changed.
    ///
    /// # Cancel safety
    /// Dropping the future starts nothing.
    pub async fn begin_run(&self, grace: Duration, margin: Duration) -> Result<Run, RunError> {
        let run = self.registry.begin_run(&self.clock, grace, margin).ok_or(RunError::Busy)?;
        if !is_off("r12") && !self.dir.keeps_times(PROBE_TIME).await? {
            return Err(RunError::TimesNotKept);
        }
        self.suspects.save(&self.dir, &self.clock, false).await?;
        Ok(run)
    }

    /// Lists the shards that exist, ascending.
    ///
    /// # Errors
    /// [`StoreError`]: the run must stop (I6).
    pub async fn shards(&self) -> Result<Vec<Shard>, StoreError> {
        Ok(self.dir.shards().await?)
    }

    /// Lists the files of some shards, one shard after the other, each ascending by name.
    ///
    /// # Errors
    /// [`StoreError`]: the run must stop (I6).
    pub async fn list(&self, shards: Vec<Shard>) -> Result<Vec<ListedEntry>, StoreError> {
        let entries = self.dir.list(shards).await?;
        let listed = entries.into_iter().map(|entry| ListedEntry {
            name: entry.name,
            len: entry.stat.len,
            used_at: entry.stat.used_at,
        });
        Ok(listed.collect())
    }

    /// Removes files that are still unused, check and removal in one step under lock(d) (R7); returns for each, in the order
    /// of `names`, whether it is gone, or why it cannot be removed: that keeps no other in place (hazard H18).
    ///
    /// The caller has made sure that nothing references their chunks.
    ///
    /// # Cancel safety
    /// Dropping the future may leave some of them removed, all of which were garbage.
    pub async fn remove(&self, run: &Run, names: &[EntryName]) -> Vec<Result<bool, StoreError>> {
        let mut outcomes = Vec::with_capacity(names.len());
        for batch in names.chunks(REMOVE_BATCH) {
            let held = self.locks.lock_all(batch.iter().map(|name| &name.digest)).await;
            // A temporary file is only there without lock(d) if its writer is gone.
            let (leftovers, chunks): (Vec<_>, Vec<_>) =
                batch.iter().partition(|name| name.kind == EntryKind::Temporary);
            let mut by_name = BTreeMap::new();
            for (names, cutoff) in [(chunks, run.cutoff()), (leftovers, run.started_at())] {
                let removed = self.remove_each(&held, &names, cutoff).await;
                by_name.extend(names.into_iter().zip(removed));
            }
            outcomes.extend(batch.iter().map(|name| by_name.remove(name).unwrap_or(Ok(false))));
        }
        outcomes
    }

    /// Removes files under lock(d), together; if that fails, one by one, so that each has its own outcome.
    async fn remove_each(
        &self,
        held: &DigestGuard,
        names: &[EntryName],
        cutoff: StoreTime,
    ) -> Vec<Result<bool, StoreError>> {
        if names.is_empty() {
            return Vec::new();
        }
        if let Ok(removed) = self.dir.remove_unused(held, names.to_vec(), cutoff).await {
            return removed.into_iter().map(Ok).collect();
        }
        let mut outcomes = Vec::with_capacity(names.len());
        for name in names {
            let removed = self.dir.remove_unused(held, vec![*name], cutoff).await;
            outcomes.push(removed.map(|gone| gone.first() == Some(&true)).map_err(Into::into));
        }
        outcomes
    }
}
