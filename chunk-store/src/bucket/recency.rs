//! The order of the cache over restarts.

use super::BucketStore;
use crate::backend::ObjectBackend;
use crate::dir::{DirError, MarkerDir};
use crate::store::StoreError;

impl<D: MarkerDir, B: ObjectBackend> BucketStore<D, B> {
    /// Saves the order of the cache if it has changed.
    pub(super) async fn save_recency(&self) -> Result<(), DirError> {
        todo!()
    }

    /// Saves the order of the cache for good: the store is closed cleanly, nothing changes it any more.
    pub(super) async fn end_recency(&self) -> Result<(), DirError> {
        todo!()
    }

    /// Reads the order of the cache as the last owner left it; part of every open.
    pub(super) async fn load_recency(&self) -> Result<(), DirError> {
        todo!()
    }

    /// Returns whether the last end was unclean, so that [`Self::scan_cache`] has something to do.
    pub fn needs_cache_scan(&self) -> bool {
        todo!()
    }

    /// Compares the cache's order with the markers and makes it right.
    pub async fn scan_cache(&self) -> Result<(), StoreError> {
        todo!()
    }
}
