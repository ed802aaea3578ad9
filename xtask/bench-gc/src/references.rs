//! References by formula, and those of a datastore.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use coldkeep_chunk_store::Digest;
use coldkeep_datastore::{Datastore, IndexFile, IndexRead, ReferenceError};
use coldkeep_gc::{Outcome, References, Sink};

use crate::objects::Objects;

/// Indexes that name all chunks but the garbage, each of them a range.
const INDEXES: u64 = 64;

/// Digests in each slice: what a read of 1 MiB of an index gives.
const SLICE: usize = 26_214;

/// Plain bytes of each chunk, as indexes have it.
const CHUNK_BYTES: u64 = 4 << 20;

/// The references to all objects that are no garbage.
pub(crate) struct AllButGarbage(pub(crate) Objects);

impl References for AllButGarbage {
    type Index = u64;
    type Error = Infallible;

    async fn list(&self) -> Result<Vec<u64>, Infallible> {
        Ok((0..INDEXES).collect())
    }

    async fn read(&self, index: &u64, mut sink: Sink) -> Result<Outcome, Infallible> {
        let (objects, index) = (self.0, *index);
        let push = move || {
            let numbers = objects.count() * index / INDEXES..objects.count() * (index + 1) / INDEXES;
            let mut digests: Vec<Digest> = Vec::with_capacity(SLICE);
            let mut references = 0;
            for number in numbers.filter(|number| !objects.is_garbage(*number)) {
                digests.push(objects.digest(number));
                if digests.len() == SLICE {
                    references += SLICE as u64;
                    if sink.push(&digests).is_break() {
                        return references;
                    }
                    digests.clear();
                }
            }
            let _ = sink.push(&digests);
            references + digests.len() as u64
        };
        // A thread of its own, as for the reading of a file.
        let references = match tokio::task::spawn_blocking(push).await {
            Ok(references) => references,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        Ok(Outcome::Read { references, data_bytes: references * CHUNK_BYTES })
    }
}

/// The indexes of a datastore, as the server gives them to the collector.
pub(crate) struct StoreReferences {
    datastore: Arc<Datastore>,
    /// There are no chunks, so that all are missing: indexes are named once only, for the mark.
    for_mark_only: bool,
    was_listed: AtomicBool,
}

impl StoreReferences {
    pub(crate) fn new(datastore: Arc<Datastore>, for_mark_only: bool) -> StoreReferences {
        StoreReferences { datastore, for_mark_only, was_listed: AtomicBool::new(false) }
    }
}

impl References for StoreReferences {
    type Index = IndexFile;
    type Error = ReferenceError;

    async fn list(&self) -> Result<Vec<IndexFile>, ReferenceError> {
        let again = self.was_listed.swap(true, Ordering::Relaxed);
        if again && self.for_mark_only {
            return Ok(Vec::new());
        }
        self.datastore.index_files().await
    }

    async fn read(&self, index: &IndexFile, mut sink: Sink) -> Result<Outcome, ReferenceError> {
        Ok(match self.datastore.read_index(index, move |digests| sink.push(digests)).await? {
            IndexRead::Read { references, data_bytes } => Outcome::Read { references, data_bytes },
            IndexRead::Gone => Outcome::Gone,
        })
    }
}
