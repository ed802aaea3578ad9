//! What the users of a store do: one task each.

mod index;
mod place;
mod read;
mod references;
mod remove;
mod run;
mod store;
mod write;

use std::sync::Arc;

use coldkeep_chunk_store::backend::ObjectKey;
use coldkeep_chunk_store::dir::EntryName;

pub(crate) use index::decode as decode_index;
pub(crate) use read::{read_chunk, read_snapshot, restore, verify};
pub(crate) use remove::prune;
pub(crate) use run::{RunPlan, collect_once};
pub(crate) use store::{Catalog, InBucket, Store};
pub(crate) use write::{End, How, Use, WritePlan, write};

use crate::chunks::{Chunks, Stored};
use crate::executor::Process;
use crate::ledger::{Ledger, index_key};
use crate::net::Net;

/// What every task has.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) store: Store,
    pub(crate) process: Process,
    pub(crate) net: Arc<Net>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) chunks: Arc<Chunks>,
}

impl Context {
    /// Says what is stored of a chunk.
    fn stored(&self, number: usize) -> Stored {
        match &self.store {
            Store::Bucket(_) => self.net.stored(&self.chunks, number),
            Store::Folder(store, _) => {
                let name = EntryName::chunk(self.chunks.digest(number));
                self.chunks.stored(number, store.dir().content(name).as_deref())
            }
        }
    }

    /// Returns whether this server has a file that stands for a chunk.
    fn has_marker(&self, number: usize) -> bool {
        let name = EntryName::chunk(self.chunks.digest(number));
        match &self.store {
            Store::Bucket(store) => store.dir().entry(name).is_some(),
            Store::Folder(store, _) => store.dir().entry(name).is_some(),
        }
    }

    /// Returns whether this server has the store, so that what it is asked for may come to pass.
    fn is_owner(&self) -> bool {
        matches!(self.store, Store::Folder(..)) || self.net.owner() == Some(self.process)
    }

    pub(crate) fn note(&self, line: impl FnOnce() -> String) {
        self.net.note(|| format!("{}: {}", self.process, line()));
    }
}

/// Where all snapshots are.
pub(crate) const CONTENT: &str = ".cnt/";

/// Reads the index of a snapshot; `None` if there is none.
async fn read_index(context: &Context, path: &str) -> Result<Option<Vec<usize>>, String> {
    match &context.store {
        Store::Bucket(store) => {
            let found = store.read_object(&key(&index_key(path))).await.map_err(|error| chain(&error))?;
            // A damaged one counts as another one.
            Ok(found.map(|(_, content)| index::decode(&content).unwrap_or_default()))
        }
        Store::Folder(_, catalog) => Ok(catalog.index(path)),
    }
}

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).expect("invariant: the names of snapshots are keys")
}

/// Returns an error with all its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
