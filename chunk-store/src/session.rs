//! Open sessions and the run in progress: what the cutoff is made of (R13).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::digest::Digest;
use crate::digest_set::DigestSet;
use crate::switch::is_off;
use crate::time::{StoreClock, StoreTime};

/// All open sessions of a store, and whether a run is in progress.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    sessions: BTreeMap<u64, Arc<State>>,
    next_id: u64,
    run: bool,
}

#[derive(Debug)]
struct State {
    started_at: StoreTime,
    cache: CacheUse,
    told: Mutex<DigestSet>,
    failed: Mutex<Option<SessionFailed>>,
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a session; its start is read while the registry is locked, so that no cutoff can fall in between.
    pub(crate) fn begin_session(
        self: &Arc<Self>,
        clock: &StoreClock,
        set_key: u64,
        cache: CacheUse,
    ) -> Session {
        let mut inner = self.lock();
        let state = Arc::new(State {
            started_at: clock.now(),
            cache,
            told: Mutex::new(DigestSet::with_key(set_key)),
            failed: Mutex::new(None),
        });
        let id = inner.next_id;
        inner.next_id += 1;
        inner.sessions.insert(id, Arc::clone(&state));
        Session { id, state, registry: Arc::clone(self) }
    }

    /// Registers a run and evaluates its cutoff (R13); `None` while another run is in progress (R7).
    pub(crate) fn begin_run(
        self: &Arc<Self>,
        clock: &StoreClock,
        grace: Duration,
        margin: Duration,
    ) -> Option<Run> {
        let mut inner = self.lock();
        if std::mem::replace(&mut inner.run, true) {
            return None;
        }
        let started_at = clock.now();
        let oldest_session_at = inner.sessions.values().map(|state| state.started_at).min();
        let mut bound = started_at.minus(grace);
        if !is_off("r13") {
            bound = oldest_session_at.map_or(bound, |oldest| oldest.min(bound));
        }
        let cutoff = bound.minus(margin);
        Some(Run { started_at, oldest_session_at, cutoff, registry: Arc::clone(self) })
    }

    /// Returns whether no session is open.
    pub(crate) fn is_idle(&self) -> bool {
        self.lock().sessions.is_empty()
    }

    /// Fails every open session that was told that `digest` is stored; returns how many.
    pub(crate) fn fail_told(&self, digest: &Digest) -> usize {
        let inner = self.lock();
        let told = inner.sessions.values().filter(|state| lock(&state.told).contains(digest));
        told.map(|state| *lock(&state.failed) = Some(SessionFailed::ChunkLost { digest: *digest })).count()
    }

