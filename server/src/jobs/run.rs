//! A run of a job: an ordinary task, and what follows its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use coldkeep_datastore::StoreName;

use super::decide::Cause;
use super::state::Outcome;
use super::webhook::{self, News};
use super::{Job, JobError, Turn};
use crate::Server;
use crate::api::ApiError;
use crate::auth::{AuthId, Caller, is_root};
use crate::operation::{OperationError, Request};
use crate::state::StoresError;
use crate::tasks::{Finished, TaskError, TaskHandle, Upid};

/// A job could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Job(#[from] JobError),
    #[error(transparent)]
    Task(#[from] TaskError),
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error("{who} is disabled or gone; the job runs as that")]
    Inactive { who: AuthId },
    #[error("cannot use the datastore {name}")]
    Store {
        name: StoreName,
        #[source]
        source: Box<StoresError>,
    },
    #[error(transparent)]
    Refused(#[from] ApiError),
    #[error(transparent)]
    Operation(Box<OperationError>),
    #[error("stopped by request")]
    Stopped,
}

/// Starts a job as a task, and returns its id when the state of the job has it.
///
/// # Errors
/// [`StartError`]: it runs already, another one in the same datastore, or no task can be started. Whatever else is wrong, the
/// task fails of it.
///
/// # Cancel safety
/// It is started or not; if it is, it is noted.
pub(crate) async fn start(server: &Arc<Server>, job: Arc<Job>, cause: Cause) -> Result<Upid, StartError> {
    let turn = server.jobs().take_turn(&job)?;
    let request = job.request()?;
    let occupied = server.occupancy().enter(&job.store);
    let is_stopped = Arc::new(AtomicBool::new(false));
    let spec = request.task_of_job(job.id.as_str(), &job.run_as);
    let work = {
        let (server, job, is_stopped) = (Arc::clone(server), Arc::clone(&job), Arc::clone(&is_stopped));
        |task: TaskHandle| async move {
            let _occupied = occupied;
            task.log(format!("job {}: {}", job.id, describe(cause)));
            let result = perform(&server, &job, &request, &task).await;
            is_stopped.store(task.is_cancelled(), Ordering::Relaxed);
            result
        }
    };
    let upid = server.tasks().start(spec, work)?;
    let run = Run { server: Arc::clone(server), job, upid: upid.clone(), is_stopped, turn };
    let (noted, is_noted) = tokio::sync::oneshot::channel();
    // Whoever asked may go away.
    server.jobs().followers.spawn(async move {
        let is_retry = cause == Cause::Retry;
        let upid = run.upid.clone();
        run.server.jobs().note(&run.job.id, |state| state.begin(upid, is_retry)).await;
        let _ = noted.send(());
        run.follow().await;
    });
    let _ = is_noted.await;
    Ok(upid)
}

fn describe(cause: Cause) -> &'static str {
    match cause {
        Cause::Schedule => "due by its schedule",
        Cause::Retry => "tried again after a failure",
        Cause::Hand => "started by hand",
    }
}

async fn perform(
    server: &Arc<Server>,
    job: &Job,
    request: &Request,
    task: &TaskHandle,
) -> Result<(), RunError> {
    let caller = caller(server, &job.run_as)?;
    // One in a bucket may be being opened, right after a start.
    tokio::select! {
        ready = server.ready_datastore(&job.store) => {
            ready.map_err(|source| RunError::Store { name: job.store.clone(), source: Box::new(source) })?;
        }
        () = task.cancelled() => return Err(RunError::Stopped),
    }
    let operation = request.prepare(server, &caller).await?;
    operation.run(server, task).await.map_err(|error| RunError::Operation(Box::new(error)))
}

/// Makes the caller that a job is, with the rights that it has now.
fn caller(server: &Server, who: &AuthId) -> Result<Caller, RunError> {
    let (identities, now) = (server.identities(), server.clock().wall().unix_seconds());
    let is_active = match who.token() {
        // An embedded server may have no users at all.
        None => is_root(who) || identities.is_active_user(who, now),
        Some(_) => identities.active_token(who, now).is_some(),
    };
    if is_active {
        return Ok(Caller::authenticated(who.clone(), identities.acl()));
    }
    Err(RunError::Inactive { who: who.clone() })
}

/// A run that is under way.
struct Run {
    server: Arc<Server>,
    job: Arc<Job>,
    upid: Upid,
    is_stopped: Arc<AtomicBool>,
    turn: Turn,
}

impl Run {
    /// Waits for the end, notes it, lets others have their turn, and tells of it.
    async fn follow(self) {
        let Self { server, job, upid, is_stopped, turn } = self;
        let Ok(finished) = server.tasks().wait(&upid).await else { return };
        let outcome = Outcome::of(&finished.status, is_stopped.load(Ordering::Relaxed));
        if outcome != Outcome::Good && server.tasks().is_closing() {
            // It was cut short by the end of the server; the next start goes on from here.
            return;
        }
        let news = note_end(&server, &job, &upid, (finished, outcome)).await;
        drop(turn);
        if let Some(news) = news {
            webhook::tell(&server, &job, news).await;
        }
    }
}

/// Notes how a run ended; returns what is to be told, if somebody wants to hear it.
async fn note_end(
    server: &Server,
    job: &Job,
    upid: &Upid,
    (finished, outcome): (Finished, Outcome),
) -> Option<News> {
    // As it is by now: it may have been changed meanwhile, or removed.
    let job = server.jobs().get(&job.id).ok()?;
    server.jobs().note(&job.id, |state| state.end(&job, upid, (finished.clone(), outcome))).await;
    let state = server.jobs().state(&job.id);
    webhook::is_wanted(job.notify, outcome).then(|| News::of(&job, &state, upid, (finished, outcome)))
}

/// Notes how runs ended that the last end of the server cut short: they failed, and are tried again if they are to be.
pub(super) async fn note_cut_short(server: &Arc<Server>) {
    for (job, state) in server.jobs().known() {
        let Some(last) = state.last.filter(|last| last.ended.is_none()) else { continue };
        if server.jobs().running().contains_key(&job.id) {
            continue;
        }
        let unknown =
            || Finished { endtime: server.clock().wall().unix_seconds(), status: "unknown".to_owned() };
        let info = server.tasks().info(&last.upid).ok();
        let finished = info.and_then(|task| task.finished).unwrap_or_else(unknown);
        let outcome = Outcome::of(&finished.status, false);
        if let Some(news) = note_end(server, &job, &last.upid, (finished, outcome)).await {
            let server_too = Arc::clone(server);
            let told = async move { webhook::tell(&server_too, &job, news).await };
            server.jobs().followers.spawn(told);
        }
    }
}
