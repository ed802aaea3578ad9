//! Prune one group.

use tokio::sync::oneshot;

use super::DELETE;
use super::keep::{self, KEEP_DAILY, KEEP_HOURLY, KEEP_LAST, KEEP_MONTHLY, KEEP_WEEKLY, KEEP_YEARLY};
use super::params::{self, BACKUP_ID, BACKUP_TYPE, NS, STORE};
use super::place::Place;
use crate::Server;
use crate::api::{ApiError, BodyKind, Call, Endpoint, Kind, Method, Param, Reply};
use crate::prune::GroupPlan;
use crate::tasks::{TaskHandle, TaskSpec};

const DRY_RUN: Param =
    Param::with_default("dry-run", Kind::Boolean, "false", "Only tell what would be removed.");

pub(in crate::api) static ENDPOINTS: &[Endpoint<Server>] = &[Endpoint {
    method: Method::Post,
    path: "/admin/datastore/{store}/prune",
    doc: "Removes the snapshots of a group that no rule keeps; returns the verdict on each, oldest first, with the reason. Without a rule everything is kept, and so is whatever is in use, which a dry run does not foresee.",
    params: &[
        STORE,
        NS,
        BACKUP_TYPE,
        BACKUP_ID,
        KEEP_LAST,
        KEEP_HOURLY,
        KEEP_DAILY,
        KEEP_WEEKLY,
        KEEP_MONTHLY,
        KEEP_YEARLY,
        DRY_RUN,
        Param::with_default("use-task", Kind::Boolean, "false", "Return the id of a task that prunes."),
    ],
    body: BodyKind::Params,
    access: DELETE,
    handler: |call| Box::pin(prune_group(call)),
}];

async fn prune_group(call: Call<Server>) -> Result<Reply, ApiError> {
    let place = Place::of(&call)?;
    let group = params::group(&call.params)?;
    place.check_owner(&group).await?;
    let keep = keep::options(&call.params)?;
    let planned = GroupPlan::make(&place.store, &place.ns, &group, &keep).await;
    let mut plan = planned.map_err(|error| ApiError::failed(&error))?;
    if call.params.get("dry-run")? {
        return Reply::json(&plan.into_dry_run());
    }
    let worker_id = if place.ns.is_root() {
        format!("{}:{group}", place.store.name())
    } else {
        format!("{}:{}:{group}", place.store.name(), place.ns)
    };
    let spec =
        TaskSpec { worker_type: "prune", worker_id: Some(worker_id), auth_id: call.caller.auth_id().clone() };
    let (result, done) = oneshot::channel();
    let store = place.store;
    let work = |task: TaskHandle| async move {
        let carried_out = plan.carry_out(&store, &task).await;
        let answer = carried_out.as_ref().map_err(|error| ApiError::failed(error));
        // Nobody waits for it after `use-task`.
        let _ = result.send(answer.map(|()| plan.into_verdicts()));
        carried_out
    };
    let upid = call.state.tasks().start(spec, work).map_err(|error| ApiError::failed(&error))?;
    if call.params.get("use-task")? {
        return Reply::json(&upid);
    }
    let verdicts = done
        .await
        .map_err(|_| ApiError::bad_request(format!("prune of group {group} ended early: {upid}")))?;
    Reply::json(&verdicts?)
}
