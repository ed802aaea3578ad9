//! A claimed path: what is sent for it, and until when it may take effect (R10, R19).

use std::collections::BTreeMap;
use std::slice;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::PathError;
use crate::backend::{
    AnyBackend, BackendError, DELETE_KEYS_MAX, Deletion, ObjectBackend, ObjectKey, Put, PutCondition,
    PutOutcome, Validity,
};
use crate::bucket::BucketStore;
use crate::dir::{FsChunkDir, MarkerDir};
use crate::switch::is_off;
use crate::time::StoreTime;

/// Attempts of one call.
const TRIES_MAX: u32 = 3;

/// The wait before the second attempt; it doubles.
const BACKOFF: Duration = Duration::from_millis(500);

/// The slowest transfer that counts: a backend that takes a request in time takes its effect when the body is complete.
const BYTES_PER_SECOND_MIN: u64 = 1 << 20;

/// The right to write below a path (R19); ends with [`Self::release`] or by being dropped.
///
/// Every request has an expiry. One that ends without an answer, or in mid-air because its future is dropped, may take
/// effect until then; so when the claim ends, the path is closed until that has passed.
pub struct PathClaim<D: MarkerDir = FsChunkDir, B: ObjectBackend = AnyBackend> {
    store: Arc<BucketStore<D, B>>,
    path: String,
    unclear: Mutex<BTreeMap<ObjectKey, Unclear>>,
    is_over: bool,
}

/// What may still happen to a key.
#[derive(Debug, Clone, Copy)]
struct Unclear {
    /// Until when, in the backend's clock.
    until: StoreTime,
    /// It can only be deleted.
    is_delete: bool,
}

impl<D: MarkerDir, B: ObjectBackend> PathClaim<D, B> {
    /// Takes the right to a path that the journal holds as claimed.
    pub(super) fn new(store: Arc<BucketStore<D, B>>, path: &str) -> Self {
        Self { store, path: path.to_owned(), unclear: Mutex::default(), is_over: false }
    }

    /// Returns the path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Puts an object that is new. One that is there all the same, left by a session that was aborted, is replaced as
    /// [`Self::replace`] does.
    ///
    /// # Errors
    /// [`PathError::NotExpired`] if an earlier request of this claim for the key is unclear; [`PathError::Outside`],
    /// [`PathError::Closed`], [`PathError::Backend`]: the object may be there, or come later.
    ///
    /// # Cancel safety
    /// The object may be there, or come later, if the future is dropped.
    pub async fn put_new(&self, key: &ObjectKey, content: Bytes) -> Result<(), PathError> {
        self.begin(slice::from_ref(key), false)?;
        if !self.store.options.swaps_atomically {
            // The condition may not be heeded: this could be a rewrite (hazard H36).
            return self.put_guarded(key, &content).await;
        }
        let mut tries = 0;
        loop {
            let validity = self.validity();
            match self.send_put(key, &content, PutCondition::IfAbsent, validity).await {
                Ok(PutOutcome::Stored(_)) => return Ok(()),
                Ok(PutOutcome::ConditionFailed) if self.is_there(key, &content).await? => return Ok(()),
                Ok(PutOutcome::ConditionFailed) => return self.put_guarded(key, &content).await,
                Err(error) => self.back_off(&mut tries, error).await?,
            }
        }
    }

    /// Replaces an object, or creates it: reads the token first (R19).
    ///
    /// # Errors
    /// As [`Self::put_new`].
    ///
    /// # Cancel safety
    /// The object may be replaced, now or later, if the future is dropped.
    pub async fn replace(&self, key: &ObjectKey, content: Bytes) -> Result<(), PathError> {
        self.begin(slice::from_ref(key), false)?;
        self.put_guarded(key, &content).await
    }

