//! Healing: markers without objects and objects without markers (R14).

use super::BucketStore;
use super::journal::Standing;
use crate::backend::{ObjectBackend, ObjectInfo, ObjectKey};
use crate::blob::HEADER_BYTES;
use crate::digest::Digest;
use crate::dir::{EntryName, MarkerDir, NewMarker};
use crate::locks::DigestGuard;
use crate::store::StoreError;
use crate::switch::is_off;

/// What healing a digest came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Healed {
    /// Marker and object agreed, or the digest is in the journal.
    Nothing,
    /// The marker was created.
    MarkerCreated,
    /// The marker was removed.
    MarkerRemoved {
        /// Open sessions that failed because they rely on the chunk.
        failed_sessions: usize,
    },
}

/// What is to be healed of a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Difference {
    Nothing,
    NoMarker,
    NoObject,
}

/// What is shorter than a header is no chunk.
pub(super) fn is_chunk(object: &ObjectInfo) -> bool {
    object.len >= HEADER_BYTES as u64
}

impl<D: MarkerDir, B: ObjectBackend> BucketStore<D, B> {
    /// Makes marker and object of a digest agree, for a digest that a complete listing of its key range showed to differ:
    /// a marker without object goes, and a referenced object without marker gets one. The listing is only the reason to
    /// look: a HEAD under lock(d) decides (hazard H26).
    ///
    /// # Errors
    /// [`StoreError`]: nothing was changed.
    ///
    /// # Cancel safety
    /// The digest may be healed or not if the future is dropped.
    pub async fn heal(&self, digest: &Digest, is_referenced: bool) -> Result<Healed, StoreError> {
        self.check_open()?;
        // Switched off, it acts on what was there some time ago, as a listing says.
        let stale = if is_off("r14") { Some(self.look_up(digest).await?) } else { None };
        let held = self.locks.lock(digest).await;
        if self.journal.standing(digest) != Standing::Free && !is_off("r14") {
            return Ok(Healed::Nothing);
        }
        let object = match stale {
            Some(object) => object,
            None => self.look_up(digest).await?,
        };
        match self.difference((&held, digest), object, is_referenced).await? {
            Difference::NoMarker => {
                let at = self.begin_use().await?;
                let marker = NewMarker { digest: *digest, content: None, class: None, at };
                self.dir.place_marker(&held, marker).await?;
                Ok(Healed::MarkerCreated)
            }
            Difference::NoObject => {
                // First: the removal goes on if this future is dropped, and nothing after it would. Nobody can be told of
                // the chunk in between, since that takes lock(d).
                let failed_sessions = if is_off("r14") { 0 } else { self.registry.fail_told(digest) };
                self.cache.remove(digest);
                self.dir.remove_markers(&held, vec![*digest]).await?;
                Ok(Healed::MarkerRemoved { failed_sessions })
            }
            Difference::Nothing => Ok(Healed::Nothing),
        }
    }

    /// Says what [`Self::heal`] would come to now, by the same HEAD under lock(d), and changes nothing. Sessions that would
    /// fail are not counted.
    ///
    /// # Errors
    /// [`StoreError`]: not known.
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn heal_preview(&self, digest: &Digest, is_referenced: bool) -> Result<Healed, StoreError> {
        self.check_open()?;
        let held = self.locks.lock(digest).await;
        if self.journal.standing(digest) != Standing::Free {
            return Ok(Healed::Nothing);
        }
        let object = self.look_up(digest).await?;
        Ok(match self.difference((&held, digest), object, is_referenced).await? {
            Difference::Nothing => Healed::Nothing,
            Difference::NoMarker => Healed::MarkerCreated,
            Difference::NoObject => Healed::MarkerRemoved { failed_sessions: 0 },
        })
    }

    /// Compares the marker of a digest with its object, as a HEAD told of it.
    async fn difference(
        &self,
        (held, digest): (&DigestGuard, &Digest),
        object: Option<ObjectInfo>,
        is_referenced: bool,
    ) -> Result<Difference, StoreError> {
        let marks = self.dir.marks(held, vec![*digest]).await?;
        let has_marker = marks.first().is_some_and(|marks| marks.marker.is_some());
        Ok(match (has_marker, object.filter(is_chunk)) {
            (false, Some(_)) if is_referenced => Difference::NoMarker,
            (true, None) => Difference::NoObject,
            _ => Difference::Nothing,
        })
    }

    /// Returns whether the backend has the object of a chunk, whatever is recorded of it here.
    ///
    /// # Errors
    /// [`StoreError::Backend`]: not known.
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn has_object(&self, digest: &Digest) -> Result<bool, StoreError> {
        Ok(self.look_up(digest).await?.as_ref().is_some_and(is_chunk))
    }

    /// Asks the backend for the object of a digest.
    pub(super) async fn look_up(&self, digest: &Digest) -> Result<Option<ObjectInfo>, StoreError> {
        let key = ObjectKey::of_entry(EntryName::chunk(*digest));
        Ok(self.backend_clock.noted(self.backend.head(&key).await, &self.clock)?.value)
    }
}
