//! Bringing one chunk into the bucket, or finding it there (R3).

use std::sync::Arc;

use bytes::Bytes;

use super::BucketStore;
use super::adaptive::Ended;
use crate::backend::{
    BackendError, ETag, Fault, ObjectBackend, ObjectInfo, ObjectKey, Put, PutCondition, PutNew, PutOutcome,
};
use crate::blob::{Blob, BlobKind, ChunkClass};
use crate::checked::{CheckError, CheckedChunk, check_stored};
use crate::digest::Digest;
use crate::dir::{EntryName, MarkerDir};
use crate::store::{Existing, InsertError, Inserted, compare};
use crate::switch::is_off;

/// How often an upload looks again at an object that others replace meanwhile; each of them had a good reason.
const ROUNDS_MAX: u32 = 4;

/// What is known of the object before an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// Nothing: nobody has it as far as the markers say.
    Nothing,
    /// There should be one, of unknown class: a rebuild saw its name only.
    Unknown,
    /// An encrypted one, for which a checked plain one is offered (R2).
    Replaceable,
}

/// What stands in the bucket after an upload.
#[derive(Debug)]
pub(super) struct Landed {
    /// The object's content: ours, or another good encoding.
    pub(super) content: Bytes,
    /// Whether this upload wrote it, as far as the backend says.
    pub(super) inserted: Inserted,
}

impl Landed {
    fn new(content: &Bytes) -> Self {
        let encoded_bytes = content.len() as u64;
        Self { content: content.clone(), inserted: Inserted::New { encoded_bytes } }
    }

    fn found(content: Bytes) -> Self {
        Self { content, inserted: Inserted::Known }
    }
}

impl<D: MarkerDir, B: ObjectBackend> BucketStore<D, B> {
    /// Passes the gate and uploads a chunk, or finds a good object of its class there. The upload marker stands and no
    /// lock is held.
    pub(super) async fn upload(
        &self,
        chunk: &CheckedChunk,
        expected: Expected,
    ) -> Result<Landed, InsertError> {
        let permit = self.gate.pass(chunk.blob().encoded_len(), &self.clock).await;
        // The wait may have been long.
        self.check_open()?;
        let landed = self.send(chunk, expected).await;
        let ended = match &landed {
            Ok(Landed { inserted: Inserted::New { .. }, .. }) => Ended::Stored,
            Err(InsertError::Backend(error)) => Ended::from(error),
            // Nothing was sent, or was not what took the time.
            Ok(_) | Err(_) => Ended::Unrelated,
        };
        permit.finish(ended, &self.clock);
        landed
    }

    async fn send(&self, chunk: &CheckedChunk, expected: Expected) -> Result<Landed, InsertError> {
        let digest = chunk.digest();
        let mut object = match expected {
            Expected::Unknown => self.look_up(&digest).await?,
            // No condition keeps it from the object of a chunk whose marker was lost (R2, hazard H37).
            Expected::Nothing if self.is_unguarded(chunk) => self.look_up(&digest).await?,
            Expected::Nothing | Expected::Replaceable => None,
        };
        let (mut overwrites, mut rounds) = (expected == Expected::Replaceable, 0);
        while rounds < ROUNDS_MAX {
            let landed = match &object {
                Some(object) => {
                    if let Some(landed) = self.judge(chunk, object).await? {
                        return Ok(landed);
                    }
                    if chunk.blob().class() == ChunkClass::Encrypted && !is_off("r15") {
                        // I3: nobody can tell whether it is what the bad object was before, so whoever was told of that must not
                        // go on (R15). First, so that nobody commits in between.
                        self.registry.fail_told(&digest);
                    }
                    self.overwrite(chunk, Some(object)).await?
                }
                // It went meanwhile. If a sweep of ours took it, the upload starts over anyway (R4).
                None if overwrites => self.overwrite(chunk, None).await?,
                None => self.put_new(chunk).await?,
            };
            if let Some(landed) = landed {
                return Ok(landed);
            }
            object = self.look_up(&digest).await?;
            (overwrites, rounds) = (true, rounds + 1);
        }
        Err(keeps_changing(digest).into())
    }

    /// Puts a chunk of which there is no object; `None` if there is one.
    async fn put_new(&self, chunk: &CheckedChunk) -> Result<Option<Landed>, InsertError> {
        if self.is_guarded(chunk) {
            return self.overwrite(chunk, None).await;
        }
        let content = chunk.blob().as_bytes();
        let put = self.backend.put_new(&key_of(chunk.digest()), content.clone()).await;
        Ok(match self.backend_clock.noted(put, &self.clock)?.value {
            PutNew::Written(_) => Some(Landed::new(content)),
            PutNew::AlreadyThere if is_off("r3") => Some(Landed::found(content.clone())),
            PutNew::AlreadyThere => None,
        })
    }

