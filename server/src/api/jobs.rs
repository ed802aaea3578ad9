//! Jobs: `/config/job`, what lies below it, and `/admin/job/{id}/run`.

mod access;

use std::sync::Arc;

use coldkeep_client::{JobId, JobItem, JobKind, JobOptions, NotifyWhen};
use coldkeep_datastore::StoreName;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use super::{Access, ApiError, BodyKind, Call, Endpoint, Kind, Method, Param, Params, Reply};
use crate::Server;
use crate::auth::{AuthId, Privileges};
use crate::jobs::{
    self, Cause, Job, JobProperty, JobState, JobUpdate, NotifySecret, OPTIONS, RETRY_WAIT_SECONDS, WebhookUrl,
};
use crate::operation;
use crate::schedule::CalendarEvent;

/// Longest comment.
const COMMENT_BYTES_MAX: usize = 512;

const ID: Param = Param::required("id", Kind::name::<JobId>("job id"), "Id of the job.");
const STORE: Param =
    Param::required("store", Kind::name::<StoreName>("datastore name"), "The datastore here.");
const KIND: Param = Param::required(
    "kind",
    Kind::name::<JobKind>("kind of job"),
    "What it does: `gc`, `prune`, `verify`, `pull` or `push`.",
);
const DELETE: Param = Param::optional(
    "delete",
    Kind::List(&Kind::name::<JobProperty>("property")),
    "What is unset before the rest is set: `schedule`, `notify-url`, `notify-secret`, `comment`, or an option of the kind.",
);

/// What every job has, but for id, datastore and kind.
const COMMON: [Param; 9] = [
    Param::optional(
        "schedule",
        Kind::name::<CalendarEvent>("calendar event"),
        "Calendar event that it runs by, as `mon..fri 02:30`; absent: only by hand.",
    ),
    Param::optional("enabled", Kind::Boolean, "Whether it runs by its schedule; default: true."),
    Param::optional(
        "run-as",
        Kind::name::<AuthId>("user or token"),
        "Whose rights it has; default: the caller. Any but the caller and their tokens needs Permissions.Modify on /access/acl.",
    ),
    Param::optional(
        "retries",
        Kind::Integer { min: 0, max: 10 },
        "How often a run that failed is tried again; default: 0.",
    ),
    Param::optional(
        "retry-wait",
        Kind::Integer { min: 1, max: 21_600 },
        "Seconds before the first retry, doubled each time, up to six hours; default: 60.",
    ),
    Param::optional(
        "notify-url",
        Kind::name::<WebhookUrl>("URL"),
        "URL that gets a POST when a run has ended. To set it needs Sys.Modify on /system.",
    )
    // Many services take whoever knows the path.
    .secret(),
    Param::optional(
        "notify",
        Kind::name::<NotifyWhen>("failure, always or never"),
        "After which runs: `failure`, the default, `always` or `never`.",
    ),
    Param::optional(
        "notify-secret",
        Kind::name::<NotifySecret>("value of a header"),
        "What is shown there as the header `Authorization`; no answer ever has it, and another URL does not get it.",
    )
    .secret(),
    Param::optional("comment", Kind::Text { bytes_max: COMMENT_BYTES_MAX }, "Free text."),
];

static ADD: [Param; 3 + COMMON.len() + OPTIONS.len()] = joined([ID, STORE, KIND]);
static UPDATE: [Param; 2 + COMMON.len() + OPTIONS.len()] = joined([ID, DELETE]);

/// Any right that some kind of job asks for; the handler looks closer.
const SOME: Privileges = Privileges::DATASTORE_MODIFY
    .union(Privileges::DATASTORE_VERIFY)
    .union(Privileges::DATASTORE_BACKUP)
    .union(Privileges::DATASTORE_READ);

