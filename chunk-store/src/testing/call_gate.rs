//! A gate before the calls of a directory in memory.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Decides when calls of a [`MemoryDir`](super::MemoryDir) take effect.
///
/// A call whose future is dropped at the gate never has any effect, as in a crash just before it.
pub trait CallGate: Send + Sync {
    /// Returns what a call of `method` waits for, or nothing if it goes on at once.
    fn pass(&self, method: &'static str) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>>;
}

/// The gate of one directory.
#[derive(Default)]
pub(super) struct Gate(pub(super) Option<Arc<dyn CallGate>>);

impl Gate {
    pub(super) fn pass(&self, method: &'static str) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        self.0.as_ref()?.pass(method)
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gate").field(&self.0.is_some()).finish()
    }
}
