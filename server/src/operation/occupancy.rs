//! Which datastores something is being done on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use coldkeep_datastore::StoreName;
use tokio::sync::Notify;

/// The datastores that operations run on; clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Occupancy {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    counts: Mutex<BTreeMap<StoreName, usize>>,
    // Told when a store becomes free.
    freed: Notify,
}

/// A datastore counts as occupied while this exists.
#[derive(Debug)]
pub(crate) struct Occupied {
    inner: Arc<Inner>,
    store: StoreName,
}

impl Occupancy {
    /// Counts an operation on a datastore.
    pub(crate) fn enter(&self, store: &StoreName) -> Occupied {
        *self.inner.lock().entry(store.clone()).or_default() += 1;
        Occupied { inner: Arc::clone(&self.inner), store: store.clone() }
    }

    /// Lists the datastores that are occupied.
    pub(crate) fn stores(&self) -> BTreeSet<StoreName> {
        self.inner.lock().keys().cloned().collect()
    }

    /// Completes when a datastore has become free since the last call.
    ///
    /// # Cancel safety
    /// Nothing is missed if the future is dropped before it completes.
    pub(crate) async fn freed(&self) {
        self.inner.freed.notified().await;
    }
}

impl Inner {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<StoreName, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        let mut counts = self.inner.lock();
        let Some(count) = counts.get_mut(&self.store) else { return };
        *count -= 1;
        if *count == 0 {
            counts.remove(&self.store);
            drop(counts);
            self.inner.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_store_is_free_when_the_last_operation_on_it_has_ended() {
        let occupancy = Occupancy::default();
        let [a, b] = ["tank", "other"].map(|name| name.parse::<StoreName>().unwrap());
        let (first, second, other) = (occupancy.enter(&a), occupancy.enter(&a), occupancy.enter(&b));
        drop(first);
        assert_eq!(occupancy.stores(), [a.clone(), b.clone()].into());
        drop(other);
        // Noted though nobody waited.
        occupancy.freed().await;
        assert_eq!(occupancy.stores(), [a].into());
        drop(second);
        occupancy.freed().await;
        assert!(occupancy.stores().is_empty());
    }
}
