//! Journalled deletes on their way: what every batch and every chunk that is set aside goes through (R7, R9, R15).

use std::collections::BTreeSet;
use std::time::Duration;

use super::LOCKED_MAX;
use crate::backend::{ObjectBackend, ObjectKey, Validity};
use crate::bucket::BucketStore;
use crate::bucket::journal::EntryId;
use crate::digest::Digest;
use crate::dir::{EntryKind, EntryName, MarkerDir};
use crate::store::StoreError;
use crate::switch::is_off;
use crate::time::StoreTime;

/// How far the deletes of an entry are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Certainly nothing was sent.
    Unsent,
    /// Something may have been sent; the removal of the markers may not be durable.
    Sent,
    /// The journal says all there is to say.
    Over,
}

/// An entry of the journal whose deletes are about to be sent, or are. Dropped before its end, because of an error or
/// because its future was dropped, it leaves the journal in a state that is right: settled if nothing was sent, in limbo
/// otherwise (hazard H27).
pub(in crate::bucket) struct Underway<'a, D: MarkerDir, B: ObjectBackend> {
    store: &'a BucketStore<D, B>,
    id: EntryId,
    digests: BTreeSet<Digest>,
    validity: Validity,
    /// When it was entered, on the monotonic clock.
    entered_at: Duration,
    token: String,
    stage: Stage,
}

/// What became of one request.
#[derive(Debug)]
pub(in crate::bucket) enum Sent {
    /// The digests are deleted, but for those that the backend refused.
    Certain { refused: Vec<(Digest, String)> },
    /// The digests may be deleted, now or until the expiry has passed (R9).
    Unclear { refused: Vec<(Digest, String)> },
    /// Nothing was sent, or nothing was taken any more.
    Nothing,
}

impl<D: MarkerDir, B: ObjectBackend> BucketStore<D, B> {
    /// Enters in the journal those digests of a batch that are still condemned, and fixes the expiry of their deletes;
    /// `None` if none is left. Nothing is saved yet.
    pub(in crate::bucket) fn enter(&self, condemned: &[Digest]) -> Option<Underway<'_, D, B>> {
        let signed_at = self.backend_clock.estimate(&self.clock);
        let validity = Validity { signed_at, lasts: self.options.lifetimes.delete };
        let token = self.next_token();
        let (id, digests) = self.journal.enter(condemned, validity.expires_at(), token.clone())?;
        let entered_at = self.clock.monotonic();
        Some(Underway { store: self, id, digests, validity, entered_at, token, stage: Stage::Unsent })
    }

    /// Settles what has expired of unclear deletes and opens the paths whose requests have, by the backend's present date
    /// (R9, R19). Also finds out whether the bucket is still ours (R10). One request.
    ///
    /// # Errors
    /// [`StoreError::Closed`]: another server has the bucket. Else nothing was settled.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the rest to a later call.
    pub async fn settle_expired(&self) -> Result<(), StoreError> {
        self.check_token().await?;
        self.expire_journal().await?;
        Ok(())
    }

    /// Settles the entries in limbo, and opens the paths, whose expiry has passed by the latest date (R9, R19); returns
    /// whether there were any.
    pub(in crate::bucket) async fn expire_journal(&self) -> Result<bool, StoreError> {
        let unsynced = self.journal.unsynced();
        if !unsynced.is_empty() {
            // Else a marker could come back after its entry was settled (hazard H9).
            self.dir.sync().await?;
            self.journal.note_synced(&unsynced);
        }
        let margin = self.options.lifetimes.margin;
        Ok(self.backend_clock.latest().is_some_and(|latest| self.journal.expire(latest, margin)))
    }
}