    /// Puts the manifest that commits a snapshot: token, put, token (R10). Everything that it names is durable by now.
    ///
    /// # Errors
    /// As [`Self::put_new`]: the commit must not be acknowledged, even if the manifest is there (hazards H12, H25).
    ///
    /// # Cancel safety
    /// The commit is not acknowledged; the manifest may be there, or come later, if the future is dropped.
    pub async fn commit(&self, key: &ObjectKey, manifest: Bytes) -> Result<(), PathError> {
        self.begin(slice::from_ref(key), false)?;
        self.put_guarded(key, &manifest).await?;
        if !is_off("r10") {
            // Had the bucket been taken over before the manifest was there, the mark of the new owner may have missed it.
            self.store.check_token().await?;
        }
        Ok(())
    }

    /// Deletes objects, the ones that do not exist too: reads the token first (R19).
    ///
    /// # Errors
    /// [`PathError::Refused`] names those that stay. Else as [`Self::put_new`]: some of them may be deleted, now or later.
    ///
    /// # Cancel safety
    /// Some of the objects may be deleted, now or later, if the future is dropped.
    pub async fn delete(&self, keys: &[ObjectKey]) -> Result<(), PathError> {
        self.begin(keys, true)?;
        let mut refused = Vec::new();
        for batch in keys.chunks(DELETE_KEYS_MAX) {
            let mut tries = 0;
            let deletion = loop {
                // Signed before the token is read, as in `put_guarded`.
                let validity = self.validity();
                self.check_token().await?;
                match self.send_delete(batch, validity).await {
                    Ok(deletion) => break deletion,
                    Err(error) => self.back_off(&mut tries, error).await?,
                }
            };
            refused.extend(deletion.refused);
        }
        if refused.is_empty() { Ok(()) } else { Err(PathError::Refused { refused }) }
    }

    /// Gives the path free, or closes it if a request may still take effect (R19).
    ///
    /// # Errors
    /// [`PathError::Dir`] if the journal could not be saved. The claim has ended all the same; what is saved of it closes
    /// the path after a crash.
    ///
    /// # Cancel safety
    /// The claim has ended if the future was polled once.
    pub async fn release(mut self) -> Result<(), PathError> {
        if self.end() {
            self.store.save_journal().await?;
        }
        Ok(())
    }

    /// Ends the claim in memory; returns whether the path is closed now.
    fn end(&mut self) -> bool {
        if std::mem::replace(&mut self.is_over, true) {
            return false;
        }
        let until = self.unclear().values().map(|unclear| unclear.until).max();
        self.store.journal.release_path(&self.path, until);
        until.is_some()
    }

