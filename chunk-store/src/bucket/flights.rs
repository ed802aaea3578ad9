//! Downloads under way.

/// Downloads under way: concurrent readers of one chunk share one.
#[derive(Debug, Default)]
pub(super) struct Flights {}
