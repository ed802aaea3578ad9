//! A namespace with all that is in it.

use super::{GroupMove, MoveError, MoveWatch, Moves};
use crate::name::{GroupName, Namespace};
use crate::store::Tree;
use crate::tree::{self, TreeError};

/// What a move of a namespace came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MovedNamespace {
    /// Namespaces, itself included.
    pub namespaces: u64,
    /// Groups that were moved.
    pub groups: u64,
    /// Snapshots that were moved.
    pub snapshots: u64,
    /// Groups that stay, because they have no finished snapshot; so do their namespaces.
    pub left: u64,
}

/// A group in the namespace it is in and the one it comes to be in.
type Place = (Namespace, GroupName, Namespace);

impl Moves {
    /// Moves a namespace with those inside it, so that it becomes `to`, which is made if its parent is there. Groups are moved one
    /// after the other, each whole or not at all. With `merges` groups that are there are no reason to refuse.
    ///
    /// # Errors
    /// [`MoveError`]. Namespaces and, unless groups are merged, groups that are in the way are refused before anything is moved;
    /// after any other error some groups are moved, each whole, and calling again goes on.
    ///
    /// # Cancel safety
    /// As [`Self::move_group`].
    pub async fn move_namespace(
        &self,
        (from, to): (&Namespace, &Namespace),
        merges: bool,
        watch: &mut impl MoveWatch,
    ) -> Result<MovedNamespace, MoveError> {
        if from == to {
            return Err(MoveError::SamePlace { ns: to.clone() });
        }
        if from.is_root() {
            return Err(TreeError::RootNamespace.into());
        }
        // The root is around everything, and what comes to lie there moves out of the way by itself.
        if to.is_within(from) || (from.is_within(to) && !to.is_root()) {
            return Err(MoveError::Inside { from: from.clone(), to: to.clone() });
        }
        let (pairs, places) = self.plan(from, to).await?;
        if let Some((_, to)) = pairs.iter().find(|(from, to)| !watch.may_move(from, to)) {
            return Err(MoveError::Denied { ns: to.clone() });
        }
        if !merges {
            self.check_free(&places).await?;
        }
        for (_, target) in &pairs {
            match self.store.create_namespace(target).await {
                Err(TreeError::NamespaceExists { .. } | TreeError::RootNamespace) => {}
                made => made?,
            }
        }
        let mut moved = MovedNamespace { namespaces: pairs.len() as u64, ..MovedNamespace::default() };
        for (from, group, to) in places {
            match self.move_group(&GroupMove { from, group, to, merges }, watch).await {
                Err(MoveError::Empty { .. }) => moved.left += 1,
                snapshots => {
                    moved.snapshots += snapshots?;
                    moved.groups += 1;
                }
            }
        }
        self.store.parts().remove_namespace(from).await?;
        Ok(moved)
    }

    /// Lists the namespaces, each parent before its children, and the groups.
    async fn plan(
        &self,
        from: &Namespace,
        to: &Namespace,
    ) -> Result<(Vec<(Namespace, Namespace)>, Vec<Place>), MoveError> {
        let outer = from.clone();
        let list = move |tree: &Tree| {
            let mut found = Vec::new();
            for ns in tree::namespaces(&tree.layout, &outer, Namespace::DEPTH_MAX)? {
                let groups = tree::groups(&tree.layout, &ns)?;
                found.push((ns, groups));
            }
            Ok(found)
        };
        let (mut pairs, mut places) = (Vec::new(), Vec::new());
        for (ns, groups) in self.store.parts().blocking(list).await? {
            let inner = ns.components().skip(from.depth());
            let target = inner.into_iter().try_fold(to.clone(), |ns, name| ns.child(name));
            let target = target.map_err(|source| MoveError::Depth { ns: ns.clone(), source })?;
            places.extend(groups.into_iter().map(|group| (ns.clone(), group, target.clone())));
            pairs.push((ns, target));
        }
        Ok((pairs, places))
    }

    /// Refuses the move while nothing has been moved.
    async fn check_free(&self, places: &[Place]) -> Result<(), MoveError> {
        let places = places.to_vec();
        let find = move |tree: &Tree| {
            for (_, group, to) in places {
                match tree::check_group(&tree.layout, &to, &group) {
                    Err(error) if error.is_not_found() => {}
                    Err(error) => return Err(error),
                    Ok(()) => return Ok(Some((to, group))),
                }
            }
            Ok(None)
        };
        match self.store.parts().blocking(find).await? {
            Some((ns, group)) => Err(MoveError::GroupExists { ns, group }),
            None => Ok(()),
        }
    }
}
