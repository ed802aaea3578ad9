//! The datastore: the async shell around the blocking snapshot tree and the chunk store.

mod groups;
mod locks;
mod namespaces;
mod open;
mod references;
mod snapshots;
mod usage;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use coldkeep_chunk_store::backend::ObjectInfo;
pub(crate) use coldkeep_chunk_store::blocking::run as run_blocking;
use coldkeep_chunk_store::{AnyStore, StoreTime};

pub use open::{BucketParts, OpenError};
pub use references::{IndexRead, ReferenceError};
pub(crate) use usage::StoredBytes;
pub use usage::Usage;

use crate::lock::LockTable;
use crate::mirror::{Cleared, Parts, Recent, Unfinished};
use crate::name::{Owner, StoreName};
use crate::refresh::RefreshReport;
use crate::tree::{KeptInfos, Layout, TreeError, Turns};

/// A datastore in a folder: snapshots in namespaces and groups, and the chunks that they share.
///
/// Shared in an `Arc`. One process owns it while it is open (R11), so locks of groups and snapshots are values in
/// memory. Blocking file work runs on the runtime's blocking threads.
#[derive(Debug)]
pub struct Datastore {
    name: StoreName,
    chunks: AnyStore,
    tree: Arc<Tree>,
    leftover_errors: Vec<TreeError>,
    refresh_report: Option<RefreshReport>,
    writing_results: Arc<Mutex<()>>,
}

/// The objects of snapshots in a bucket at one time; nothing on a filesystem.
#[derive(Debug)]
pub struct ContentListing(Option<Vec<ObjectInfo>>);

/// What the blocking side of a datastore shares.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) layout: Layout,
    pub(crate) locks: Arc<LockTable>,
    pub(crate) turns: Turns,
    pub(crate) kept_infos: KeptInfos,
    pub(crate) stored_bytes: StoredBytes,
}

impl Datastore {
    /// Returns the name under which clients know the datastore.
    pub const fn name(&self) -> &StoreName {
        &self.name
    }

    /// Returns what kept the open from removing all that unfinished backups left behind; collections and the next open try
    /// again.
    pub fn leftover_errors(&self) -> &[TreeError] {
        &self.leftover_errors
    }

    /// Returns the chunk store.
    pub const fn chunks(&self) -> &AnyStore {
        &self.chunks
    }

    pub(crate) const fn tree(&self) -> &Arc<Tree> {
        &self.tree
    }

    /// Returns the folder that holds the datastore.
    pub fn folder(&self) -> &std::path::Path {
        self.tree.layout.base()
    }

    /// Returns the turn of whoever writes results of collections into the folder: two of them must not share a temporary
    /// file. To be taken where blocking is allowed.
    pub fn writing_results(&self) -> Arc<Mutex<()>> {
        Arc::clone(&self.writing_results)
    }

    /// Returns what the refresh at the open came to; none if the tree was as the bucket has it, or there is none.
    pub const fn refresh_report(&self) -> Option<&RefreshReport> {
        self.refresh_report.as_ref()
    }

    /// Removes what sessions that never committed left: snapshots without manifest whose session has ended and whose
    /// requests, in a bucket, can no longer take effect; on a filesystem only those that were last changed before `cutoff`.
    /// Also what removals that did not end left on the disk, and in a bucket owner and notes of groups without snapshots. Ends
    /// before the next snapshot once `is_cancelled` says so.
    ///
    /// # Errors
    /// [`TreeError::Bucket`] if the bucket cannot be listed; what keeps single snapshots from being cleared is in the
    /// answer.
    ///
    /// # Cancel safety
    /// What was cleared is cleared if the future is dropped.
    pub async fn clear_unfinished(
        &self,
        cutoff: StoreTime,
        is_cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<Cleared, TreeError> {
        let listing = self.list_content().await?;
        Ok(self.clear_unfinished_of(listing, cutoff, is_cancelled).await)
    }

    /// Lists what [`Self::clear_unfinished_of`] looks through: the objects of snapshots, if the datastore is in a bucket.
    ///
    /// # Errors
    /// [`TreeError::Bucket`] if the bucket cannot be listed.
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn list_content(&self) -> Result<ContentListing, TreeError> {
        let Some(bucket) = self.chunks.as_bucket() else { return Ok(ContentListing(None)) };
        Ok(ContentListing(Some(bucket.list_objects(Layout::CONTENT).await?)))
    }

    /// Does what [`Self::clear_unfinished`] does, to what was listed before: for callers that give up on a listing, which
    /// takes as long as the bucket likes, but let a removal that began come to its end.
    ///
    /// # Cancel safety
    /// What was cleared is cleared if the future is dropped.
    pub async fn clear_unfinished_of(
        &self,
        listing: ContentListing,
        cutoff: StoreTime,
        is_cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Cleared {
        match (self.chunks.as_bucket(), listing.0) {
            (Some(bucket), Some(objects)) => {
                self.parts().clear_unfinished(bucket, objects, is_cancelled).await
            }
            _ => self.parts().clear_leftovers(Some(self.recent(cutoff)), is_cancelled).await,
        }
    }

    /// Returns what [`Self::clear_unfinished`] would do now to unfinished snapshots, and changes nothing.
    ///
    /// # Errors
    /// [`TreeError::Bucket`] if the bucket cannot be listed.
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn unfinished(&self, cutoff: StoreTime) -> Result<Unfinished, TreeError> {
        let Some(bucket) = self.chunks.as_bucket() else {
            return self.parts().list_leftovers(self.recent(cutoff)).await;
        };
        let objects = bucket.list_objects(Layout::CONTENT).await?;
        self.parts().list_unfinished(bucket, objects).await
    }

    /// Waits until snapshots can be changed: in a bucket, after an end that was not clean, that is when requests from before
    /// can take no effect any more, some minutes after the open (R19). Backups wait by themselves.
    ///
    /// # Errors
    /// [`TreeError::Bucket`], at once if it takes longer than `longest`.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn wait_for_earlier(&self, longest: Duration) -> Result<(), TreeError> {
        match self.chunks.as_bucket() {
            Some(bucket) if !bucket.knows_all_claims() => Ok(bucket.wait_for_earlier(longest).await?),
            _ => Ok(()),
        }
    }

    /// Clients read task ids strictly (spec `rest-api.md` §4.4), so one is made up where the caller gave none.
    pub(crate) fn made_up_task(&self, caller: &Owner) -> String {
        let started_at = self.chunks.now().unix_seconds().clamp(0, i64::from(u32::MAX));
        let (name, caller) = (&self.name, caller.without_token());
        format!("UPID:localhost:00000001:00000001:00000001:{started_at:08X}:backup:{name}:{caller}:")
    }

    fn recent(&self, since: StoreTime) -> Recent {
        Recent { since, now: self.chunks.now() }
    }

    /// Returns what changes of the tree work with.
    pub(crate) fn parts(&self) -> Parts {
        Parts { tree: Arc::clone(&self.tree), bucket: self.chunks.as_bucket().cloned() }
    }

    /// Runs blocking work on the tree.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tree) -> Result<T, TreeError> + Send + 'static,
    ) -> Result<T, TreeError> {
        self.parts().blocking(work).await
    }
}
