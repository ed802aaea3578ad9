//! Refresh of a datastore in a bucket: start it.

use coldkeep_chunk_store::bucket::Takeover;
use coldkeep_datastore::StoreName;

use super::params::STORE;
use crate::Server;
use crate::api::nodes::is_on_store;
use crate::api::{Access, ApiError, BodyKind, Call, Endpoint, Kind, Method, Param, Reply};
use crate::auth::Privileges;
use crate::tasks::{TaskHandle, TaskSpec};

/// The worker type of refreshes.
const WORKER_TYPE: &str = "s3-refresh";

pub(in crate::api) static ENDPOINTS: &[Endpoint<Server>] = &[Endpoint {
    method: Method::Put,
    path: "/admin/datastore/{store}/s3-refresh",
    doc: "Starts to rebuild the local state of a datastore from its bucket; returns the id of the task. Sessions that run may end, new ones are refused until it is done.",
    params: &[
        STORE,
        Param::with_default(
            "take-over",
            Kind::Boolean,
            "false",
            "Take the bucket over from the server that has it open.",
        ),
    ],
    body: BodyKind::Params,
    access: Access::Datastore { full: Privileges::DATASTORE_MODIFY, own: Privileges::NONE },
    handler: |call| Box::pin(start(call)),
}];

async fn start(call: Call<Server>) -> Result<Reply, ApiError> {
    let name: StoreName = call.params.get("store")?;
    call.state.check_in_bucket(&name)?;
    let takes_over: bool = call.params.get("take-over")?;
    let takeover = if takes_over { Takeover::Force } else { Takeover::Refuse };
    let spec = TaskSpec {
        worker_type: WORKER_TYPE,
        worker_id: Some(name.to_string()),
        auth_id: call.caller.auth_id().clone(),
    };
    let server = call.state.clone();
    let work = |task: TaskHandle| async move {
        task.log(format!("rebuilding the local state of datastore {name} from its bucket"));
        stop_lost_sessions(&server, &name, &task);
        let tell = |state: String| task.log(state);
        server.refresh_datastore(&name, takeover, task.stop_token(), tell).await
    };
    let upid = call.state.tasks().start(spec, work).map_err(|error| ApiError::failed(&error))?;
    Reply::json(&upid)
}

/// Stops what goes on in a store that another server took over: it can end in nothing but an error, and would only keep
/// the store from being opened again.
fn stop_lost_sessions(server: &Server, name: &StoreName, refresh: &TaskHandle) {
    let Ok(open) = server.open_store(name) else { return };
    let is_lost = open.store.chunks().as_bucket().is_some_and(|bucket| bucket.status().closed.is_some());
    if !is_lost {
        return;
    }
    let running = server.tasks().list().into_iter().filter(|one| one.finished.is_none());
    for one in running.filter(|one| is_on_store(&one.upid, name.as_str()) && one.upid != *refresh.upid()) {
        refresh.log(format!("stopping {}", one.upid));
        // One that has ended since needs no stop.
        let _ = server.tasks().stop(&one.upid);
    }
}
