//! Tasks: listing, logs, waiting for the end (spec `conversation.md` §3, `rest-api.md` §5).

use std::time::Duration;

use http::Method;
use serde::Deserialize;
use tokio::time::Instant;

use super::types::{TaskItem, TaskState, TaskStatus};
use crate::client::Client;
use crate::encoding::{Parameters, path_component};
use crate::error::RequestError;

/// Lines asked for at once.
const LINES_MAX: u64 = 500;

/// Shortest and longest pause between two polls, and which part of the time so far it is between: nobody hears of the end later than by
/// a small part of what the task took.
const POLL_MIN: Duration = Duration::from_millis(50);
const POLL_MAX: Duration = Duration::from_secs(1);
const POLL_PART: u32 = 16;

/// How long a task may be without its end being recorded although its log says that it no longer runs.
const END_WAIT_MAX: Duration = Duration::from_secs(30);

/// Part of a task's log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TaskLog {
    /// The lines.
    #[serde(rename = "data")]
    pub lines: Vec<TaskLine>,
    /// Lines there are so far.
    pub total: u64,
    /// Whether the task still runs; `None` if that was not asked for.
    #[serde(default)]
    pub active: Option<bool>,
}

/// A line of a task's log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TaskLine {
    /// Its number, from 1.
    pub n: u64,
    /// Its text: an RFC 3339 time, `: `, and the message.
    pub t: String,
}

impl TaskLine {
    /// Returns the text without its time.
    pub fn message(&self) -> &str {
        match self.t.split_once(": ") {
            Some((time, message)) if is_time(time) => message,
            _ => &self.t,
        }
    }
}

/// Tells whether a text has the form of an RFC 3339 time: `2023-11-14T22:13:20` and a zone.
fn is_time(text: &str) -> bool {
    text.len() >= 20
        && text.bytes().zip(b"0000-00-00T00:00:00".iter()).all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            other => byte == *other,
        })
}

/// Waiting for a task did not end well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The server could not be asked.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The task ended with an error.
    #[error("task failed: {status}")]
    Failed {
        /// The task.
        upid: String,
        /// What it ended with.
        status: String,
    },
    /// The task no longer runs, but its end is not recorded.
    #[error("task ended without a recorded result")]
    Lost {
        /// The task.
        upid: String,
    },
}

impl Client {
    /// Lists at most `limit` tasks, newest first: the running ones only, or all.
    pub async fn tasks(&self, running: bool, limit: u64) -> Result<Vec<TaskItem>, RequestError> {
        let parameters = Parameters::new().with("running", running).with("limit", limit).with("start", 0);
        self.query(Method::GET, "/nodes/localhost/tasks", &parameters).await
    }

    /// Returns a task's state.
    pub async fn task_status(&self, upid: &str) -> Result<TaskStatus, RequestError> {
        self.query(Method::GET, &format!("{}/status", task_path(upid)), &Parameters::new()).await
    }

    /// Returns up to 500 lines of a task's log, from line number `start` (1 for the first).
    pub async fn task_log(&self, upid: &str, start: u64) -> Result<TaskLog, RequestError> {
        let parameters =
            Parameters::new().with("limit", LINES_MAX).with("start", start).with("test-status", true);
        self.query_whole(&format!("{}/log", task_path(upid)), &parameters).await
    }

    /// Asks a task to stop; it ends some time later.
    pub async fn stop_task(&self, upid: &str) -> Result<(), RequestError> {
        self.query(Method::DELETE, &task_path(upid), &Parameters::new()).await
    }

    /// Waits for the end of a task; `on_line` gets each log line, without its time, as it appears.
    ///
    /// # Errors
    /// - [`TaskError::Failed`]: the task ended with anything but `OK` or warnings.
    /// - [`TaskError::Request`]: the server cannot be asked; the task may still run.
    ///
    /// # Cancel safety
    /// Dropping the future ends the waiting only, see [`stop_task`](Self::stop_task).
    pub async fn wait_task(
        &self,
        upid: &str,
        mut on_line: impl FnMut(&str),
    ) -> Result<TaskStatus, TaskError> {
        let mut next = 1;
        let begun = Instant::now();
        let mut ended_by = None;
        loop {
            let log = self.task_log(upid, next).await?;
            for line in &log.lines {
                // A server that sends lines twice must not make us go round for ever, nor print them twice.
                if line.n >= next {
                    on_line(line.message());
                    next = line.n.saturating_add(1);
                }
            }
            if !log.lines.is_empty() && next <= log.total {
                continue;
            }
            if log.active == Some(true) {
                ended_by = None;
            } else {
                let status = self.task_status(upid).await?;
                if status.status == TaskState::Stopped {
                    return finished(status);
                }
                if ended_by.get_or_insert_with(Instant::now).elapsed() > END_WAIT_MAX {
                    return Err(TaskError::Lost { upid: upid.to_owned() });
                }
            }
            tokio::time::sleep((begun.elapsed() / POLL_PART).clamp(POLL_MIN, POLL_MAX)).await;
        }
    }
}

fn finished(status: TaskStatus) -> Result<TaskStatus, TaskError> {
    if status.is_success() {
        return Ok(status);
    }
    let TaskStatus { upid, exitstatus, .. } = status;
    Err(TaskError::Failed { upid, status: exitstatus.unwrap_or_else(|| "unknown".to_owned()) })
}

fn task_path(upid: &str) -> String {
    format!("/nodes/localhost/tasks/{}", path_component(upid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_line_is_stripped() {
        let line = |t: &str| TaskLine { n: 1, t: t.to_owned() };
        assert_eq!(line("2023-11-14T22:13:20+00:00: verify store1: x").message(), "verify store1: x");
        assert_eq!(line("2023-11-14T22:13:20Z: TASK OK").message(), "TASK OK");
        assert_eq!(line("no time: here").message(), "no time: here");
        assert_eq!(line("plain").message(), "plain");
    }
}
