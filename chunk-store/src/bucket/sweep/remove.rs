//! Removing what a sweep found to be garbage: chunks through the journal (R7), everything else as it is.

use std::collections::BTreeMap;

use super::SweepEntry;
use crate::backend::{DELETE_KEYS_MAX, ObjectBackend, ObjectKey, Validity};
use crate::bucket::batch::LOCKED_MAX;
use crate::bucket::{Batch, BatchOutcome, BucketStore, Candidate, Condemned, Fate};
use crate::digest::Digest;
use crate::dir::{EntryKind, EntryName, MarkerDir};
use crate::session::Run;
use crate::store::StoreError;
use crate::time::StoreTime;

/// What became of an entry that was to be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is gone.
    Removed,
    /// It was used since the cutoff, and stays.
    InUse,
    /// A delete of it was sent and its outcome is not certain (R9), now or by an earlier batch.
    InLimbo,
    /// Nothing was sent, because the run was cancelled or the requests had expired.
    Unsent,
    /// The backend refused, for this reason; a later run decides afresh (hazard H18).
    Refused(String),
}

impl<D: MarkerDir, B: ObjectBackend> BucketStore<D, B> {
    /// Removes entries to which nothing refers, in one batch; returns what became of each, in their order.
    ///
    /// Chunks are condemned under lock(d), and then deleted as [`Self::carry_out`] does it. Upload markers, temporary files
    /// and copies that were set aside are no chunks, and nobody is told of them: they go without a record.
    ///
    /// # Errors
    /// As [`Self::carry_out`]. The run must stop; a later one decides afresh.
    ///
    /// # Cancel safety
    /// As [`Self::carry_out`].
    pub async fn sweep_remove(
        &self,
        run: &Run,
        entries: &[SweepEntry],
        is_cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<Outcome>, StoreError> {
        // First what has no record: if it fails, no chunk is gone that nobody is told of.
        let mut outcomes = self.remove_files(run, entries).await?;
        for (name, outcome) in self.remove_bad_objects(entries, is_cancelled).await? {
            // Of a copy that has a local file, too, the worse outcome counts.
            let before = outcomes.get(&name);
            if before.is_none_or(|before| *before == Outcome::Removed) {
                outcomes.insert(name, outcome);
            }
        }
        let candidates = candidates(entries);
        let mut batch = Batch::default();
        let decisions = self.condemn(run, &mut batch, &candidates).await?;
        let fates = self.carry_out(batch, is_cancelled).await?;
        outcomes.extend(chunk_outcomes(&candidates, &decisions, &fates));
        Ok(in_order(entries, &outcomes))
    }

    /// Says what [`Self::sweep_remove`] would remove, and changes nothing: for a dry run.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn sweep_preview(&self, run: &Run, entries: &[SweepEntry]) -> Result<Vec<Outcome>, StoreError> {
        let candidates = candidates(entries);
        let decisions = self.foretell(run, &candidates).await?;
        let would_go = candidates.iter().map(|candidate| (candidate.digest, Fate::Deleted)).collect();
        let mut outcomes = chunk_outcomes(&candidates, &decisions, &would_go);
        for group in files(entries).chunks(LOCKED_MAX) {
            let held = self.locks.lock_all(group.iter().map(|name| &name.digest)).await;
            for name in group {
                let stat = self.dir.stat(&held, *name).await?;
                let is_unused = stat.is_none_or(|(stat, _)| stat.used_at < file_cutoff(run, *name));
                outcomes.insert(*name, if is_unused { Outcome::Removed } else { Outcome::InUse });
            }
        }
        for name in bad_objects(entries) {
            outcomes.entry(name).or_insert(Outcome::Removed);
        }
        Ok(in_order(entries, &outcomes))
    }

    /// Removes local files that are no markers, each if it is still unused under lock(d).
    async fn remove_files(
        &self,
        run: &Run,
        entries: &[SweepEntry],
    ) -> Result<BTreeMap<EntryName, Outcome>, StoreError> {
        let mut outcomes = BTreeMap::new();
        for group in files(entries).chunks(LOCKED_MAX) {
            let held = self.locks.lock_all(group.iter().map(|name| &name.digest)).await;
            let (temporary, others): (Vec<_>, Vec<_>) =
                group.iter().partition(|name| name.kind == EntryKind::Temporary);
            for (names, cutoff) in [(temporary, run.started_at()), (others, run.cutoff())] {
                let gone = self.dir.remove_unused(&held, names.clone(), cutoff).await?;
                let outcome = |is_gone| if is_gone { Outcome::Removed } else { Outcome::InUse };
                outcomes.extend(names.into_iter().zip(gone.into_iter().map(outcome)));
            }
        }
        Ok(outcomes)
    }

