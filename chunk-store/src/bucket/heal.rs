//! Healing: markers without objects and objects without markers (R14).

use super::BucketStore;
use crate::backend::ObjectBackend;
use crate::digest::Digest;
use crate::dir::MarkerDir;
use crate::store::StoreError;

/// What healing a digest came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Healed {
    /// Marker and object agreed, or the digest is in the journal.
    Nothing,
    /// The marker was created.
    MarkerCreated,
    /// The marker was removed.
    MarkerRemoved {
        /// Open sessions that failed because they rely on the chunk.
        failed_sessions: usize,
    },
}

impl<D: MarkerDir, B: ObjectBackend> BucketStore<D, B> {
    /// Makes marker and object of a digest agree.
    pub async fn heal(&self, _digest: &Digest, _is_referenced: bool) -> Result<Healed, StoreError> {
        todo!()
    }
}
