//! How a run is to be done.

use std::time::Duration;

/// How a run is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Unreferenced chunks that were used within this time before the run stay.
    pub grace: Duration,
    /// Taken off the cutoff once more, for clocks of other machines.
    pub margin: Duration,
    /// Whether nothing is to be removed, only reported.
    pub dry_run: bool,
    /// Indexes read at once.
    pub mark_parallel: usize,
    /// Shards listed at once; `None`: as many as suits the store.
    pub sweep_parallel: Option<usize>,
    /// Most files or objects removed a second; `None`: as fast as it goes.
    pub delete_rate_max: Option<u32>,
}

/// 24 h and 5 min, so that a chunk used by yesterday's backup at this hour stays until today's.
pub const GRACE_DEFAULT: Duration = Duration::from_mins(24 * 60 + 5);

/// R13.
pub const MARGIN_DEFAULT: Duration = Duration::from_mins(5);

/// Enough to overlap reading with marking on a small machine.
const MARK_PARALLEL_DEFAULT: usize = 4;

impl Default for Options {
    fn default() -> Self {
        Self {
            grace: GRACE_DEFAULT,
            margin: MARGIN_DEFAULT,
            dry_run: false,
            mark_parallel: MARK_PARALLEL_DEFAULT,
            sweep_parallel: None,
            delete_rate_max: None,
        }
    }
}

impl Options {
    /// Sets the grace; 0 is allowed, safety does not rest on it (R13).
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Sets the margin; 0 is allowed, safety does not rest on it (R13).
    #[must_use]
    pub fn with_margin(mut self, margin: Duration) -> Self {
        self.margin = margin;
        self
    }

    /// Makes it a dry run: everything is looked at and counted, nothing is removed.
    #[must_use]
    pub fn with_dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// Sets how many indexes are read and how many shards are listed at once; at least one each.
    #[must_use]
    pub fn with_parallel(mut self, indexes: usize, shards: usize) -> Self {
        self.mark_parallel = indexes.max(1);
        self.sweep_parallel = Some(shards.max(1));
        self
    }

    /// Sets how many files or objects are removed a second at most; zero counts as one.
    #[must_use]
    pub fn with_delete_rate_max(mut self, rate: Option<u32>) -> Self {
        self.delete_rate_max = rate.map(|rate| rate.max(1));
        self
    }
}