    /// Deletes objects of copies that were set aside. A late delete could at worst take another bad copy of the same chunk.
    async fn remove_bad_objects(
        &self,
        entries: &[SweepEntry],
        is_cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<(EntryName, Outcome)>, StoreError> {
        let names = bad_objects(entries);
        let mut outcomes = Vec::with_capacity(names.len());
        for names in names.chunks(DELETE_KEYS_MAX) {
            if is_cancelled() {
                outcomes.extend(names.iter().map(|name| (*name, Outcome::Unsent)));
                continue;
            }
            // A server that was superseded deletes nothing any more (R10).
            self.check_token().await?;
            let signed_at = self.backend_clock.estimate(&self.clock);
            let validity = Validity { signed_at, lasts: self.options.lifetimes.delete };
            let keys: Vec<ObjectKey> = names.iter().map(|name| ObjectKey::of_entry(*name)).collect();
            let answer = self.backend_clock.noted(self.backend.delete(&keys, validity).await, &self.clock);
            let refused: BTreeMap<ObjectKey, String> = match answer {
                Ok(answer) => answer.value.refused.into_iter().collect(),
                Err(error) => {
                    let reason = format!("{error}: {}", error.source);
                    keys.iter().map(|key| (key.clone(), reason.clone())).collect()
                }
            };
            outcomes.extend(names.iter().zip(&keys).map(|(name, key)| {
                let refused = refused.get(key).cloned();
                (*name, refused.map_or(Outcome::Removed, Outcome::Refused))
            }));
        }
        Ok(outcomes)
    }
}

/// A temporary file is only there without lock(d) if its writer is gone.
fn file_cutoff(run: &Run, name: EntryName) -> StoreTime {
    if name.kind == EntryKind::Temporary { run.started_at() } else { run.cutoff() }
}

fn candidates(entries: &[SweepEntry]) -> Vec<Candidate> {
    let chunks = entries.iter().filter(|entry| entry.name.kind == EntryKind::Chunk);
    let candidate = |entry: &SweepEntry| Candidate {
        digest: entry.name.digest,
        written_at: entry.object.map(|object| object.written_at),
    };
    chunks.map(candidate).collect()
}

fn files(entries: &[SweepEntry]) -> Vec<EntryName> {
    let files = entries.iter().filter(|entry| entry.is_local && entry.name.kind != EntryKind::Chunk);
    files.map(|entry| entry.name).collect()
}

fn bad_objects(entries: &[SweepEntry]) -> Vec<EntryName> {
    let is_bad = |entry: &&SweepEntry| matches!(entry.name.kind, EntryKind::Bad(_)) && entry.object.is_some();
    entries.iter().filter(is_bad).map(|entry| entry.name).collect()
}

fn chunk_outcomes(
    candidates: &[Candidate],
    decisions: &[Condemned],
    fates: &BatchOutcome,
) -> BTreeMap<EntryName, Outcome> {
    let outcome = |digest: &Digest, decision: Condemned| match decision {
        Condemned::InUse => Outcome::InUse,
        Condemned::Journalled => Outcome::InLimbo,
        Condemned::Yes => match fates.get(digest) {
            Some(Fate::Deleted) => Outcome::Removed,
            Some(Fate::InLimbo) => Outcome::InLimbo,
            Some(Fate::Unsent) => Outcome::Unsent,
            Some(Fate::Refused { reason, .. }) => Outcome::Refused(reason.clone()),
            // Taken out again by somebody who uses it (R8).
            Some(Fate::Rescued) | None => Outcome::InUse,
        },
    };
    let chunks = candidates.iter().zip(decisions);
    chunks
        .map(|(candidate, decision)| {
            (EntryName::chunk(candidate.digest), outcome(&candidate.digest, *decision))
        })
        .collect()
}

/// Returns the outcome of each entry; nothing is claimed of one without.
fn in_order(entries: &[SweepEntry], outcomes: &BTreeMap<EntryName, Outcome>) -> Vec<Outcome> {
    let outcome = |entry: &SweepEntry| outcomes.get(&entry.name).cloned();
    entries.iter().map(|entry| outcome(entry).unwrap_or(Outcome::Unsent)).collect()
}
