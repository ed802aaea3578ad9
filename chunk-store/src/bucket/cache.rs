//! Which markers hold content, the least recently used first.

/// The cache's order and size.
#[derive(Debug)]
pub(super) struct Cache {}