    /// Fails every open session, and every later one by way of the store, which is closed (R10).
    pub(crate) fn fail_all(&self, failed: SessionFailed) {
        for state in self.lock().sessions.values() {
            lock(&state.failed).get_or_insert(failed);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A session must not be committed; the backup must be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionFailed {
    /// A chunk that the session relies on was found corrupt or missing (R14, R15).
    #[error("chunk {digest}, which this session relies on, is damaged; run the backup again")]
    ChunkLost {
        /// The chunk.
        digest: Digest,
    },
    /// Another server has taken the bucket over (R10).
    #[error("another server has taken over the bucket of this datastore; this one no longer writes to it")]
    Superseded,
}

/// Whether a session's uploads go into the local cache of an S3-backed store; other stores have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheUse {
    /// They do.
    #[default]
    Keep,
    /// Only their markers are placed.
    Skip,
}

/// One backup writer or one pull, from its start to its end; dropping it ends the session.
///
/// While it is open, no chunk that it was told of is collected (I3): its start bounds the cutoff of every run (R13).
#[derive(Debug)]
pub struct Session {
    id: u64,
    state: Arc<State>,
    registry: Arc<Registry>,
}

impl Session {
    /// Returns when the session started, in the store clock.
    pub fn started_at(&self) -> StoreTime {
        self.state.started_at
    }

    /// Returns whether the chunks that the session uploads are to be cached.
    pub fn cache_use(&self) -> CacheUse {
        self.state.cache
    }

    /// Checks that nothing this session relies on was lost; a commit is acknowledged only after this (I3).
    ///
    /// # Errors
    /// [`SessionFailed`]: the session must not be committed.
    pub fn check_alive(&self) -> Result<(), SessionFailed> {
        lock(&self.state.failed).map_or(Ok(()), Err)
    }

    /// Remembers that the session was told that `digests` are stored.
    pub(crate) fn tell<'a>(&self, digests: impl IntoIterator<Item = &'a Digest>) {
        let mut told = lock(&self.state.told);
        for digest in digests {
            told.insert(digest);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.registry.lock().sessions.remove(&self.id);
    }
}

/// One collection run, from its start to its end; dropping it ends the run.
#[derive(Debug)]
pub struct Run {
    started_at: StoreTime,
    oldest_session_at: Option<StoreTime>,
    cutoff: StoreTime,
    registry: Arc<Registry>,
}

impl Run {
    /// Returns when the run started.
    pub fn started_at(&self) -> StoreTime {
        self.started_at
    }

    /// Returns the instant before which an unreferenced chunk may be collected (R13).
    pub fn cutoff(&self) -> StoreTime {
        self.cutoff
    }

    /// Returns the start of the oldest session that was open when the run started.
    pub fn oldest_session_at(&self) -> Option<StoreTime> {
        self.oldest_session_at
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.registry.lock().run = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::ManualClock;

    fn clock() -> (Arc<ManualClock>, StoreClock) {
        let source = Arc::new(ManualClock::at(StoreTime::from_unix(1_000_000, 0)));
        (source.clone(), StoreClock::new(source, StoreTime::EPOCH))
    }

    #[test]
    fn the_cutoff_is_bounded_by_grace_and_by_the_oldest_open_session() {
        let (source, clock) = clock();
        let registry = Arc::new(Registry::default());
        let hour = Duration::from_hours(1);
        let old = registry.begin_session(&clock, 0, CacheUse::Keep);
        source.advance(10 * hour);
        let young = registry.begin_session(&clock, 0, CacheUse::Keep);
        let run = registry.begin_run(&clock, hour, Duration::ZERO).unwrap();
        assert_eq!(run.cutoff(), old.started_at());
        drop((run, old));
        source.advance(10 * hour);
        let run = registry.begin_run(&clock, hour, Duration::from_secs(5)).unwrap();
        assert_eq!(run.cutoff(), young.started_at().minus(Duration::from_secs(5)));
        drop((run, young));
        let run = registry.begin_run(&clock, hour, Duration::ZERO).unwrap();
        assert_eq!(run.cutoff(), run.started_at().minus(hour));
    }

    #[test]
    fn one_run_at_a_time() {
        let (_, clock) = clock();
        let registry = Arc::new(Registry::default());
        let run = registry.begin_run(&clock, Duration::ZERO, Duration::ZERO);
        assert!(registry.begin_run(&clock, Duration::ZERO, Duration::ZERO).is_none());
        drop(run);
        assert!(registry.begin_run(&clock, Duration::ZERO, Duration::ZERO).is_some());
    }

    #[test]
    fn only_sessions_that_were_told_of_a_lost_chunk_fail() {
        let (_, clock) = clock();
        let registry = Arc::new(Registry::default());
        let (told, other) = (
            registry.begin_session(&clock, 0, CacheUse::Keep),
            registry.begin_session(&clock, 0, CacheUse::Keep),
        );
        let digest = Digest::of(b"abc");
        told.tell([&digest]);
        assert_eq!(registry.fail_told(&digest), 1);
        assert_eq!(told.check_alive(), Err(SessionFailed::ChunkLost { digest }));
        assert_eq!(other.check_alive(), Ok(()));
    }
}
