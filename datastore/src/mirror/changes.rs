//! Files that change: manifest, owner, notes, protection, the client's log, and what a copy puts right in a snapshot that is
//! there.

use std::path::{Path, PathBuf};

use super::{Parts, detached, release};
use crate::lock::LockGuard;
use crate::name::{Namespace, SnapshotName};
use crate::store::Tree;
use crate::tree::{self, Change, TreeError};

impl Parts {
    /// Changes a file of a snapshot that exists, under its shared lock `held`.
    pub(crate) async fn change_snapshot(
        self,
        held: LockGuard,
        (ns, snapshot): (&Namespace, &SnapshotName),
        prepare: impl FnOnce(&Tree, &Namespace, &SnapshotName) -> Result<Change, TreeError> + Send + 'static,
    ) -> Result<(), TreeError> {
        let (ns, snapshot) = (ns.clone(), snapshot.clone());
        let path = self.tree.layout.snapshot(&ns, &snapshot);
        self.change(path, move |tree| {
            tree::check_snapshot(&tree.layout, &ns, &snapshot)?;
            Ok((held, prepare(tree, &ns, &snapshot)?))
        })
        .await
    }

    /// Prepares a change and carries it out under a claim of `path`, which is the file itself or its snapshot's folder.
    /// What `prepare` returns with the change is held until it is carried out.
    pub(crate) async fn change<G: Send + 'static>(
        self,
        path: PathBuf,
        prepare: impl FnOnce(&Tree) -> Result<(G, Change), TreeError> + Send + 'static,
    ) -> Result<(), TreeError> {
        detached(async move {
            let turn = self.tree.turns.wait(&self.tree.layout.key(&path)).await;
            let (held, change) = self.blocking(prepare).await?;
            self.mirror(&path, &change).await?;
            self.blocking(move |_| change.carry_out()).await?;
            drop((held, turn));
            Ok(())
        })
        .await
    }

    /// Carries a change out in the bucket.
    pub(crate) async fn mirror(&self, path: &Path, change: &Change) -> Result<(), TreeError> {
        let Some(bucket) = &self.bucket else { return Ok(()) };
        let key = self.tree.layout.key(&change.path);
        let claim = self.claim(bucket, path).await?;
        let done = match &change.content {
            Some(content) => claim.replace(&key, content.clone()).await,
            None => claim.delete(&[key]).await,
        };
        release(claim, done.map_err(Into::into)).await
    }
}
