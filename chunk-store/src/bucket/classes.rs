//! Uploads of one digest are of one class at a time (R2, hazard H37).
//!
//! Only then does the object that an acknowledgement speaks of have the class that goes on the marker: a plain put without
//! condition, such as its last attempt (R3), must not land on what another session put there meanwhile. Puts of encrypted
//! chunks always bear a condition where the backend heeds it, since one may land after its session has failed. Honest
//! clients never meet here, since the digests of encrypted chunks are keyed.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::blob::ChunkClass;
use crate::digest::Digest;
use crate::switch::is_off;

/// The classes of the uploads under way.
#[derive(Debug, Default)]
pub(super) struct UploadClasses {
    uploads: Mutex<BTreeMap<Digest, (ChunkClass, usize)>>,
    ended: Notify,
}

/// An upload under way, until it is dropped.
#[derive(Debug)]
pub(super) struct ClassTurn<'a> {
    classes: &'a UploadClasses,
    digest: Digest,
}

impl UploadClasses {
    /// Registers an upload; `None` while others of the digest are of the other class.
    pub(super) fn begin(&self, digest: Digest, class: ChunkClass) -> Option<ClassTurn<'_>> {
        let mut uploads = self.lock();
        let (of_class, count) = uploads.entry(digest).or_insert((class, 0));
        if *of_class != class && !is_off("r2") {
            return None;
        }
        *count += 1;
        Some(ClassTurn { classes: self, digest })
    }

    /// Waits until no upload of the digest is of another class.
    pub(super) async fn wait(&self, digest: &Digest, class: ChunkClass) {
        loop {
            let mut ended = std::pin::pin!(self.ended.notified());
            ended.as_mut().enable();
            if self.lock().get(digest).is_none_or(|(of_class, _)| *of_class == class) {
                return;
            }
            ended.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Digest, (ChunkClass, usize)>> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ClassTurn<'_> {
    fn drop(&mut self) {
        {
            let mut uploads = self.classes.lock();
            if let Some((_, count)) = uploads.get_mut(&self.digest) {
                *count -= 1;
                if *count == 0 {
                    uploads.remove(&self.digest);
                }
            }
        }
        self.classes.ended.notify_waiters();
    }
}
