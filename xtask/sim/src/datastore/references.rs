//! The references of a datastore, as a server gives them to the collector.

use std::sync::Arc;

use coldkeep_chunk_store::StoreTime;
use coldkeep_datastore::{Datastore, IndexFile, IndexRead, ReferenceError};
use coldkeep_gc::{Control, Outcome, References, Sink, Tidied};

use crate::work::chain;

/// The indexes of a datastore.
pub(super) struct DatastoreReferences(pub(super) Arc<Datastore>);

impl References for DatastoreReferences {
    type Index = IndexFile;
    type Error = ReferenceError;

    async fn list(&self) -> Result<Vec<IndexFile>, ReferenceError> {
        self.0.index_files().await
    }

    async fn tidy(&self, cutoff: StoreTime, _dry_run: bool, control: &Control) -> Tidied {
        let mut tidied = Tidied::default();
        match self.0.clear_unfinished(cutoff, &|| control.is_cancelled()).await {
            Ok(cleared) => {
                (tidied.removed, tidied.in_use) = (cleared.snapshots, cleared.in_use);
                cleared.errors.iter().for_each(|error| tidied.note_failure(chain(error)));
            }
            Err(error) => tidied.note_failure(chain(&error)),
        }
        tidied
    }

    async fn read(&self, index: &IndexFile, mut sink: Sink) -> Result<Outcome, ReferenceError> {
        Ok(match self.0.read_index(index, move |digests| sink.push(digests)).await? {
            IndexRead::Read { references, data_bytes } => Outcome::Read { references, data_bytes },
            IndexRead::Gone => Outcome::Gone,
        })
    }
}
