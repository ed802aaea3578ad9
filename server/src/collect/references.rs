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
        let mut tidied = Tidied::default();
        if dry_run {
            match self.store.unfinished(cutoff).await {
                Ok(unfinished) => {
                    (tidied.removed, tidied.in_use) = (unfinished.clearable.len() as u64, unfinished.in_use);
                    tidied.failures.extend(unfinished.errors.iter().map(|error| chain(error)));
                    // Once a run; a second call would find the same.
                    let _ = self.left_out.set(unfinished.clearable);
                }
                Err(error) => tidied.failures.push(chain(&error)),
            }
            return tidied;
        }
        match self.store.clear_unfinished(cutoff, &|| control.is_cancelled()).await {
            Ok(cleared) => {
                tidied.removed = cleared.snapshots;
                tidied.in_use = cleared.in_use;
                tidied.failures.extend(cleared.errors.iter().map(|error| chain(error)));
            }
            Err(error) => tidied.failures.push(chain(&error)),
        }
        tidied
    }

    async fn read(&self, index: &IndexFile, mut sink: Sink) -> Result<Outcome, ReferenceError> {
        Ok(match self.store.read_index(index, move |digests| sink.push(digests)).await? {
            IndexRead::Read { references, data_bytes } => Outcome::Read { references, data_bytes },
            IndexRead::Gone => Outcome::Gone,
        })
    }
}
