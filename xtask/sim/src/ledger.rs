//! What was promised, and whether it is kept (DESIGN §3).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use coldkeep_chunk_store::Session;

use crate::chunks::{Need, Stored};
use crate::executor::Process;

/// Sessions that were told something, and snapshots that were acknowledged.
#[derive(Default)]
pub(crate) struct Ledger(Mutex<State>);

#[derive(Default)]
struct State {
    sessions: BTreeMap<u64, Open>,
    next_session: u64,
    /// Committed and not given up since: what each path relies on.
    snapshots: BTreeMap<String, Snapshot>,
    /// Chunks of each path that went bad in the bucket, and that nobody has stored again: no rule promises those.
    rotten: BTreeMap<String, BTreeSet<usize>>,
    /// The same, with those that somebody has stored again.
    was_rotten: BTreeMap<String, BTreeSet<usize>>,
    /// How often each chunk went bad.
    rots: BTreeMap<usize, u64>,
    /// Inserts under way of each chunk, by process.
    inserts: BTreeMap<(Process, usize), usize>,
    /// Counts what became known.
    changes: u64,
    /// The first promise that somebody saw broken.
    broken: Option<String>,
    commits: u64,
}

/// A committed snapshot.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    /// Others may have its path later.
    commit: u64,
    pub(crate) needs: Vec<Need>,
}

struct Open {
    /// The session's task holds it, so that nothing here keeps it open.
    session: Weak<Session>,
    /// By number, whether only what the digest names will do.
    told: BTreeMap<usize, bool>,
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
    /// Notes that the session was told that a chunk is stored, and what is.
    pub(crate) fn tell(&self, need: Need, stored: Stored) {
        let state = &mut *self.ledger.lock();
        state.changes += 1;
        // A server that has lost the bucket may be told so by a marker alone.
        if matches!(stored, Stored::Honest | Stored::Claim) {
            // Whatever went bad before: from here on it is there, and stays. A claim in its place helps only those whom it served.
            let is_honest = stored != Stored::Claim;
            for (path, numbers) in &mut state.rotten {
                let needs = state.snapshots.get(path).into_iter().flat_map(|snapshot| &snapshot.needs);
                let mut needs = needs.filter(|other| other.number == need.number);
                if is_honest || needs.all(|need| !need.is_honest) {
                    numbers.remove(&need.number);
                }
            }
        }
        if let Some(open) = state.sessions.get_mut(&self.id) {
            *open.told.entry(need.number).or_default() |= need.is_honest;
        }
    }

    /// Returns what a snapshot of these chunks would rely on.
    pub(crate) fn needs(&self, numbers: &[usize]) -> Vec<Need> {
        let state = self.ledger.lock();
        let told = state.sessions.get(&self.id).map(|open| &open.told);
        let is_honest = |number| told.and_then(|told| told.get(number)).is_some_and(|is_honest| *is_honest);
        numbers.iter().map(|number| Need { number: *number, is_honest: is_honest(number) }).collect()
    }
}

/// An insert under way.
pub(crate) struct Inserting {
    ledger: Arc<Ledger>,
    of: (Process, usize),
    /// Whether no other one of the chunk was under way when it began.
    pub(crate) is_alone: bool,
}

