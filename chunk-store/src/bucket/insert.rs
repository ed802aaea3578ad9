//! Inserting a chunk: what happens under lock(d) before and after its upload (R1, R2, R4, R8).

use super::BucketStore;
use super::classes::ClassTurn;
use super::journal::UploadWatch;
use super::lru::End;
use super::upload::{Expected, Landed};
use crate::backend::ObjectBackend;
use crate::blob::ChunkClass;
use crate::checked::CheckedChunk;
use crate::dir::{DirError, MarkerDir, NewMarker};
use crate::locks::DigestGuard;
use crate::session::{CacheUse, Session};
use crate::store::{InsertError, Inserted};
use crate::switch::is_off;

/// How an insert goes on after its first look under lock(d).
enum Begun<'a> {
    /// The store has the chunk; the session was told.
    Known,
    /// The upload marker stands.
    Upload(Upload<'a>),
    /// An upload of the other class had to end first.
    Again,
}

/// An upload that is about to start.
struct Upload<'a> {
    expected: Expected,
    watch: UploadWatch,
    _turn: ClassTurn<'a>,
}

impl<D: MarkerDir, B: ObjectBackend> BucketStore<D, B> {
    /// Stores a chunk, or refreshes it if the store has it.
    ///
    /// When this returns, the bucket has the chunk and it stays until `session` ends (I3, I4). A chunk that another session
    /// uploads at the same time is uploaded by both. [`Inserted::New`] is returned for what this call wrote; an object that
    /// was there already counts as [`Inserted::Known`], also if an attempt of this call without an answer may have put it
    /// there.
    ///
    /// Waits while a delete of the chunk is under way or may still take effect (R8, R9), and while the gate lets no more
    /// uploads pass.
    ///
    /// # Errors
    /// - [`InsertError::ClassMismatch`], [`InsertError::LengthMismatch`]: the upload is refused, the stored chunk stays.
    /// - [`InsertError::Backend`]: the chunk may be in the bucket, but nobody relies on it; inserting it again is safe.
    /// - [`InsertError::Dir`]: the same; a full disk is reported only after content was evicted from the cache.
    /// - [`InsertError::Closed`]: another server took the bucket over, or the store is being rebuilt or has ended.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the chunk stored, and its upload marker; nobody was told, so a later run may collect
    /// them.
    pub async fn insert(&self, session: &Session, chunk: CheckedChunk) -> Result<Inserted, InsertError> {
        let mut has_made_room = false;
        loop {
            match self.try_insert(session, &chunk).await {
                Ok(Some(inserted)) => return Ok(inserted),
                // Deletes were under way in between.
                Ok(None) => {}
                // Hazard H14: a cache that fills its disk fails no backup. What was uploaded is found there.
                Err(InsertError::Dir(error)) if error.is_storage_full() && !has_made_room => {
                    has_made_room = true;
                    self.evict_some(chunk.blob().encoded_len() as u64).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Goes once through the rules; `None`: the insert starts over.
    async fn try_insert(
        &self,
        session: &Session,
        chunk: &CheckedChunk,
    ) -> Result<Option<Inserted>, InsertError> {
        let upload = match self.begin_insert(session, chunk).await? {
            Begun::Known => return Ok(Some(Inserted::Known)),
            Begun::Again => return Ok(None),
            Begun::Upload(upload) => upload,
        };
        let landed = self.upload(chunk, upload.expected).await;
        if landed.is_err() && is_off("r4") {
            self.strip_upload_marker(chunk).await?;
        }
        self.end_insert(session, chunk, &upload, landed?).await
    }

    /// Under lock(d): uses the chunk if the store has it (R2), else sets its upload marker before anything is sent (R1).
    async fn begin_insert(&self, session: &Session, chunk: &CheckedChunk) -> Result<Begun<'_>, InsertError> {
        let (digest, class) = (chunk.digest(), chunk.blob().class());
        let held = self.lock_settled(&digest).await?;
        let Some(expected) = self.expected(&held, chunk).await? else {
            session.tell([&digest]);
            return Ok(Begun::Known);
        };
        let Some(turn) = self.uploads.begin(digest, class) else {
            drop(held);
            self.uploads.wait(&digest, class).await;
            return Ok(Begun::Again);
        };
        if !is_off("r1") {
            let at = self.begin_use().await?;
            self.dir.put_upload_marker(&held, digest, at).await?;
        }
        let watch = self.journal.watch_upload(digest);
        Ok(Begun::Upload(Upload { expected, watch, _turn: turn }))
    }

    /// Refreshes the marker and returns what it says of the object; `None` if that stands for the chunk (R2).
    async fn expected(
        &self,
        held: &DigestGuard,
        chunk: &CheckedChunk,
    ) -> Result<Option<Expected>, InsertError> {
        let (digest, class) = (chunk.digest(), chunk.blob().class());
        if is_off("r2") {
            let marks = self.dir.marks(held, vec![digest]).await?;
            let is_known = marks.iter().any(|marks| marks.marker.is_some());
            return Ok((!is_known).then_some(Expected::Nothing));
        }
        // One step with the check as seen by the sweep, since lock(d) is held over both.
        let at = self.begin_use().await?;
        let Some(marker) = self.dir.use_marker(held, digest, at).await? else {
            return Ok(Some(Expected::Nothing));
        };
        match (marker.class, class) {
            (Some(stored @ ChunkClass::Plain), ChunkClass::Encrypted) => {
                Err(InsertError::ClassMismatch { digest, stored })
            }
            (Some(ChunkClass::Encrypted), ChunkClass::Plain) => Ok(Some(Expected::Replaceable)),
            (Some(_), _) => Ok(None),
            (None, _) => Ok(Some(Expected::Unknown)),
        }
    }

    /// Under lock(d): places the marker and tells the session, if the acknowledgement counts (R4).
    async fn end_insert(
        &self,
        session: &Session,
        chunk: &CheckedChunk,
        upload: &Upload<'_>,
        landed: Landed,
    ) -> Result<Option<Inserted>, InsertError> {
        let (digest, class) = (chunk.digest(), chunk.blob().class());
        let len = landed.content.len() as u64;
        let is_cached = session.cache_use() == CacheUse::Keep && self.cache.takes(len);
        let held = self.locks.lock(&digest).await;
        self.check_open()?;
        // Hazard H22: a delete that was sent before the acknowledgement may have taken effect after it.
        if upload.watch.was_journalled() && !is_off("r4") {
            return Ok(None);
        }
        if upload.expected == Expected::Replaceable {
            // Else content of the old class could stay, and be served, under the new one (hazard H37).
            self.dir.empty_marker(&held, digest).await?;
            self.cache.remove(&digest);
        }
        let content = is_cached.then_some(landed.content);
        let marker = NewMarker { digest, content, class: Some(class), at: self.begin_use().await? };
        if is_cached {
            // Before: the disk gets the content even if this future is dropped meanwhile, and then it counts.
            self.cache.record(&digest, len, End::Newest);
        }
        let placed = self.dir.place_marker(&held, marker).await;
        if placed.is_err() && is_cached {
            self.record_cached(&held, &digest).await;
        }
        placed?;
        session.tell([&digest]);
        drop(held);
        if is_cached {
            self.note_cached(&digest, len).await;
        }
        Ok(Some(landed.inserted))
    }

    /// What R4 forbids, for the tests that show why: a failed upload cleans up after itself (hazard H4).
    async fn strip_upload_marker(&self, chunk: &CheckedChunk) -> Result<(), DirError> {
        use crate::dir::{EntryKind, EntryName};
        let held = self.locks.lock(&chunk.digest()).await;
        let name = EntryName::new(chunk.digest(), EntryKind::UploadMarker);
        self.dir.remove_unused(&held, vec![name], self.clock.now()).await?;
        Ok(())
    }
}
