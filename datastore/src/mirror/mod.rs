//! Changes of the snapshot tree, on disk and in the bucket.
//!
//! A datastore in a bucket has its snapshot objects below `.cnt/` (spec `s3-backend.md` §2); the local tree is their
//! cache. A change is carried out in the bucket first, under a claim of its path (R19), and on disk only when the bucket
//! has acknowledged it. What a crash leaves in between is found by the comparison at the next open
//! ([`crate::refresh`]). On a filesystem the first half falls away.

mod changes;
mod leftovers;
mod object;
mod removal;
mod unfinished;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;

use coldkeep_chunk_store::bucket::{BucketStore, PathClaim};

pub(crate) use leftovers::Recent;
pub use leftovers::{Cleared, Unfinished};
pub(crate) use object::{ContentKey, Place};
pub(crate) use removal::list_folder;

use crate::store::{Tree, run_blocking};
use crate::tree::TreeError;

/// What changes work with; cheap to clone, so that a change goes on when its caller is gone.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    pub(crate) tree: Arc<Tree>,
    /// None on a filesystem.
    pub(crate) bucket: Option<Arc<BucketStore>>,
}

impl Parts {
    /// Runs blocking work on the tree.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tree) -> Result<T, TreeError> + Send + 'static,
    ) -> Result<T, TreeError> {
        let tree = Arc::clone(&self.tree);
        run_blocking(move || work(&tree)).await.unwrap_or(Err(TreeError::ShuttingDown))
    }

    /// Claims the key of a file, or what the keys of a folder's objects start with.
    async fn claim(&self, bucket: &Arc<BucketStore>, path: &Path) -> Result<PathClaim, TreeError> {
        Ok(bucket.claim(self.tree.layout.key(path).as_str()).await?)
    }
}

/// Ends a claim whose work ended with `done`, which says more than an error of this end.
async fn release<T>(claim: PathClaim, done: Result<T, TreeError>) -> Result<T, TreeError> {
    let released = claim.release().await;
    let done = done?;
    released?;
    Ok(done)
}

/// Carries work out to its end even if the caller's future is dropped.
pub(crate) async fn detached<T: Send + 'static>(
    work: impl Future<Output = Result<T, TreeError>> + Send + 'static,
) -> Result<T, TreeError> {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(TreeError::ShuttingDown),
    }
}
