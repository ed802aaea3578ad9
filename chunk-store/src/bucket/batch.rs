//! Condemning chunks and carrying it out (R7, R8, R9).

use super::BucketStore;
use crate::backend::ObjectBackend;
use crate::digest::Digest;
use crate::dir::MarkerDir;
use crate::session::Run;
use crate::store::StoreError;
use crate::time::StoreTime;

/// A chunk that the sweep considers: neither referenced nor, as far as it knows, in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The chunk.
    pub digest: Digest,
    /// Last write and date of the listing, if the object was listed.
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

/// Condemned digests that are not journalled yet.
#[derive(Debug, Default)]
pub struct Batch {
    digests: Vec<Digest>,
}

impl Batch {
    /// Returns the digests that were condemned.
    pub fn digests(&self) -> &[Digest] {
        &self.digests
    }
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BatchOutcome {
    /// Deleted for certain.
    pub deleted: u64,
    /// Taken out of the batch because somebody used them (R8).
    pub rescued: u64,
    /// In limbo (R9).
    pub in_limbo: u64,
    /// Refused by the backend, each with its reason (hazard H18); they stay, without marker.
    pub refused: Vec<(Digest, String)>,
}

impl<D: MarkerDir, B: ObjectBackend> BucketStore<D, B> {
    /// Decides about candidates, each under lock(d) in one step (R7).
    pub async fn condemn(
        &self,
        _run: &Run,
        _batch: &mut Batch,
        _candidates: &[Candidate],
    ) -> Result<Vec<Condemned>, StoreError> {
        todo!()
    }

    /// Carries a batch out (R7, R9).
    pub async fn carry_out(&self, _batch: Batch) -> Result<BatchOutcome, StoreError> {
        todo!()
    }
}
