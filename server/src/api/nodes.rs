//! Tasks: `/nodes/{node}/tasks` (rest-api.md §5). There is one node; whatever name it is called by is taken.

use serde_json::{Map, Value, json};

use super::{Access, ApiError, BodyKind, Call, Endpoint, Kind, Method, Param, Params, Reply};
use crate::Server;
use crate::auth::{AuthId, Caller, Privileges};
use crate::tasks::{TaskInfo, Upid};

/// Where the privilege to see and stop others' tasks is looked up.
const TASKS_PATH: &str = "/system/tasks";
/// The exit status of success.
const OK: &str = "OK";
/// How the exit status of success with warnings begins.
const WARNINGS: &str = "WARNINGS";

pub(super) const NODE: Param =
    Param::required("node", Kind::Text { bytes_max: 64 }, "Name of the node, `localhost`.");
const UPID: Param = Param::required("upid", Kind::name::<Upid>("task id"), "The task.");
const START: Param = Param::with_default(
    "start",
    Kind::Integer { min: 0, max: i64::MAX },
    "0",
    "Where to begin: tasks from 0, lines from 1.",
);
const LIMIT: Param = Param::with_default(
    "limit",
    Kind::Integer { min: 0, max: i64::MAX },
    "50",
    "How many to return; 0 for all.",
);
const FILTER: Kind = Kind::Text { bytes_max: 256 };
const TIME: Kind = Kind::Integer { min: 0, max: i64::MAX };

pub(super) static ENDPOINTS: &[Endpoint<Server>] = &[
    Endpoint {
        method: Method::Get,
        path: "/nodes/{node}/tasks",
        doc: "Lists tasks, running ones first, then the newest; without Sys.Audit only the caller's own. `total` stands beside the data.",
        params: &[
            NODE,
            START,
            LIMIT,
            Param::optional("running", Kind::Boolean, "Only tasks that run."),
            Param::optional("errors", Kind::Boolean, "Only tasks that failed."),
            Param::optional("store", FILTER, "Only tasks on this datastore."),
            Param::optional("userfilter", FILTER, "Only tasks of users whose name contains this."),
            Param::optional("typefilter", FILTER, "Only tasks whose type contains this."),
            Param::optional("since", TIME, "Only tasks started at this time or later."),
            Param::optional("until", TIME, "Only tasks started at this time or earlier."),
            Param::optional(
                "statusfilter",
                Kind::List(&FILTER),
                "Only tasks that ended `ok`, `warning`, `error` or `unknown`.",
            ),
        ],
        body: BodyKind::Params,
        access: Access::Authenticated,
        handler: |call| Box::pin(list(call)),
    },
    Endpoint {
        method: Method::Get,
        path: "/nodes/{node}/tasks/{upid}/status",
        doc: "Tells whether a task runs, and how it ended.",
        params: &[NODE, UPID],
        body: BodyKind::Params,
        access: Access::Authenticated,
        handler: |call| Box::pin(status(call)),
    },
    Endpoint {
        method: Method::Get,
        path: "/nodes/{node}/tasks/{upid}/log",
        doc: "Returns lines of a task's log; `total`, `success` and with `test-status` also `active` stand beside the data.",
        params: &[
            NODE,
            UPID,
            START,
            LIMIT,
            Param::with_default("test-status", Kind::Boolean, "false", "Tell whether the task still runs."),
            Param::with_default("download", Kind::Boolean, "false", "Return the whole log as text."),
        ],
        body: BodyKind::Params,
        access: Access::Authenticated,
        handler: |call| Box::pin(log(call)),
    },
    Endpoint {
        method: Method::Delete,
        path: "/nodes/{node}/tasks/{upid}",
        doc: "Asks a task to stop.",
        params: &[NODE, UPID],
        body: BodyKind::Params,
        access: Access::Authenticated,
        handler: |call| Box::pin(stop(call)),
    },
];

async fn list(call: Call<Server>) -> Result<Reply, ApiError> {
    let filter = Filter::of(&call.params)?;
    let sees_all = has_on_tasks(&call.caller, Privileges::SYS_AUDIT)?;
    let me = call.caller.auth_id();
    let mut tasks = call.state.tasks().list();
    tasks.retain(|task| (sees_all || is_owned_by(&task.upid, me)) && filter.takes(task));
    let total = tasks.len();
    let (start, limit): (usize, usize) = (call.params.get("start")?, call.params.get("limit")?);
    let count = if limit == 0 { usize::MAX } else { limit };
    let entries: Vec<Value> = tasks.iter().skip(start).take(count).map(list_entry).collect();
    Reply::json_with(&entries, &[("total", total.into())])
}

