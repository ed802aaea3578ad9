//! Namespaces: list, create, remove.

use coldkeep_datastore::{Namespace, StoreName};
use serde_json::json;

use super::groups::ERROR_ON_PROTECTED;
use super::params::STORE;
use super::place::{self, SEES_NAMESPACE};
use crate::Server;
use crate::api::{Access, ApiError, BodyKind, Call, Endpoint, Kind, Method, Param, Reply};
use crate::auth::Privileges;

const PARENT: Param = Param::optional(
    "parent",
    Kind::name::<Namespace>("namespace"),
    "The namespace around it; absent or empty for the root.",
);

pub(in crate::api) static ENDPOINTS: &[Endpoint<Server>] = &[
    Endpoint {
        method: Method::Get,
        path: "/admin/datastore/{store}/namespace",
        doc: "Lists a namespace and those inside it, as far as the caller has any privilege there.",
        params: &[
            STORE,
            PARENT,
            Param::with_default(
                "max-depth",
                Kind::Integer { min: 0, max: Namespace::DEPTH_MAX as i64 },
                "7",
                "How many levels below the parent are listed.",
            ),
        ],
        body: BodyKind::Params,
        access: Access::Authenticated,
        handler: |call| Box::pin(list(call)),
    },
    Endpoint {
        method: Method::Post,
        path: "/admin/datastore/{store}/namespace",
        doc: "Creates a namespace and returns its path; needs Datastore.Modify on the parent.",
        params: &[
            STORE,
            PARENT,
            Param::required(
                "name",
                Kind::Text { bytes_max: 32 },
                "Name of the new namespace within its parent.",
            ),
        ],
        body: BodyKind::Params,
        access: Access::Authenticated,
        handler: |call| Box::pin(create(call)),
    },
    Endpoint {
        method: Method::Delete,
        path: "/admin/datastore/{store}/namespace",
        doc: "Removes a namespace with those inside it; needs Datastore.Modify on its parent. Returns what was removed.",
        params: &[
            STORE,
            Param::required("ns", Kind::name::<Namespace>("namespace"), "The namespace."),
            Param::with_default(
                "delete-groups",
                Kind::Boolean,
                "false",
                "Whether to remove its groups too; else it must have none.",
            ),
            ERROR_ON_PROTECTED,
        ],
        body: BodyKind::Params,
        access: Access::Authenticated,
        handler: |call| Box::pin(remove(call)),
    },
];

async fn list(call: Call<Server>) -> Result<Reply, ApiError> {
    let name: StoreName = call.params.get("store")?;
    let parent: Namespace = call.params.find("parent")?.unwrap_or_default();
    let sees = |ns: &Namespace| place::has_any(&call.caller, &name, ns, SEES_NAMESPACE);
    let store = match call.state.datastore(&name) {
        Ok(store) => store,
        // Who may see nothing of a store does not learn whether it exists.
        Err(error) if sees(&parent) => return Err(error),
        Err(_) => return Err(place::denied(&name, &parent)),
    };
    let mut namespaces = match store.namespaces(&parent, call.params.get("max-depth")?).await {
        Ok(namespaces) => namespaces,
        // A parent that does not exist is listed all the same (conversation.md §3).
        Err(error) if error.is_not_found() => vec![parent.clone()],
        Err(error) => return Err(ApiError::failed(&error)),
    };
    namespaces.retain(sees);
    if namespaces.is_empty() {
        return Err(place::denied(&name, &parent));
    }
    let entries: Vec<_> = namespaces.iter().map(|ns| json!({ "ns": ns })).collect();
    Reply::json(&entries)
}

async fn create(call: Call<Server>) -> Result<Reply, ApiError> {
    let name: StoreName = call.params.get("store")?;
    let parent: Namespace = call.params.find("parent")?.unwrap_or_default();
    place::check_any(&call.caller, &name, &parent, Privileges::DATASTORE_MODIFY)?;
    let component: String = call.params.get("name")?;
    let ns = parent.child(&component).map_err(|error| ApiError::failed(&error))?;
    call.state.datastore(&name)?.create_namespace(&ns).await.map_err(|error| ApiError::failed(&error))?;
    Reply::json(&ns)
}

async fn remove(call: Call<Server>) -> Result<Reply, ApiError> {
    let name: StoreName = call.params.get("store")?;
    let ns: Namespace = call.params.get("ns")?;
    let parent = ns.parent().ok_or_else(|| ApiError::bad_request("the root namespace cannot be removed"))?;
    place::check_any(&call.caller, &name, &parent, Privileges::DATASTORE_MODIFY)?;
    let store = call.state.datastore(&name)?;
    let removed = store.remove_namespace(&ns, call.params.get("delete-groups")?).await;
    let stats = removed.map_err(|error| ApiError::failed(&error))?;
    let error_on_protected: bool = call.params.get("error-on-protected")?;
    if error_on_protected && stats.protected_snapshots > 0 {
        let kept = stats.protected_snapshots;
        return Err(ApiError::bad_request(format!(
            "namespace {ns} was not removed whole: {kept} protected snapshots remain"
        )));
    }
    Reply::json(&stats)
}
