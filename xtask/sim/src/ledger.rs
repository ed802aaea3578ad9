//! What was promised, and whether it is kept (DESIGN §3).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use coldkeep_chunk_store::Session;

use crate::executor::Process;

/// Sessions that were told something, and snapshots that were acknowledged.
#[derive(Default)]
pub(crate) struct Ledger(Mutex<State>);

#[derive(Default)]
struct State {
    sessions: BTreeMap<u64, Open>,
    next_session: u64,
    /// Committed and not given up since: the chunks of each path.
    snapshots: BTreeMap<String, Vec<usize>>,
    /// Chunks of each path that went bad in the bucket, and that nobody has stored again: no rule promises those.
    rotten: BTreeMap<String, BTreeSet<usize>>,
    /// Every chunk that ever went bad.
    has_rotted: BTreeSet<usize>,
    /// Counts what became known.
    changes: u64,
    /// The first promise that somebody saw broken.
    broken: Option<String>,
    commits: u64,
}

struct Open {
    /// The session's task holds it, so that nothing here keeps it open.
    session: Weak<Session>,
    told: BTreeSet<usize>,
    process: Process,
}

/// A session in the ledger; it goes with this.
pub(crate) struct Entry {
    ledger: Arc<Ledger>,
    id: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.ledger.lock().sessions.remove(&self.id);
    }
}

impl Entry {
    /// Notes that the session was told that a chunk is stored, and whether that is so or what is stored has gone bad.
    pub(crate) fn tell(&self, number: usize, is_good: bool) {
        let mut state = self.ledger.lock();
        state.changes += 1;
        if is_good {
            // Whatever went bad before: from here on it is there, and stays.
            state.rotten.values_mut().for_each(|numbers| {
                numbers.remove(&number);
            });
        }
        if let Some(open) = state.sessions.get_mut(&self.id) {
            open.told.insert(number);
        }
    }
}

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn open(self: &Arc<Self>, session: &Arc<Session>, process: Process) -> Entry {
        let mut state = self.lock();
        let id = state.next_session;
        state.next_session += 1;
        state.sessions.insert(id, Open { session: Arc::downgrade(session), told: BTreeSet::new(), process });
        Entry { ledger: Arc::clone(self), id }
    }

    /// Notes that a snapshot is committed; `is_rotten` tells which chunks have gone bad before, and nobody has noticed.
    pub(crate) fn commit(&self, path: &str, chunks: &[usize], is_rotten: impl Fn(usize) -> bool) {
        let mut state = self.lock();
        (state.changes, state.commits) = (state.changes + 1, state.commits + 1);
        state.snapshots.insert(path.to_owned(), chunks.to_vec());
        let rotten = chunks.iter().copied().filter(|number| is_rotten(*number)).collect();
        state.rotten.insert(path.to_owned(), rotten);
    }

    /// Gives a snapshot up, before anything of it is removed.
    pub(crate) fn forget(&self, path: &str) {
        let mut state = self.lock();
        state.snapshots.remove(path);
        state.rotten.remove(path);
    }

    /// Notes that a stored chunk has gone bad. Until somebody is told that it is stored again, no snapshot can rely on it.
    pub(crate) fn rot(&self, number: usize) {
        let state = &mut *self.lock();
        state.has_rotted.insert(number);
        for (path, _) in state.snapshots.iter().filter(|(_, numbers)| numbers.contains(&number)) {
            state.rotten.entry(path.clone()).or_default().insert(number);
        }
    }

    /// Returns whether a chunk of a snapshot went bad in the bucket.
    pub(crate) fn is_rotten(&self, path: &str, number: usize) -> bool {
        self.lock().is_rotten(path, number)
    }

    /// Returns whether a chunk ever went bad.
    pub(crate) fn has_rotted(&self, number: usize) -> bool {
        self.lock().has_rotted.contains(&number)
    }

    pub(crate) fn is_committed(&self, path: &str) -> bool {
        self.lock().snapshots.contains_key(path)
    }

    pub(crate) fn snapshots(&self) -> BTreeMap<String, Vec<usize>> {
        self.lock().snapshots.clone()
    }

    /// Returns a committed snapshot.
    pub(crate) fn pick(&self, number: usize) -> Option<(String, Vec<usize>)> {
        let state = self.lock();
        let count = state.snapshots.len();
        let (path, chunks) = state.snapshots.iter().nth(number.checked_rem(count)?)?;
        Some((path.clone(), chunks.clone()))
    }

    pub(crate) fn changes(&self) -> u64 {
        self.lock().changes
    }

    pub(crate) fn commits(&self) -> u64 {
        self.lock().commits
    }

    /// Notes a promise that somebody saw broken.
    pub(crate) fn report(&self, what: String) {
        self.lock().broken.get_or_insert(what);
    }

    /// Returns the first promise that is broken at this moment.
    pub(crate) fn broken(&self, kept: &Kept<'_>) -> Option<String> {
        let state = self.lock();
        if let Some(broken) = &state.broken {
            return Some(broken.clone());
        }
        let is_lost = |number: &&usize| !(kept.has_chunk)(**number);
        for (path, numbers) in &state.snapshots {
            let is_broken = |number: &&usize| is_lost(number) && !state.is_rotten(path, **number);
            if let Some(number) = numbers.iter().find(is_broken) {
                return Some(format!("I1: chunk {number} of the committed snapshot {path} is gone"));
            }
            if !(kept.has_snapshot)(path) {
                return Some(format!("I1: the committed snapshot {path} is gone"));
            }
        }
        for (id, open) in &state.sessions {
            // Others find out before they commit that the bucket is no longer theirs (R10).
            let is_owner = kept.owner == Some(open.process);
            let goes_on = || open.session.upgrade().is_some_and(|session| session.check_alive().is_ok());
            if is_owner
                && let Some(number) = open.told.iter().find(is_lost)
                && goes_on()
            {
                return Some(format!(
                    "I3: chunk {number}, which session {id} was told of, is gone, and it goes on"
                ));
            }
        }
        None
    }
}

impl State {
    fn is_rotten(&self, path: &str, number: usize) -> bool {
        self.rotten.get(path).is_some_and(|numbers| numbers.contains(&number))
    }
}

/// What is there at one moment.
pub(crate) struct Kept<'a> {
    pub(crate) has_chunk: &'a dyn Fn(usize) -> bool,
    pub(crate) has_snapshot: &'a dyn Fn(&str) -> bool,
    /// Who has the bucket, or the folder.
    pub(crate) owner: Option<Process>,
}

/// The only index of a snapshot.
pub(crate) const INDEX: &str = "/root.didx";

/// Returns the key of the only index of a snapshot.
pub(crate) fn index_key(path: &str) -> String {
    format!("{path}{INDEX}")
}

pub(crate) fn manifest_key(path: &str) -> String {
    format!("{path}/index.json.blob")
}