async fn status(call: Call<Server>) -> Result<Reply, ApiError> {
    let upid = visible(&call)?;
    let task = call.state.tasks().info(&upid).map_err(|error| ApiError::failed(&error))?;
    Reply::json(&status_entry(&task))
}

async fn log(call: Call<Server>) -> Result<Reply, ApiError> {
    let upid = visible(&call)?;
    let (start, limit): (u64, u64) = (call.params.get("start")?, call.params.get("limit")?);
    let download: bool = call.params.get("download")?;
    let tasks = call.state.tasks();
    // Asked before the log is read: if the task had ended by then, the log is complete.
    let active = tasks.info(&upid).map_err(|error| ApiError::failed(&error))?.finished.is_none();
    let (start, limit) = if download { (0, 0) } else { (start, limit) };
    let part = tasks.log(&upid, start, limit).await.map_err(|error| ApiError::failed(&error))?;
    if download {
        let text: String = part.lines.into_iter().map(|line| line.t + "\n").collect();
        return Ok(Reply::bytes(text));
    }
    let mut siblings: Vec<(&str, Value)> = vec![("total", part.total.into()), ("success", 1.into())];
    let test_status: bool = call.params.get("test-status")?;
    if test_status {
        siblings.push(("active", active.into()));
    }
    Reply::json_with(&part.lines, &siblings)
}

async fn stop(call: Call<Server>) -> Result<Reply, ApiError> {
    let upid: Upid = call.params.get("upid")?;
    if !is_owned_by(&upid, call.caller.auth_id()) && !has_on_tasks(&call.caller, Privileges::SYS_MODIFY)? {
        return Err(denied());
    }
    call.state.tasks().stop(&upid).map_err(|error| ApiError::failed(&error))?;
    Ok(Reply::null())
}

/// Returns the task asked for, if the caller may see it.
pub(super) fn visible(call: &Call<Server>) -> Result<Upid, ApiError> {
    let upid: Upid = call.params.get("upid")?;
    if is_owned_by(&upid, call.caller.auth_id()) || has_on_tasks(&call.caller, Privileges::SYS_AUDIT)? {
        return Ok(upid);
    }
    Err(denied())
}

fn is_owned_by(upid: &Upid, caller: &AuthId) -> bool {
    upid.auth_id.is_owned_by(caller)
}

fn has_on_tasks(caller: &Caller, privileges: Privileges) -> Result<bool, ApiError> {
    let path = TASKS_PATH.parse().map_err(|error| ApiError::failed(&error))?;
    Ok(caller.privileges(&path).has_any(privileges))
}

fn denied() -> ApiError {
    ApiError::forbidden(format!("permission check failed on {TASKS_PATH}"))
}

/// Which tasks a list shows.
#[derive(Debug, Default)]
struct Filter {
    running: bool,
    errors: bool,
    store: Option<String>,
    user: Option<String>,
    worker_type: Option<String>,
    since: Option<i64>,
    until: Option<i64>,
    statuses: Vec<String>,
}

impl Filter {
    fn of(params: &Params) -> Result<Self, ApiError> {
        Ok(Self {
            running: params.find("running")?.unwrap_or(false),
            errors: params.find("errors")?.unwrap_or(false),
            store: params.find("store")?,
            user: params.find("userfilter")?,
            worker_type: params.find("typefilter")?,
            since: params.find("since")?,
            until: params.find("until")?,
            statuses: params.list("statusfilter")?,
        })
    }

    fn takes(&self, task: &TaskInfo) -> bool {
        let upid = &task.upid;
        let started_at = i64::from(upid.starttime);
        let status = task.finished.as_ref().map(|finished| class_of(&finished.status));
        (!self.running || task.finished.is_none())
            && (!self.errors || status.is_some_and(|status| status != "ok"))
            && self.store.as_ref().is_none_or(|store| is_on_store(upid, store))
            && self.user.as_ref().is_none_or(|user| upid.auth_id.to_string().contains(user))
            && self.worker_type.as_ref().is_none_or(|worker_type| upid.worker_type.contains(worker_type))
            && self.since.is_none_or(|since| started_at >= since)
            && self.until.is_none_or(|until| started_at <= until)
            && (self.statuses.is_empty()
                || status.is_some_and(|status| self.statuses.iter().any(|wanted| wanted == status)))
    }
}

