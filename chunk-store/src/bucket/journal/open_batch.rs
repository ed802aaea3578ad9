//! Digests that are condemned and not yet journalled.

use std::sync::{Arc, Mutex};

use super::{Journal, Standing, State, lock};
use crate::digest::Digest;

/// The digests of an open batch. Dropping it takes them out again, so that a run that ends early leaves nothing condemned
/// (hazard H27).
#[derive(Debug)]
pub(crate) struct OpenBatch {
    journal: Arc<Mutex<State>>,
    digests: Vec<Digest>,
}

impl OpenBatch {
    /// Condemns a digest; returns how it stood: only a free one joins the batch. The caller holds lock(d).
    pub(crate) fn condemn(&mut self, digest: &Digest) -> Standing {
        let mut state = lock(&self.journal);
        let standing = state.standing(digest);
        if standing == Standing::Free {
            state.condemned.insert(*digest);
            self.digests.push(*digest);
        }
        standing
    }

    /// Returns the digests that joined the batch.
    pub(crate) fn digests(&self) -> &[Digest] {
        &self.digests
    }
}

impl Drop for OpenBatch {
    fn drop(&mut self) {
        let mut state = lock(&self.journal);
        for digest in &self.digests {
            state.condemned.remove(digest);
        }
    }
}

impl Journal {
    /// Begins a batch.
    pub(crate) fn open_batch(&self) -> OpenBatch {
        OpenBatch { journal: Arc::clone(&self.state), digests: Vec::new() }
    }
}
