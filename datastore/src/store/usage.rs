//! How much room a datastore takes and has.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use coldkeep_chunk_store::dir::DirError;
use coldkeep_chunk_store::durable::replace_file;
use serde::{Deserialize, Serialize};

use super::{Datastore, Tree};
use crate::file::{FILE_MODE, read_if_there};
use crate::tree::{Layout, TreeError};

/// What a bucket without a known quota is said to hold: clients take 0 for "full".
const BUCKET_BYTES: u64 = 1 << 50;

/// Size of the filesystem that holds a datastore, or of its bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes in all.
    pub total: u64,
    /// Bytes used, by whomever; in a bucket those of the last collection and what was stored since.
    pub used: u64,
    /// Bytes that the server may still use; in a bucket what is left of 1 PiB.
    pub avail: u64,
}

impl Usage {
    /// Tells how much room there is in a bucket that holds so much.
    pub(crate) fn of_bucket(used: u64) -> Self {
        let avail = BUCKET_BYTES.saturating_sub(used).max(1);
        Self { total: used.saturating_add(avail), used, avail }
    }
}

/// Bytes in the bucket, as far as they are known; kept in `.coldkeep/usage`.
#[derive(Debug, Default)]
pub(crate) struct StoredBytes {
    bytes: AtomicU64,
    /// Two writers must not share a temporary file.
    saving: Mutex<()>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    used_bytes: u64,
}

impl StoredBytes {
    /// Reads the counter; it is an estimate, so a damaged file counts for nothing.
    pub(crate) fn load(layout: &Layout) -> Result<Self, DirError> {
        let saved = read_if_there(&layout.state().join("usage"))?;
        let bytes = AtomicU64::new(saved.map_or(0, |content| Self::parse(&content)));
        Ok(Self { bytes, saving: Mutex::default() })
    }

    /// Reads the counter's file.
    pub(crate) fn parse(content: &[u8]) -> u64 {
        serde_json::from_slice::<Saved>(content).map_or(0, |saved| saved.used_bytes)
    }

    /// Starts over from what a listing of the bucket found.
    pub(crate) fn replace(&self, layout: &Layout, bytes: u64) -> Result<(), DirError> {
        self.bytes.store(bytes, Ordering::Relaxed);
        self.save(layout)
    }

    fn save(&self, layout: &Layout) -> Result<(), DirError> {
        let _saving = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let saved = Saved { used_bytes: self.bytes.load(Ordering::Relaxed) };
        let content = serde_json::to_vec(&saved).expect("invariant: a number can be encoded");
        replace_file(&layout.state().join("usage"), &content, FILE_MODE)
    }
}

impl Datastore {
    /// Tells how much room there is: asks the filesystem for its size, or counts what was stored in the bucket.
    ///
    /// # Errors
    /// [`TreeError::File`].
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn usage(&self) -> Result<Usage, TreeError> {
        if self.chunks.as_bucket().is_some() {
            return Ok(Usage::of_bucket(self.tree.stored_bytes.bytes.load(Ordering::Relaxed)));
        }
        self.blocking(filesystem_usage).await
    }

    /// Notes how many bytes a collection found in the bucket.
    ///
    /// # Errors
    /// [`TreeError::File`].
    ///
    /// # Cancel safety
    /// The number may or may not be saved if the future is dropped.
    pub async fn set_stored_bytes(&self, bytes: u64) -> Result<(), TreeError> {
        self.tree.stored_bytes.bytes.store(bytes, Ordering::Relaxed);
        self.save_stored_bytes().await
    }

    /// Notes that a chunk was stored.
    pub(crate) fn note_stored(&self, bytes: u64) {
        self.tree.stored_bytes.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Saves the counter of a datastore in a bucket.
    pub(crate) async fn save_stored_bytes(&self) -> Result<(), TreeError> {
        if self.chunks.as_bucket().is_none() {
            return Ok(());
        }
        self.blocking(|tree| Ok(tree.stored_bytes.save(&tree.layout)?)).await
    }
}

fn filesystem_usage(tree: &Tree) -> Result<Usage, TreeError> {
    let base = tree.layout.base();
    let stat = rustix::fs::statvfs(base)
        .map_err(|errno| DirError::new("ask for the size of the filesystem of", base, errno.into()))?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    let used = bytes(stat.f_blocks.saturating_sub(stat.f_bfree));
    Ok(Usage { total: bytes(stat.f_blocks), used, avail: bytes(stat.f_bavail) })
}
