//! Tells somebody how a job ended: a POST with a few facts as JSON.

mod send;
mod url;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coldkeep_client::{JobId, JobKind, NotifyWhen};
use coldkeep_datastore::StoreName;
use serde::Serialize;

pub use url::{WebhookUrl, WebhookUrlError};

use super::state::Outcome;
use super::{Job, JobState};
use crate::Server;
use crate::api::chain;
use crate::tasks::{Finished, TaskHandle, TaskSpec, Upid};

/// How often it is tried, with so much time between.
const PAUSES: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(10)];

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct News {
    job: JobId,
    store: StoreName,
    kind: JobKind,
    upid: Upid,
    /// `ok`, `warning`, `failed` or `stopped`.
    status: &'static str,
    /// In Unix seconds.
    started: i64,
    ended: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// 1 for a run by the schedule or by hand, more for retries.
    attempt: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_retry: Option<i64>,
}

/// Nobody could be told.
#[derive(Debug, thiserror::Error)]
#[error("{url} was not told")]
struct NotTold {
    /// Its scheme and host: the rest may be a secret.
    url: String,
    #[source]
    source: send::SendError,
}

/// Tells whether somebody wants to hear of a run that ended so.
pub(super) fn is_wanted(when: NotifyWhen, outcome: Outcome) -> bool {
    match when {
        NotifyWhen::Never => false,
        NotifyWhen::Always => true,
        NotifyWhen::Failure => outcome == Outcome::Failed,
    }
}

impl News {
    pub(super) fn of(
        job: &Job,
        state: &JobState,
        upid: &Upid,
        (finished, outcome): (Finished, Outcome),
    ) -> Self {
        let Finished { endtime, status } = finished;
        let (word, error) = match outcome {
            Outcome::Good if status == "OK" => ("ok", None),
            Outcome::Good => ("warning", Some(status)),
            Outcome::Failed => ("failed", Some(status)),
            Outcome::Stopped => ("stopped", None),
        };
        Self {
            job: job.id.clone(),
            store: job.store.clone(),
            kind: job.kind,
            upid: upid.clone(),
            status: word,
            started: i64::from(upid.starttime),
            ended: endtime,
            error,
            attempt: state.retries_done.saturating_add(1),
            next_retry: state.retry_at,
        }
    }
}

/// Tells whoever the job says, in a task of its own: a failure stands in its log, and is none of the job. Without a
/// task, and once only, if none can be started: at the end of the server there is little time.
pub(super) async fn tell(server: &Arc<Server>, job: &Job, news: News) {
    let Some(url) = job.notify_url.clone() else { return };
    let (secret, clock) = (job.notify_secret.clone(), Arc::clone(server.clock()));
    let worker_id = Some(format!("{}:{}", job.store, job.id));
    let spec = TaskSpec { worker_type: "notify", worker_id, auth_id: job.run_as.clone() };
    // A few texts and numbers always have a JSON form.
    let body = Bytes::from(serde_json::to_vec(&news).unwrap_or_default());
    let without_task = (url.clone(), secret.clone(), body.clone());
    let work = |task: TaskHandle| async move {
        let mut pauses = PAUSES.into_iter();
        loop {
            task.log(format!("telling {} that job {} ended: {}", url.origin(), news.job, news.status));
            let sent = tokio::select! {
                sent = send::post(&url, secret.as_ref(), body.clone()) => sent,
                () = task.cancelled() => Err(send::SendError::Stopped),
            };
            let Err(source) = sent else { return Ok(()) };
            let Some(pause) = pauses.next().filter(|_| !task.is_cancelled()) else {
                return Err(NotTold { url: url.origin(), source });
            };
            task.log(format!("failed, another try follows in {} s: {}", pause.as_secs(), chain(&source)));
            tokio::select! {
                () = clock.sleep(pause) => {}
                () = task.cancelled() => {}
            }
        }
    };
    if let Ok(upid) = server.tasks().start(spec, work) {
        // Whoever waits for the end of the server waits for this, too.
        drop(server.tasks().wait(&upid).await);
        return;
    }
    let (url, secret, body) = without_task;
    if let Err(source) = send::post(&url, secret.as_ref(), body).await {
        let error = NotTold { url: url.origin(), source };
        tracing::warn!(job = %job.id, error = %chain(&error), "cannot tell how a job ended");
    }
}
