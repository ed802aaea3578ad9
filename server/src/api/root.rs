//! `/ping` and `/version`.

use serde_json::json;

use super::{Access, ApiError, BodyKind, Call, Endpoint, Method, Reply};
use crate::Server;

/// The interface version that clients are told, `major.minor`: delete statistics and `error-on-protected` are there,
/// `identity` is not.
const VERSION: &str = "4.0";
/// The patch level of [`VERSION`].
const RELEASE: &str = "0";

pub(super) static ENDPOINTS: &[Endpoint<Server>] = &[
    Endpoint {
        method: Method::Get,
        path: "/ping",
        doc: "Tells that the server is up.",
        params: &[],
        body: BodyKind::Params,
        access: Access::Anyone,
        handler: |_| Box::pin(async { Reply::json(&json!({"pong": true})) }),
    },
    Endpoint {
        method: Method::Get,
        path: "/version",
        doc: "Tells the version of the interface, and of the server as `repoid`.",
        params: &[],
        body: BodyKind::Params,
        access: Access::Authenticated,
        handler: |call| Box::pin(version(call)),
    },
];

async fn version(_call: Call<Server>) -> Result<Reply, ApiError> {
    Reply::json(&json!({"version": VERSION, "release": RELEASE, "repoid": env!("CARGO_PKG_VERSION")}))
}
