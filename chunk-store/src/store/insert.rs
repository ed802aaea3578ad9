//! Insert and reference: the writers' half of the protocol (R2, R4, R5).

use super::{ChunkStore, InsertError, TouchError};
use crate::blob::{BlobKind, ChunkClass, HEADER_BYTES};
use crate::checked::CheckedChunk;
use crate::digest::Digest;
use crate::dir::{ChunkDir, DirError, Durability, EntryName, EntryStat, NewEntry};
use crate::locks::DigestGuard;
use crate::session::Session;
use crate::switch::is_off;

/// Most digests whose locks are held at once by a batch; bounds how long a batch keeps others waiting.
pub(crate) const TOUCH_BATCH: usize = 128;

/// What an insert did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// The chunk was written.
    New {
        /// Its encoded length.
        encoded_bytes: u64,
    },
    /// The store had it already; its last use is now.
    Known,
}

/// What an insert finds under the digest.
pub(crate) enum Existing {
    /// Nothing that counts: the upload is written.
    None,
    /// A chunk that stands for the upload.
    Same,
    /// A good one that the upload takes the place of.
    Replaceable,
    /// The upload must not replace it.
    Refused(InsertError),
}

impl<D: ChunkDir> ChunkStore<D> {
    /// Stores a chunk, or refreshes it if the store has it.
    ///
    /// When this returns, the chunk stays until `session` ends (I3). Whether it survives power loss is up to
    /// [`ChunkStore::sync`] (I4).
    ///
    /// # Errors
    /// [`InsertError::ClassMismatch`] and [`InsertError::LengthMismatch`]: the upload is refused, nothing changed.
    /// [`InsertError::Dir`]: nothing is stored under the digest that was not there before.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the chunk stored; nobody was told, so the next run may collect it.
    pub async fn insert(&self, session: &Session, chunk: CheckedChunk) -> Result<Inserted, InsertError> {
        let digest = chunk.digest();
        let held = self.locks.lock(&digest).await;
        let inserted = match self.existing(&held, &chunk).await? {
            Existing::Refused(error) => return Err(error),
            Existing::Same => {
                // R2: one step with the check as seen by the sweep, since lock(d) is held over both.
                if !is_off("r2") {
                    let at = self.suspects.begin_use(&self.dir, &self.clock).await?;
                    self.dir.touch(&held, vec![EntryName::chunk(digest)], at).await?;
                }
                Inserted::Known
            }
            Existing::None => self.write(&held, &chunk, self.durability()).await?,
            // Snapshots may rely on it: no power loss may leave them with neither of the two (I1).
            Existing::Replaceable => self.write(&held, &chunk, Durability::Immediate).await?,
        };
        session.tell([&digest]);
        Ok(inserted)
    }

    async fn write(
        &self,
        held: &DigestGuard,
        chunk: &CheckedChunk,
        durability: Durability,
    ) -> Result<Inserted, DirError> {
        let content = chunk.blob().as_bytes().clone();
        let encoded_bytes = content.len() as u64;
        let at = self.suspects.begin_write(&self.dir, &self.clock, held).await?;
        let entry = NewEntry { name: EntryName::chunk(chunk.digest()), content, at };
        self.dir.put(held, entry, durability).await?;
        Ok(Inserted::New { encoded_bytes })
    }

    async fn existing(&self, held: &DigestGuard, chunk: &CheckedChunk) -> Result<Existing, DirError> {
        let digest = chunk.digest();
        let Some((stat, kind)) = self.dir.stat(held, EntryName::chunk(digest)).await? else {
            return Ok(Existing::None);
        };
        // Without a known magic it is no chunk: what a crash or a bad disk left is replaced.
        let Some(kind) = kind else {
            self.distrust(chunk);
            return Ok(Existing::None);
        };
        if !self.is_good(held, digest, &stat).await? {
            self.distrust(chunk);
            return Ok(Existing::None);
        }
        Ok(if is_off("r2") { Existing::Same } else { compare(chunk, kind, stat.len) })
    }

    /// Fails the sessions that were told of what a chunk is about to take the place of, which is bad: of an encrypted one nobody can
    /// tell whether it is what that was (I3, R15).
    fn distrust(&self, chunk: &CheckedChunk) {
        if chunk.blob().class() == ChunkClass::Encrypted && !is_off("r15") {
            self.registry.fail_told(&chunk.digest());
        }
    }

    /// Refreshes chunks that an index names (R5); when this returns, they stay until `session` ends (I3).
    ///
    /// # Errors
    /// [`TouchError::Missing`] names the first digest that the store has no good chunk of; the others may have been
    /// refreshed.
    ///
    /// # Cancel safety
    /// Dropping the future may leave some of the chunks refreshed.
    pub async fn touch(&self, session: &Session, digests: &[Digest]) -> Result<(), TouchError> {
        for batch in digests.chunks(TOUCH_BATCH) {
            let held = self.locks.lock_all(batch).await;
            let names = batch.iter().copied().map(EntryName::chunk).collect();
            let found = if is_off("r5") {
                continue;
            } else {
                let at = self.suspects.begin_use(&self.dir, &self.clock).await?;
                self.dir.touch(&held, names, at).await?
            };
            for (digest, stat) in batch.iter().zip(found) {
                let good = match stat {
                    Some(stat) => self.is_good(&held, *digest, &stat).await?,
                    None => false,
                };
                if !good {
                    return Err(TouchError::Missing { digest: *digest });
                }
            }
            session.tell(batch);
        }
        Ok(())
    }

    /// Returns whether a chunk file counts as a chunk. After an unclean end one that was written since the last sync
    /// is read and checked first (DESIGN "Filesystem stores", hazard H38).
    async fn is_good(&self, held: &DigestGuard, digest: Digest, stat: &EntryStat) -> Result<bool, DirError> {
        if stat.len < HEADER_BYTES as u64 {
            return Ok(false);
        }
        if !self.suspects.contains(stat.written_at) || is_off("h38") {
            return Ok(true);
        }
        let name = EntryName::chunk(digest);
        let Some(content) = self.dir.read(name).await? else { return Ok(false) };
        if self.check_read(digest, content).await?.is_err() {
            return Ok(false);
        }
        // A new mtime takes it out of the suspect span, so that it is read only once.
        let at = self.suspects.begin_use(&self.dir, &self.clock).await?;
        self.dir.set_times(held, name, at).await?;
        Ok(true)
    }
}

/// R2: what a stored chunk of `kind` and `len` means for a checked upload of the same digest.
pub(crate) fn compare(chunk: &CheckedChunk, kind: BlobKind, len: u64) -> Existing {
    let digest = chunk.digest();
    let offered = chunk.blob().encoded_len() as u64;
    match (kind.class(), chunk.blob().class()) {
        (stored @ ChunkClass::Plain, ChunkClass::Encrypted) => {
            Existing::Refused(InsertError::ClassMismatch { digest, stored })
        }
        // The upload proved that the digest is that of plain data: whoever claimed it with a blob that nobody could
        // check makes room (hazard H37).
        (ChunkClass::Encrypted, ChunkClass::Plain) => Existing::Replaceable,
        _ if kind == BlobKind::Encrypted && chunk.blob().kind() == kind && len != offered => {
            Existing::Refused(InsertError::LengthMismatch { digest, stored: len, offered })
        }
        _ => Existing::Same,
    }
}
