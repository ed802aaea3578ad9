//! What a running task holds: its log and its wish to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use coldkeep_chunk_store::Clock;
use tokio_util::sync::CancellationToken;

use super::log::Log;
use super::upid::Upid;

/// The worker's side of a task; clones stand for the same task.
#[derive(Clone)]
pub struct TaskHandle {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) upid: Upid,
    pub(super) log: Log,
    pub(super) warnings: AtomicU64,
    pub(super) stop: CancellationToken,
    /// Cancelled when the task is among those that ended.
    pub(super) ended: CancellationToken,
    pub(super) clock: Arc<dyn Clock>,
}

impl TaskHandle {
    /// Returns the task's identifier.
    pub fn upid(&self) -> &Upid {
        &self.shared.upid
    }

    /// Adds a line to the task's log, with the time before it. Cheap: a blocking thread writes it to the file later.
    pub fn log(&self, text: impl AsRef<str>) {
        self.shared.log.add(self.shared.clock.wall(), text.as_ref());
    }

    /// Adds a line that tells of something wrong, and counts it: the task then ends with `WARNINGS: n`.
    pub fn warn(&self, text: impl AsRef<str>) {
        self.shared.warnings.fetch_add(1, Ordering::Relaxed);
        self.log(format!("WARNING: {}", text.as_ref()));
    }

    /// Returns how a task is noted that ends well now: `OK`, or `WARNINGS: n` after [`TaskHandle::warn`].
    pub fn status_if_done(&self) -> String {
        match self.shared.warnings.load(Ordering::Relaxed) {
            0 => "OK".to_owned(),
            warnings => format!("WARNINGS: {warnings}"),
        }
    }

    /// Tells whether somebody asked the task to stop.
    pub fn is_cancelled(&self) -> bool {
        self.shared.stop.is_cancelled()
    }

    /// Completes when somebody asks the task to stop.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn cancelled(&self) {
        self.shared.stop.cancelled().await;
    }

    /// Returns the token behind [`TaskHandle::cancelled`], to pass on.
    pub fn stop_token(&self) -> &CancellationToken {
        &self.shared.stop
    }
}