pub(super) static ENDPOINTS: &[Endpoint<Server>] = &[
    Endpoint {
        method: Method::Get,
        path: "/config/job",
        doc: "Lists the jobs of datastores that the caller has Datastore.Audit on, by id: what they do, when they run next, and how they ended last.",
        params: &[],
        body: BodyKind::Params,
        access: Access::Authenticated,
        handler: |call| Box::pin(list(call)),
    },
    Endpoint {
        method: Method::Post,
        path: "/config/job",
        doc: "Adds a job. Needs Datastore.Modify for gc and prune, Datastore.Verify for verify, and for pull and push what `/pull` and `/push` need.",
        params: &ADD,
        body: BodyKind::Params,
        access: Access::Datastore { full: SOME, own: Privileges::NONE },
        handler: |call| Box::pin(add(call)),
    },
    Endpoint {
        method: Method::Get,
        path: "/config/job/{id}",
        doc: "Returns a job. Needs Datastore.Audit on its datastore.",
        params: &[ID],
        body: BodyKind::Params,
        access: Access::Authenticated,
        handler: |call| Box::pin(show(call)),
    },
    Endpoint {
        method: Method::Put,
        path: "/config/job/{id}",
        doc: "Changes a job. Needs what showing it does, and what adding it does, before the change and after, and the right to act as whom it runs.",
        params: &UPDATE,
        body: BodyKind::Params,
        access: Access::Authenticated,
        handler: |call| Box::pin(update(call)),
    },
    Endpoint {
        method: Method::Delete,
        path: "/config/job/{id}",
        doc: "Removes a job; a run that is under way goes on. Needs what showing and adding it do.",
        params: &[ID],
        body: BodyKind::Params,
        access: Access::Authenticated,
        handler: |call| Box::pin(remove(call)),
    },
    Endpoint {
        method: Method::Post,
        path: "/admin/job/{id}/run",
        doc: "Runs a job now, enabled or not, and returns the id of its task. Refused while it runs, or another job in its datastore. Needs what showing and adding it do.",
        params: &[ID],
        body: BodyKind::Params,
        access: Access::Authenticated,
        handler: |call| Box::pin(run(call)),
    },
];

/// Puts what all jobs have behind some parameters.
const fn joined<const A: usize, const N: usize>(first: [Param; A]) -> [Param; N] {
    let mut all = [ID; N];
    let mut i = 0;
    while i < N {
        all[i] = match i {
            i if i < A => first[i],
            i if i < A + COMMON.len() => COMMON[i - A],
            i => OPTIONS[i - A - COMMON.len()],
        };
        i += 1;
    }
    all
}

async fn list(call: Call<Server>) -> Result<Reply, ApiError> {
    let known = call.state.jobs().known();
    let seen = known.iter().filter(|(job, _)| access::sees(&call.caller, job));
    let items: Vec<JobItem> = seen.map(|(job, state)| item(&call, job, state)).collect();
    Reply::json(&items)
}

async fn add(call: Call<Server>) -> Result<Reply, ApiError> {
    let (server, params) = (&call.state, &call.params);
    let update = changes(params)?;
    let job = Job {
        id: params.get("id")?,
        store: params.get("store")?,
        kind: params.get("kind")?,
        run_as: call.caller.auth_id().clone(),
        schedule: None,
        enabled: true,
        retries: 0,
        retry_wait: RETRY_WAIT_SECONDS,
        notify_url: None,
        notify: NotifyWhen::default(),
        notify_secret: None,
        comment: None,
        options: JobOptions { ns: update.options.ns.clone(), ..JobOptions::default() },
    };
    access::check_kind(&call.caller, &job)?;
    let job = job.with(update).map_err(|error| ApiError::failed(&error))?;
    access::check_change(server, &call.caller, &job)?;
    access::check_notify(&call.caller, params)?;
    if !server.datastore_configs().iter().any(|config| config.name == job.store) {
        return Err(ApiError::bad_request(format!("there is no datastore {}", job.store)));
    }
    server.jobs().add(job, now(server)).await.map_err(|error| ApiError::failed(&error))?;
    Ok(Reply::null())
}

async fn show(call: Call<Server>) -> Result<Reply, ApiError> {
    let job = find(&call)?;
    Reply::json(&item(&call, &job, &call.state.jobs().state(&job.id)))
}

async fn update(call: Call<Server>) -> Result<Reply, ApiError> {
    let (server, params) = (&call.state, &call.params);
    let job = find(&call)?;
    access::check_kind(&call.caller, &job)?;
    let update = JobUpdate { delete: params.list("delete")?, ..changes(params)? };
    let changed = job.with(update.clone()).map_err(|error| ApiError::failed(&error))?;
    access::check_rights(&call.caller, &job)?;
    access::check_change(server, &call.caller, &changed)?;
    access::check_notify(&call.caller, params)?;
    // As it was checked: if it was changed meanwhile, this is refused.
    server.jobs().update(&job, update, now(server)).await.map_err(|error| ApiError::failed(&error))?;
    Ok(Reply::null())
}

async fn remove(call: Call<Server>) -> Result<Reply, ApiError> {
    let job = find(&call)?;
    access::check_rights(&call.caller, &job)?;
    call.state.jobs().remove(&job).await.map_err(|error| ApiError::failed(&error))?;
    Ok(Reply::null())
}

