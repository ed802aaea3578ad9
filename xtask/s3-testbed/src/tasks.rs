//! Tasks that end with their owner.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::JoinSet;

/// The tasks of a server. Clones share them; [`end`](Tasks::end) aborts all and lets no new one start.
#[derive(Clone)]
pub(crate) struct Tasks(Arc<Mutex<Option<JoinSet<()>>>>);

impl Tasks {
    pub(crate) fn new() -> Tasks {
        Tasks(Arc::new(Mutex::new(Some(JoinSet::new()))))
    }

    /// Starts a task, unless the owner is gone.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(set) = self.lock().as_mut() {
            // Finished ones would pile up otherwise.
            while set.try_join_next().is_some() {}
            set.spawn(task);
        }
    }

    /// Aborts everything.
    pub(crate) fn end(&self) {
        // Dropped outside the lock: a task's own drop may ask for it.
        let set = self.lock().take();
        drop(set);
    }

    fn lock(&self) -> MutexGuard<'_, Option<JoinSet<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