/// Tells whether a task works on a datastore: its id is the store's name, or begins with it and a colon.
pub(crate) fn is_on_store(upid: &Upid, store: &str) -> bool {
    let rest = upid.worker_id.as_ref().and_then(|id| id.strip_prefix(store));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
}

fn class_of(exit_status: &str) -> &'static str {
    match exit_status {
        OK => "ok",
        "unknown" => "unknown",
        text if text.starts_with(WARNINGS) => "warning",
        _ => "error",
    }
}

fn list_entry(task: &TaskInfo) -> Value {
    let upid = &task.upid;
    let mut entry = json!({
        "upid": upid,
        "node": upid.node,
        "pid": upid.pid,
        "pstart": upid.pstart,
        "starttime": upid.starttime,
        "worker_type": upid.worker_type,
        "worker_id": upid.worker_id,
        "user": upid.auth_id,
    });
    if let Some(finished) = &task.finished {
        entry["endtime"] = finished.endtime.into();
        entry["status"] = finished.status.clone().into();
    }
    entry
}

fn status_entry(task: &TaskInfo) -> Value {
    let upid = &task.upid;
    let mut entry = Map::new();
    let mut add = |key: &str, value: Value| drop(entry.insert(key.to_owned(), value));
    add("upid", json!(upid));
    add("node", json!(upid.node));
    add("pid", json!(upid.pid));
    add("pstart", json!(upid.pstart));
    add("starttime", json!(upid.starttime));
    add("type", json!(upid.worker_type));
    add("id", json!(upid.worker_id));
    add("user", json!(upid.auth_id.user()));
    if let Some(token) = upid.auth_id.token() {
        add("tokenid", json!(token));
    }
    match &task.finished {
        None => add("status", json!("running")),
        Some(finished) => {
            add("status", json!("stopped"));
            add("exitstatus", json!(finished.status));
            add("endtime", json!(finished.endtime));
        }
    }
    Value::Object(entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::Finished;

    const LIST: &str =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/vectors/json/task-list.json"));

    fn task(worker_id: &str, status: Option<&str>) -> TaskInfo {
        let upid = Upid {
            node: "pbs1".to_owned(),
            pid: 1234,
            pstart: 41394,
            number: 1,
            starttime: 1_700_000_000,
            worker_type: "verify_snapshot".to_owned(),
            worker_id: Some(worker_id.to_owned()),
            auth_id: "root@pam".parse().unwrap(),
        };
        let finished = status.map(|status| Finished { endtime: 1_700_000_007, status: status.to_owned() });
        TaskInfo { upid, finished }
    }

    #[test]
    fn entries_look_like_the_vectors() {
        let task = task("store1:/host/demo/6553F100", Some(OK));
        let vector: Value = serde_json::from_str(LIST).unwrap();
        let mut entry = list_entry(&task);
        entry["node"] = "localhost".into();
        assert_eq!(entry, vector["data"][0]);
    }

    #[test]
    fn a_running_task_has_no_exit_status() {
        let status = status_entry(&task("store1", None));
        assert_eq!(status["status"], "running");
        assert!(status.get("exitstatus").is_none() && status.get("endtime").is_none());
    }

    #[test]
    fn filters_narrow_the_list() {
        let all = [
            task("store1", None),
            task("store1:vm/1", Some(OK)),
            task("store10", Some("bad")),
            task("x", Some("WARNINGS: 2")),
        ];
        let count = |filter: Filter| all.iter().filter(|task| filter.takes(task)).count();
        assert_eq!(count(Filter::default()), 4);
        assert_eq!(count(Filter { running: true, ..Default::default() }), 1);
        assert_eq!(count(Filter { errors: true, ..Default::default() }), 2);
        assert_eq!(count(Filter { store: Some("store1".to_owned()), ..Default::default() }), 2);
        assert_eq!(count(Filter { statuses: vec!["warning".to_owned()], ..Default::default() }), 1);
        assert_eq!(count(Filter { since: Some(1_700_000_001), ..Default::default() }), 0);
        assert_eq!(
            count(Filter { user: Some("root".to_owned()), until: Some(1_700_000_000), ..Default::default() }),
            4
        );
    }
}
