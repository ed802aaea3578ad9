//! lock(d): one asynchronous lock per digest, striped (DESIGN §4).
//!
//! Lock order: the locks of a batch are taken in ascending order of their stripes and all at once; whoever holds a
//! guard takes no second one. No other lock of this crate is held across an await.

use std::sync::{Arc, Weak};

use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::digest::Digest;

/// Enough that the few dozen operations under way at a time seldom meet, few enough to cost nothing.
const STRIPES: usize = 1024;

/// The locks of all digests of one store.
#[derive(Debug)]
pub struct DigestLocks {
    stripes: Vec<Arc<Mutex<()>>>,
}

impl DigestLocks {
    /// Makes the locks, all free.
    pub fn new() -> Self {
        Self { stripes: (0..STRIPES).map(|_| Arc::default()).collect() }
    }

    /// Waits for the lock of one digest.
    ///
    /// # Cancel safety
    /// Dropping the future takes nothing.
    pub async fn lock(&self, digest: &Digest) -> DigestGuard {
        self.lock_stripes(vec![stripe_of(digest)]).await
    }

    /// Waits for the locks of several digests.
    ///
    /// # Cancel safety
    /// Dropping the future gives back what was taken so far.
    pub async fn lock_all(&self, digests: impl IntoIterator<Item = &Digest>) -> DigestGuard {
        let mut stripes: Vec<_> = digests.into_iter().map(stripe_of).collect();
        stripes.sort_unstable();
        stripes.dedup();
        self.lock_stripes(stripes).await
    }

    /// Waits for the locks of all digests: until whatever is under way has ended, and keeps everybody out.
    pub(crate) async fn lock_every(&self) -> DigestGuard {
        self.lock_stripes((0..STRIPES).collect()).await
    }

    async fn lock_stripes(&self, stripes: Vec<usize>) -> DigestGuard {
        let mut guards = Vec::with_capacity(stripes.len());
        for stripe in &stripes {
            guards.push(Arc::clone(&self.stripes[*stripe]).lock_owned().await);
        }
        DigestGuard(Arc::new(Held { stripes, _guards: guards }))
    }
}

impl Default for DigestLocks {
    fn default() -> Self {
        Self::new()
    }
}

/// The bytes that name the prefix folder are left out: the digests of one folder are locked together by the sweep.
fn stripe_of(digest: &Digest) -> usize {
    let bytes = digest.as_bytes();
    usize::from(u16::from_be_bytes([bytes[2], bytes[3]])) % STRIPES
}

/// Proof that the locks of some digests are held; they are free again once every clone is dropped.
#[derive(Debug, Clone)]
pub struct DigestGuard(Arc<Held>);

#[derive(Debug)]
struct Held {
    stripes: Vec<usize>,
    _guards: Vec<OwnedMutexGuard<()>>,
}

impl DigestGuard {
    /// Returns whether lock(`digest`) is among those held.
    pub fn covers(&self, digest: &Digest) -> bool {
        self.0.stripes.binary_search(&stripe_of(digest)).is_ok()
    }

    /// Returns a look at this guard that does not hold the locks.
    pub(crate) fn watch(&self) -> GuardWatch {
        GuardWatch(Arc::downgrade(&self.0))
    }
}

/// Tells whether a guard, or a clone of it on another thread, is still there.
#[derive(Debug)]
pub(crate) struct GuardWatch(Weak<Held>);

impl GuardWatch {
    pub(crate) fn is_held(&self) -> bool {
        self.0.upgrade().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(stripe: u16) -> Digest {
        let mut bytes = [0; 32];
        bytes[2..4].copy_from_slice(&stripe.to_be_bytes());
        Digest::from_bytes(bytes)
    }

    #[tokio::test]
    async fn a_lock_is_free_only_when_every_clone_is_gone() {
        let locks = DigestLocks::new();
        let guard = locks.lock(&digest(1)).await;
        let clone = guard.clone();
        drop(guard);
        let stripe = Arc::clone(&locks.stripes[1]);
        assert!(stripe.try_lock().is_err());
        drop(clone);
        assert!(stripe.try_lock().is_ok());
    }

    #[tokio::test]
    async fn a_batch_covers_its_digests_and_no_others() {
        let locks = DigestLocks::new();
        let guard = locks.lock_all(&[digest(5), digest(3), digest(5)]).await;
        assert!(guard.covers(&digest(3)) && guard.covers(&digest(5)));
        assert!(!guard.covers(&digest(4)));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn batches_in_opposite_order_do_not_wait_for_each_other_for_ever() {
        let locks = Arc::new(DigestLocks::new());
        let tasks: Vec<_> = (0..2)
            .map(|i| {
                let locks = Arc::clone(&locks);
                tokio::spawn(async move {
                    for _ in 0..1000 {
                        let batch = if i == 0 { [digest(1), digest(2)] } else { [digest(2), digest(1)] };
                        let guard = locks.lock_all(&batch).await;
                        tokio::task::yield_now().await;
                        drop(guard);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    }
}