async fn run(call: Call<Server>) -> Result<Reply, ApiError> {
    let job = find(&call)?;
    access::check_rights(&call.caller, &job)?;
    if job.kind == JobKind::Gc {
        operation::check_none_runs(&call.state, &job.store)?;
    }
    let upid = jobs::start(&call.state, job, Cause::Hand).await;
    Reply::json(&upid.map_err(|error| ApiError::failed(&error))?)
}

/// Returns a job that the caller may see.
fn find(call: &Call<Server>) -> Result<Arc<Job>, ApiError> {
    let id: JobId = call.params.get("id")?;
    let job = call.state.jobs().get(&id);
    if !job.as_ref().map_or_else(|_| access::sees_all(&call.caller), |job| access::sees(&call.caller, job)) {
        // The same for jobs that are there and those that are not.
        return Err(ApiError::forbidden(format!("permission check failed on job {id}")));
    }
    job.map_err(|error| ApiError::failed(&error))
}

/// Reads everything that may be said of a job to add or change it.
fn changes(params: &Params) -> Result<JobUpdate, ApiError> {
    Ok(JobUpdate {
        run_as: params.find("run-as")?,
        schedule: params.find("schedule")?,
        enabled: params.find("enabled")?,
        retries: params.find("retries")?,
        retry_wait: params.find("retry-wait")?,
        notify_url: params.find("notify-url")?,
        notify: params.find("notify")?,
        notify_secret: params.find("notify-secret")?,
        comment: params.text("comment").filter(|text| !text.is_empty()).map(str::to_owned),
        options: options(params)?,
        delete: Vec::new(),
    })
}

fn options(params: &Params) -> Result<JobOptions, ApiError> {
    let mut map = Map::new();
    for param in &OPTIONS {
        let value = match (param.kind, params.text(param.name)) {
            (Kind::List(_), _) => {
                let list: Vec<String> = params.list(param.name)?;
                if list.is_empty() { Value::Null } else { list.into() }
            }
            (_, None) => Value::Null,
            (Kind::Boolean, Some(text)) => (text == "true").into(),
            (Kind::Integer { .. }, Some(text)) => text.parse::<i64>().unwrap_or_default().into(),
            (_, Some(text)) => text.into(),
        };
        if !value.is_null() {
            map.insert(param.name.to_owned(), value);
        }
    }
    serde_json::from_value(map.into()).map_err(|error| ApiError::failed(&error))
}

/// Returns what is told of a job.
fn item(call: &Call<Server>, job: &Job, state: &JobState) -> JobItem {
    let server = &call.state;
    let last = state.last.as_ref();
    let ended = last.and_then(|last| {
        let by_task = || server.tasks().info(&last.upid).ok()?.finished;
        last.ended.clone().or_else(by_task)
    });
    JobItem {
        id: job.id.clone(),
        store: job.store.clone(),
        kind: job.kind,
        schedule: job.schedule.as_ref().map(ToString::to_string),
        enabled: job.enabled,
        run_as: job.run_as.to_string(),
        retries: job.retries,
        retry_wait: job.retry_wait,
        notify_url: job.notify_url.as_ref().map(|url| access::shown_url(&call.caller, url)),
        notify: job.notify,
        comment: job.comment.clone(),
        options: job.options.clone(),
        next_run: jobs::next_run(job, state, now(server), &TimeZone::system()),
        last_run_upid: last.map(|last| last.upid.to_string()),
        last_run_state: ended.as_ref().map(|end| end.status.clone()),
        last_run_endtime: ended.map(|end| end.endtime),
        retries_done: state.retries_done,
        next_retry: state.retry_at,
    }
}

/// Returns the calendar event by which the garbage of a datastore is collected next, and when that is.
pub(in crate::api) fn next_collection(server: &Server, store: &StoreName) -> Option<(String, i64)> {
    let known = server.jobs().known();
    let jobs = known.iter().filter(|(job, _)| job.kind == JobKind::Gc && job.store == *store);
    let (now, zone) = (now(server), TimeZone::system());
    let next = jobs.filter_map(|(job, state)| {
        Some((job.schedule.as_ref()?.to_string(), jobs::next_run(job, state, now, &zone)?))
    });
    next.min_by_key(|(_, at)| *at)
}

fn now(server: &Server) -> i64 {
    server.clock().wall().unix_seconds()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::assert_tables_are_sound;

    #[test]
    fn the_table_is_sound() {
        assert_tables_are_sound(ENDPOINTS);
    }
}