impl<D: MarkerDir, B: ObjectBackend> Underway<'_, D, B> {
    /// Returns the digests, ascending.
    pub(in crate::bucket) fn digests(&self) -> &BTreeSet<Digest> {
        &self.digests
    }

    /// Does what must be done before the first delete leaves, in R7's order: journal, markers, generation. Upload markers
    /// go too if they are older than `uploads_before`.
    pub(in crate::bucket) async fn announce(
        &self,
        uploads_before: Option<StoreTime>,
    ) -> Result<(), StoreError> {
        let store = self.store;
        store.save_journal().await?;
        let digests: Vec<Digest> = self.digests.iter().copied().collect();
        for group in digests.chunks(LOCKED_MAX) {
            let held = store.locks.lock_all(group).await;
            store.dir.remove_markers(&held, group.to_vec()).await?;
            if let Some(cutoff) = uploads_before {
                let name = |digest: &Digest| EntryName::new(*digest, EntryKind::UploadMarker);
                store.dir.remove_unused(&held, group.iter().map(name).collect(), cutoff).await?;
            }
            for digest in group {
                store.cache.remove(digest);
            }
        }
        store.advance(self.token.clone()).await
    }

    /// Returns whether the backend would no longer take the deletes, by what has elapsed here or by its own word.
    pub(in crate::bucket) fn has_expired(&self) -> bool {
        let waited = self.store.clock.monotonic().saturating_sub(self.entered_at);
        let latest = self.store.backend_clock.latest();
        waited > self.validity.lasts || latest.is_some_and(|latest| latest > self.validity.expires_at())
    }

    /// To be called before the first request leaves.
    pub(in crate::bucket) fn begin_sending(&mut self) {
        self.stage = Stage::Sent;
    }

    /// Deletes the objects of at most as many digests as one request takes, after [`Self::begin_sending`].
    pub(in crate::bucket) async fn delete(&self, digests: &[Digest]) -> Sent {
        debug_assert_eq!(self.stage, Stage::Sent, "invariant: announced before");
        let key = |digest: &Digest| ObjectKey::of_entry(EntryName::chunk(*digest));
        let keys: Vec<ObjectKey> = digests.iter().map(key).collect();
        let result = self.store.backend.delete(&keys, self.validity).await;
        match self.store.backend_clock.noted(result, &self.store.clock) {
            Ok(answer) => {
                let digest_of = |key: &ObjectKey| key.entry().map(|name| name.digest);
                // Switched off, a delete that was answered is taken for one that deleted everything (hazard H18).
                let refused = answer.value.refused.into_iter().filter(|_| !is_off("r7"));
                let refused = refused.filter_map(|(key, reason)| Some((digest_of(&key)?, reason))).collect();
                if answer.value.is_unclear && !is_off("r9") {
                    Sent::Unclear { refused }
                } else {
                    Sent::Certain { refused }
                }
            }
            Err(error) if error.is_unclear && !is_off("r9") => Sent::Unclear { refused: Vec::new() },
            Err(error) if error.fault == crate::backend::Fault::Expired => Sent::Nothing,
            Err(error) => {
                let reason = format!("{error}: {}", error.source);
                Sent::Certain { refused: digests.iter().map(|digest| (*digest, reason.clone())).collect() }
            }
        }
    }

    /// Ends it: makes the removal of the markers durable, settles what is certain and puts the rest in limbo, saved (R7).
    pub(in crate::bucket) async fn finish(mut self, unclear: &BTreeSet<Digest>) -> Result<(), StoreError> {
        let store = self.store;
        if self.stage == Stage::Sent && !is_off("r7") {
            store.dir.sync().await?;
        }
        let settled = &self.digests - unclear;
        store.journal.settle(self.id, Some(&settled));
        if !unclear.is_empty() {
            store.journal.put_in_limbo(self.id);
        }
        self.stage = Stage::Over;
        Ok(store.save_journal().await?)
    }
}

impl<D: MarkerDir, B: ObjectBackend> Drop for Underway<'_, D, B> {
    fn drop(&mut self) {
        match self.stage {
            // Switched off, nobody ends what a dropped run began (hazard H27).
            _ if is_off("r7") => {}
            Stage::Unsent => self.store.journal.settle(self.id, None),
            Stage::Sent => self.store.journal.put_in_limbo_unsynced(self.id),
            Stage::Over => {}
        }
    }
}
