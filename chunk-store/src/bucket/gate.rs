//! How many uploads are under way at once: as many as the backend takes well.

/// Bounds uploads by number and bytes.
#[derive(Debug)]
pub(super) struct Gate {}
