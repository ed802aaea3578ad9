//! Condemning chunks (R7, R8, R13); `carry_out` deletes them.

mod carry_out;
mod underway;

use std::collections::BTreeMap;
use std::time::Duration;

pub(super) use underway::{Sent, Underway};

use super::BucketStore;
use super::journal::{OpenBatch, Standing};
use crate::backend::ObjectBackend;
use crate::digest::Digest;
use crate::dir::{MarkerDir, Marks, PROBE_TIME};
use crate::locks::DigestGuard;
use crate::session::Run;
use crate::store::{RunError, StoreError};
use crate::switch::is_off;
use crate::time::StoreTime;

/// Most digests whose locks are held at once.
pub(super) const LOCKED_MAX: usize = 128;

/// A chunk that the sweep considers: neither referenced nor, as far as it knows, in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The chunk.
    pub digest: Digest,
    /// The latest instant of the store clock at which the object can have been written; `None` for a marker without
    /// object. See [`SweepEntry`](super::SweepEntry).
    pub written_at: Option<StoreTime>,
}

/// What the decision under lock(d) was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condemned {
    /// It goes with the batch.
    Yes,
    /// It was used since the cutoff.
    InUse,
    /// It is in the journal.
    Journalled,
}

/// Condemned digests that are not journalled yet. Dropping it takes them out again (hazard H27).
#[derive(Debug)]
pub struct Batch {
    open: Option<OpenBatch>,
    cutoff: StoreTime,
}

impl Default for Batch {
    /// Makes an empty one.
    fn default() -> Self {
        Self { open: None, cutoff: StoreTime::EPOCH }
    }
}

impl Batch {
    /// Most digests of a batch: eight full requests, in parallel (R7).
    pub const DIGESTS_MAX: usize = 8_000;

    /// Returns the digests that were condemned.
    pub fn digests(&self) -> &[Digest] {
        self.open.as_ref().map_or(&[], OpenBatch::digests)
    }
}

/// What became of a condemned digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Deleted for certain.
    Deleted,
    /// Taken out of the batch because somebody used it (R8).
    Rescued,
    /// In limbo (R9).
    InLimbo,
    /// Not sent, because the run was cancelled or the requests had expired; it stays, and may have lost its marker.
    Unsent,
    /// Refused by the backend for this reason (hazard H18); it stays, without marker, and is in limbo if `is_unclear`.
    Refused {
        /// What the backend said.
        reason: String,
        /// Another attempt of the same request ended without an answer.
        is_unclear: bool,
    },
}

/// What became of each digest of a batch.
pub type BatchOutcome = BTreeMap<Digest, Fate>;

impl<D: MarkerDir, B: ObjectBackend> BucketStore<D, B> {
    /// Starts a run and evaluates its cutoff: the earlier of its start less `grace` and the start of the oldest open
    /// session, less `margin` (R13). Both may be zero: safety does not rest on them.
    ///
    /// # Errors
    /// [`RunError`]: nothing was changed.
    ///
    /// # Cancel safety
    /// Dropping the future starts nothing.
    pub async fn begin_run(&self, grace: Duration, margin: Duration) -> Result<Run, RunError> {
        self.check_open()?;
        let run = self.registry.begin_run(&self.clock, grace, margin).ok_or(RunError::Busy)?;
        if !is_off("r12") && !self.dir.keeps_times(PROBE_TIME).await? {
            return Err(RunError::TimesNotKept);
        }
        self.save_clock().await.map_err(|error| match error {
            StoreError::Closed(error) => RunError::Closed(error),
            StoreError::Backend(error) => RunError::Backend(error),
            StoreError::Dir(error) => RunError::Dir(error),
        })?;
        Ok(run)
    }

