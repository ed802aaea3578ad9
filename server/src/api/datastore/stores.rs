//! Whole datastores: list, space, what is going on.

use coldkeep_datastore::{BackupType, Datastore, Namespace, StoreName, Usage};
use serde_json::{Value, json};

use super::gc;
use super::params::STORE;
use super::place::{self, SEES_NAMESPACE};
use crate::Server;
use crate::api::nodes::is_on_store;
use crate::api::{Access, ApiError, BodyKind, Call, Endpoint, Kind, Method, Param, Reply};
use crate::auth::{Caller, Privileges};
use crate::state::{OpenStore, StoreConfig};

/// Any privilege on a datastore.
const ANY: Privileges = SEES_NAMESPACE.union(Privileges::DATASTORE_PRUNE).union(Privileges::DATASTORE_VERIFY);
/// Those who see sizes.
const SEES_SIZES: Privileges = Privileges::DATASTORE_AUDIT.union(Privileges::DATASTORE_BACKUP);

pub(in crate::api) static ENDPOINTS: &[Endpoint<Server>] = &[
    Endpoint {
        method: Method::Get,
        path: "/admin/datastore",
        doc: "Lists the datastores that the caller has any privilege in, also such that cannot be used.",
        params: &[],
        body: BodyKind::Params,
        access: Access::Authenticated,
        handler: |call| Box::pin(list(call)),
    },
    Endpoint {
        method: Method::Get,
        path: "/status/datastore-usage",
        doc: "Lists the datastores that the caller has any privilege in, with the space they take, or why they cannot be used.",
        params: &[],
        body: BodyKind::Params,
        access: Access::Authenticated,
        handler: |call| Box::pin(usage(call)),
    },
    Endpoint {
        method: Method::Get,
        path: "/admin/datastore/{store}/status",
        doc: "Tells total, used and free bytes; zeros to callers with neither Datastore.Audit nor Datastore.Backup.",
        params: &[
            STORE,
            Param::with_default(
                "verbose",
                Kind::Boolean,
                "false",
                "Add the state of the last collection and the counts.",
            ),
        ],
        body: BodyKind::Params,
        access: Access::Authenticated,
        handler: |call| Box::pin(status(call)),
    },
    Endpoint {
        method: Method::Get,
        path: "/admin/datastore/{store}/active-operations",
        doc: "Counts the readers and writers of a datastore.",
        params: &[STORE],
        body: BodyKind::Params,
        access: Access::Datastore { full: Privileges::DATASTORE_AUDIT, own: Privileges::NONE },
        handler: |call| Box::pin(active_operations(call)),
    },
];

async fn list(call: Call<Server>) -> Result<Reply, ApiError> {
    let seen = seen(&call.state, &call.caller).await;
    let entries = seen.iter().map(|(config, _)| {
        json!({
            "store": config.name,
            "comment": config.comment,
            "mount-status": "nonremovable",
            "backend-type": backend_type(config),
        })
    });
    Reply::json(&entries.collect::<Vec<_>>())
}

async fn usage(call: Call<Server>) -> Result<Reply, ApiError> {
    let mut entries = Vec::new();
    for (config, open) in seen(&call.state, &call.caller).await {
        let mut entry = json!({
            "store": config.name,
            "mount-status": "nonremovable",
            "backend-type": backend_type(&config),
        });
        let sees_sizes = place::has_any(&call.caller, &config.name, &Namespace::root(), SEES_SIZES);
        let space = match &open {
            Ok(open) if sees_sizes => space(open).await.map(|usage| Some((usage, open))),
            Ok(_) => Ok(None),
            Err(error) => Err(error.clone()),
        };
        match space {
            Ok(Some((usage, open))) => {
                entry["total"] = json!(usage.total);
                entry["used"] = json!(usage.used);
                entry["avail"] = json!(usage.avail);
                entry["gc-status"] = gc::stored_status(&open.store).await;
            }
            Ok(None) => {}
            Err(error) => entry["error"] = json!(error.message()),
        }
        entries.push(entry);
    }
    Reply::json(&entries)
}

/// Lists the datastores that the caller has any privilege in, also those that cannot be used. Which namespaces these have is
/// not known, so there only privileges on the whole count.
async fn seen(server: &Server, caller: &Caller) -> Vec<(StoreConfig, Result<OpenStore, ApiError>)> {
    let mut seen = Vec::new();
    for config in server.datastore_configs() {
        let open = server.open_store(&config.name);
        let is_seen = match &open {
            Ok(open) => sees_any_of(caller, &open.store).await,
            Err(_) => place::has_any(caller, &config.name, &Namespace::root(), ANY),
        };
        if is_seen {
            seen.push((config, open));
        }
    }
    seen
}

