//! Setting corrupt chunks aside (R15).

use std::collections::BTreeSet;

use super::BucketStore;
use super::batch::{Sent, Underway};
use super::journal::Standing;
use crate::backend::{BackendError, Fault, ObjectBackend, ObjectInfo, ObjectKey};
use crate::blob::Blob;
use crate::checked::check_stored;
use crate::digest::Digest;
use crate::dir::{BAD_COPIES_MAX, EntryKind, EntryName, MarkerDir};
use crate::store::{Quarantined, StoreError};
use crate::switch::is_off;

/// What the backend returned for a chunk.
enum Body {
    Missing,
    Good,
    Bad(ObjectInfo),
}

impl<D: MarkerDir, B: ObjectBackend> BucketStore<D, B> {
    /// Sets a corrupt chunk aside as `.N.bad`, if two complete bodies from the backend fail their check (R15).
    ///
    /// A fetch that fails says nothing about the chunk (hazard H31) and is an error. Open sessions that were told of the
    /// chunk fail, so that they cannot commit a snapshot that nobody can restore; uploads under way start over.
    ///
    /// # Errors
    /// [`StoreError`]: the object may stand where it was, without marker; sessions that rely on it may have failed.
    ///
    /// # Cancel safety
    /// As after an error if the future is dropped.
    pub async fn quarantine(&self, digest: &Digest) -> Result<Quarantined, StoreError> {
        self.check_open()?;
        let mut bad = None;
        for _ in 0..2 {
            match self.examine(digest).await? {
                Body::Missing => return Ok(Quarantined::Missing),
                Body::Good => return Ok(Quarantined::Good),
                Body::Bad(object) => bad = Some(object),
            }
            if is_off("r15") {
                break;
            }
        }
        let held = self.locks.lock(digest).await;
        if self.journal.standing(digest) == Standing::Journalled {
            return Ok(Quarantined::Missing);
        }
        // A writer may have replaced it since, and must not lose its good chunk.
        let object = self.look_up(digest).await?;
        if object.is_none() || object.map(|object| object.etag) != bad.map(|object| object.etag) {
            return Ok(Quarantined::Good);
        }
        let failed_sessions = if is_off("r15") { 0 } else { self.registry.fail_told(digest) };
        self.journal.rescue(digest);
        self.journal.condemn(digest);
        // In one step with the condemnation: nobody may take a corrupt chunk out again and use it.
        let Some(underway) = self.enter(&[*digest]) else { return Ok(Quarantined::Missing) };
        drop(held);
        // Upload markers stay: uploads under way go on under them.
        underway.announce(None).await?;
        let number = self.set_aside(digest, underway).await?;
        Ok(number.map_or(Quarantined::Missing, |number| Quarantined::SetAside { number, failed_sessions }))
    }

    /// Fetches a chunk and checks the body.
    async fn examine(&self, digest: &Digest) -> Result<Body, StoreError> {
        let key = ObjectKey::of_entry(EntryName::chunk(*digest));
        let answer = self.backend_clock.noted(self.backend.get(&key).await, &self.clock)?;
        let Some((object, content)) = answer.value else { return Ok(Body::Missing) };
        let digest = *digest;
        let check = move || Blob::parse(content).is_ok_and(|blob| check_stored(&blob, digest).is_ok());
        let is_good = self.dir.compute(check).await?;
        Ok(if is_good { Body::Good } else { Body::Bad(object) })
    }

    /// Copies the object to the next free `.N.bad` and deletes it; returns the number, or `None` if it is gone.
    async fn set_aside(
        &self,
        digest: &Digest,
        mut underway: Underway<'_, D, B>,
    ) -> Result<Option<u8>, StoreError> {
        let chunk = ObjectKey::of_entry(EntryName::chunk(*digest));
        let bad = |number| ObjectKey::of_entry(EntryName::new(*digest, EntryKind::Bad(number)));
        let mut number = 0;
        while number + 1 < BAD_COPIES_MAX
            && self.backend_clock.noted(self.backend.head(&bad(number)).await, &self.clock)?.value.is_some()
        {
            number += 1;
        }
        let copied = self.backend.copy(&chunk, &bad(number)).await;
        let copied = self.backend_clock.noted(copied, &self.clock)?.value;
        if underway.has_expired() {
            underway.finish(&BTreeSet::new()).await?;
            return Err(not_deleted(&chunk, Fault::Expired, "the copy took too long").into());
        }
        underway.begin_sending();
        let sent = underway.delete(&[*digest]).await;
        let unclear: BTreeSet<Digest> = match sent {
            Sent::Unclear { .. } => [*digest].into(),
            _ => BTreeSet::new(),
        };
        underway.finish(&unclear).await?;
        match sent {
            Sent::Nothing => Err(not_deleted(&chunk, Fault::Expired, "the copy took too long").into()),
            Sent::Certain { refused } if !refused.is_empty() => {
                let reason = refused.into_iter().map(|(_, reason)| reason).next().unwrap_or_default();
                Err(not_deleted(&chunk, Fault::Other, &reason).into())
            }
            _ => Ok(copied.then_some(number)),
        }
    }
}

fn not_deleted(key: &ObjectKey, fault: Fault, reason: &str) -> BackendError {
    BackendError {
        action: "delete",
        key: key.to_string(),
        is_unclear: false,
        fault,
        date: None,
        source: reason.into(),
    }
}
