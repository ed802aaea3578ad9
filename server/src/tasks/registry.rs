//! The tasks of a server: those that run and those that ended.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use coldkeep_chunk_store::Clock;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::handle::{Shared, TaskHandle};
use super::history::{Finished, History, TASKS_KEPT};
use super::log::{self, Log, LogPart};
use super::upid::Upid;
use crate::auth::AuthId;

/// Most tasks that run at once.
const RUNNING_MAX: usize = 1024;
/// Longest exit status kept, in bytes.
const STATUS_BYTES_MAX: usize = 1024;
/// How long tasks may take to stop when they are asked to.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// How often the logs of running tasks are written out.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// The tasks of a server; clones share them.
#[derive(Clone)]
pub struct Tasks {
    inner: Arc<Inner>,
}

struct Inner {
    folder: PathBuf,
    node: String,
    pstart: u64,
    clock: Arc<dyn Clock>,
    next_number: AtomicU32,
    state: Mutex<State>,
    history: Mutex<History>,
    tracker: TaskTracker,
    // Asks every task to stop.
    stop: CancellationToken,
}

struct State {
    is_closing: bool,
    running: BTreeMap<Upid, Arc<Shared>>,
    ended: VecDeque<(Upid, Finished)>,
    /// How many ended since the server started.
    counts: BTreeMap<(String, &'static str), u64>,
}

/// How many tasks there are and were, by what they do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskCounts {
    /// Those that run.
    pub running: BTreeMap<String, usize>,
    /// Those that ended since the server started, by result too: `ok`, `warnings` or `error`.
    pub ended: BTreeMap<(String, &'static str), u64>,
}

/// What to start.
#[derive(Debug, Clone)]
pub struct TaskSpec {
    /// What the task does: `backup`, `reader`, `garbage_collection`, `verify` …
    pub worker_type: &'static str,
    /// What it does it on: `store1`, `store1:vm/100` …
    pub worker_id: Option<String>,
    /// Who started it.
    pub auth_id: AuthId,
}

/// A task as lists and the status call show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskInfo {
    /// The task.
    pub upid: Upid,
    /// How it ended; `None` while it runs.
    pub finished: Option<Finished>,
}

