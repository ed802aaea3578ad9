//! Locks of groups and snapshots inside this process.
//!
//! No lock files: the process owns the store (R11). All are try-locks, as in stock servers (spec `formats.md` §10.1):
//! whoever comes second is told so at once. What is waited for is a lock that is given back by itself ([`Hold::Passing`]):
//! whoever has such a one waits for no other, so no order can deadlock. Guards end with their value.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use coldkeep_chunk_store::StoreClock;
use futures_util::future;
use tokio::sync::Notify;

use crate::name::{GroupName, Namespace, SnapshotName};

/// What a lock is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum LockKey {
    Group(Namespace, GroupName),
    Snapshot(Namespace, SnapshotName),
    /// Moves of groups, which collections wait for (R16). It passes, although who has it may wait for other locks that pass: who waits
    /// for it has none.
    Moves,
}

/// All locks of one datastore.
#[derive(Debug, Default)]
pub(crate) struct LockTable {
    held: Mutex<HashMap<LockKey, Holders>>,
    /// Told whenever a lock that passes is given back.
    passed: Notify,
}

/// How long somebody keeps what he has alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    /// As long as a client likes.
    Session,
    /// For a removal, a collection's look or a change, which ends by itself and waits for no lock meanwhile.
    Passing,
}

#[derive(Debug)]
enum Holders {
    Exclusive(Hold),
    Shared(usize),
}

/// A lock that somebody else has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Whether it is given back by itself before long.
    pub(crate) passes: bool,
}

impl Holders {
    fn refuse(&self) -> Refused {
        Refused { passes: matches!(self, Self::Exclusive(Hold::Passing)) }
    }
}

/// A held lock; dropping it gives the lock free.
#[derive(Debug)]
pub(crate) struct LockGuard {
    table: Arc<LockTable>,
    key: LockKey,
}

impl LockTable {
    fn lock(&self) -> MutexGuard<'_, HashMap<LockKey, Holders>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the lock alone, unless anyone holds it.
    pub(crate) fn try_exclusive(self: &Arc<Self>, key: LockKey, hold: Hold) -> Result<LockGuard, Refused> {
        let mut held = self.lock();
        if let Some(holders) = held.get(&key) {
            return Err(holders.refuse());
        }
        held.insert(key.clone(), Holders::Exclusive(hold));
        Ok(LockGuard { table: Arc::clone(self), key })
    }

    /// Takes the lock together with other readers, unless someone holds it alone.
    pub(crate) fn try_shared(self: &Arc<Self>, key: LockKey) -> Result<LockGuard, Refused> {
        match self.lock().entry(key.clone()).or_insert(Holders::Shared(0)) {
            Holders::Shared(count) => *count += 1,
            alone @ Holders::Exclusive(_) => return Err(alone.refuse()),
        }
        Ok(LockGuard { table: Arc::clone(self), key })
    }

    /// Waits while somebody has the lock who gives it back by himself; returns whether that came before `until`, on the
    /// monotonic clock.
    pub(crate) async fn has_passed(&self, key: &LockKey, clock: &StoreClock, until: Duration) -> bool {
        loop {
            let mut passed = pin!(self.passed.notified());
            // From here on, not from the first poll: it may be given back between the look and that.
            passed.as_mut().enable();
            if !self.lock().get(key).is_some_and(|holders| holders.refuse().passes) {
                return true;
            }
            let left = until.saturating_sub(clock.monotonic());
            if left.is_zero() {
                return false;
            }
            future::select(passed, clock.sleep(left)).await;
        }
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        let mut held = self.table.lock();
        match held.get_mut(&self.key) {
            Some(Holders::Shared(count)) if *count > 1 => *count -= 1,
            _ => {
                if let Some(Holders::Exclusive(Hold::Passing)) = held.remove(&self.key) {
                    self.table.passed.notify_waiters();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use coldkeep_chunk_store::StoreTime;
    use coldkeep_chunk_store::testing::ManualClock;

    use super::*;

    fn key(text: &str) -> LockKey {
        LockKey::Group(Namespace::root(), text.parse().unwrap())
    }

    #[test]
    fn an_exclusive_lock_keeps_everyone_else_out() {
        let table = Arc::new(LockTable::default());
        let held = table.try_exclusive(key("vm/1"), Hold::Session);
        assert!(held.is_ok());
        assert!(table.try_exclusive(key("vm/1"), Hold::Passing).is_err());
        assert!(table.try_shared(key("vm/1")).is_err());
        assert!(table.try_exclusive(key("vm/2"), Hold::Session).is_ok());
        drop(held);
        assert!(table.try_shared(key("vm/1")).is_ok());
    }

    #[test]
    fn shared_locks_end_with_the_last_holder() {
        let table = Arc::new(LockTable::default());
        let (one, two) = (table.try_shared(key("vm/1")), table.try_shared(key("vm/1")));
        assert!(one.is_ok() && two.is_ok());
        drop(one);
        assert!(table.try_exclusive(key("vm/1"), Hold::Session).is_err());
        drop(two);
        assert!(table.try_exclusive(key("vm/1"), Hold::Session).is_ok());
        assert!(table.lock().is_empty());
    }

    #[tokio::test]
    async fn only_what_passes_is_waited_for_and_not_for_long() {
        let table = Arc::new(LockTable::default());
        let source = Arc::new(ManualClock::at(StoreTime::EPOCH));
        let clock = StoreClock::new(source.clone(), StoreTime::EPOCH);
        let until = Duration::from_secs(30);
        let key = key("vm/1");
        let held = table.try_exclusive(key.clone(), Hold::Session);
        assert!(!table.try_shared(key.clone()).unwrap_err().passes);
        drop(held);
        let held = table.try_shared(key.clone());
        assert!(!table.try_exclusive(key.clone(), Hold::Passing).unwrap_err().passes);
        assert!(table.has_passed(&key, &clock, until).await, "what does not pass is not waited for");
        drop(held);

        let held = table.try_exclusive(key.clone(), Hold::Passing);
        assert!(table.try_shared(key.clone()).unwrap_err().passes);
        let other = table.try_exclusive(super::tests::key("vm/2"), Hold::Passing);
        let gives_back = async {
            source.sleeping(1).await;
            drop(other);
            source.sleeping(1).await;
            drop(held);
        };
        let (has_passed, ()) = tokio::join!(table.has_passed(&key, &clock, until), gives_back);
        assert!(has_passed);

        let _held = table.try_exclusive(key.clone(), Hold::Passing);
        let time_passes = async {
            source.sleeping(1).await;
            source.advance(until);
        };
        let (has_passed, ()) = tokio::join!(table.has_passed(&key, &clock, until), time_passes);
        assert!(!has_passed);
    }
}
