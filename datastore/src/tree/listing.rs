//! What is there: namespaces, groups, snapshots. Names that do not parse and symbolic links are passed over.

use std::path::Path;

use super::{Layout, TreeError};
use crate::file::{Found, list, look};
use crate::manifest::VerifyResult;
use crate::name::{BackupType, GroupName, Namespace, SnapshotName};

/// Names of the folders in a folder; none if it does not exist.
fn folders(path: &Path) -> Result<impl Iterator<Item = String> + use<>, TreeError> {
    let entries = list(path)?.unwrap_or_default();
    Ok(entries.into_iter().filter(|(_, found)| *found == Found::Folder).map(|(name, _)| name))
}

pub(crate) fn check_namespace(layout: &Layout, ns: &Namespace) -> Result<(), TreeError> {
    match look(&layout.namespace(ns))? {
        Found::Folder => Ok(()),
        _ => Err(TreeError::NoNamespace { ns: ns.clone() }),
    }
}

/// Lists `parent` and the namespaces up to `depth` levels below it, each parent before its children.
pub(crate) fn namespaces(
    layout: &Layout,
    parent: &Namespace,
    depth: usize,
) -> Result<Vec<Namespace>, TreeError> {
    check_namespace(layout, parent)?;
    let mut found = vec![parent.clone()];
    if depth > 0 {
        for component in folders(&layout.child_namespaces(parent))? {
            // A child that does not parse or is too deep is none of ours.
            let Ok(child) = parent.child(&component) else { continue };
            match namespaces(layout, &child, depth - 1) {
                // Removed since the folder was listed.
                Err(TreeError::NoNamespace { .. }) => {}
                inner => found.extend(inner?),
            }
        }
    }
    Ok(found)
}

/// Lists the groups of a namespace, in order.
pub(crate) fn groups(layout: &Layout, ns: &Namespace) -> Result<Vec<GroupName>, TreeError> {
    check_namespace(layout, ns)?;
    let mut groups = Vec::new();
    for ty in BackupType::ALL {
        let ids = folders(&layout.backup_type(ns, ty))?;
        groups.extend(ids.filter_map(|id| Some(GroupName::new(ty, id.parse().ok()?))));
    }
    groups.sort_unstable();
    Ok(groups)
}

/// Lists the snapshots of a group, finished or not, oldest first.
pub(crate) fn snapshots(
    layout: &Layout,
    ns: &Namespace,
    group: &GroupName,
) -> Result<Vec<SnapshotName>, TreeError> {
    let path = layout.group(ns, group);
    if look(&path)? != Found::Folder {
        return Err(TreeError::NoGroup { ns: ns.clone(), group: group.clone() });
    }
    let times = folders(&path)?.filter_map(|name| name.parse().ok());
    let mut snapshots: Vec<SnapshotName> = times.map(|time| SnapshotName::new(group.clone(), time)).collect();
    snapshots.sort_unstable();
    Ok(snapshots)
}

/// Tells whether a snapshot has its manifest.
pub(crate) fn is_finished(
    layout: &Layout,
    ns: &Namespace,
    snapshot: &SnapshotName,
) -> Result<bool, TreeError> {
    Ok(look(&layout.manifest(ns, snapshot))? == Found::File)
}

/// Returns the newest finished snapshot, which the next backup builds on, unless it failed its verification.
///
/// The second part of the answer is the newest finished one whatever its state: the next backup must be younger.
pub(crate) fn newest_finished(
    layout: &Layout,
    ns: &Namespace,
    group: &GroupName,
) -> Result<Newest, TreeError> {
    for snapshot in snapshots(layout, ns, group)?.into_iter().rev() {
        if is_finished(layout, ns, &snapshot)? {
            let usable = match super::load_manifest(layout, ns, &snapshot) {
                Ok(manifest) => manifest.verify_state().is_none_or(|state| state.state == VerifyResult::Ok),
                // Removed, in part or whole, since the folder was listed.
                Err(TreeError::Unfinished { .. }) => continue,
                Err(error) if error.is_not_found() => continue,
                // A damaged manifest is no base to build on, and no reason to refuse new backups.
                Err(TreeError::Manifest { .. }) => false,
                Err(error) => return Err(error),
            };
            return Ok(if usable { Newest::Usable(snapshot) } else { Newest::Failed(snapshot) });
        }
    }
    Ok(Newest::None)
}

/// The newest finished snapshot of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Newest {
    /// There is none.
    None,
    /// It may be built on.
    Usable(SnapshotName),
    /// It failed its verification, or its manifest is damaged.
    Failed(SnapshotName),
}
