//! Namespaces.

use bytes::Bytes;

use super::{Datastore, Tree};
use crate::file::{Found, look, make_folders};
use crate::mirror::detached;
use crate::name::{GroupName, Namespace};
use crate::tree::{self, Change, DeleteStats, Layout, TreeError};

impl Datastore {
    /// Lists `parent` and the namespaces up to `max_depth` levels below it; each parent before its children, siblings
    /// by name.
    ///
    /// # Errors
    /// [`TreeError::NoNamespace`] if there is no `parent`, [`TreeError::File`].
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn namespaces(
        &self,
        parent: &Namespace,
        max_depth: usize,
    ) -> Result<Vec<Namespace>, TreeError> {
        let parent = parent.clone();
        self.blocking(move |tree| tree::namespaces(&tree.layout, &parent, max_depth)).await
    }

    /// Creates a namespace inside one that exists.
    ///
    /// # Errors
    /// [`TreeError::NoNamespace`] if its parent does not exist, [`TreeError::NamespaceExists`],
    /// [`TreeError::RootNamespace`], [`TreeError::File`].
    ///
    /// # Cancel safety
    /// The namespace may or may not be there if the future is dropped.
    pub async fn create_namespace(&self, ns: &Namespace) -> Result<(), TreeError> {
        let (ns, parts) = (ns.clone(), self.parts());
        let path = self.tree().layout.namespace(&ns).join(Layout::NAMESPACE);
        let checked = ns.clone();
        let check = move |tree: &Tree| {
            let ns = checked;
            let parent = ns.parent().ok_or(TreeError::RootNamespace)?;
            let parent_folder = tree.layout.namespace(&parent);
            if look(&parent_folder)? != Found::Folder {
                return Err(TreeError::NoNamespace { ns: parent });
            }
            if look(&tree.layout.namespace(&ns))? != Found::Nothing {
                return Err(TreeError::NamespaceExists { ns });
            }
            Ok(())
        };
        detached(async move {
            parts.blocking(check).await?;
            parts.mirror(&path, &Change { path: path.clone(), content: Some(Bytes::new()) }).await?;
            parts.blocking(move |tree| Ok(make_folders(&tree.layout.namespace(&ns))?)).await
        })
        .await
    }

    /// Removes a namespace with the namespaces in it, and with `delete_groups` their groups too.
    ///
    /// Protected snapshots stay, and so do their groups and namespaces; the answer counts them.
    ///
    /// # Errors
    /// [`TreeError::NotEmpty`] if there are groups and `delete_groups` is not set, [`TreeError::GroupInUse`] or
    /// [`TreeError::SnapshotInUse`] at the first one in use (others may be gone by then), [`TreeError::RootNamespace`],
    /// [`TreeError::NoNamespace`].
    ///
    /// # Cancel safety
    /// The removal goes on if the future is dropped.
    pub async fn remove_namespace(
        &self,
        ns: &Namespace,
        delete_groups: bool,
    ) -> Result<DeleteStats, TreeError> {
        if ns.is_root() {
            return Err(TreeError::RootNamespace);
        }
        let (ns, parts) = (ns.clone(), self.parts());
        let outer = ns.clone();
        let find = move |tree: &Tree| {
            let ns = outer;
            let mut groups: Vec<(Namespace, GroupName)> = Vec::new();
            for inner in tree::namespaces(&tree.layout, &ns, Namespace::DEPTH_MAX)? {
                let found = tree::groups(&tree.layout, &inner)?;
                groups.extend(found.into_iter().map(|group| (inner.clone(), group)));
            }
            if !groups.is_empty() && !delete_groups {
                return Err(TreeError::NotEmpty { ns, groups: groups.len() });
            }
            Ok(groups)
        };
        detached(async move {
            let mut stats = DeleteStats::default();
            for (inner, group) in parts.blocking(find).await? {
                stats.add(parts.forget_group(&inner, &group).await?);
            }
            parts.remove_namespace(&ns).await?;
            Ok(stats)
        })
        .await
    }
}
