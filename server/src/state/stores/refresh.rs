//! Rebuilding the local state of a datastore from its bucket.

use std::sync::Arc;
use std::time::Duration;

use coldkeep_chunk_store::bucket::{RebuildProgress, Takeover};
use coldkeep_datastore::StoreName;
use tokio_util::sync::CancellationToken;

use super::buckets::How;
use super::slot::{OpenStore, Opening, Slot, leaving};
use super::{StoreConfig, Stores, StoresError};
use crate::bucket::describe_rebuild;

/// How often to look whether a store is still in use, and how far a rebuild is.
const POLL: Duration = Duration::from_millis(200);
/// How long to wait for background work of a store that was closed; an open after that fails with the reason.
const SHUT_WAIT: Duration = Duration::from_secs(30);
/// How long the removal of a store waits for sessions that are just ending.
const IN_USE_WAIT: Duration = Duration::from_secs(2);

impl Stores {
    /// Rebuilds the local state of a store from its bucket: new sessions are refused from now on, running ones may end,
    /// then the store is closed and opened anew. `tell` hears of each change of its state.
    ///
    /// Before the store is closed, `stop` leaves everything as it was; after that the rebuild goes on at the next open.
    pub(crate) async fn refresh(
        self: &Arc<Self>,
        name: &StoreName,
        takeover: Takeover,
        stop: &CancellationToken,
        mut tell: impl FnMut(String),
    ) -> Result<(), StoresError> {
        let config = self.config(name)?;
        if config.bucket().is_none() {
            return Err(StoresError::NotInBucket { name: name.clone() });
        }
        let (open, opening) = self.begin_refresh(name)?;
        // Whatever ends this future early, nobody waits for ever.
        let guard = EndOpening { stores: self, config: &config, opening: &opening };
        if let Some(open) = open {
            tell("waiting for the end of running sessions".to_owned());
            if stop.run_until_cancelled(unused(&open)).await.is_none() {
                guard.end(Slot::Open(open));
                return Err(StoresError::Stopped);
            }
            self.shut(open).await;
        }
        let reopened = self.reopen(&config, How { is_new: false, rebuild: true, takeover }, &opening);
        let reopened = stop.run_until_cancelled(telling(reopened, &opening, &mut tell)).await;
        match reopened.unwrap_or(Err(StoresError::Stopped)) {
            Ok(open) => {
                guard.end(Slot::Open(open));
                Ok(())
            }
            Err(error @ StoresError::Stopped) => {
                self.let_go(&config).await;
                guard.end(Slot::Idle);
                Err(error)
            }
            Err(error) => {
                guard.end(Slot::failed(name, &error));
                Err(error)
            }
        }
    }

    /// Closes a store that nobody uses any more, and waits until its folder can be opened again.
    pub(super) async fn shut(&self, open: OpenStore) {
        self.close_one(&open).await;
        let bucket = open.store.chunks().as_bucket().map(Arc::downgrade);
        drop(open);
        // What goes on in the background notices the close.
        let gone = async {
            while bucket.as_ref().is_some_and(|bucket| bucket.strong_count() > 0) {
                tokio::time::sleep(POLL).await;
            }
        };
        let _ = tokio::time::timeout(SHUT_WAIT, gone).await;
    }

    /// Marks the store as being opened, and returns it if it was open.
    fn begin_refresh(&self, name: &StoreName) -> Result<(Option<OpenStore>, Arc<Opening>), StoresError> {
        let opening = Arc::new(Opening::default());
        let mut stores = self.lock();
        let store = stores.get_mut(name).ok_or_else(|| StoresError::Unknown { name: name.clone() })?;
        if let slot @ Slot::Opening(_) = &store.slot {
            return Err(slot.open(name).err().unwrap_or(StoresError::InUse { name: name.clone() }));
        }
        if matches!(store.slot, Slot::Leaving) {
            return Err(leaving(name));
        }
        let before = std::mem::replace(&mut store.slot, Slot::Opening(Arc::clone(&opening)));
        let open = if let Slot::Open(open) = before { Some(open) } else { None };
        Ok((open, opening))
    }

    /// Takes a store from those who would use it, for its removal: `None` if it was not open. The caller has its turn to
    /// change the list.
    pub(super) async fn take_slot(
        self: &Arc<Self>,
        name: &StoreName,
    ) -> Result<Option<OpenStore>, StoresError> {
        match self.slot(name)? {
            Slot::Opening(opening) => opening.ended().await,
            // It is the caller's turn, so that this is left from a removal that was dropped: it goes on.
            Slot::Leaving => return Ok(None),
            _ => {}
        }
        let (open, opening) = self.begin_refresh(name)?;
        opening.end();
        self.set_slot(name, Slot::Leaving);
        let Some(open) = open else { return Ok(None) };
        if tokio::time::timeout(IN_USE_WAIT, unused(&open)).await.is_err() {
            self.set_slot(name, Slot::Open(open));
            return Err(StoresError::InUse { name: name.clone() });
        }
        Ok(Some(open))
    }
}

/// Puts the store back into some state when a refresh ends, however it ends.
struct EndOpening<'a> {
    stores: &'a Stores,
    config: &'a StoreConfig,
    opening: &'a Opening,
}

impl EndOpening<'_> {
    fn end(self, slot: Slot) {
        self.stores.set_slot(&self.config.name, slot);
    }
}

impl Drop for EndOpening<'_> {
    fn drop(&mut self) {
        let is_ours = matches!(self.stores.slot(&self.config.name), Ok(Slot::Opening(current)) if std::ptr::eq(&raw const *current, self.opening));
        if is_ours {
            self.stores.set_slot(&self.config.name, Slot::Idle);
        }
        self.opening.end();
    }
}

/// Waits until nobody else uses the store.
async fn unused(open: &OpenStore) {
    while Arc::strong_count(&open.store) > 1 {
        tokio::time::sleep(POLL).await;
    }
}

/// Does the work and tells of its progress meanwhile.
async fn telling<T>(work: impl Future<Output = T>, opening: &Opening, tell: &mut impl FnMut(String)) -> T {
    let mut work = std::pin::pin!(work);
    let mut told: Option<RebuildProgress> = None;
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(POLL) => {}
        }
        let progress = opening.progress();
        let tenth = |at: RebuildProgress| (at.done * 10).checked_div(at.total);
        let is_new = progress.map(|at| (at.phase, tenth(at))) != told.map(|at| (at.phase, tenth(at)));
        if is_new {
            told = progress;
            tell(describe_rebuild(progress));
        }
    }
}
