//! Refresh of a datastore in a bucket: start it.

use coldkeep_chunk_store::bucket::Takeover;
use coldkeep_datastore::StoreName;

use super::params::STORE;
use crate::Server;
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
        let tell = |state: String| task.log(state);
        server.refresh_datastore(&name, takeover, task.stop_token(), tell).await
    };
    let upid = call.state.tasks().start(spec, work).map_err(|error| ApiError::failed(&error))?;
    Reply::json(&upid)
}
