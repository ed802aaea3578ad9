//! Reading a chunk: the one way through the cache (R6, hazards H6, H14 and H19).

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use super::BucketStore;
use super::journal::Standing;
use super::lru::End;
use crate::backend::{ObjectBackend, ObjectKey};
use crate::blob::{Blob, ChunkClass};
use crate::checked::{CheckError, check_read};
use crate::digest::Digest;
use crate::digest_set::DigestSet;
use crate::dir::{DirError, EntryName, Marker, MarkerDir};
use crate::locks::DigestGuard;
use crate::store::{LoadError, StoreError};
use crate::switch::is_off;

/// What the marker of a chunk holds for a reader.
enum Local {
    /// Content that passed its check.
    Good(Blob),
    /// Content that did not: torn by a crash, or the disk is bad (hazard H19).
    Corrupt,
    /// None, or the disk does not give it.
    Nothing,
}

/// The encrypted chunks whose cached content is known to be what the bucket has.
///
/// Nobody can tell by the content itself, and a plain chunk may have taken the place of the object (R2). As long as a process lives,
/// its markers follow; an end that was not clean, or an older image of the disk, may bring back what was cached before (H37).
#[derive(Debug)]
pub(super) struct Vouched(Option<Mutex<DigestSet>>);

impl Vouched {
    /// Makes the set of a store that was just opened. After a clean end, it has all.
    pub(super) fn new(follows_clean_end: bool, set_key: u64) -> Self {
        Self((!follows_clean_end).then(|| Mutex::new(DigestSet::with_key(set_key))))
    }

    fn contains(&self, digest: &Digest) -> bool {
        let set = self.0.as_ref();
        set.is_none_or(|set| set.lock().unwrap_or_else(PoisonError::into_inner).contains(digest))
    }

    fn insert(&self, digest: &Digest) {
        if let Some(set) = &self.0 {
            set.lock().unwrap_or_else(PoisonError::into_inner).insert(digest);
        }
    }
}

impl<D: MarkerDir, B: ObjectBackend> BucketStore<D, B> {
    /// Reads a chunk from the cache or the backend and checks its CRC and, where the server can, its digest.
    ///
    /// What comes from the backend is cached where there is a marker (R6). Readers that wait for one chunk share one
    /// download; 32 downloads are under way at once, of at most 16 MiB each. Trouble with the local disk fails no read.
    /// Reads go on while the store takes no other work: what they return was checked. After an end that was not clean, the
    /// backend is asked once whether an encrypted chunk is still what was cached of it.
    ///
    /// # Errors
    /// [`LoadError::Missing`], [`LoadError::Corrupt`] if two bodies failed their check (see [`Self::quarantine`]),
    /// [`LoadError::Backend`]; [`LoadError::Dir`] only while the process is ending.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing for others: one who waits for the same chunk downloads it then.
    pub async fn load(&self, digest: &Digest) -> Result<Blob, LoadError> {
        if let Local::Good(blob) = self.read_local(digest).await {
            self.cache.hit(digest);
            return Ok(blob);
        }
        self.cache.miss();
        self.flights.join(digest, || self.bring(digest)).await
    }

    /// Reads a chunk from the backend, past the cache, and checks it.
    ///
    /// # Errors
    /// As for [`Self::load`].
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn fetch(&self, digest: &Digest) -> Result<Blob, LoadError> {
        let _turn = self.flights.turn().await;
        self.download(digest).await
    }

    /// Brings a chunk into the cache, unless it is there, on its way, or cannot be cached (R6).
    ///
    /// # Errors
    /// As for [`Self::load`]; nobody needs to act on them, since a load will meet the same.
    ///
    /// # Cancel safety
    /// As for [`Self::load`].
    pub async fn prefetch(&self, digest: &Digest) -> Result<(), LoadError> {
        if self.cache.len_of(digest).is_some() || self.flights.is_under_way(digest) {
            return Ok(());
        }
        let held = self.locks.lock(digest).await;
        let is_wanted = self.fillable(&held, digest).await?.is_some_and(|marker| marker.len == 0);
        drop(held);
        if is_wanted && self.cache.takes(1) {
            self.flights.join(digest, || self.bring(digest)).await?;
        }
        Ok(())
    }

    /// Returns the number of encoded bytes of a stored chunk, as cached or else as the backend says.
    ///
    /// # Errors
    /// [`StoreError::Dir`], [`StoreError::Backend`].
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn stored_len(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        let held = self.locks.lock(digest).await;
        let marks = self.dir.marks(&held, vec![*digest]).await?;
        drop(held);
        let cached = marks.first().and_then(|marks| marks.marker).map_or(0, |marker| marker.len);
        if cached > 0 {
            return Ok(Some(cached));
        }
        let key = ObjectKey::of_entry(EntryName::chunk(*digest));
        let answer = self.backend_clock.noted(self.backend.head(&key).await, &self.clock)?;
        Ok(answer.value.map(|object| object.len))
    }

    /// Downloads a chunk for everybody who waits for it, and caches it.
    async fn bring(&self, digest: &Digest) -> Result<Blob, LoadError> {
        let _turn = self.flights.turn().await;
        // Between our look at the marker and our turn another download may have filled it.
        let local = self.read_local(digest).await;
        if let Local::Good(blob) = local {
            return Ok(blob);
        }
        let blob = self.download(digest).await?;
        self.fill(digest, &blob, matches!(local, Local::Corrupt)).await;
        Ok(blob)
    }

