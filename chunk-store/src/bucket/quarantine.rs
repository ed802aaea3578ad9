//! Setting corrupt chunks aside (R15).

use super::BucketStore;
use crate::backend::ObjectBackend;
use crate::digest::Digest;
use crate::dir::MarkerDir;
use crate::store::{Quarantined, StoreError};

impl<D: MarkerDir, B: ObjectBackend> BucketStore<D, B> {
    /// Sets a corrupt chunk aside as `.N.bad`, if two complete bodies from the backend fail their check (R15).
    pub async fn quarantine(&self, _digest: &Digest) -> Result<Quarantined, StoreError> {
        todo!()
    }
}