impl Drop for Inserting {
    fn drop(&mut self) {
        if let Some(count) = self.ledger.lock().inserts.get_mut(&self.of) {
            *count -= 1;
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
        state.sessions.insert(id, Open { session: Arc::downgrade(session), told: BTreeMap::new(), process });
        Entry { ledger: Arc::clone(self), id }
    }

    /// Notes that a snapshot is committed; `is_rotten` tells which chunks have gone bad before, and nobody has noticed.
    pub(crate) fn commit(&self, path: &str, needs: Vec<Need>, is_rotten: impl Fn(usize) -> bool) {
        let mut state = self.lock();
        (state.changes, state.commits) = (state.changes + 1, state.commits + 1);
        let rotten: BTreeSet<usize> =
            needs.iter().map(|need| need.number).filter(|number| is_rotten(*number)).collect();
        let commit = state.commits;
        state.snapshots.insert(path.to_owned(), Snapshot { commit, needs });
        state.was_rotten.insert(path.to_owned(), BTreeSet::clone(&rotten));
        state.rotten.insert(path.to_owned(), rotten);
    }

    /// Gives a snapshot up, before anything of it is removed.
    pub(crate) fn forget(&self, path: &str) {
        let mut state = self.lock();
        state.snapshots.remove(path);
        state.rotten.remove(path);
        state.was_rotten.remove(path);
    }

    /// Notes that a stored chunk has gone bad. Until somebody is told that it is stored again, no snapshot can rely on it.
    pub(crate) fn rot(&self, number: usize) {
        let state = &mut *self.lock();
        *state.rots.entry(number).or_default() += 1;
        let relies = |snapshot: &Snapshot| snapshot.needs.iter().any(|need| need.number == number);
        for (path, _) in state.snapshots.iter().filter(|(_, snapshot)| relies(snapshot)) {
            state.rotten.entry(path.clone()).or_default().insert(number);
            state.was_rotten.entry(path.clone()).or_default().insert(number);
        }
    }

    /// Notes that what was stored in a folder and not synced may be gone. That brings back what had gone bad before: only a session
    /// that commits has what it stored made durable, and then for its own snapshot.
    pub(crate) fn lose_power(&self) {
        let state = &mut *self.lock();
        state.rotten.clone_from(&state.was_rotten);
    }

    /// Returns whether a chunk of a snapshot went bad in the bucket.
    pub(crate) fn is_rotten(&self, path: &str, number: usize) -> bool {
        self.lock().is_rotten(path, number)
    }

    /// Returns how often a chunk went bad.
    pub(crate) fn rots(&self, number: usize) -> u64 {
        self.lock().rots.get(&number).copied().unwrap_or_default()
    }

    /// Notes that an insert begins; it ends with what is returned.
    pub(crate) fn begin_insert(self: &Arc<Self>, process: Process, number: usize) -> Inserting {
        let mut state = self.lock();
        let count = state.inserts.entry((process, number)).or_default();
        *count += 1;
        let is_alone = *count == 1;
        Inserting { ledger: Arc::clone(self), of: (process, number), is_alone }
    }

    pub(crate) fn is_committed(&self, path: &str, snapshot: &Snapshot) -> bool {
        self.lock().snapshots.get(path).is_some_and(|committed| committed.commit == snapshot.commit)
    }

    pub(crate) fn snapshots(&self) -> BTreeMap<String, Snapshot> {
        self.lock().snapshots.clone()
    }

    /// Returns a committed snapshot.
    pub(crate) fn pick(&self, number: usize) -> Option<(String, Snapshot)> {
        let state = self.lock();
        let count = state.snapshots.len();
        let (path, snapshot) = state.snapshots.iter().nth(number.checked_rem(count)?)?;
        Some((path.clone(), snapshot.clone()))
    }

    pub(crate) fn changes(&self) -> u64 {
        self.lock().changes
    }

    pub(crate) fn commits(&self) -> u64 {
        self.lock().commits
    }

    /// Notes a promise that somebody saw broken.
    pub(crate) fn report(&self, what: String) {
        let mut state = self.lock();
        state.changes += 1;
        state.broken.get_or_insert(what);
    }

    /// Returns the first promise that is broken at this moment.
    pub(crate) fn broken(&self, kept: &Kept<'_>) -> Option<String> {
        let state = self.lock();
        if let Some(broken) = &state.broken {
            return Some(broken.clone());
        }
        let is_lost = |need: &Need| !(kept.has_chunk)(*need);
        for (path, Snapshot { needs, .. }) in &state.snapshots {
            let is_broken = |need: &&Need| is_lost(need) && !state.is_rotten(path, need.number);
            if let Some(Need { number, .. }) = needs.iter().find(is_broken) {
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
            let mut told =
                open.told.iter().map(|(number, is_honest)| Need { number: *number, is_honest: *is_honest });
            if is_owner
                && let Some(Need { number, .. }) = told.find(is_lost)
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
    pub(crate) has_chunk: &'a dyn Fn(Need) -> bool,
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
