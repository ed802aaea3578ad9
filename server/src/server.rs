//! What all requests share.

use crate::tasks::Tasks;

/// The state of a server: users and access list, datastores, tasks.
pub struct Server {
    tasks: Tasks,
}

impl Server {
    /// Returns the running and ended tasks.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }
}
