//! Pruning: of one group, answered with the verdicts, or of all groups, as a task.

use coldkeep_datastore::{Datastore, GroupName, Namespace};
use tokio::sync::oneshot;

use super::DELETE;
use super::keep::{self, KEEP_DAILY, KEEP_HOURLY, KEEP_LAST, KEEP_MONTHLY, KEEP_WEEKLY, KEEP_YEARLY};
use super::params::{self, BACKUP_ID, BACKUP_TYPE, MAX_DEPTH, NS, STORE};
use super::place::Place;
use crate::Server;
use crate::api::{ApiError, BodyKind, Call, Endpoint, Kind, Method, Param, Reply};
use crate::operation::{self, Prune, Request};
use crate::prune::GroupPlan;
use crate::tasks::{TaskHandle, TaskSpec};

const DRY_RUN: Param =
    Param::with_default("dry-run", Kind::Boolean, "false", "Only tell what would be removed.");

pub(in crate::api) static ENDPOINTS: &[Endpoint<Server>] = &[
    Endpoint {
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
    },
    Endpoint {
        method: Method::Post,
        path: "/admin/datastore/{store}/prune-datastore",
        doc: "Prunes every group of a namespace and of those inside it; returns the id of a task, whose log has the verdict on each snapshot. Callers with Datastore.Prune prune their own groups.",
        params: &[
            STORE,
            NS,
            KEEP_LAST,
            KEEP_HOURLY,
            KEEP_DAILY,
            KEEP_WEEKLY,
            KEEP_MONTHLY,
            KEEP_YEARLY,
            MAX_DEPTH,
            DRY_RUN,
        ],
        body: BodyKind::Params,
        access: DELETE,
        handler: |call| Box::pin(prune_datastore(call)),
    },
];

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
    let spec = task(&call, worker_id(&place.store, &place.ns, &group));
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

async fn prune_datastore(call: Call<Server>) -> Result<Reply, ApiError> {
    let params = &call.params;
    let prune = Prune {
        store: params.get("store")?,
        ns: params::namespace(params)?,
        max_depth: params.get("max-depth")?,
        keep: keep::options(params)?,
        dry_run: params.get("dry-run")?,
    };
    Reply::json(&operation::start(&call.state, &call.caller, &Request::Prune(prune)).await?)
}

fn task(call: &Call<Server>, worker_id: String) -> TaskSpec {
    TaskSpec { worker_type: "prune", worker_id: Some(worker_id), auth_id: call.caller.auth_id().clone() }
}

/// Names what is pruned as rest-api.md §5 has it, the root namespace by its absence.
fn worker_id(store: &Datastore, ns: &Namespace, group: &GroupName) -> String {
    let ns = (!ns.is_root()).then(|| ns.to_string());
    let parts = [Some(store.name().to_string()), ns, Some(group.to_string())];
    parts.into_iter().flatten().collect::<Vec<_>>().join(":")
}
