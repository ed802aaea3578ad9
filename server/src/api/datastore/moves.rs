//! Moves of groups and namespaces inside a datastore.

use coldkeep_datastore::{
    Datastore, GroupMove, GroupName, MoveError, MoveWatch, Namespace, SnapshotName, StoreName, TreeError,
};

use super::DELETE;
use super::params::{self, BACKUP_ID, BACKUP_TYPE, NS, STORE};
use super::place::{self, Place};
use crate::Server;
use crate::api::{Access, ApiError, BodyKind, Call, Endpoint, Kind, Method, Param, Reply};
use crate::auth::{Caller, Privileges};
use crate::tasks::{TaskHandle, TaskSpec};

const TARGET_NS: Param = Param::required(
    "target-ns",
    Kind::name::<Namespace>("namespace"),
    "The namespace that it comes to be in; empty for the root.",
);

pub(in crate::api) static ENDPOINTS: &[Endpoint<Server>] = &[
    Endpoint {
        method: Method::Post,
        path: "/admin/datastore/{store}/move-group",
        doc: "Starts to move a group into another namespace, which must exist; returns the id of the task. Needs Datastore.Modify, or Datastore.Prune for own groups; there Datastore.Modify, or Datastore.Backup for own groups. It is refused while a collection runs.",
        params: &[
            STORE,
            NS,
            BACKUP_TYPE,
            BACKUP_ID,
            TARGET_NS,
            Param::with_default(
                "merge-group",
                Kind::Boolean,
                "false",
                "Whether a group of the same name and owner that is there takes the snapshots in.",
            ),
        ],
        body: BodyKind::Params,
        access: DELETE,
        handler: |call| Box::pin(move_group(call)),
    },
    Endpoint {
        method: Method::Post,
        path: "/admin/datastore/{store}/move-namespace",
        doc: "Starts to move a namespace with all in it, so that it becomes another one, whose parent must exist; returns the id of the task. Needs Datastore.Modify on both parents, on each namespace in it and on what that becomes. It is refused while a collection runs.",
        params: &[
            STORE,
            Param::required("ns", Kind::name::<Namespace>("namespace"), "The namespace."),
            Param::required(
                "target-ns",
                Kind::name::<Namespace>("namespace"),
                "What it becomes; empty for the root.",
            ),
            Param::with_default(
                "merge-groups",
                Kind::Boolean,
                "false",
                "Whether groups of the same name and owner that are there take the snapshots in.",
            ),
        ],
        body: BodyKind::Params,
        access: Access::Authenticated,
        handler: |call| Box::pin(move_namespace(call)),
    },
];

async fn move_group(call: Call<Server>) -> Result<Reply, ApiError> {
    let place = Place::of(&call)?;
    let group = params::group(&call.params)?;
    let to: Namespace = call.params.get("target-ns")?;
    place.check_owner(&group).await?;
    let name = place.store.name();
    if !place::has_any(&call.caller, name, &to, Privileges::DATASTORE_MODIFY) {
        place::check_any(&call.caller, name, &to, Privileges::DATASTORE_BACKUP)?;
        place.check_own(&group).await?;
    }
    let order = GroupMove { from: place.ns, group, to, merges: call.params.get("merge-group")? };
    let spec = spec("move-group", format!("{name}:{}:{}", order.from, order.group), &call.caller);
    let store = place.store;
    let work = move |task: TaskHandle| async move {
        let moves = store.begin_moves()?;
        task.log(format!("move {} to {}", shown(&order.from, &order.group), shown_ns(&order.to)));
        let count = moves.move_group(&order, &mut Told(&task, |_: &Namespace, _: &Namespace| true)).await?;
        task.log(format!("moved {count} snapshots"));
        Ok::<(), MoveError>(())
    };
    let upid = call.state.tasks().start(spec, work).map_err(|error| ApiError::failed(&error))?;
    Reply::json(&upid)
}

