//! Referencing chunks (R5).

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::BucketStore;
use super::heal::is_chunk;
use super::journal::Standing;
use crate::backend::ObjectBackend;
use crate::digest::Digest;
use crate::dir::{EntryName, MarkerDir, NewMarker};
use crate::session::Session;
use crate::store::{TOUCH_BATCH, TouchError};
use crate::switch::is_off;

/// Most chunks without marker that are looked up at once. Few are ever missing.
const LOOKUPS: usize = 16;

impl<D: MarkerDir, B: ObjectBackend> BucketStore<D, B> {
    /// Refreshes chunks that an index names (R5); when this returns, they stay until `session` ends (I3).
    ///
    /// A chunk without marker is looked up in the bucket. One whose delete is under way or may still take effect is waited
    /// for first (R8).
    ///
    /// # Errors
    /// - [`TouchError::Missing`] names a digest that the bucket has no object of; others may have been refreshed.
    /// - [`TouchError::Backend`], [`TouchError::Dir`]: some may have been refreshed; calling again is safe.
    /// - [`TouchError::Closed`]: another server took the bucket over, or the store is being rebuilt or has ended.
    ///
    /// # Cancel safety
    /// Dropping the future may leave some of the chunks refreshed.
    pub async fn touch(&self, session: &Session, digests: &[Digest]) -> Result<(), TouchError> {
        for batch in digests.chunks(TOUCH_BATCH) {
            self.check_open()?;
            if is_off("r5") {
                continue;
            }
            let missing = self.touch_markers(session, batch).await?;
            let lookups = missing.into_iter().map(|digest| self.touch_object(session, digest));
            stream::iter(lookups).buffered(LOOKUPS).try_collect::<()>().await?;
        }
        Ok(())
    }

    /// Refreshes those of a batch that have a marker and are free; returns the others.
    async fn touch_markers(&self, session: &Session, batch: &[Digest]) -> Result<Vec<Digest>, TouchError> {
        let held = self.locks.lock_all(batch).await;
        // The marker of a journalled digest says nothing: it is about to go.
        let (free, mut others): (Vec<Digest>, Vec<Digest>) =
            batch.iter().partition(|digest| self.journal.rescue(digest) != Standing::Journalled);
        let names = free.iter().copied().map(EntryName::chunk).collect();
        let at = self.begin_use().await?;
        let found = self.dir.touch(&held, names, at).await?;
        self.check_open()?;
        for (digest, marker) in free.into_iter().zip(found) {
            match marker {
                Some(_) => session.tell([&digest]),
                None => others.push(digest),
            }
        }
        Ok(others)
    }

    /// Looks a chunk without marker up as an insert would: upload marker, HEAD, marker.
    async fn touch_object(&self, session: &Session, digest: Digest) -> Result<(), TouchError> {
        loop {
            let held = self.lock_settled(&digest).await?;
            let at = self.begin_use().await?;
            if self.dir.use_marker(&held, digest, at).await?.is_some() {
                session.tell([&digest]);
                return Ok(());
            }
            self.dir.put_upload_marker(&held, digest, at).await?;
            let watch = self.journal.watch_upload(digest);
            drop(held);
            let object = self.look_up(&digest).await?.filter(is_chunk);
            if object.is_none() && !watch.was_journalled() {
                return Err(TouchError::Missing { digest });
            }
            let held = self.locks.lock(&digest).await;
            self.check_open()?;
            if watch.was_journalled() && !is_off("r4") {
                continue;
            }
            // Somebody may have uploaded it meanwhile, whose marker knows its class.
            let at = self.begin_use().await?;
            if self.dir.use_marker(&held, digest, at).await?.is_none() {
                let marker = NewMarker { digest, content: None, class: None, at };
                self.dir.place_marker(&held, marker).await?;
            }
            session.tell([&digest]);
            return Ok(());
        }
    }
}
