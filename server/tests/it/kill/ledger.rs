//! What the clients were told.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard};

use coldkeep_datastore::SnapshotName;
use coldkeep_s3_testbed::Choices;

use crate::site::Content;

pub(super) const IMAGE: &str = "d.img.fidx";
pub(super) const STREAM: &str = "s.bin.didx";

/// What a snapshot was made of.
#[derive(Debug, Clone)]
pub(crate) struct Backup {
    pub(super) image: Content,
    pub(super) stream: Content,
}

impl Backup {
    /// Up to 24 MiB: an image of whole and half chunks, and a stream of pieces of any length. Half of the pieces start at
    /// one of few places, so that writers meet at the same chunks; the rest is new to the store, most likely.
    pub(crate) fn choose(choices: &mut Choices) -> Self {
        const MIB: usize = 1 << 20;
        let mut piece = |len: usize| {
            let room = Content::POOL_BYTES - len;
            let start = if choices.below(2) == 0 { choices.below(5) * 4 * MIB } else { choices.below(room) };
            (start.min(room), len)
        };
        let mut image: Vec<_> = (0..2).map(|_| piece(4 * MIB)).collect();
        image.push(piece(2 * MIB));
        let mut stream = vec![piece(6 * MIB)];
        stream.push(piece(777_777));
        if choices.below(3) == 0 {
            stream.push((choices.below(MIB), 7 * MIB));
        }
        Self { image: Content { pieces: image }, stream: Content { pieces: stream } }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The commit was asked for, its answer has not come.
    Finishing,
    Committed,
    /// The removal was asked for, its answer has not come.
    Forgetting,
}

/// All snapshots that are or may be in the store.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    entries: Mutex<BTreeMap<SnapshotName, (State, Backup)>>,
    last_time: AtomicI64,
    /// What was written last into each group, finished or not.
    begun: Mutex<BTreeMap<String, Backup>>,
}

impl Ledger {
    fn entries(&self) -> MutexGuard<'_, BTreeMap<SnapshotName, (State, Backup)>> {
        self.entries.lock().unwrap()
    }

    /// A backup time later than all before.
    pub(super) fn next_time(&self) -> i64 {
        1_700_000_000 + self.last_time.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn begin(&self, id: &str, backup: &Backup) {
        self.begun.lock().unwrap().insert(id.to_owned(), backup.clone());
    }

    /// The last backup of each group that was begun.
    pub(crate) fn begun(&self) -> BTreeMap<String, Backup> {
        self.begun.lock().unwrap().clone()
    }

    pub(super) fn finishing(&self, name: &SnapshotName, backup: Backup) {
        assert!(self.entries().insert(name.clone(), (State::Finishing, backup)).is_none());
    }

    pub(super) fn finished(&self, name: &SnapshotName) {
        self.entries().get_mut(name).unwrap().0 = State::Committed;
    }

    pub(super) fn forgetting(&self, name: &SnapshotName) {
        self.entries().get_mut(name).unwrap().0 = State::Forgetting;
    }

    pub(super) fn forgotten(&self, name: &SnapshotName) {
        self.entries().remove(name);
    }

    /// The removal was refused.
    pub(super) fn kept(&self, name: &SnapshotName) {
        self.finished(name);
    }

    /// What must be there, oldest first.
    pub(super) fn committed(&self) -> Vec<(SnapshotName, Backup)> {
        let entries = self.entries();
        let committed = entries.iter().filter(|(_, (state, _))| *state == State::Committed);
        let mut list: Vec<_> = committed.map(|(name, (_, backup))| (name.clone(), backup.clone())).collect();
        list.sort_by_key(|(name, _)| name.time);
        list
    }

    /// Compares with what the store lists after a restart, and takes over what became of the snapshots that no client
    /// was told about; returns those of them that are there.
    pub(super) fn settle(&self, listed: impl Iterator<Item = SnapshotName>) -> Vec<(SnapshotName, Backup)> {
        let listed: Vec<_> = listed.collect();
        let mut entries = self.entries();
        for name in &listed {
            assert!(entries.contains_key(name), "{name} is there, but was never finished or is forgotten");
        }
        entries.retain(|name, (state, _)| {
            let is_there = listed.contains(name);
            assert!(is_there || *state != State::Committed, "{name} was acknowledged and is gone");
            is_there
        });
        let mut unsure = Vec::new();
        for (name, (state, backup)) in entries.iter_mut() {
            if *state != State::Committed {
                *state = State::Committed;
                unsure.push((name.clone(), backup.clone()));
            }
        }
        unsure
    }
}