    async fn read_local(&self, digest: &Digest) -> Local {
        let content = match self.dir.read(EntryName::chunk(*digest)).await {
            Ok(Some(content)) if !content.is_empty() => content,
            Ok(_) => return Local::Nothing,
            Err(_) => {
                self.cache.failure();
                return Local::Nothing;
            }
        };
        match self.check(*digest, content).await {
            Ok(Ok(blob)) => self.vouch(digest, blob).await,
            Ok(Err(_)) => Local::Corrupt,
            Err(_) => Local::Nothing,
        }
    }

    /// Judges cached content that passed its check: the tag of the object decides about encrypted content of which this process does
    /// not know that it is what the bucket has (hazard H37).
    async fn vouch(&self, digest: &Digest, blob: Blob) -> Local {
        if blob.class() == ChunkClass::Plain || self.vouched.contains(digest) || is_off("r2") {
            return Local::Good(blob);
        }
        let Ok(object) = self.look_up(digest).await else { return Local::Nothing };
        let tag = self.tag_of(blob.as_bytes()).await.ok().flatten();
        match object {
            Some(object) if object.len == blob.encoded_len() as u64 && tag.as_ref() == Some(&object.etag) => {
                self.vouched.insert(digest);
                Local::Good(blob)
            }
            _ => Local::Corrupt,
        }
    }

    /// Gets a chunk from the backend. A body that fails its check is fetched once more: the provider may have cut or
    /// mangled one answer.
    async fn download(&self, digest: &Digest) -> Result<Blob, LoadError> {
        let key = ObjectKey::of_entry(EntryName::chunk(*digest));
        let mut is_second = false;
        loop {
            let answer = self.backend_clock.noted(self.backend.get(&key).await, &self.clock)?;
            let (_, content) = answer.value.ok_or(LoadError::Missing { digest: *digest })?;
            match self.check(*digest, content).await? {
                Ok(blob) => return Ok(blob),
                Err(source) => {
                    self.cache.wrong_body();
                    if is_second {
                        return Err(LoadError::Corrupt { digest: *digest, source });
                    }
                }
            }
            is_second = true;
        }
    }

    /// Puts what was downloaded into the chunk's marker, if that is still there and still needs it (R6). Failures are
    /// counted and fail nobody.
    async fn fill(&self, digest: &Digest, blob: &Blob, was_corrupt: bool) {
        let len = blob.as_bytes().len() as u64;
        if !self.cache.takes(len) {
            return;
        }
        let held = self.locks.lock(digest).await;
        if self.has_ended() {
            // The order of the cache is saved as complete.
            return;
        }
        let has_room = match self.fill_held(&held, digest, blob, was_corrupt).await {
            Ok(has_room) => has_room,
            Err(error) => {
                self.cache.failure();
                !error.is_storage_full()
            }
        };
        drop(held);
        self.make_room(len, has_room).await;
    }

    /// Returns whether the disk had room for the content.
    async fn fill_held(
        &self,
        held: &DigestGuard,
        digest: &Digest,
        blob: &Blob,
        was_corrupt: bool,
    ) -> Result<bool, DirError> {
        match self.fillable(held, digest).await? {
            None => return Ok(true),
            // A checked plain chunk took the place of an encrypted one meanwhile (hazard H37).
            Some(marker) if marker.class.is_some_and(|class| class != blob.class()) => return Ok(true),
            // An insert was faster.
            Some(marker) if marker.len > 0 && !was_corrupt => {}
            Some(_) => {
                // Before: the disk gets the content even if this future is dropped meanwhile, and then it counts.
                self.cache.record(digest, blob.as_bytes().len() as u64, End::Newest);
                let filled = self.dir.fill_marker(held, *digest, blob.as_bytes().clone()).await;
                if !matches!(filled, Ok(true)) {
                    self.record_cached(held, digest).await;
                    return filled.map(|_| true);
                }
                self.vouched.insert(digest);
            }
        }
        Ok(self.record_cached(held, digest).await)
    }

    /// Returns the marker that content may be put into: a read makes none, and what is journalled gets none (R6,
    /// hazard H6).
    async fn fillable(&self, held: &DigestGuard, digest: &Digest) -> Result<Option<Marker>, DirError> {
        let marks = self.dir.marks(held, vec![*digest]).await?;
        let marker = marks.first().and_then(|marks| marks.marker);
        if is_off("r6") {
            let used_at = self.clock.now();
            return Ok(marker.or(Some(Marker { len: 0, used_at, class: None })));
        }
        let is_free = self.journal.standing(digest) != Standing::Journalled;
        Ok(marker.filter(|_| is_free))
    }

    /// Checks what was read of a chunk, where that holds up no other task.
    async fn check(&self, digest: Digest, content: Bytes) -> Result<Result<Blob, CheckError>, DirError> {
        let check = move || {
            if is_off("h19") {
                return Blob::parse(content).map_err(|source| CheckError::Blob { digest, source });
            }
            check_read(digest, content)
        };
        self.dir.compute(check).await
    }
}
