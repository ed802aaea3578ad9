//! `/ping`, `/version` and what names the server.

use serde_json::json;

use super::nodes::NODE;
use super::{Access, ApiError, BodyKind, Call, Endpoint, Method, Reply};
use crate::Server;

/// The interface version that clients are told, `major.minor`: delete statistics and `error-on-protected` are there.
/// `identity` is, too, though it is newer.
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
        doc: "Tells the version of the interface, and as `repoid` that of the server, its text in hexadecimal digits.",
        params: &[],
        body: BodyKind::Params,
        access: Access::Authenticated,
        handler: |call| Box::pin(version(call)),
    },
    Endpoint {
        method: Method::Get,
        path: "/nodes/{node}/identity",
        doc: "Returns what names the server among others, as `pbs-instance-id`: it stays for as long as the data folder does.",
        params: &[NODE],
        body: BodyKind::Params,
        access: Access::Authenticated,
        handler: |call| Box::pin(identity(call)),
    },
];

async fn identity(call: Call<Server>) -> Result<Reply, ApiError> {
    Reply::json(&json!({ "pbs-instance-id": call.state.instance_id() }))
}

async fn version(_call: Call<Server>) -> Result<Reply, ApiError> {
    let digits = |text: String, byte| text + &format!("{byte:02x}");
    let repoid = env!("CARGO_PKG_VERSION").bytes().fold(String::new(), digits);
    Reply::json(&json!({"version": VERSION, "release": RELEASE, "repoid": repoid}))
}
