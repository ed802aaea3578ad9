//! Runs tasks one poll at a time, in the order that the history wants.
//!
//! No runtime: whoever plays the history picks the task that goes on, so that the order of everything is the seed's.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Names a task.
pub(crate) type TaskId = u64;

/// One start of one server: what ends together in a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Process {
    pub(crate) server: usize,
    pub(crate) life: u32,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "server {}.{}", self.server, self.life)
    }
}

/// What a task does for whoever plays the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Open,
    Write,
    Run,
    Other,
}

type TaskFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Task {
    future: TaskFuture,
    process: Process,
    role: Role,
    waker: Waker,
}

/// Tasks that were woken and not polled since.
#[derive(Default)]
struct Ready(Mutex<BTreeSet<TaskId>>);

impl Ready {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<TaskId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct TaskWaker {
    id: TaskId,
    ready: Arc<Ready>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.ready.lock().insert(self.id);
    }
}

/// All tasks.
#[derive(Default)]
pub(crate) struct Executor {
    tasks: BTreeMap<TaskId, Task>,
    next_id: TaskId,
    ready: Arc<Ready>,
}

impl Executor {
    pub(crate) fn spawn(
        &mut self,
        process: Process,
        role: Role,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> TaskId {
        let id = self.next_id;
        self.next_id += 1;
        let waker = Waker::from(Arc::new(TaskWaker { id, ready: Arc::clone(&self.ready) }));
        self.tasks.insert(id, Task { future: Box::pin(future), process, role, waker });
        self.ready.lock().insert(id);
        id
    }

    /// Returns the tasks that can go on, but for those of a role, in the order of their start.
    pub(crate) fn ready(&self, but: Option<Role>) -> Vec<TaskId> {
        let is_left = |id: &&TaskId| self.tasks.get(id).is_some_and(|task| Some(task.role) != but);
        self.ready.lock().iter().filter(is_left).copied().collect()
    }

    /// Polls a task.
    pub(crate) fn poll(&mut self, id: TaskId) {
        self.ready.lock().remove(&id);
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let waker = task.waker.clone();
        if task.future.as_mut().poll(&mut Context::from_waker(&waker)) == Poll::Ready(()) {
            self.tasks.remove(&id);
        }
    }

    /// Drops a task wherever it stands; returns whether it was still there.
    pub(crate) fn drop_task(&mut self, id: TaskId) -> bool {
        self.ready.lock().remove(&id);
        self.tasks.remove(&id).is_some()
    }

    /// Drops every task of a process.
    pub(crate) fn kill(&mut self, process: Process) {
        let ids: Vec<TaskId> =
            self.tasks.iter().filter(|(_, task)| task.process == process).map(|(id, _)| *id).collect();
        for id in ids {
            self.drop_task(id);
        }
    }

    /// Returns the tasks of a role, the oldest first.
    pub(crate) fn of_role(&self, role: Role) -> Vec<TaskId> {
        self.tasks.iter().filter(|(_, task)| task.role == role).map(|(id, _)| *id).collect()
    }

    pub(crate) fn has(&self, id: TaskId) -> bool {
        self.tasks.contains_key(&id)
    }

    pub(crate) fn len(&self) -> usize {
        self.tasks.len()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const ONE: Process = Process { server: 0, life: 0 };

    #[test]
    fn a_task_goes_on_only_when_it_is_polled_and_ends_with_its_process() {
        let count = Arc::new(AtomicU32::new(0));
        let mut executor = Executor::default();
        for life in 0..2 {
            let count = Arc::clone(&count);
            executor.spawn(Process { life, ..ONE }, Role::Other, async move {
                count.fetch_add(1, Ordering::Relaxed);
                std::future::pending::<()>().await;
            });
        }
        assert_eq!((executor.ready(None).len(), count.load(Ordering::Relaxed)), (2, 0));
        executor.poll(1);
        assert_eq!((executor.ready(None).len(), count.load(Ordering::Relaxed)), (1, 1));
        executor.kill(ONE);
        assert_eq!((executor.ready(None).len(), executor.len()), (0, 1));
    }
}
