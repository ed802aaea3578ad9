//! Downloads under way: one for each chunk however many wait for it, and a bounded number in all.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use super::shared_error::copy_of;
use crate::blob::Blob;
use crate::digest::Digest;
use crate::store::LoadError;

/// Most downloads at once: 128 MiB of chunks of the usual 4 MiB, 512 MiB if all have the most that a chunk may have. At
/// 30 ms for an answer that is a gigabyte a second.
const DOWNLOADS_MAX: usize = 32;

/// One download; its outcome is there for everybody who waited for it.
type Flight = OnceCell<Result<Blob, Arc<LoadError>>>;

/// Downloads under way: concurrent readers of one chunk share one.
#[derive(Debug)]
pub(super) struct Flights {
    /// Each with the number of those who wait for it.
    under_way: Mutex<BTreeMap<Digest, (Arc<Flight>, usize)>>,
    turns: Semaphore,
}

impl Default for Flights {
    fn default() -> Self {
        Self { under_way: Mutex::default(), turns: Semaphore::new(DOWNLOADS_MAX) }
    }
}

impl Flights {
    /// Waits for the turn of one download, which ends when the permit is dropped.
    pub(super) async fn turn(&self) -> SemaphorePermit<'_> {
        self.turns.acquire().await.expect("invariant: nobody closes the semaphore")
    }

    /// Returns whether a chunk is being downloaded.
    pub(super) fn is_under_way(&self, digest: &Digest) -> bool {
        self.lock().contains_key(digest)
    }

    /// Waits for the download of a chunk that is under way, or does it.
    ///
    /// If the caller who does it is dropped, the next one who waits starts anew.
    pub(super) async fn join<F>(
        &self,
        digest: &Digest,
        download: impl FnOnce() -> F + Send,
    ) -> Result<Blob, LoadError>
    where
        F: Future<Output = Result<Blob, LoadError>> + Send,
    {
        let seat = self.take_seat(digest);
        let landed = seat.flight.get_or_init(|| async { download().await.map_err(Arc::new) }).await;
        match landed {
            Ok(blob) => Ok(blob.clone()),
            Err(error) => Err(copy_of(error)),
        }
    }

    fn take_seat(&self, digest: &Digest) -> Seat<'_> {
        let mut under_way = self.lock();
        let (flight, seats) = under_way.entry(*digest).or_default();
        if flight.initialized() {
            // Whoever comes later gets what is true later.
            (*flight, *seats) = Default::default();
        }
        *seats += 1;
        Seat { flights: self, digest: *digest, flight: Arc::clone(flight) }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Digest, (Arc<Flight>, usize)>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who waits for a flight; the last one to leave takes it off the list.
struct Seat<'a> {
    flights: &'a Flights,
    digest: Digest,
    flight: Arc<Flight>,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut under_way = self.flights.lock();
        let Entry::Occupied(mut entry) = under_way.entry(self.digest) else { return };
        let (flight, seats) = entry.get_mut();
        if !Arc::ptr_eq(flight, &self.flight) {
            return;
        }
        *seats -= 1;
        if *seats == 0 || flight.initialized() {
            entry.remove();
        }
    }
}