async fn move_namespace(call: Call<Server>) -> Result<Reply, ApiError> {
    let name: StoreName = call.params.get("store")?;
    let (from, to): (Namespace, Namespace) = (call.params.get("ns")?, call.params.get("target-ns")?);
    let parent = from.parent().ok_or_else(|| ApiError::failed(&TreeError::RootNamespace))?;
    for outer in [parent, to.parent().unwrap_or_default()] {
        place::check_any(&call.caller, &name, &outer, Privileges::DATASTORE_MODIFY)?;
    }
    let store = call.state.datastore(&name)?;
    check_all(&call.caller, &store, (&from, &to)).await?;
    let (caller, name_of_store) = (call.caller.clone(), name.clone());
    let merges: bool = call.params.get("merge-groups")?;
    let spec = spec("move-namespace", format!("{name}:{from}"), &call.caller);
    let work = move |task: TaskHandle| async move {
        let moves = store.begin_moves()?;
        task.log(format!("move namespace {from} to {}", shown_ns(&to)));
        let may_move = |from: &Namespace, to: &Namespace| may_change(&caller, &name_of_store, from, to);
        let moved = moves.move_namespace((&from, &to), merges, &mut Told(&task, may_move)).await?;
        if moved.left > 0 {
            task.warn(format!("{} groups without a finished snapshot stay", moved.left));
        }
        task.log(format!(
            "moved {} groups with {} snapshots in {} namespaces",
            moved.groups, moved.snapshots, moved.namespaces
        ));
        Ok::<(), MoveError>(())
    };
    let upid = call.state.tasks().start(spec, work).map_err(|error| ApiError::failed(&error))?;
    Reply::json(&upid)
}

/// Refuses a caller who may not change each of the namespaces and what it becomes: deeper entries of the access list replace those
/// above. What is made meanwhile the task looks at.
async fn check_all(
    caller: &Caller,
    store: &Datastore,
    (from, to): (&Namespace, &Namespace),
) -> Result<(), ApiError> {
    let listed = store.namespaces(from, Namespace::DEPTH_MAX).await;
    for ns in listed.map_err(|error| ApiError::failed(&error))? {
        place::check_any(caller, store.name(), &ns, Privileges::DATASTORE_MODIFY)?;
        // One that would be too deep is refused by the move.
        let inner = ns.components().skip(from.depth());
        if let Ok(target) = inner.into_iter().try_fold(to.clone(), |ns, name| ns.child(name)) {
            place::check_any(caller, store.name(), &target, Privileges::DATASTORE_MODIFY)?;
        }
    }
    Ok(())
}

fn may_change(caller: &Caller, store: &StoreName, from: &Namespace, to: &Namespace) -> bool {
    [from, to].into_iter().all(|ns| place::has_any(caller, store, ns, Privileges::DATASTORE_MODIFY))
}

fn spec(worker_type: &'static str, worker_id: String, caller: &Caller) -> TaskSpec {
    TaskSpec { worker_type, worker_id: Some(worker_id), auth_id: caller.auth_id().clone() }
}

fn shown(ns: &Namespace, group: &GroupName) -> String {
    if ns.is_root() { group.to_string() } else { format!("{ns}/{group}") }
}

fn shown_ns(ns: &Namespace) -> String {
    if ns.is_root() { "the root namespace".to_owned() } else { format!("namespace {ns}") }
}

/// The task that hears of a move and may end it, and who may move what.
struct Told<'a, M>(&'a TaskHandle, M);

impl<M: Fn(&Namespace, &Namespace) -> bool + Send> MoveWatch for Told<'_, M> {
    fn copied(&mut self, snapshot: &SnapshotName) {
        self.0.log(format!("{snapshot} is there"));
    }

    fn stays(&mut self, ns: &Namespace, group: &GroupName) {
        self.0.warn(format!(
            "{} stays with what was never finished; a collection removes it",
            shown(ns, group)
        ));
    }

    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    fn may_move(&self, from: &Namespace, to: &Namespace) -> bool {
        (self.1)(from, to)
    }
}
