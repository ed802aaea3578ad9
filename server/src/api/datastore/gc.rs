//! Garbage collection: start it, ask for the last result.

use std::collections::BTreeSet;

use coldkeep_datastore::{Datastore, StoreName};
use serde_json::{Value, json};

use super::params::STORE;
use crate::Server;
use crate::api::jobs::next_collection;
use crate::api::nodes::is_on_store;
use crate::api::{Access, ApiError, BodyKind, Call, Endpoint, Kind, Method, Param, Reply};
use crate::auth::Privileges;
use crate::collect::{self, PastRun};
use crate::operation::{self, COLLECT_WORKER, Collect, Request};
use crate::tasks::{TaskInfo, Upid};

/// A run removes at most a batch at once, so higher rates are no limits.
pub(crate) const RATE: Kind = Kind::Integer { min: 1, max: 1_000_000 };

pub(in crate::api) static ENDPOINTS: &[Endpoint<Server>] = &[
    Endpoint {
        method: Method::Get,
        path: "/admin/datastore/{store}/gc",
        doc: "Returns the result of the last complete collection, how the last one ended, and when a job next collects; dry runs do not count.",
        params: &[STORE],
        body: BodyKind::Params,
        access: Access::Datastore { full: Privileges::DATASTORE_AUDIT, own: Privileges::NONE },
        handler: |call| Box::pin(status(call)),
    },
    Endpoint {
        method: Method::Post,
        path: "/admin/datastore/{store}/gc",
        doc: "Starts a collection and returns the id of its task. One at a time runs in a datastore.",
        params: &[
            STORE,
            Param::with_default("dry-run", Kind::Boolean, "false", "Only tell what would be removed."),
            Param::optional("max-delete-rate", RATE, "Remove so many chunks a second at most."),
        ],
        body: BodyKind::Params,
        access: Access::Datastore { full: Privileges::DATASTORE_MODIFY, own: Privileges::NONE },
        handler: |call| Box::pin(start(call)),
    },
    Endpoint {
        method: Method::Get,
        path: "/admin/datastore/{store}/gc-history",
        doc: "Lists the collections of the datastore, the newest first: how each ended, with its whole report.",
        params: &[
            STORE,
            Param::with_default("limit", Kind::Integer { min: 1, max: 100 }, "100", "List so many at most."),
            Param::optional("upid", Kind::name::<Upid>("task id"), "List only the run of this task."),
        ],
        body: BodyKind::Params,
        access: Access::Datastore { full: Privileges::DATASTORE_AUDIT, own: Privileges::NONE },
        handler: |call| Box::pin(history(call)),
    },
];

async fn start(call: Call<Server>) -> Result<Reply, ApiError> {
    let params = &call.params;
    let collect = Collect {
        store: params.get("store")?,
        dry_run: params.get("dry-run")?,
        delete_rate_max: params.find("max-delete-rate")?,
    };
    operation::check_none_runs(&call.state, &collect.store)?;
    Reply::json(&operation::start(&call.state, &call.caller, &Request::Collect(collect)).await?)
}

async fn status(call: Call<Server>) -> Result<Reply, ApiError> {
    let name: StoreName = call.params.get("store")?;
    let store = call.state.datastore(&name)?;
    let mut status = stored_status(&store).await;
    status["store"] = json!(name);
    let runs = collect::history(&store).await;
    let dry: BTreeSet<&str> = runs.iter().filter(|run| run.is_dry()).map(|run| run.upid.as_str()).collect();
    // A dry run is no run to whoever asks when one is due, or what became of the last.
    let is_last = |task: &TaskInfo| task.finished.is_some() && !dry.contains(task.upid.to_string().as_str());
    let last = last_run(&call.state, &name, is_last);
    if let Some(TaskInfo { upid, finished: Some(finished) }) = last {
        status["last-run-endtime"] = finished.endtime.into();
        status["duration"] = finished.endtime.saturating_sub(i64::from(upid.starttime)).into();
        status["last-run-state"] = finished.status.into();
    }
    if let Some((schedule, next_run)) = next_collection(&call.state, &name) {
        (status["schedule"], status["next-run"]) = (schedule.into(), next_run.into());
    }
    Reply::json(&status)
}

async fn history(call: Call<Server>) -> Result<Reply, ApiError> {
    let store = call.state.datastore(&call.params.get("store")?)?;
    let limit: usize = call.params.get("limit")?;
    let upid: Option<String> = call.params.find("upid")?;
    // What is noted of a run that goes on is how it would end if the server did; one may begin or end meanwhile.
    let mut running = running(&call.state);
    let mut runs: Vec<PastRun> = collect::history(&store).await;
    running.append(&mut self::running(&call.state));
    runs.retain(|run| !running.contains(&run.upid) && upid.as_ref().is_none_or(|upid| run.upid == *upid));
    runs.truncate(limit);
    Reply::json(&runs)
}

/// Returns the result of the last complete collection as stock clients know it; zeros if there was none.
pub(super) async fn stored_status(store: &Datastore) -> Value {
    let status = collect::stored_status(store).await;
    serde_json::to_value(status).unwrap_or_default()
}

fn running(server: &Server) -> BTreeSet<String> {
    let tasks = server.tasks().list().into_iter().filter(|task| task.finished.is_none());
    tasks.map(|task| task.upid.to_string()).collect()
}

fn last_run(server: &Server, store: &StoreName, wanted: impl Fn(&TaskInfo) -> bool) -> Option<TaskInfo> {
    let tasks = server.tasks().list().into_iter();
    let mut runs = tasks
        .filter(|task| task.upid.worker_type == COLLECT_WORKER && is_on_store(&task.upid, store.as_str()));
    runs.find(|task| wanted(task))
}
