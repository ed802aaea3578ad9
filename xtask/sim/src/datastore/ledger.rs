//! What was promised of snapshots, and whether it is kept (DESIGN §3).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use coldkeep_datastore::SnapshotName;

use super::work::{index_key, manifest_key, owner_key};
use crate::chunks::{Chunks, Need};
use crate::net::Net;

/// Snapshots that were acknowledged and not given up since.
#[derive(Default)]
pub(super) struct Ledger(Mutex<State>);

#[derive(Default)]
struct State {
    /// With the chunks that each names.
    snapshots: BTreeMap<SnapshotName, Vec<usize>>,
    commits: u64,
    changes: u64,
    broken: Option<String>,
}

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn commit(&self, name: &SnapshotName, numbers: Vec<usize>) {
        let mut state = self.lock();
        (state.commits, state.changes) = (state.commits + 1, state.changes + 1);
        state.snapshots.insert(name.clone(), numbers);
    }

    /// Gives a snapshot up, before anything of it is removed.
    pub(super) fn forget(&self, name: &SnapshotName) {
        self.lock().snapshots.remove(name);
    }

    pub(super) fn snapshots(&self) -> BTreeMap<SnapshotName, Vec<usize>> {
        self.lock().snapshots.clone()
    }

    pub(super) fn is_committed(&self, name: &SnapshotName) -> bool {
        self.lock().snapshots.contains_key(name)
    }

    /// Returns the committed snapshot of this number.
    pub(super) fn pick(&self, number: usize) -> Option<(SnapshotName, Vec<usize>)> {
        let state = self.lock();
        let number = number.checked_rem(state.snapshots.len())?;
        let (name, numbers) = state.snapshots.iter().nth(number)?;
        Some((name.clone(), numbers.clone()))
    }

    pub(super) fn commits(&self) -> u64 {
        self.lock().commits
    }

    pub(super) fn changes(&self) -> u64 {
        self.lock().changes
    }

    /// Notes a promise that somebody saw broken.
    pub(super) fn report(&self, what: String) {
        let mut state = self.lock();
        state.changes += 1;
        state.broken.get_or_insert(what);
    }

    /// Returns the first promise that is broken at this moment.
    pub(super) fn broken(&self, net: &Net, chunks: &Chunks) -> Option<String> {
        let state = self.lock();
        if let Some(broken) = &state.broken {
            return Some(broken.clone());
        }
        for (name, numbers) in &state.snapshots {
            let is_lost = |number: &&usize| !net.has_need(chunks, Need { number: **number, is_honest: true });
            if let Some(number) = numbers.iter().find(is_lost) {
                return Some(format!("I1: chunk {number} of the committed snapshot {name} is gone"));
            }
            let keys = [manifest_key(name), index_key(name), owner_key(&name.group)];
            if let Some(key) = keys.iter().find(|key| !net.bucket().has(key)) {
                return Some(format!("I1: {key} of the committed snapshot {name} is gone"));
            }
        }
        None
    }
}