/// A task could not be started or looked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// Too many tasks run already.
    #[error("{running} tasks run already; try again when some have ended")]
    TooMany {
        /// How many.
        running: usize,
    },
    /// The server is shutting down.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// No such task runs or is remembered.
    #[error("no such task: {upid}")]
    Unknown {
        /// The task asked for.
        upid: Box<Upid>,
    },
    /// A file of the task could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl Tasks {
    /// Opens the tasks kept in `folder`, which is created if need be; blocks.
    ///
    /// # Errors
    /// [`TaskError::Io`] if the folder cannot be read and written.
    pub fn open(folder: &Path, clock: Arc<dyn Clock>) -> Result<Self, TaskError> {
        let now = clock.wall().unix_seconds();
        let failed = |source| TaskError::Io { action: "open the tasks in", path: folder.to_owned(), source };
        let (history, ended) = History::open(folder, now).map_err(failed)?;
        let (running, counts) = (BTreeMap::new(), BTreeMap::new());
        let state = State { is_closing: false, running, ended: ended.into(), counts };
        Ok(Self {
            inner: Arc::new(Inner {
                folder: folder.to_owned(),
                node: node_name(),
                pstart: process_start_ticks(),
                clock,
                next_number: AtomicU32::new(0),
                state: Mutex::new(state),
                history: Mutex::new(history),
                tracker: TaskTracker::new(),
                stop: CancellationToken::new(),
            }),
        })
    }

    /// Starts a task and returns its identifier. `work` runs to its end even if nobody waits; its result becomes the exit
    /// status: `OK`, `WARNINGS: n` after [`TaskHandle::warn`], or the error's text with its causes.
    ///
    /// When somebody asks it to stop, `work` is expected to return soon by itself ([`TaskHandle::cancelled`]).
    ///
    /// # Errors
    /// [`TaskError::TooMany`], [`TaskError::ShuttingDown`].
    pub fn start<W, F, E>(&self, spec: TaskSpec, work: W) -> Result<Upid, TaskError>
    where
        W: FnOnce(TaskHandle) -> F,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: std::error::Error + Send + 'static,
    {
        let inner = &self.inner;
        let upid = Upid {
            node: inner.node.clone(),
            pid: std::process::id(),
            pstart: inner.pstart,
            number: inner.next_number.fetch_add(1, Ordering::Relaxed),
            starttime: u32::try_from(inner.clock.wall().unix_seconds()).unwrap_or(0),
            worker_type: spec.worker_type.to_owned(),
            worker_id: spec.worker_id.filter(|id| !id.is_empty()),
            auth_id: spec.auth_id,
        };
        let shared = Arc::new(Shared {
            log: Log::new(History::log_path(&inner.folder, &upid)),
            upid: upid.clone(),
            warnings: AtomicU64::new(0),
            stop: inner.stop.child_token(),
            ended: CancellationToken::new(),
            clock: Arc::clone(&inner.clock),
        });
        {
            let mut state = inner.lock();
            if state.is_closing {
                return Err(TaskError::ShuttingDown);
            }
            if state.running.len() >= RUNNING_MAX {
                return Err(TaskError::TooMany { running: state.running.len() });
            }
            state.running.insert(upid.clone(), Arc::clone(&shared));
        }
        let handle = TaskHandle { shared: Arc::clone(&shared) };
        // Dropped at the end of the future, also when the work panics.
        let ending = Ending { inner: Arc::clone(inner), shared, status: None };
        let work = work(handle);
        inner.tracker.spawn(run(ending, work));
        Ok(upid)
    }

    /// Lists all tasks: first those that run, then those that ended; each newest first.
    pub fn list(&self) -> Vec<TaskInfo> {
        let state = self.inner.lock();
        let mut running: Vec<_> =
            state.running.keys().map(|upid| TaskInfo { upid: upid.clone(), finished: None }).collect();
        running.sort_by_key(|task| std::cmp::Reverse((task.upid.starttime, task.upid.number)));
        let ended = state.ended.iter().rev();
        running.extend(ended.map(|(upid, end)| TaskInfo { upid: upid.clone(), finished: Some(end.clone()) }));
        running
    }

    /// Looks one task up.
    ///
    /// # Errors
    /// [`TaskError::Unknown`].
    pub fn info(&self, upid: &Upid) -> Result<TaskInfo, TaskError> {
        let state = self.inner.lock();
        let finished = if state.running.contains_key(upid) {
            None
        } else {
            let found = state.ended.iter().rev().find(|(known, _)| known == upid);
            Some(found.ok_or_else(|| TaskError::Unknown { upid: Box::new(upid.clone()) })?.1.clone())
        };
        Ok(TaskInfo { upid: upid.clone(), finished })
    }

    /// Reads up to `limit` lines (0: all) of a task's log from line `start` on (from 1).
    ///
    /// To poll: ask [`Tasks::info`] *before* this; if the task had ended then, the log is complete.
    ///
    /// # Errors
    /// [`TaskError::Unknown`], [`TaskError::Io`].
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn log(&self, upid: &Upid, start: u64, limit: u64) -> Result<LogPart, TaskError> {
        self.info(upid)?;
        let running = self.inner.lock().running.get(upid).cloned();
        let path = History::log_path(&self.inner.folder, upid);
        let read = {
            let path = path.clone();
            move || {
                if let Some(task) = running {
                    // A full disk is no reason to show nothing: the lines stay for later, and who flushes now and then warns.
                    let _ = task.log.flush();
                }
                log::read(&path, start, limit)
            }
        };
        let read =
            tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| Err(io::Error::other(error)));
        read.map_err(|source| TaskError::Io { action: "read the task log", path, source })
    }

    /// Asks a task to stop; one that ended is left alone.
    ///
    /// # Errors
    /// [`TaskError::Unknown`].
    pub fn stop(&self, upid: &Upid) -> Result<(), TaskError> {
        self.info(upid)?;
        if let Some(task) = self.inner.lock().running.get(upid) {
            task.stop.cancel();
        }
        Ok(())
    }

    /// Waits for the end of a task, and returns how it ended.
    ///
    /// # Errors
    /// [`TaskError::Unknown`].
    ///
    /// # Cancel safety
    /// Dropping the future ends the waiting only.
    pub async fn wait(&self, upid: &Upid) -> Result<Finished, TaskError> {
        let ended = self.inner.lock().running.get(upid).map(|task| task.ended.clone());
        if let Some(ended) = ended {
            ended.cancelled().await;
        }
        self.info(upid)?.finished.ok_or_else(|| TaskError::Unknown { upid: Box::new(upid.clone()) })
    }

    /// Tells whether nothing can be started any more.
    pub fn is_closing(&self) -> bool {
        self.inner.lock().is_closing
    }

    /// Tells how many tasks run.
    pub fn running_count(&self) -> usize {
        self.inner.lock().running.len()
    }

    /// Tells how many tasks of each type run and ended.
    pub fn counts(&self) -> TaskCounts {
        let state = self.inner.lock();
        let mut running = BTreeMap::new();
        for upid in state.running.keys() {
            *running.entry(upid.worker_type.clone()).or_default() += 1;
        }
        TaskCounts { running, ended: state.counts.clone() }
    }

    /// Waits up to `grace` for running tasks to end, then asks the rest to stop and gives them a few seconds for that.
    /// Nothing can be started from the call on.
    ///
    /// # Cancel safety
    /// Dropping the future leaves tasks running; call it again.
    pub async fn shut_down(&self, grace: Duration) {
        let tracker = &self.inner.tracker;
        self.inner.lock().is_closing = true;
        tracker.close();
        if tokio::time::timeout(grace, tracker.wait()).await.is_ok() {
            return;
        }
        tracing::warn!(tasks = self.running_count(), "stopping tasks that still run");
        self.inner.stop.cancel();
        if tokio::time::timeout(STOP_GRACE, tracker.wait()).await.is_err() {
            tracing::error!(tasks = self.running_count(), "tasks did not stop when asked");
        }
    }
}

