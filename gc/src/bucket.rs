//! The sweep of a [`BucketStore`]: objects in a bucket, markers beside it.

use std::collections::BTreeMap;
use std::time::Duration;

use coldkeep_chunk_store::backend::ObjectBackend;
use coldkeep_chunk_store::blob::HEADER_BYTES;
use coldkeep_chunk_store::bucket::{Batch, BucketStore, Healed, SweepEntry, SweepOutcome, SweepShard};
use coldkeep_chunk_store::dir::{EntryKind, MarkerDir};
use coldkeep_chunk_store::{Digest, Run, StoreTime};

use crate::store::{StoreSweepError, run_times};
use crate::target::{Agreement, Description, Page, Removal, Repair, RunTimes, SweepTarget};

impl<D: MarkerDir, B: ObjectBackend> SweepTarget for BucketStore<D, B> {
    type Run = Run;
    type Shard = SweepShard;
    type Entry = SweepEntry;
    type Error = StoreSweepError;

    const REMOVAL_MAX: usize = Batch::DIGESTS_MAX;
    /// The next batch is gathered meanwhile (DESIGN §7); each advances the generation, one after the other.
    const REMOVALS: usize = 1;
    /// A page of 1,000 keys takes a server about 0.1 s.
    const LISTINGS: usize = 32;

    fn monotonic(&self) -> Duration {
        self.clock().monotonic()
    }

    async fn sleep(&self, duration: Duration) {
        self.clock().sleep(duration).await;
    }

    /// What has expired of earlier runs' deletes is settled first, so that this one comes back to it (R9).
    async fn begin_run(&self, grace: Duration, margin: Duration) -> Result<Run, StoreSweepError> {
        let run = Self::begin_run(self, grace, margin).await?;
        self.settle_expired().await?;
        Ok(run)
    }

    fn times(run: &Run) -> RunTimes {
        run_times(run)
    }

    async fn shards(&self, _run: &Run) -> Result<Vec<SweepShard>, StoreSweepError> {
        Ok(self.sweep_shards().await?)
    }

    async fn list(&self, _run: &Run, shard: SweepShard) -> Result<Page<Self>, StoreSweepError> {
        let page = self.sweep_page(shard).await?;
        Ok(Page { entries: page.entries, rest: page.rest })
    }

    fn describe(entry: &SweepEntry) -> Description {
        let is_chunk = entry.name.kind == EntryKind::Chunk;
        // What is shorter than a header is no chunk, whatever its name.
        let has_chunk = entry.object.is_some_and(|object| object.len >= HEADER_BYTES as u64);
        let agreement = match (has_chunk, entry.is_local) {
            _ if !is_chunk => Agreement::Agrees,
            (true, true) => Agreement::Agrees,
            (true, false) => Agreement::NoMarker,
            (false, _) => Agreement::NoObject,
        };
        // The age of local files that are no markers is looked at where they are removed.
        let looked_at_later = (!is_chunk && entry.object.is_none()).then_some(StoreTime::EPOCH);
        Description {
            digest: entry.name.digest,
            kind: entry.name.kind,
            size: entry.object.map_or(0, |object| object.len),
            used_at: entry.used_at.or(looked_at_later),
            upload_started_at: None,
            modified_at: entry.object.map(|object| object.written_at),
            agreement,
        }
    }

    async fn remove(
        &self,
        run: &Run,
        batch: Vec<SweepEntry>,
        is_cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<Removal>, StoreSweepError> {
        let outcomes = self.sweep_remove(run, &batch, is_cancelled).await?;
        let is_cancelled = is_cancelled();
        Ok(outcomes.into_iter().map(|outcome| removal(outcome, is_cancelled)).collect())
    }

    async fn preview(&self, run: &Run, batch: &[SweepEntry]) -> Result<Vec<Removal>, StoreSweepError> {
        let outcomes = self.sweep_preview(run, batch).await?;
        Ok(outcomes.into_iter().map(|outcome| removal(outcome, false)).collect())
    }

    async fn heal(&self, _: &Run, digest: &Digest, is_referenced: bool) -> Result<Repair, StoreSweepError> {
        Ok(repair(Self::heal(self, digest, is_referenced).await?))
    }

    async fn preview_heal(
        &self,
        _: &Run,
        digest: &Digest,
        is_referenced: bool,
    ) -> Result<Repair, StoreSweepError> {
        Ok(repair(self.heal_preview(digest, is_referenced).await?))
    }

    async fn is_stored(&self, digest: &Digest) -> Result<bool, StoreSweepError> {
        Ok(self.has_object(digest).await?)
    }

    fn requests(&self) -> BTreeMap<String, u64> {
        self.backend().request_counts()
    }
}

fn repair(healed: Healed) -> Repair {
    match healed {
        Healed::MarkerCreated => Repair::MarkerCreated,
        Healed::MarkerRemoved { failed_sessions } => {
            Repair::MarkerRemoved { failed_sessions: failed_sessions as u64 }
        }
        Healed::Nothing => Repair::Nothing,
    }
}

fn removal(outcome: SweepOutcome, is_cancelled: bool) -> Removal {
    match outcome {
        SweepOutcome::Removed => Removal::Removed,
        SweepOutcome::InUse => Removal::Kept,
        SweepOutcome::Unsent if is_cancelled => Removal::Kept,
        SweepOutcome::Unsent => Removal::Refused("its requests had expired before they were sent".to_owned()),
        SweepOutcome::InLimbo => Removal::InLimbo,
        SweepOutcome::Refused(reason) => Removal::Refused(reason),
    }
}
