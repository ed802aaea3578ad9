//! Insert and reference: the writers' half of the protocol (R1–R5, R8).

use super::BucketStore;
use crate::backend::ObjectBackend;
use crate::checked::CheckedChunk;
use crate::digest::Digest;
use crate::dir::MarkerDir;
use crate::session::Session;
use crate::store::{InsertError, Inserted, TouchError};

impl<D: MarkerDir, B: ObjectBackend> BucketStore<D, B> {
    /// Stores a chunk, or refreshes it if the store has it.
    pub async fn insert(&self, _session: &Session, _chunk: CheckedChunk) -> Result<Inserted, InsertError> {
        todo!()
    }

    /// Refreshes chunks that an index names (R5).
    pub async fn touch(&self, _session: &Session, _digests: &[Digest]) -> Result<(), TouchError> {
        todo!()
    }
}
