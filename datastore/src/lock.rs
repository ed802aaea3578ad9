//! Locks of groups and snapshots inside this process.
//!
//! No lock files: the process owns the store (R11). All are try-locks, as in stock servers (spec `formats.md` §10.1):
//! whoever comes second is told so at once. Guards end with their value. Lock order: group, then snapshots; nobody
//! waits, so no order can deadlock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::name::{GroupName, Namespace, SnapshotName};

/// What a lock is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum LockKey {
    Group(Namespace, GroupName),
    Snapshot(Namespace, SnapshotName),
}

/// All locks of one datastore.
#[derive(Debug, Default)]
pub(crate) struct LockTable {
    held: Mutex<HashMap<LockKey, Holders>>,
}

#[derive(Debug)]
enum Holders {
    Exclusive,
    Shared(usize),
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

    /// Takes the lock alone; `None` if anyone holds it.
    pub(crate) fn try_exclusive(self: &Arc<Self>, key: LockKey) -> Option<LockGuard> {
        let mut held = self.lock();
        if held.contains_key(&key) {
            return None;
        }
        held.insert(key.clone(), Holders::Exclusive);
        Some(LockGuard { table: Arc::clone(self), key })
    }

    /// Takes the lock together with other readers; `None` if someone holds it alone.
    pub(crate) fn try_shared(self: &Arc<Self>, key: LockKey) -> Option<LockGuard> {
        match self.lock().entry(key.clone()).or_insert(Holders::Shared(0)) {
            Holders::Exclusive => return None,
            Holders::Shared(count) => *count += 1,
        }
        Some(LockGuard { table: Arc::clone(self), key })
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        let mut held = self.table.lock();
        match held.get_mut(&self.key) {
            Some(Holders::Shared(count)) if *count > 1 => *count -= 1,
            _ => {
                held.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> LockKey {
        LockKey::Group(Namespace::root(), text.parse().unwrap())
    }

    #[test]
    fn an_exclusive_lock_keeps_everyone_else_out() {
        let table = Arc::new(LockTable::default());
        let held = table.try_exclusive(key("vm/1"));
        assert!(held.is_some());
        assert!(table.try_exclusive(key("vm/1")).is_none() && table.try_shared(key("vm/1")).is_none());
        assert!(table.try_exclusive(key("vm/2")).is_some());
        drop(held);
        assert!(table.try_shared(key("vm/1")).is_some());
    }

    #[test]
    fn shared_locks_end_with_the_last_holder() {
        let table = Arc::new(LockTable::default());
        let (one, two) = (table.try_shared(key("vm/1")), table.try_shared(key("vm/1")));
        assert!(one.is_some() && two.is_some());
        drop(one);
        assert!(table.try_exclusive(key("vm/1")).is_none());
        drop(two);
        assert!(table.try_exclusive(key("vm/1")).is_some());
        assert!(table.lock().is_empty());
    }
}
