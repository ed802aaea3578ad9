//! What the requests of one reader session share.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coldkeep_chunk_store::Digest;
use coldkeep_chunk_store::blob::{BLOB_ENCODED_BYTES_MAX, Blob};
use coldkeep_datastore::{ArchiveKind, ArchiveName, Datastore, ReadError, SnapshotReader};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::holds::{Hold, Holds};
use super::prefetch::{CHUNKS_MAX, Prefetch};
use crate::Server;
use crate::api::{ApiError, HeldRoom, UserRoom};
use crate::auth::AuthId;
use crate::tasks::TaskHandle;

/// Most chunks of one session in memory: enough that the disk and the network work at the same time, 4 × 16 MiB at worst.
const CHUNKS_IN_MEMORY_MAX: usize = 4;
/// The same for a store in a bucket, where each takes a round trip: 16 × 4 MiB in a usual image.
const CHUNKS_OF_BUCKET_IN_MEMORY_MAX: usize = 16;
/// How often a session looks whether it is in the way of others.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);

/// One reader session.
pub(crate) struct ReaderSession {
    pub(super) server: Arc<Server>,
    pub(super) reader: SnapshotReader,
    task: TaskHandle,
    room: Arc<Semaphore>,
    /// What all sessions have together.
    whole: UserRoom,
    holds: Arc<Holds>,
    /// What is fetched ahead from a bucket.
    prefetch: Option<Prefetch>,
}

/// Bytes that give back their room when the last copy of them is sent or dropped.
struct Held {
    bytes: Bytes,
    _room: Room,
    _hold: Hold,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Room for one chunk.
pub(super) struct Room {
    _own: OwnedSemaphorePermit,
    whole: HeldRoom,
    holds: Arc<Holds>,
}

impl Room {
    /// Ties the room to the chunk that fills it: it is free again when the chunk has left for the client, not before, so
    /// that a client that asks for many chunks and takes none cannot fill the memory.
    pub(super) fn hold(mut self, bytes: Bytes) -> Bytes {
        // Room was taken for a chunk of the greatest size; most are smaller.
        self.whole.shrink_to(bytes.len());
        let hold = self.holds.begin();
        Bytes::from_owner(Held { bytes, _room: self, _hold: hold })
    }
}

impl ReaderSession {
    pub(super) fn new(
        server: Arc<Server>,
        store: &Datastore,
        reader: SnapshotReader,
        (task, who): (TaskHandle, &AuthId),
    ) -> Self {
        let bucket = store.chunks().as_bucket();
        let chunks_max = if bucket.is_some() { CHUNKS_OF_BUCKET_IN_MEMORY_MAX } else { CHUNKS_IN_MEMORY_MAX };
        let prefetch = bucket.and_then(Prefetch::new);
        let whole = server.download_room(store.name(), who);
        let chunks_max = chunks_max.min(whole.chunks_max());
        Self {
            server,
            reader,
            task,
            whole,
            holds: Arc::default(),
            room: Arc::new(Semaphore::new(chunks_max)),
            prefetch,
        }
    }

    /// Takes note of an index that was downloaded: what it names may be asked for next.
    pub(super) async fn note_index(&self, name: &ArchiveName) {
        let (Some(prefetch), ArchiveKind::Index(_)) = (&self.prefetch, name.kind()) else { return };
        // Only speed depends on it: whoever downloads the index learns what is wrong with it.
        let Ok(index) = self.reader.index(name).await else { return };
        let collect = move || {
            let mut digests = Vec::new();
            let mut take = |block: &[Digest]| {
                digests.extend_from_slice(block);
                if digests.len() < CHUNKS_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            };
            index.for_each_block(&mut take).map(|()| digests)
        };
        if let Ok(Ok(digests)) = tokio::task::spawn_blocking(collect).await {
            prefetch.follow(digests);
        }
    }

    /// Reads a chunk. That is mostly waiting, so it takes no core's turn; how much of it goes on at once is bounded by `room`.
    pub(super) async fn chunk(&self, digest: &Digest) -> Result<Blob, ReadError> {
        let read = self.reader.encoded_chunk(digest);
        if let Some(prefetch) = &self.prefetch {
            prefetch.note_request(digest);
        }
        read.await
    }

    pub(super) fn log(&self, text: impl AsRef<str>) {
        self.task.log(text);
    }

    /// Waits for room for one chunk.
    pub(super) async fn room(&self) -> Result<Room, ApiError> {
        let permit = Arc::clone(&self.room).acquire_owned().await;
        let own = permit.map_err(|_| ApiError::bad_request("the session has ended"))?;
        let whole = self.whole.enter(BLOB_ENCODED_BYTES_MAX).await?;
        Ok(Room { _own: own, whole, holds: Arc::clone(&self.holds) })
    }

    /// Waits until this session is in the way of others: somebody waits for room, and for as long as an upload may take the client has taken
    /// no chunk to its end of those that it asked for. Whoever reads in that time what it asked for at once (64 MiB
    /// at most, of a bucket 256 MiB) is never in the way; where bandwidth is
    /// bounded, nobody is, since it may be the server that waits.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub(super) async fn is_in_the_way(&self) {
        let limits = self.server.limits();
        if limits.bandwidth.user_out > 0 || limits.bandwidth.store_out > 0 {
            return std::future::pending().await;
        }
        let patience = limits.upload;
        loop {
            tokio::time::sleep(LOOK_INTERVAL.min(patience)).await;
            if self.whole.is_wanted() && self.holds.idle_for().is_some_and(|age| age >= patience) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::WholeRoom;

    #[tokio::test]
    async fn room_is_free_again_when_the_last_copy_is_dropped() {
        let room = Arc::new(Semaphore::new(1));
        let permit = Arc::clone(&room).acquire_owned().await.unwrap();
        let whole = WholeRoom::new(9);
        let user = whole.of_user(&"al@pbs".parse().unwrap());
        let holds = Arc::<Holds>::default();
        let held = user.enter(9).await.unwrap();
        let bytes =
            Room { _own: permit, whole: held, holds: Arc::clone(&holds) }.hold(Bytes::from_static(b"chunk"));
        let _rest = user.enter(4).await.unwrap();
        let tail = bytes.slice(3..);
        drop(bytes);
        assert_eq!(room.available_permits(), 0);
        assert!(holds.idle_for().is_some());
        assert_eq!(tail, "nk");
        drop(tail);
        assert_eq!(room.available_permits(), 1);
        assert!(holds.idle_for().is_none());
        user.enter(5).await.unwrap();
    }
}
