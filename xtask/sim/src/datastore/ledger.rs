//! What was promised of snapshots, and whether it is kept (DESIGN §3).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use coldkeep_datastore::{Owner, SnapshotName};

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
    /// Who tried to make each snapshot.
    makers: BTreeMap<SnapshotName, BTreeSet<Owner>>,
    commits: u64,
    changes: u64,
    broken: Option<String>,
}

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that somebody begins to make a snapshot.
    pub(super) fn begin(&self, name: &SnapshotName, maker: &Owner) {
        self.lock().makers.entry(name.clone()).or_default().insert(maker.clone());
    }

    /// Returns whether what the object with an owner says may be the owner of a snapshot.
    pub(super) fn may_be_owner(&self, name: &SnapshotName, object: &[u8]) -> bool {
        let owner = std::str::from_utf8(object).ok().and_then(|text| text.trim_end().parse::<Owner>().ok());
        owner.is_some_and(|owner| self.lock().makers.get(name).is_some_and(|makers| makers.contains(&owner)))
    }

    /// Returns the chunks that a committed snapshot names.
    pub(super) fn numbers(&self, name: &SnapshotName) -> Option<Vec<usize>> {
        self.lock().snapshots.get(name).cloned()
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
