//! What the requests of one reader session share.

use std::sync::Arc;

use bytes::Bytes;
use coldkeep_datastore::SnapshotReader;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Server;
use crate::api::ApiError;
use crate::tasks::TaskHandle;

/// Most chunks of one session in memory: enough that the disk and the network work at the same time, 4 × 16 MiB at worst.
const CHUNKS_IN_MEMORY_MAX: usize = 4;

/// One reader session.
pub(crate) struct ReaderSession {
    pub(super) server: Arc<Server>,
    pub(super) reader: SnapshotReader,
    task: TaskHandle,
    room: Arc<Semaphore>,
}

/// Bytes that give back their room when the last copy of them is sent or dropped.
struct Held {
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Room for one chunk.
pub(super) struct Room(OwnedSemaphorePermit);

impl Room {
    /// Ties the room to the chunk that fills it: it is free again when the chunk has left for the client, not before, so
    /// that a client that asks for many chunks and takes none cannot fill the memory.
    pub(super) fn hold(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Held { bytes, _room: self.0 })
    }
}

impl ReaderSession {
    pub(super) fn new(server: Arc<Server>, reader: SnapshotReader, task: TaskHandle) -> Self {
        Self { server, reader, task, room: Arc::new(Semaphore::new(CHUNKS_IN_MEMORY_MAX)) }
    }

    pub(super) fn log(&self, text: impl AsRef<str>) {
        self.task.log(text);
    }

    /// Waits for room for one chunk.
    pub(super) async fn room(&self) -> Result<Room, ApiError> {
        let permit = Arc::clone(&self.room).acquire_owned().await;
        permit.map(Room).map_err(|_| ApiError::bad_request("the session has ended"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn room_is_free_again_when_the_last_copy_is_dropped() {
        let room = Arc::new(Semaphore::new(1));
        let permit = Arc::clone(&room).acquire_owned().await.unwrap();
        let bytes = Room(permit).hold(Bytes::from_static(b"chunk"));
        let tail = bytes.slice(3..);
        drop(bytes);
        assert_eq!(room.available_permits(), 0);
        assert_eq!(tail, "nk");
        drop(tail);
        assert_eq!(room.available_permits(), 1);
    }
}
