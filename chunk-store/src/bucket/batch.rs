//! Condemning chunks (R7, R8, R13); `carry_out` deletes them.

mod carry_out;
mod underway;

use std::time::Duration;

pub(super) use underway::{Sent, Underway};

use super::BucketStore;
use super::journal::{OpenBatch, Standing};
use crate::backend::ObjectBackend;
use crate::digest::Digest;
use crate::dir::{MarkerDir, Marks, PROBE_TIME};
use crate::session::Run;
use crate::store::{RunError, StoreError};
use crate::time::StoreTime;

/// Most digests of a batch: eight full requests, in parallel (R7).
const DIGESTS_MAX: usize = 8_000;

/// How long after its first digest a batch is to be carried out (R7).
const AGE_MAX: Duration = Duration::from_secs(2);

/// Most digests whose locks are held at once.
const LOCKED_MAX: usize = 128;

/// What clocks that should agree may differ by, rounding to whole seconds included (R7).
const SKEW: Duration = Duration::from_secs(2);

/// A chunk that the sweep considers: neither referenced nor, as far as it knows, in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The chunk.
    pub digest: Digest,
    /// Last write and date of the listing, if the object was listed; a marker or upload marker without object has none.
    pub listed: Option<(StoreTime, StoreTime)>,
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
    /// On the monotonic clock.
    condemned_first_at: Option<Duration>,
    cutoff: StoreTime,
}

impl Default for Batch {
    /// Makes an empty one.
    fn default() -> Self {
        Self { open: None, condemned_first_at: None, cutoff: StoreTime::EPOCH }
    }
}

impl Batch {
    /// Returns the digests that were condemned.
    pub fn digests(&self) -> &[Digest] {
        self.open.as_ref().map_or(&[], OpenBatch::digests)
    }

    /// Returns whether it takes no more digests.
    pub fn is_full(&self) -> bool {
        self.digests().len() >= DIGESTS_MAX
    }

    /// Returns when its first digest was condemned, on the store's monotonic clock.
    pub fn condemned_first_at(&self) -> Option<Duration> {
        self.condemned_first_at
    }

    /// Returns whether it is to be carried out: it is full, or its first digest has waited for long enough.
    pub fn is_due(&self, monotonic: Duration) -> bool {
        self.is_full()
            || self.condemned_first_at.is_some_and(|first| monotonic.saturating_sub(first) >= AGE_MAX)
    }
}

/// What became of a batch. Every condemned digest counts once, but a refused one in limbo counts as both.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BatchOutcome {
    /// Deleted for certain.
    pub deleted: u64,
    /// Taken out of the batch because somebody used them (R8).
    pub rescued: u64,
    /// In limbo (R9).
    pub in_limbo: u64,
    /// Not sent, because the run was cancelled or the requests had expired; they stay, without marker.
    pub unsent: u64,
    /// Refused by the backend, each with its reason (hazard H18); they stay, without marker.
    pub refused: Vec<(Digest, String)>,
}

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
        if !cfg!(coldkeep_off = "r12") && !self.dir.keeps_times(PROBE_TIME).await? {
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
    /// The caller has made sure that nothing references them.
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
            let digests: Vec<Digest> = group.iter().map(|candidate| candidate.digest).collect();
            let held = self.locks.lock_all(&digests).await;
            let marks = self.dir.marks(&held, digests).await?;
            let now = self.clock.now();
            let open = batch.open.get_or_insert_with(|| self.journal.open_batch());
            for (candidate, marks) in group.iter().zip(marks) {
                let decision = if self.journal.standing(&candidate.digest) == Standing::Journalled {
                    Condemned::Journalled
                } else if is_in_use(candidate, &marks, now, run.cutoff()) {
                    Condemned::InUse
                } else {
                    // One that another listing of the same run brought into a batch stays in that.
                    open.condemn(&candidate.digest);
                    Condemned::Yes
                };
                decisions.push(decision);
            }
            if !open.digests().is_empty() {
                batch.condemned_first_at.get_or_insert_with(|| self.clock.monotonic());
            }
        }
        Ok(decisions)
    }
}

/// Judges a candidate by what stands for it (R7): each of marker, upload marker and object may be a sign of life.
fn is_in_use(candidate: &Candidate, marks: &Marks, now: StoreTime, cutoff: StoreTime) -> bool {
    if cfg!(coldkeep_off = "r7") {
        return false;
    }
    let marked = [marks.upload_started_at, marks.marker.map(|marker| marker.used_at)];
    if marked.into_iter().flatten().any(|used_at| used_at >= cutoff) {
        return true;
    }
    // Ages, not dates: the backend's clock need not agree with ours.
    candidate.listed.is_some_and(|(modified_at, date)| date.since(modified_at) < now.since(cutoff) + SKEW)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dir::Marker;

    const CUTOFF: StoreTime = StoreTime::from_unix(1000, 0);
    const NOW: StoreTime = StoreTime::from_unix(1100, 0);

    fn judged(used_at: Option<i64>, upload_at: Option<i64>, age: Option<u64>) -> bool {
        let at = |seconds| StoreTime::from_unix(seconds, 0);
        let marker = used_at.map(|seconds| Marker { len: 0, used_at: at(seconds), class: None });
        let marks = Marks { marker, upload_started_at: upload_at.map(at) };
        // A backend whose clock is a year off.
        let date = at(32_000_000);
        let listed = age.map(|seconds| (date.minus(Duration::from_secs(seconds)), date));
        is_in_use(&Candidate { digest: Digest::of(b"abc"), listed }, &marks, NOW, CUTOFF)
    }

    #[test]
    fn each_sign_of_life_since_the_cutoff_keeps_a_chunk() {
        assert!(!judged(Some(999), Some(999), Some(102)));
        assert!(judged(Some(1000), Some(999), Some(102)));
        assert!(judged(Some(999), Some(1000), Some(102)));
        assert!(judged(Some(999), Some(999), Some(101)));
    }

    #[test]
    fn what_is_left_over_without_object_or_marker_goes() {
        assert!(!judged(None, None, Some(102)));
        assert!(!judged(None, Some(999), None));
        assert!(!judged(Some(999), None, None));
        assert!(!judged(None, None, None));
    }
}