    /// Checks that requests for `keys` may be sent.
    fn begin(&self, keys: &[ObjectKey], is_delete: bool) -> Result<(), PathError> {
        self.store.check_open()?;
        let inside = |key: &ObjectKey| {
            key.as_str().strip_prefix(&self.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if let Some(key) = keys.iter().find(|key| !inside(key)) {
            return Err(PathError::Outside { key: key.clone(), path: self.path.clone() });
        }
        let passed =
            self.store.backend_clock.latest().map(|date| date.minus(self.store.options.lifetimes.margin));
        let unclear = self.unclear();
        for key in keys {
            // Within one claim, too, a late request must not undo a later one. A late delete does not harm another delete.
            if let Some(Unclear { until, is_delete: deletes }) = unclear.get(key)
                && passed.is_none_or(|passed| *until >= passed)
                && !(*deletes && is_delete)
                && !is_off("r19")
            {
                return Err(PathError::NotExpired { path: key.to_string(), until: *until });
            }
        }
        Ok(())
    }

    /// Puts an object whatever is there.
    async fn put_guarded(&self, key: &ObjectKey, content: &Bytes) -> Result<(), PathError> {
        let mut tries = 0;
        loop {
            // Signed before the token is read: whoever takes the bucket over after that read waits until everything that
            // was signed before has expired (R10).
            let validity = self.validity();
            self.check_token().await?;
            match self.send_put(key, content, PutCondition::Always, validity).await {
                Ok(_) => return Ok(()),
                Err(error) => self.back_off(&mut tries, error).await?,
            }
        }
    }

    async fn check_token(&self) -> Result<(), PathError> {
        if is_off("r10") {
            return Ok(());
        }
        Ok(self.store.check_token().await?)
    }

    /// Returns whether an object with this content is there.
    async fn is_there(&self, key: &ObjectKey, content: &Bytes) -> Result<bool, PathError> {
        let store = &self.store;
        let answer = store.backend_clock.noted(store.backend.head(key).await, &store.clock)?;
        let Some(found) = answer.value else { return Ok(false) };
        if found.len != content.len() as u64 {
            return Ok(false);
        }
        let (tagging, content) = (Arc::clone(store), content.clone());
        let tag = store.dir.compute(move || tagging.backend.tag_of(&content)).await?;
        Ok(tag == Some(found.etag))
    }

    /// Returns the validity of a request that is signed now, by the backend's clock.
    fn validity(&self) -> Validity {
        let store = &self.store;
        Validity {
            signed_at: store.backend_clock.estimate(&store.clock),
            lasts: store.options.lifetimes.object,
        }
    }

    async fn send_put(
        &self,
        key: &ObjectKey,
        content: &Bytes,
        condition: PutCondition,
        validity: Validity,
    ) -> Result<PutOutcome, BackendError> {
        let transfer = Duration::from_secs(content.len() as u64 / BYTES_PER_SECOND_MIN);
        let until = validity.expires_at().plus(transfer);
        let mut attempt = Attempt { claim: self, keys: slice::from_ref(key), until, is_delete: false };
        let put = Put { key: key.clone(), content: content.clone(), condition, validity: Some(validity) };
        let result = self.store.backend.put(put).await;
        if !result.as_ref().map_or_else(|error| error.is_unclear, |answer| answer.is_unclear) {
            attempt.keys = &[];
        }
        Ok(self.store.backend_clock.noted(result, &self.store.clock)?.value)
    }

    async fn send_delete(&self, keys: &[ObjectKey], validity: Validity) -> Result<Deletion, BackendError> {
        let mut attempt = Attempt { claim: self, keys, until: validity.expires_at(), is_delete: true };
        let result = self.store.backend.delete(keys, validity).await;
        if !result.as_ref().map_or_else(|error| error.is_unclear, |answer| answer.value.is_unclear) {
            attempt.keys = &[];
        }
        Ok(self.store.backend_clock.noted(result, &self.store.clock)?.value)
    }

    /// Waits before the next attempt, or ends with the error if there is to be none.
    async fn back_off(&self, tries: &mut u32, error: BackendError) -> Result<(), PathError> {
        *tries += 1;
        if *tries >= TRIES_MAX || !(error.is_unclear || error.fault.is_transient()) {
            return Err(error.into());
        }
        self.store.clock.sleep(BACKOFF * (1 << (*tries - 1))).await;
        Ok(())
    }

    fn unclear(&self) -> MutexGuard<'_, BTreeMap<ObjectKey, Unclear>> {
        self.unclear.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D: MarkerDir, B: ObjectBackend> Drop for PathClaim<D, B> {
    fn drop(&mut self) {
        // What is saved still says that the path is claimed, which closes it after a crash.
        self.end();
    }
}

impl<D: MarkerDir, B: ObjectBackend> std::fmt::Debug for PathClaim<D, B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PathClaim").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A request on its way. Unless told otherwise, by taking its keys away, it counts as unclear when it ends.
struct Attempt<'a, D: MarkerDir, B: ObjectBackend> {
    claim: &'a PathClaim<D, B>,
    keys: &'a [ObjectKey],
    until: StoreTime,
    is_delete: bool,
}

impl<D: MarkerDir, B: ObjectBackend> Drop for Attempt<'_, D, B> {
    fn drop(&mut self) {
        let mut unclear = self.claim.unclear();
        for key in self.keys {
            let mut new = Unclear { until: self.until, is_delete: self.is_delete };
            if let Some(earlier) = unclear.get(key) {
                new.until = new.until.max(earlier.until);
                new.is_delete &= earlier.is_delete;
            }
            unclear.insert(key.clone(), new);
        }
    }
}
