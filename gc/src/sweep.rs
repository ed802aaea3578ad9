//! Sweep: list, judge and remove, shard by shard.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use coldkeep_chunk_store::dir::EntryKind;
use coldkeep_chunk_store::{DigestSet, StoreTime};
use futures_util::StreamExt as _;
use futures_util::stream;

use crate::control::{Control, Phase};
use crate::options::Options;
use crate::report::{Report, Tally};
use crate::target::{Description, Removal, SweepTarget};
use crate::verdict::{Candidate, Verdict, verdict};

/// Most entries given to one removal: a cancelled run ends after at most this many more.
const REMOVE_BATCH_MAX: usize = 1000;

/// One sweep over a store.
pub(crate) struct Sweep<'a, T: SweepTarget> {
    pub(crate) target: &'a T,
    pub(crate) run: &'a T::Run,
    pub(crate) cutoff: StoreTime,
    pub(crate) options: &'a Options,
    pub(crate) control: &'a Control,
    /// The referenced digests; visited are those whose chunk was listed. Locked for the judging of one page, never
    /// across an await.
    pub(crate) referenced: Mutex<DigestSet>,
    /// A shard failed: the others end too.
    pub(crate) failed: AtomicBool,
}

/// What one shard, or all of them, amounted to.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    listed: Tally,
    chunks: Fates,
    bad: Fates,
    temporary: Fates,
}

/// What became of the files of one kind.
#[derive(Debug, Clone, Copy, Default)]
struct Fates {
    kept: Tally,
    pending: Tally,
    removed: Tally,
}

/// What is left to do for a page after the judging.
struct Plan<E> {
    condemned: Vec<E>,
    /// Kind and size of each of them.
    facts: Vec<(EntryKind, u64)>,
}

impl<T: SweepTarget> Sweep<'_, T> {
    /// Sweeps every shard, several at once, and puts the counts into `report`; the first failure ends it.
    pub(crate) async fn run(&self, report: &mut Report) -> Result<(), T::Error> {
        let shards = self.target.shards(self.run).await?;
        let started = self.target.monotonic();
        self.control.begin_phase(Phase::Sweep, shards.len() as u64, started);
        let mut swept = stream::iter(shards)
            .map(|shard| self.sweep_shard(shard))
            .buffer_unordered(self.options.sweep_parallel.max(1));
        let mut counts = Counts::default();
        let mut end = Ok(());
        while let Some((shard_counts, outcome)) = swept.next().await {
            counts.merge(&shard_counts);
            self.control.note_done(self.target.monotonic());
            if let Err(error) = outcome {
                // Shards under way end by themselves, so that what they removed is counted.
                self.failed.store(true, Ordering::Relaxed);
                end = end.and(Err(error));
            }
        }
        counts.write(report);
        report.note_sweep(self.target.monotonic().saturating_sub(started));
        end
    }

    fn is_stopped(&self) -> bool {
        self.control.is_cancelled() || self.failed.load(Ordering::Relaxed)
    }

    async fn sweep_shard(&self, shard: T::Shard) -> (Counts, Result<(), T::Error>) {
        let mut counts = Counts::default();
        let outcome = self.sweep_pages(shard, &mut counts).await;
        (counts, outcome)
    }

    async fn sweep_pages(&self, shard: T::Shard, counts: &mut Counts) -> Result<(), T::Error> {
        let mut next = Some(shard);
        while let Some(shard) = next.take_if(|_| !self.is_stopped()) {
            let page = self.target.list(self.run, shard).await?;
            self.control.note_listed(page.entries.len() as u64);
            let plan = self.judge(page.entries, counts);
            self.carry_out(plan, counts).await?;
            next = page.rest;
        }
        Ok(())
    }

    /// Decides about each entry of a page.
    fn judge(&self, entries: Vec<T::Entry>, counts: &mut Counts) -> Plan<T::Entry> {
        let mut plan = Plan { condemned: Vec::new(), facts: Vec::new() };
        let mut referenced = self.referenced.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in entries {
            let description = T::describe(&entry);
            let Description { digest, kind, size, used_at, upload_started_at, modified_at } = description;
            let referenced = if kind == EntryKind::Chunk {
                counts.listed.add(size);
                referenced.visit(&digest)
            } else {
                referenced.contains(&digest)
            };
            let candidate = Candidate { kind, referenced, used_at, upload_started_at, modified_at };
            match verdict(&candidate, self.cutoff) {
                Verdict::Keep => counts.of(kind).kept.add(size),
                Verdict::Pending => counts.of(kind).pending.add(size),
                Verdict::Condemn => {
                    plan.condemned.push(entry);
                    plan.facts.push((kind, size));
                }
            }
        }
        plan
    }

    /// Removes what was condemned, or only counts it in a dry run.
    async fn carry_out(&self, plan: Plan<T::Entry>, counts: &mut Counts) -> Result<(), T::Error> {
        let mut facts = plan.facts.into_iter();
        let mut condemned = plan.condemned.into_iter();
        while condemned.len() > 0 && !self.is_stopped() {
            let batch: Vec<T::Entry> = condemned.by_ref().take(REMOVE_BATCH_MAX).collect();
            let batch_len = batch.len();
            let removals = if self.options.dry_run {
                vec![Removal::Removed; batch_len]
            } else {
                self.target.remove(self.run, batch).await?
            };
            let removals = removals.into_iter().chain(std::iter::repeat(Removal::Kept));
            let mut removed_chunks = Tally::default();
            for ((kind, size), removal) in facts.by_ref().take(batch_len).zip(removals) {
                match removal {
                    Removal::Removed => counts.of(kind).removed.add(size),
                    Removal::Kept => counts.of(kind).pending.add(size),
                }
                if (kind, removal) == (EntryKind::Chunk, Removal::Removed) {
                    removed_chunks.add(size);
                }
            }
            self.control.note_removed(removed_chunks);
        }
        // Condemned, but the run ended first.
        for (kind, size) in facts {
            counts.of(kind).pending.add(size);
        }
        Ok(())
    }
}

impl Counts {
    fn of(&mut self, kind: EntryKind) -> &mut Fates {
        match kind {
            EntryKind::Chunk => &mut self.chunks,
            EntryKind::Bad(_) => &mut self.bad,
            EntryKind::Temporary | EntryKind::UploadMarker => &mut self.temporary,
        }
    }

    fn merge(&mut self, other: &Self) {
        self.listed.merge(other.listed);
        self.chunks.merge(&other.chunks);
        self.bad.merge(&other.bad);
        self.temporary.merge(&other.temporary);
    }

    fn write(&self, report: &mut Report) {
        report.listed = self.listed;
        report.kept = self.chunks.kept;
        report.pending = self.chunks.pending;
        report.removed = self.chunks.removed;
        report.bad_kept = self.bad.stayed();
        report.bad_removed = self.bad.removed;
        report.temporary_kept = self.temporary.stayed();
        report.temporary_removed = self.temporary.removed;
    }
}

impl Fates {
    fn merge(&mut self, other: &Self) {
        self.kept.merge(other.kept);
        self.pending.merge(other.pending);
        self.removed.merge(other.removed);
    }

    fn stayed(&self) -> Tally {
        let mut stayed = self.kept;
        stayed.merge(self.pending);
        stayed
    }
}