async fn status(call: Call<Server>) -> Result<Reply, ApiError> {
    let name: StoreName = call.params.get("store")?;
    let sees_sizes = place::has_any(&call.caller, &name, &Namespace::root(), SEES_SIZES);
    let open = match call.state.open_store(&name) {
        Ok(open) if sees_sizes || sees_any_of(&call.caller, &open.store).await => open,
        Err(error) if sees_sizes => return Err(error),
        // Who may see nothing of a store does not learn whether it exists.
        _ => return Err(place::denied(&name, &Namespace::root())),
    };
    if !sees_sizes {
        let backend_type = backend_type_of(&open);
        return Reply::json(&json!({ "total": 0, "used": 0, "avail": 0, "backend-type": backend_type }));
    }
    let usage = space(&open).await?;
    let mut status = json!({
        "total": usage.total,
        "used": usage.used,
        "avail": usage.avail,
        "backend-type": backend_type_of(&open),
    });
    let verbose: bool = call.params.get("verbose")?;
    if verbose {
        status["gc-status"] = gc::stored_status(&open.store).await;
        status["counts"] = counts(&open.store).await?;
        if let (Some(bucket), Some(chunks)) = (&open.bucket, open.store.chunks().as_bucket()) {
            status["s3-statistics"] = bucket.stock_statistics();
            status["coldkeep-bucket"] = bucket.report(chunks);
        }
    }
    Reply::json(&status)
}

async fn active_operations(call: Call<Server>) -> Result<Reply, ApiError> {
    let name: StoreName = call.params.get("store")?;
    call.state.datastore(&name)?;
    let tasks = call.state.tasks().list().into_iter();
    let running = tasks.filter(|task| task.finished.is_none() && is_on_store(&task.upid, name.as_str()));
    let (mut reads, mut writes) = (0, 0);
    running.for_each(|task| if task.upid.worker_type == "reader" { reads += 1 } else { writes += 1 });
    Reply::json(&json!({ "read": reads, "write": writes }))
}

/// Returns what stock clients call the kind of backend.
fn backend_type(config: &StoreConfig) -> &'static str {
    if config.bucket().is_some() { "s3" } else { "filesystem" }
}

/// The same of a store that is open.
fn backend_type_of(open: &OpenStore) -> &'static str {
    if open.bucket.is_some() { "s3" } else { "filesystem" }
}

/// Returns the space of a store: that of its filesystem, or what a bucket was filled with.
async fn space(open: &OpenStore) -> Result<Usage, ApiError> {
    let usage = open.store.usage().await.map_err(|error| ApiError::failed(&error))?;
    Ok(open.bucket.as_ref().map_or(usage, |bucket| bucket.space(usage)))
}

/// Counts groups and snapshots in all namespaces, by type; null for types without a group.
async fn counts(store: &Datastore) -> Result<Value, ApiError> {
    let mut counts = json!({ "ct": null, "host": null, "vm": null, "other": null });
    let root = Namespace::root();
    let listed = store.namespaces(&root, Namespace::DEPTH_MAX).await;
    for ns in listed.map_err(|error| ApiError::failed(&error))? {
        let groups = match store.groups(&ns).await {
            Ok(groups) => groups,
            // Removed since it was listed.
            Err(error) if error.is_not_found() => continue,
            Err(error) => return Err(ApiError::failed(&error)),
        };
        for ty in BackupType::ALL {
            let snapshots = groups.iter().filter(|group| group.name.ty == ty).map(|group| group.backup_count);
            let (group_count, snapshot_count) =
                snapshots.fold((0, 0), |(n, sum), count| (n + 1, sum + count));
            if group_count > 0 {
                let known = |key: &str| counts[ty.as_str()][key].as_u64().unwrap_or(0);
                let sums = json!({ "groups": known("groups") + group_count, "snapshots": known("snapshots") + snapshot_count });
                counts[ty.as_str()] = sums;
            }
        }
    }
    Ok(counts)
}

/// Tells whether the caller has any privilege in a store, be it deep inside it.
async fn sees_any_of(caller: &Caller, store: &Datastore) -> bool {
    let root = Namespace::root();
    if place::has_any(caller, store.name(), &root, ANY) {
        return true;
    }
    let namespaces = store.namespaces(&root, Namespace::DEPTH_MAX).await.unwrap_or_default();
    namespaces.iter().any(|ns| place::has_any(caller, store.name(), ns, ANY))
}
