//! One backup session: what its requests share, and how it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coldkeep_datastore::BackupWriter;
use tokio::sync::Mutex;

use crate::Server;
use crate::api::{ApiError, chain};
use crate::metrics::Metrics;
use crate::protocol::idle::Activity;
use crate::tasks::TaskHandle;

/// R18: a writer without a request for this long ends.
const IDLE_MAX: Duration = Duration::from_hours(24);

/// What the requests of one backup session share.
pub(crate) struct BackupSession {
    server: Arc<Server>,
    writer: BackupWriter,
    task: TaskHandle,
    activity: Activity,
    is_benchmark: bool,
    is_finished: AtomicBool,
    /// Held by the commit, so that the end of the session waits for it.
    committing: Mutex<()>,
}

/// Why a session ended without a snapshot.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionEnd {
    #[error("connection closed before the backup was finished; the snapshot was removed")]
    Unfinished,
    #[error("backup stopped by request; the snapshot was removed")]
    Stopped,
    #[error("no request for {} hours; the snapshot was removed", IDLE_MAX.as_secs() / 3600)]
    Idle,
    #[error("client went away before the connection was upgraded; the snapshot was removed")]
    NotUpgraded,
}

impl BackupSession {
    pub(super) fn new(
        server: Arc<Server>,
        writer: BackupWriter,
        task: TaskHandle,
        is_benchmark: bool,
    ) -> Self {
        writer.set_task(&task.upid().to_string());
        Self {
            server,
            writer,
            task,
            activity: Activity::new(),
            is_benchmark,
            is_finished: AtomicBool::new(false),
            committing: Mutex::default(),
        }
    }

    /// Notes a request (R18).
    pub(super) fn touch(&self) {
        self.activity.touch();
    }

    pub(super) fn writer(&self) -> &BackupWriter {
        &self.writer
    }

    pub(super) fn metrics(&self) -> &Metrics {
        self.server.metrics()
    }

    pub(super) fn log(&self, text: impl AsRef<str>) {
        self.task.log(text);
    }

    /// Runs work for the CPU on a blocking thread, as many at once in the whole server as its limits say.
    pub(super) async fn on_cpu<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        self.server.on_cpu(work).await
    }

    /// Commits the snapshot.
    ///
    /// # Cancel safety
    /// The commit goes on, and [`Self::run`] waits for it: a client that goes away in the middle must not leave it open
    /// whether the task speaks the truth about the snapshot.
    pub(super) async fn finish(self: &Arc<Self>) -> Result<(), ApiError> {
        let session = Arc::clone(self);
        let commit = tokio::spawn(async move {
            let _turn = session.committing.lock().await;
            session.writer.finish().await.map_err(|error| ApiError::failed(&error))?;
            session.is_finished.store(true, Ordering::Release);
            session.log("backup finished successfully");
            Ok(())
        });
        commit.await.unwrap_or_else(|_| Err(ApiError::bad_request("the commit was cut short")))
    }

    /// Waits for a reason to end the session other than the end of its connection.
    async fn wants_end(&self) -> SessionEnd {
        tokio::select! {
            () = self.task.cancelled() => SessionEnd::Stopped,
            () = self.activity.idle_for(IDLE_MAX) => SessionEnd::Idle,
        }
    }

    /// Serves `connection` until it ends or must end, then releases everything: unless the backup was finished, its
    /// snapshot is removed. Chunks stay until the next collection.
    pub(super) async fn run(
        &self,
        connection: impl Future<Output = Result<(), SessionEnd>>,
    ) -> Result<(), SessionEnd> {
        let ended = tokio::select! {
            ended = connection => ended,
            reason = self.wants_end() => Err(reason),
        };
        let _turn = self.committing.lock().await;
        if self.is_finished.load(Ordering::Acquire) {
            // Whatever became of the connection: the snapshot is committed and acknowledged.
            return Ok(());
        }
        if let Err(error) = self.writer.abort().await {
            self.task.warn(format!("{}; it has no manifest, and the next start removes it", chain(&error)));
        }
        if self.is_benchmark {
            self.log("benchmark finished; snapshot removed");
            return Ok(());
        }
        ended.and(Err(SessionEnd::Unfinished))
    }
}
