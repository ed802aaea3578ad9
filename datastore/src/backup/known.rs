//! The chunks that a session may reference, and which of them it was told of (R5, R17).

use std::collections::HashMap;

use coldkeep_chunk_store::Digest;

use super::BackupError;
use crate::index::ChunkSpan;

/// Chunks known to a session with their plain lengths. Only ever looked up, never iterated.
#[derive(Debug, Default)]
pub(crate) struct KnownChunks {
    chunks: HashMap<Digest, Known>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    /// Chunks have at most 16 MiB.
    plain_len: u32,
    /// Whether the chunk store told this session that it is stored, so that it stays until the session ends (I3).
    told: bool,
}

impl KnownChunks {
    /// Adds a chunk that was inserted in this session.
    pub(crate) fn add_told(&mut self, digest: Digest, plain_len: u64) {
        self.chunks.insert(digest, Known { plain_len: plain_len as u32, told: true });
    }

    /// Adds chunks that a fetched index names.
    pub(crate) fn add_referenced(&mut self, spans: &[ChunkSpan]) {
        for span in spans {
            let known = Known { plain_len: span.plain_len() as u32, told: false };
            self.chunks.entry(span.digest).or_insert(known);
        }
    }

    /// Notes that the chunk store refreshed these chunks for this session.
    pub(crate) fn mark_told(&mut self, digests: &[Digest]) {
        for digest in digests {
            if let Some(known) = self.chunks.get_mut(digest) {
                known.told = true;
            }
        }
    }

    /// Returns the plain length of a known chunk.
    pub(crate) fn plain_len(&self, digest: &Digest) -> Option<u64> {
        self.chunks.get(digest).map(|known| u64::from(known.plain_len))
    }

    /// Tells whether a chunk must still be refreshed before an index of this session may name it.
    pub(crate) fn is_untold(&self, digest: &Digest) -> bool {
        self.chunks.get(digest).is_none_or(|known| !known.told)
    }

    /// Refuses another plain length than the one known.
    pub(crate) fn check_length(&self, digest: &Digest, plain_len: u64) -> Result<(), BackupError> {
        match self.plain_len(digest) {
            Some(known) if known != plain_len => {
                Err(BackupError::LengthConflict { digest: *digest, plain_len, known })
            }
            _ => Ok(()),
        }
    }
}
