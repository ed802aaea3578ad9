//! How many uploads are under way at once: as many as the backend takes well.

use super::BucketOptions;
use crate::time::StoreClock;

/// Bounds uploads by number and bytes.
#[derive(Debug)]
pub(super) struct Gate {}

impl Gate {
    /// Starts with nothing under way.
    pub(super) fn new(_options: &BucketOptions, _clock: &StoreClock) -> Self {
        Self {}
    }
}
