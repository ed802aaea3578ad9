//! What the users of a store do: one task each.

mod index;
mod read;
mod references;
mod remove;
mod run;
mod write;

use std::sync::Arc;

use coldkeep_chunk_store::backend::ObjectKey;
use coldkeep_chunk_store::bucket::BucketStore;
use coldkeep_chunk_store::testing::MemoryDir;

pub(crate) use index::decode as decode_index;
pub(crate) use read::{read_chunk, read_snapshot, restore, verify};
pub(crate) use remove::prune;
pub(crate) use run::{RunPlan, collect_once};
pub(crate) use write::{End, How, Use, WritePlan, write};

use crate::chunks::Chunks;
use crate::executor::Process;
use crate::ledger::Ledger;
use crate::net::{Net, SimBackend};

/// The store under test.
pub(crate) type Store = BucketStore<MemoryDir, SimBackend>;

/// What every task has.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) store: Arc<Store>,
    pub(crate) process: Process,
    pub(crate) net: Arc<Net>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) chunks: Arc<Chunks>,
}

impl Context {
    pub(crate) fn note(&self, line: impl FnOnce() -> String) {
        self.net.note(|| format!("{}: {}", self.process, line()));
    }
}

/// Where all snapshots are.
pub(crate) const CONTENT: &str = ".cnt/";

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).expect("invariant: the names of snapshots are keys")
}

/// Returns an error with all its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