async fn run<E: std::error::Error + Send>(mut ending: Ending, work: impl Future<Output = Result<(), E>>) {
    let shared = Arc::clone(&ending.shared);
    note_start(&ending).await;
    let flush_now_and_then = async {
        loop {
            tokio::time::sleep(FLUSH_INTERVAL).await;
            flush(&shared).await;
        }
    };
    let result = tokio::select! {
        result = work => result,
        () = flush_now_and_then => return,
    };
    let warnings = shared.warnings.load(Ordering::Relaxed);
    let handle = TaskHandle { shared };
    let status = match result {
        Ok(()) => handle.status_if_done(),
        Err(error) => one_line(&crate::api::chain(&error)),
    };
    let is_good = status == "OK" || warnings > 0 && status.starts_with("WARNINGS");
    handle.log(if is_good { format!("TASK {status}") } else { format!("TASK ERROR: {status}") });
    ending.status = Some(status);
    // Off the worker thread: the end is written to the list and the log.
    if let Err(error) = tokio::task::spawn_blocking(move || drop(ending)).await {
        tracing::error!(%error, "cannot note the end of a task");
    }
}

async fn note_start(ending: &Ending) {
    let (inner, upid) = (Arc::clone(&ending.inner), ending.shared.upid.clone());
    let note = move || inner.history.lock().unwrap_or_else(PoisonError::into_inner).started(&upid);
    if let Ok(Err(error)) = tokio::task::spawn_blocking(note).await {
        tracing::warn!(%error, "cannot write the list of tasks");
    }
}

async fn flush(shared: &Arc<Shared>) {
    let task = Arc::clone(shared);
    let flushed = tokio::task::spawn_blocking(move || task.log.flush()).await;
    if let Ok(Err(error)) = flushed {
        tracing::warn!(upid = %shared.upid, %error, "cannot write a task log");
    }
}

/// An exit status is one line that cannot be taken for success.
fn one_line(text: &str) -> String {
    let text = &text[..text.floor_char_boundary(STATUS_BYTES_MAX)];
    let text = text.replace(['\n', '\r'], " ");
    if text.is_empty() || text == "OK" || text.starts_with("WARNINGS") {
        format!("error: {text}")
    } else {
        text
    }
}

/// Puts an exit status in one of the few classes that are counted.
fn result_of(status: &str) -> &'static str {
    match status {
        "OK" => "ok",
        status if status.starts_with("WARNINGS") => "warnings",
        _ => "error",
    }
}

/// Moves a task from the running to the ended ones when dropped.
struct Ending {
    inner: Arc<Inner>,
    shared: Arc<Shared>,
    status: Option<String>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let upid = self.shared.upid.clone();
        let status = self.status.take().unwrap_or_else(|| "unknown".to_owned());
        let end = Finished { endtime: self.inner.clock.wall().unix_seconds(), status };
        if let Err(error) = self.shared.log.flush() {
            tracing::warn!(%upid, %error, "cannot write a task log");
        }
        let mut history = self.inner.history.lock().unwrap_or_else(PoisonError::into_inner);
        let mut noted = history.ended(&upid, &end);
        let mut state = self.inner.lock();
        state.running.remove(&upid);
        *state.counts.entry((upid.worker_type.clone(), result_of(&end.status))).or_default() += 1;
        state.ended.push_back((upid, end));
        while state.ended.len() > TASKS_KEPT {
            if let Some((old, _)) = state.ended.pop_front() {
                history.forget_log(&old);
            }
        }
        if noted.is_ok() && history.wants_rewrite() {
            let running: Vec<_> = state.running.keys().cloned().collect();
            noted = history.rewrite(state.ended.make_contiguous(), &running);
        }
        drop(state);
        self.shared.ended.cancel();
        if let Err(error) = noted {
            tracing::warn!(%error, "cannot write the list of tasks");
        }
    }
}

impl Inner {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // The state is a plain list that is consistent between statements, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The machine's name, up to the first dot, in characters that identifiers take.
fn node_name() -> String {
    let uname = rustix::system::uname();
    let name = uname.nodename().to_string_lossy();
    let short = name.split('.').next().unwrap_or_default();
    let plain: String = short.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(63).collect();
    if plain.is_empty() { "localhost".to_owned() } else { plain }
}

/// When this process was started, in clock ticks since the machine was (field 22 of `/proc/self/stat`); 0 if unknown.
fn process_start_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field, the command in parentheses, may contain blanks.
    let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    fields.split(' ').nth(19).and_then(|ticks| ticks.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
