//! Waiting until a digest is out of the journal (R8).

use std::pin::pin;
use std::time::Duration;

use futures_util::future::select;

use super::BucketStore;
use super::journal::Standing;
use crate::backend::ObjectBackend;
use crate::digest::Digest;
use crate::dir::MarkerDir;
use crate::locks::DigestGuard;
use crate::store::StoreError;

/// Between two looks at the backend's clock: the time that is left, but within these bounds.
const POLL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

impl<D: MarkerDir, B: ObjectBackend> BucketStore<D, B> {
    /// Takes lock(d) of a digest that is free then: one that is only condemned is taken out of its batch, and one that is
    /// journalled is waited for (R8).
    ///
    /// While the deletes of its entry are under way, whoever sends them ends the wait: by settling the entry, or by putting
    /// it in limbo. From there on the backend's clock does (R9).
    pub(super) async fn lock_settled(&self, digest: &Digest) -> Result<DigestGuard, StoreError> {
        loop {
            // Made before the look at the journal, so that no change is missed.
            let mut changed = pin!(self.journal.changed());
            changed.as_mut().enable();
            let held = self.locks.lock(digest).await;
            self.check_open()?;
            if self.journal.rescue(digest) != Standing::Journalled {
                return Ok(held);
            }
            drop(held);
            if self.journal.limbo_of(digest).is_none() {
                changed.await;
                continue;
            }
            self.expire_by_date().await?;
            let Some(until) = self.journal.limbo_of(digest) else { continue };
            let ends_at = until.plus(self.options.lifetimes.margin);
            let left = ends_at.since(self.backend_clock.estimate(&self.clock));
            select(changed, self.clock.sleep(left.clamp(POLL.0, POLL.1))).await;
        }
    }
}