    /// Decides about candidates, each under lock(d) in one step; returns the decisions in the order of `candidates` (R7).
    ///
    /// The caller has made sure that nothing references them, and carries the batch out at once, with at most
    /// [`Batch::DIGESTS_MAX`] digests.
    ///
    /// # Errors
    /// [`StoreError`]: some of them may have joined the batch.
    ///
    /// # Cancel safety
    /// Some of them may have joined the batch if the future is dropped.
    pub async fn condemn(
        &self,
        run: &Run,
        batch: &mut Batch,
        candidates: &[Candidate],
    ) -> Result<Vec<Condemned>, StoreError> {
        self.check_open()?;
        batch.cutoff = run.cutoff();
        let mut decisions = Vec::with_capacity(candidates.len());
        for group in candidates.chunks(LOCKED_MAX) {
            let (_held, judged) = self.judge_group(run, group).await?;
            let open = batch.open.get_or_insert_with(|| self.journal.open_batch());
            for (candidate, decision) in group.iter().zip(judged) {
                if decision == Condemned::Yes {
                    // One that another listing of the same run brought into a batch stays in that.
                    open.condemn(&candidate.digest);
                }
                decisions.push(decision);
            }
        }
        Ok(decisions)
    }

    /// Says how [`Self::condemn`] would decide, and condemns nothing.
    pub(super) async fn foretell(
        &self,
        run: &Run,
        candidates: &[Candidate],
    ) -> Result<Vec<Condemned>, StoreError> {
        let mut decisions = Vec::with_capacity(candidates.len());
        for group in candidates.chunks(LOCKED_MAX) {
            decisions.extend(self.judge_group(run, group).await?.1);
        }
        Ok(decisions)
    }

    /// Judges candidates; the decisions hold for as long as the guard does.
    async fn judge_group(
        &self,
        run: &Run,
        group: &[Candidate],
    ) -> Result<(DigestGuard, Vec<Condemned>), StoreError> {
        let digests: Vec<Digest> = group.iter().map(|candidate| candidate.digest).collect();
        let held = self.locks.lock_all(&digests).await;
        let marks = self.dir.marks(&held, digests).await?;
        let judge = |(candidate, marks): (&Candidate, Marks)| {
            if self.journal.standing(&candidate.digest) == Standing::Journalled {
                Condemned::Journalled
            } else if is_in_use(candidate, &marks, run.cutoff()) {
                Condemned::InUse
            } else {
                Condemned::Yes
            }
        };
        let decisions = group.iter().zip(marks).map(judge).collect();
        Ok((held, decisions))
    }
}

/// Judges a candidate by what stands for it (R7): each of marker, upload marker and object may be a sign of life.
fn is_in_use(candidate: &Candidate, marks: &Marks, cutoff: StoreTime) -> bool {
    let marked = [marks.upload_started_at, marks.marker.map(|marker| marker.used_at)];
    let signs = marked.into_iter().chain([candidate.written_at]);
    signs.flatten().any(|seen_at| seen_at >= cutoff) && !is_off("r7")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dir::Marker;

    const CUTOFF: StoreTime = StoreTime::from_unix(1000, 0);

    fn judged(used_at: Option<i64>, upload_at: Option<i64>, written_at: Option<i64>) -> bool {
        let at = |seconds| StoreTime::from_unix(seconds, 0);
        let marker = used_at.map(|seconds| Marker { len: 0, used_at: at(seconds), class: None });
        let marks = Marks { marker, upload_started_at: upload_at.map(at) };
        let candidate = Candidate { digest: Digest::of(b"abc"), written_at: written_at.map(at) };
        is_in_use(&candidate, &marks, CUTOFF)
    }

    #[test]
    fn each_sign_of_life_since_the_cutoff_keeps_a_chunk() {
        assert!(!judged(Some(999), Some(999), Some(999)));
        assert!(judged(Some(1000), Some(999), Some(999)));
        assert!(judged(Some(999), Some(1000), Some(999)));
        assert!(judged(Some(999), Some(999), Some(1000)));
    }

    #[test]
    fn what_is_left_over_without_object_or_marker_goes() {
        assert!(!judged(None, None, Some(999)));
        assert!(!judged(None, Some(999), None));
        assert!(!judged(Some(999), None, None));
        assert!(!judged(None, None, None));
    }
}
