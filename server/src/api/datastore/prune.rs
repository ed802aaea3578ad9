//! Prune one group.

use coldkeep_datastore::prune::{self, KeepOptions, PruneCandidate};
use coldkeep_datastore::{BackupTime, Datastore, GroupName, Namespace, SnapshotName};
use serde::Serialize;
use tokio::sync::oneshot;

use super::DELETE;
use super::params::{self, BACKUP_ID, BACKUP_TYPE, NS, STORE};
use super::place::Place;
use crate::Server;
use crate::api::{ApiError, BodyKind, Call, Endpoint, Kind, Method, Param, Params, Reply};
use crate::tasks::{TaskHandle, TaskSpec};

const COUNT: Kind = Kind::Integer { min: 1, max: u32::MAX as i64 };

pub(in crate::api) static ENDPOINTS: &[Endpoint<Server>] = &[Endpoint {
    method: Method::Post,
    path: "/admin/datastore/{store}/prune",
    doc: "Removes the snapshots of a group that no rule keeps; returns the verdict on each, oldest first. Without a rule everything is kept.",
    params: &[
        STORE,
        NS,
        BACKUP_TYPE,
        BACKUP_ID,
        Param::optional("keep-last", COUNT, "Keep so many of the newest snapshots."),
        Param::optional("keep-hourly", COUNT, "Keep the newest snapshot of so many hours."),
        Param::optional("keep-daily", COUNT, "Keep the newest snapshot of so many days."),
        Param::optional("keep-weekly", COUNT, "Keep the newest snapshot of so many weeks."),
        Param::optional("keep-monthly", COUNT, "Keep the newest snapshot of so many months."),
        Param::optional("keep-yearly", COUNT, "Keep the newest snapshot of so many years."),
        Param::with_default("dry-run", Kind::Boolean, "false", "Only tell what would be removed."),
        Param::with_default("use-task", Kind::Boolean, "false", "Return the id of a task that prunes."),
    ],
    body: BodyKind::Params,
    access: DELETE,
    handler: |call| Box::pin(prune_group(call)),
}];

/// One line of the answer.
#[derive(Debug, Serialize)]
struct Verdict {
    #[serde(flatten)]
    group: GroupName,
    #[serde(rename = "backup-time")]
    time: BackupTime,
    keep: bool,
    protected: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    ns: Option<Namespace>,
}

async fn prune_group(call: Call<Server>) -> Result<Reply, ApiError> {
    let place = Place::of(&call)?;
    let group = params::group(&call.params)?;
    place.check_owner(&group).await?;
    let keep = keep_options(&call.params)?;
    let dry_run: bool = call.params.get("dry-run")?;
    let mut verdicts = judge(&place.store, &place.ns, &group, &keep).await?;
    if dry_run {
        for verdict in &mut verdicts {
            verdict.ns = Some(place.ns.clone());
        }
        return Reply::json(&verdicts);
    }
    let worker_id = if place.ns.is_root() {
        format!("{}:{group}", place.store.name())
    } else {
        format!("{}:{}:{group}", place.store.name(), place.ns)
    };
    let spec =
        TaskSpec { worker_type: "prune", worker_id: Some(worker_id), auth_id: call.caller.auth_id().clone() };
    let (result, done) = oneshot::channel();
    let (store, ns) = (place.store, place.ns);
    let work = |task: TaskHandle| async move {
        let removed = remove(&store, &ns, &mut verdicts, &task).await;
        // Nobody waits for it after `use-task`.
        let _ = result.send(removed.clone().map(|()| verdicts));
        removed
    };
    let upid = call.state.tasks().start(spec, work).map_err(|error| ApiError::failed(&error))?;
    let use_task: bool = call.params.get("use-task")?;
    if use_task {
        return Reply::json(&upid);
    }
    let verdicts = done
        .await
        .map_err(|_| ApiError::bad_request(format!("prune of group {group} ended early: {upid}")))?;
    Reply::json(&verdicts?)
}

/// Removes what is not to be kept; notes what stays all the same.
async fn remove(
    store: &Datastore,
    ns: &Namespace,
    verdicts: &mut [Verdict],
    task: &TaskHandle,
) -> Result<(), ApiError> {
    for verdict in verdicts.iter_mut().filter(|verdict| !verdict.keep) {
        if task.is_cancelled() {
            return Err(ApiError::bad_request("stopped by request"));
        }
        let snapshot = SnapshotName::new(verdict.group.clone(), verdict.time);
        match store.forget(ns, &snapshot).await {
            Ok(()) => task.log(format!("removed {snapshot}")),
            // A reader, a backup that builds on it (R5) or a protection set meanwhile keeps a snapshot until the next time.
            Err(error) if error.is_in_use() => {
                task.warn(format!("kept {snapshot}: {error}"));
                verdict.keep = true;
            }
            Err(error) => return Err(ApiError::failed(&error)),
        }
    }
    Ok(())
}

async fn judge(
    store: &Datastore,
    ns: &Namespace,
    group: &GroupName,
    keep: &KeepOptions,
) -> Result<Vec<Verdict>, ApiError> {
    let snapshots = store
        .snapshots(ns, Some(group.ty), Some(&group.id))
        .await
        .map_err(|error| ApiError::failed(&error))?;
    let candidates: Vec<PruneCandidate> = snapshots
        .iter()
        .map(|snapshot| PruneCandidate {
            time: snapshot.name.time,
            // One whose manifest is damaged counts as finished: only the operator may decide that it is worth nothing.
            finished: snapshot.files.iter().any(|file| file.filename.is_manifest()),
            protected: snapshot.protected,
        })
        .collect();
    let verdicts = prune::plan(&candidates, keep, offset_of_local_time).into_iter().map(|decision| Verdict {
        group: group.clone(),
        time: decision.candidate.time,
        keep: decision.keeps(),
        protected: decision.candidate.protected,
        ns: None,
    });
    Ok(verdicts.collect())
}

/// Returns how far the operator's clock is ahead of UTC at a Unix time, in seconds.
fn offset_of_local_time(unix_seconds: i64) -> i64 {
    let instant = jiff::Timestamp::from_second(unix_seconds);
    instant.map_or(0, |instant| i64::from(jiff::tz::TimeZone::system().to_offset(instant).seconds()))
}

fn keep_options(params: &Params) -> Result<KeepOptions, ApiError> {
    let mut keep = KeepOptions::default();
    keep.last = params.find("keep-last")?;
    keep.hourly = params.find("keep-hourly")?;
    keep.daily = params.find("keep-daily")?;
    keep.weekly = params.find("keep-weekly")?;
    keep.monthly = params.find("keep-monthly")?;
    keep.yearly = params.find("keep-yearly")?;
    Ok(keep)
}
