//! The references of a datastore, as the collector reads them.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use coldkeep_chunk_store::StoreTime;
use coldkeep_datastore::{
    Datastore, IndexFile, IndexPlace, IndexRead, Namespace, ReferenceError, SnapshotName,
};
use coldkeep_gc::{Control, Outcome, References, Sink, Tidied};

use crate::api::chain;

/// The indexes of a datastore, as `coldkeep-gc` wants them.
///
/// This is all that a store of references has to say to be collected: what there is, what each refers to, and what nobody
/// will ever need.
pub struct StoreReferences {
    store: Arc<Datastore>,
    /// Unfinished snapshots that a dry run leaves out.
    left_out: OnceLock<BTreeSet<(Namespace, SnapshotName)>>,
}

impl StoreReferences {
    /// Takes the indexes of a datastore, for one run.
    pub fn new(store: Arc<Datastore>) -> Self {
        Self { store, left_out: OnceLock::new() }
    }

    /// Says what [`Self::clear`] would do, and leaves it out from then on.
    async fn foresee(&self, cutoff: StoreTime, control: &Control) -> Tidied {
        let mut tidied = Tidied::default();
        match control.unless_cancelled(self.store.unfinished(cutoff)).await {
            None => {}
            Some(Ok(unfinished)) => {
                (tidied.removed, tidied.in_use) = (unfinished.clearable.len() as u64, unfinished.in_use);
                unfinished.errors.iter().for_each(|error| tidied.note_failure(chain(error)));
                // Once a run; a second call would find the same.
                let _ = self.left_out.set(unfinished.clearable);
            }
            Some(Err(error)) => tidied.note_failure(chain(&error)),
        }
        tidied
    }

    /// Removes what no session will finish. The listing is given up when the run is cancelled; a removal comes to its end.
    async fn clear(&self, cutoff: StoreTime, control: &Control) -> Tidied {
        let mut tidied = Tidied::default();
        match control.unless_cancelled(self.store.list_content()).await {
            None => {}
            Some(Ok(listing)) => {
                let is_cancelled = || control.is_cancelled();
                let cleared = self.store.clear_unfinished_of(listing, cutoff, &is_cancelled).await;
                (tidied.removed, tidied.in_use) = (cleared.snapshots, cleared.in_use);
                cleared.errors.iter().for_each(|error| tidied.note_failure(chain(error)));
            }
            Some(Err(error)) => tidied.note_failure(chain(&error)),
        }
        tidied
    }

    fn is_left_out(&self, index: &IndexFile) -> bool {
        let IndexPlace::Snapshot(ns, snapshot) = index.place() else { return false };
        self.left_out.get().is_some_and(|left_out| left_out.contains(&(ns.clone(), snapshot.clone())))
    }
}

impl References for StoreReferences {
    type Index = IndexFile;
    type Error = ReferenceError;

    async fn list(&self) -> Result<Vec<IndexFile>, ReferenceError> {
        let mut indexes = self.store.index_files().await?;
        indexes.retain(|index| !self.is_left_out(index));
        Ok(indexes)
    }

    fn is_unexpected(&self, index: &IndexFile) -> bool {
        *index.place() == IndexPlace::Unexpected
    }

    async fn tidy(&self, cutoff: StoreTime, dry_run: bool, control: &Control) -> Tidied {
        if dry_run { self.foresee(cutoff, control).await } else { self.clear(cutoff, control).await }
    }

    async fn read(&self, index: &IndexFile, mut sink: Sink) -> Result<Outcome, ReferenceError> {
        Ok(match self.store.read_index(index, move |digests| sink.push(digests)).await? {
            IndexRead::Read { references, data_bytes } => Outcome::Read { references, data_bytes },
            IndexRead::Gone => Outcome::Gone,
        })
    }
}
