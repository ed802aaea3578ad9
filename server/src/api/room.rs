//! Room in memory that all sessions share, in bytes: of which no user can hold more than a share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use coldkeep_chunk_store::blob::BLOB_ENCODED_BYTES_MAX;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::ApiError;
use crate::auth::AuthId;

/// Most users whose shares are remembered while they hold nothing.
const USERS_MAX: usize = 1024;

/// A share has room for so many of the largest chunks, if there is that much: what one reader asks for at once.
const SHARE_CHUNKS_MIN: usize = 4;

/// What all sessions have together.
#[derive(Debug, Clone)]
pub(crate) struct WholeRoom {
    permits: Arc<Semaphore>,
    bytes_max: usize,
    waiting: Arc<AtomicUsize>,
    shares: Arc<Mutex<BTreeMap<String, Weak<Share>>>>,
}

/// What one user can have of it.
#[derive(Debug)]
struct Share {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// The same for the sessions of one user, with all tokens: at most half of it is theirs, or four of the largest chunks, so that whoever
/// holds everything that one user can hold, and gives nothing back, leaves room for others.
#[derive(Debug, Clone)]
pub(crate) struct UserRoom {
    whole: WholeRoom,
    share: Arc<Share>,
    share_bytes: usize,
}

/// Room that is held; it is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct HeldRoom {
    share: OwnedSemaphorePermit,
    whole: OwnedSemaphorePermit,
    // A user whose room is held has the same share again.
    _of: Arc<Share>,
}

/// Somebody who waits.
struct Waiting<'a>(&'a AtomicUsize);

impl WholeRoom {
    pub(crate) fn new(bytes_max: usize) -> Self {
        let permits = Arc::new(Semaphore::new(bytes_max));
        Self { permits, bytes_max, waiting: Arc::default(), shares: Arc::default() }
    }

    /// Returns the room as a user has it.
    pub(crate) fn of_user(&self, who: &AuthId) -> UserRoom {
        let share_bytes =
            (self.bytes_max / 2).max(SHARE_CHUNKS_MIN * BLOB_ENCODED_BYTES_MAX).min(self.bytes_max);
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let known = shares.get(who.user()).and_then(Weak::upgrade);
        let share = known.unwrap_or_else(|| {
            if shares.len() >= USERS_MAX {
                shares.retain(|_, share| share.strong_count() > 0);
            }
            let permits = Arc::new(Semaphore::new(share_bytes));
            let share = Arc::new(Share { permits, waiting: AtomicUsize::new(0) });
            shares.insert(who.user().to_owned(), Arc::downgrade(&share));
            share
        });
        UserRoom { whole: self.clone(), share, share_bytes }
    }
}

impl UserRoom {
    /// Waits for so many bytes, or for the whole share. Whoever came first is first, among the user's sessions and then among all, so nobody
    /// starves.
    ///
    /// # Cancel safety
    /// Dropping the future gives the place in the queue up.
    pub(crate) async fn enter(&self, bytes: usize) -> Result<HeldRoom, ApiError> {
        let weight = u32::try_from(bytes.min(self.share_bytes)).unwrap_or(u32::MAX);
        // The share first: who waits for the own one must not stand in the way of others.
        let share = take(&self.share.permits, weight, &self.share.waiting).await?;
        let whole = take(&self.whole.permits, weight, &self.whole.waiting).await?;
        Ok(HeldRoom { share, whole, _of: Arc::clone(&self.share) })
    }

    /// Returns how many of the largest chunks fit at once, at least one: a session that asks for more would wait for itself.
    pub(crate) fn chunks_max(&self) -> usize {
        (self.share_bytes / BLOB_ENCODED_BYTES_MAX).max(1)
    }

    /// Tells whether somebody waits for room: another session of the user for that of the share, or anybody for that of all.
    pub(crate) fn is_wanted(&self) -> bool {
        [&self.share.waiting, &*self.whole.waiting].iter().any(|waiting| waiting.load(Ordering::Relaxed) > 0)
    }
}

async fn take(
    permits: &Arc<Semaphore>,
    weight: u32,
    waiting: &AtomicUsize,
) -> Result<OwnedSemaphorePermit, ApiError> {
    if let Ok(permit) = Arc::clone(permits).try_acquire_many_owned(weight) {
        return Ok(permit);
    }
    let _waiting = Waiting::begin(waiting);
    let permit = Arc::clone(permits).acquire_many_owned(weight).await;
    permit.map_err(|_| ApiError::bad_request("the server is shutting down"))
}

impl HeldRoom {
    /// Gives back what is not needed.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        for permit in [&mut self.share, &mut self.whole] {
            let spare = permit.num_permits().saturating_sub(bytes);
            drop(permit.split(spare));
        }
    }
}

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> AuthId {
        name.parse().unwrap()
    }

    const LARGEST: usize = BLOB_ENCODED_BYTES_MAX;

    #[tokio::test]
    async fn who_holds_all_that_one_user_can_keeps_nobody_else_waiting() {
        let whole = WholeRoom::new(8 * LARGEST);
        let (ann, token, bob) = (
            whole.of_user(&user("ann@pbs")),
            whole.of_user(&user("ann@pbs!t")),
            whole.of_user(&user("bob@pbs")),
        );
        let mut held = Vec::new();
        for room in [&ann, &token, &ann, &token] {
            held.push(room.enter(LARGEST).await.unwrap());
        }
        let mut more = Box::pin(ann.enter(LARGEST));
        assert!(futures_util::poll!(&mut more).is_pending());
        assert!(ann.is_wanted() && !bob.is_wanted(), "who waits for the own share wants nothing of others");
        for _ in 0..4 {
            held.push(bob.enter(LARGEST).await.unwrap());
        }
        held.remove(0);
        more.await.unwrap();
    }

    #[tokio::test]
    async fn who_waits_for_others_is_counted_until_the_room_is_there() {
        let whole = WholeRoom::new(4 * LARGEST);
        let (ann, bob) = (whole.of_user(&user("ann@pbs")), whole.of_user(&user("bob@pbs")));
        let mut held = ann.enter(9 * LARGEST).await.unwrap();
        let mut waits = Box::pin(bob.enter(LARGEST));
        assert!(futures_util::poll!(&mut waits).is_pending());
        assert!(ann.is_wanted() && bob.is_wanted());
        held.shrink_to(3 * LARGEST);
        waits.await.unwrap();
        assert!(!ann.is_wanted());
        let mut gone = Box::pin(bob.enter(2 * LARGEST));
        assert!(futures_util::poll!(&mut gone).is_pending() && ann.is_wanted());
        drop(gone);
        assert!(!ann.is_wanted());
    }

    #[tokio::test]
    async fn shares_are_forgotten_with_the_sessions_that_have_them() {
        let whole = WholeRoom::new(LARGEST);
        let kept = whole.of_user(&user("kept@pbs"));
        let held = kept.enter(LARGEST).await.unwrap();
        for number in 0..2 * USERS_MAX {
            whole.of_user(&user(&format!("u{number}@pbs")));
        }
        assert!(whole.shares.lock().unwrap().len() <= USERS_MAX);
        let again = whole.of_user(&user("kept@pbs"));
        assert!(futures_util::poll!(&mut Box::pin(again.enter(1))).is_pending());
        drop(held);
    }
}