    /// Tells whether no put of a chunk may go without a condition: one that gets no answer may land after its session failed,
    /// on a plain chunk that somebody uploaded since, which an encrypted one must never replace (R2, hazard H37).
    fn is_guarded(&self, chunk: &CheckedChunk) -> bool {
        chunk.blob().class() == ChunkClass::Encrypted && self.options.swaps_atomically && !is_off("r2")
    }

    /// Tells whether puts of a chunk should bear a condition and cannot.
    fn is_unguarded(&self, chunk: &CheckedChunk) -> bool {
        chunk.blob().class() == ChunkClass::Encrypted && !self.options.swaps_atomically && !is_off("r2")
    }

    /// Judges an object that is there already: only a good one of the same class counts, and only a bad one or an
    /// encrypted one that a plain one is offered for is to be overwritten: `None` (R2, R3, hazard H32).
    async fn judge(&self, chunk: &CheckedChunk, object: &ObjectInfo) -> Result<Option<Landed>, InsertError> {
        let content = chunk.blob().as_bytes();
        if object.len == content.len() as u64 && self.tag_of(content).await?.as_ref() == Some(&object.etag) {
            return Ok(Some(Landed::found(content.clone())));
        }
        let digest = chunk.digest();
        // A body may be damaged on its way: only two bad ones show a bad object.
        for _ in 0..2 {
            let got = self.backend.get(&key_of(digest)).await;
            let Some((_, body)) = self.backend_clock.noted(got, &self.clock)?.value else { break };
            let kind = BlobKind::from_magic(&body);
            match self.check_body(digest, body).await? {
                Ok(blob) => match compare(chunk, blob.kind(), blob.encoded_len() as u64) {
                    Existing::Same => return Ok(Some(Landed::found(blob.into_bytes()))),
                    Existing::Refused(error) => return Err(error),
                    Existing::None | Existing::Replaceable => break,
                },
                Err(_) => refuse_claim(chunk, kind)?,
            }
        }
        Ok(None)
    }

    /// Puts a chunk in the place of the object that was seen, or of none; `None` if something else is there by now.
    async fn overwrite(
        &self,
        chunk: &CheckedChunk,
        seen: Option<&ObjectInfo>,
    ) -> Result<Option<Landed>, InsertError> {
        let content = chunk.blob().as_bytes();
        let condition = match seen {
            _ if !self.is_guarded(chunk) => PutCondition::Always,
            Some(object) => PutCondition::IfMatch(object.etag.clone()),
            None => PutCondition::IfAbsent,
        };
        let put = Put { key: key_of(chunk.digest()), content: content.clone(), condition, validity: None };
        match self.backend_clock.noted(self.backend.put(put).await, &self.clock) {
            // A HEAD decides (R3): what is there is looked at, whosever it is.
            Err(error)
                if error.is_unclear
                    && self.is_guarded(chunk)
                    && self.look_up(&chunk.digest()).await.is_ok_and(|object| object.is_some()) =>
            {
                Ok(None)
            }
            put => Ok(matches!(put?.value, PutOutcome::Stored(_)).then(|| Landed::new(content))),
        }
    }

    pub(super) async fn tag_of(&self, content: &Bytes) -> Result<Option<ETag>, InsertError> {
        let (backend, content) = (Arc::clone(&self.backend), content.clone());
        Ok(self.dir.compute(move || backend.tag_of(&content)).await?)
    }

    async fn check_body(&self, digest: Digest, body: Bytes) -> Result<Result<Blob, CheckError>, InsertError> {
        let check = move || {
            let blob = Blob::parse(body).map_err(|source| CheckError::Blob { digest, source })?;
            check_stored(&blob, digest)?;
            Ok(blob)
        };
        Ok(self.dir.compute(check).await?)
    }
}

/// Refuses an encrypted chunk in the place of a damaged plain one: only plain data has that digest, so nobody honest offers
/// it (hazard H37).
fn refuse_claim(chunk: &CheckedChunk, stored: Option<BlobKind>) -> Result<(), InsertError> {
    match stored.map(BlobKind::class) {
        Some(stored @ ChunkClass::Plain) if chunk.blob().class() == ChunkClass::Encrypted => {
            Err(InsertError::ClassMismatch { digest: chunk.digest(), stored })
        }
        _ => Ok(()),
    }
}

/// Others replace the object of a digest faster than it can be looked at.
fn keeps_changing(digest: Digest) -> BackendError {
    BackendError {
        action: "put",
        key: key_of(digest).to_string(),
        is_unclear: false,
        fault: Fault::Unavailable,
        date: None,
        source: "the object was replaced by somebody else time and again; try again later".into(),
    }
}

fn key_of(digest: Digest) -> ObjectKey {
    ObjectKey::of_entry(EntryName::chunk(digest))
}
