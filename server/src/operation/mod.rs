//! What is done on a whole datastore and takes its time: collections, prunes, verifications, pulls and pushes.
//!
//! REST calls and jobs come here with the same requests. A request is prepared first: what its caller may not do is refused, and
//! what cannot be found. What comes of that is run in a task. While it runs, its datastore counts as occupied, so that no job is
//! started there; but only for callers with Datastore.Modify on all of it. That order is a courtesy: whatever runs beside a job is safe
//! there. So whoever has less, say a client that may verify its own backups at a rate of its choice, does not hold up the jobs of all.

mod collect;
mod occupancy;
mod prune;
mod sync;
mod verify;

use std::sync::Arc;

use coldkeep_datastore::{Datastore, Namespace, StoreName};

pub(crate) use collect::{COLLECT_WORKER, Collect, check_none_runs};
pub(crate) use occupancy::Occupancy;
pub(crate) use prune::Prune;
pub(crate) use sync::{Pull, Push};
pub(crate) use verify::Verify;

use crate::Server;
use crate::api::ApiError;
use crate::api::datastore::place::has_any;
use crate::auth::{AuthId, Caller, Privileges};
use crate::collect::CollectTaskError;
use crate::prune::{PruneError, PruneJob};
use crate::sync::{SyncError, SyncJob};
use crate::tasks::{TaskHandle, TaskSpec, Upid};
use crate::verify::{VerifyJob, VerifyTaskError};

/// What somebody asks for.
#[derive(Debug, Clone)]
pub(crate) enum Request {
    Collect(Collect),
    Prune(Prune),
    Verify(Verify),
    Pull(Pull),
    Push(Push),
}

/// What is allowed, and can begin.
pub(crate) enum Operation {
    Collect { store: Arc<Datastore>, options: coldkeep_gc::Options },
    Prune(PruneJob),
    Verify(VerifyJob),
    Sync(Box<SyncJob>),
}

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OperationError {
    #[error(transparent)]
    Collect(#[from] CollectTaskError),
    #[error(transparent)]
    Prune(#[from] PruneError),
    #[error(transparent)]
    Verify(#[from] VerifyTaskError),
    #[error(transparent)]
    Sync(#[from] SyncError),
}

impl Request {
    /// Returns the datastore here that it is about.
    pub(crate) fn store(&self) -> &StoreName {
        match self {
            Self::Collect(what) => &what.store,
            Self::Prune(what) => &what.store,
            Self::Verify(what) => &what.store,
            Self::Pull(what) => &what.store,
            Self::Push(what) => &what.store,
        }
    }

    /// Tells whether jobs wait for it if this caller has it done.
    fn lets_jobs_wait(&self, caller: &Caller) -> bool {
        has_any(caller, self.store(), &Namespace::root(), Privileges::DATASTORE_MODIFY)
    }

    /// Returns the task that does it for this caller (rest-api.md §5).
    fn task(&self, auth_id: &AuthId) -> TaskSpec {
        let (worker_type, worker_id) = match self {
            Self::Collect(what) => (COLLECT_WORKER, what.store.to_string()),
            Self::Prune(what) => ("prune", what.place()),
            Self::Verify(what) => what.worker(),
            Self::Pull(what) => ("sync", what.places()),
            Self::Push(what) => ("sync", what.places()),
        };
        TaskSpec { worker_type, worker_id: Some(worker_id), auth_id: auth_id.clone() }
    }

    /// Returns the task that does it as a job.
    pub(crate) fn task_of_job(&self, id: &str, auth_id: &AuthId) -> TaskSpec {
        let (worker_type, place) = match self {
            // Whoever looks for collections finds them by the name of the store alone.
            Self::Collect(_) => return self.task(auth_id),
            Self::Prune(what) => ("prunejob", what.place()),
            Self::Verify(what) => ("verificationjob", what.place()),
            Self::Pull(what) => ("syncjob", what.places()),
            Self::Push(what) => ("syncjob", what.places()),
        };
        TaskSpec { worker_type, worker_id: Some(format!("{place}:{id}")), auth_id: auth_id.clone() }
    }

    /// Refuses callers who may not have it done. Nothing is looked up, so that they do not learn what exists.
    ///
    /// # Errors
    /// 403.
    pub(crate) fn check(&self, caller: &Caller) -> Result<(), ApiError> {
        match self {
            Self::Collect(what) => what.check(caller),
            Self::Prune(what) => what.check(caller),
            Self::Verify(what) => what.check(caller),
            Self::Pull(what) => what.check(caller),
            Self::Push(what) => what.check(caller),
        }
    }

    /// Checks what the caller may do, and finds what it is about.
    ///
    /// # Errors
    /// 403; 400 if something is not there.
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub(crate) async fn prepare(&self, server: &Server, caller: &Caller) -> Result<Operation, ApiError> {
        self.check(caller)?;
        match self {
            Self::Collect(what) => what.prepare(server),
            Self::Prune(what) => what.prepare(server, caller).await,
            Self::Verify(what) => what.prepare(server, caller),
            Self::Pull(what) => what.prepare(server, caller),
            Self::Push(what) => what.prepare(server, caller).await,
        }
    }
}

impl Operation {
    /// Does it.
    ///
    /// # Cancel safety
    /// As for a task that is killed: what was done stays.
    pub(crate) async fn run(self, server: &Arc<Server>, task: &TaskHandle) -> Result<(), OperationError> {
        match self {
            Self::Collect { store, options } => {
                let collected = crate::collect::run(&store, &options, task).await;
                server.metrics().forget_collection(store.name());
                collected?;
            }
            Self::Prune(job) => crate::prune::run(&job, task).await?,
            Self::Verify(job) => {
                crate::verify::run(&job, server.clock().wall().unix_seconds(), task).await?;
            }
            Self::Sync(job) => job.run(server, task).await?,
        }
        Ok(())
    }
}

/// Has a request done by a task, and returns its id.
///
/// # Errors
/// 403 and 400 as [`Request::prepare`]; 400 if no task can be started.
///
/// # Cancel safety
/// The task is started or not.
pub(crate) async fn start(
    server: &Arc<Server>,
    caller: &Caller,
    request: &Request,
) -> Result<Upid, ApiError> {
    let operation = request.prepare(server, caller).await?;
    let occupied = request.lets_jobs_wait(caller).then(|| server.occupancy().enter(request.store()));
    let work = {
        let server = Arc::clone(server);
        |task: TaskHandle| async move {
            let _occupied = occupied;
            operation.run(&server, &task).await
        }
    };
    server.tasks().start(request.task(caller.auth_id()), work).map_err(|error| ApiError::failed(&error))
}

/// Names a store with a namespace in it, the root by its absence (rest-api.md §5).
fn place(store: &StoreName, ns: &Namespace) -> String {
    if ns.is_root() { store.to_string() } else { format!("{store}:{ns}") }
}
