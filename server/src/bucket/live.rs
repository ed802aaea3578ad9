//! What the server keeps beside an opened datastore in a bucket.

use std::sync::Arc;
use std::time::Duration;

use coldkeep_chunk_store::Clock;
use coldkeep_chunk_store::blob::BLOB_ENCODED_BYTES_MAX;
use coldkeep_chunk_store::bucket::BucketStore;
use coldkeep_datastore::Usage;
use coldkeep_s3_client::{Client, Stats};
use serde_json::Value;

use super::config::S3Config;
use super::{Connection, status};
use crate::api::{UploadRoom, UserRoom, WholeRoom};
use crate::auth::AuthId;

/// Most bytes of uploads of all sessions of one store that are in memory at once.
pub(crate) const UPLOAD_BYTES: usize = 128 << 20;

/// Most bytes of chunks on their way to the readers of one store: as many of the largest as are fetched at once.
const DOWNLOAD_BYTES: usize = 32 * BLOB_ENCODED_BYTES_MAX;

/// What the server keeps beside an opened datastore in a bucket.
pub(crate) struct LiveBucket {
    client: Client,
    config: S3Config,
    room: UploadRoom,
    download_room: WholeRoom,
    clock: Arc<dyn Clock>,
    opened_at: Duration,
}

impl LiveBucket {
    pub(crate) fn new(connection: Connection, clock: Arc<dyn Clock>, upload_deadline: Duration) -> Self {
        let config = connection.config().clone();
        let client = connection.client;
        let opened_at = clock.monotonic();
        let room = UploadRoom::of_store(UPLOAD_BYTES, upload_deadline);
        let download_room = WholeRoom::new(DOWNLOAD_BYTES);
        Self { client, config, room, download_room, clock, opened_at }
    }

    /// Returns the room for the uploads of a new session, which may have one body beyond that of the store.
    pub(crate) fn session_room(&self, own_bodies: UserRoom) -> UploadRoom {
        self.room.of_session(own_bodies)
    }

    /// Returns the room for chunks on their way to the readers of a user.
    pub(crate) fn download_room(&self, who: &AuthId) -> UserRoom {
        self.download_room.of_user(who)
    }

    /// Returns the space of the store as its quota has it.
    pub(crate) fn space(&self, usage: Usage) -> Usage {
        status::space(usage, self.config.quota)
    }

    /// Returns what the client did so far.
    pub(crate) fn stats(&self) -> Stats {
        self.client.stats()
    }

    /// Returns the counters that stock servers have.
    pub(crate) fn stock_statistics(&self) -> Value {
        status::stock_statistics(&self.client.stats())
    }

    /// Says everything there is to say.
    pub(crate) fn report(&self, store: &BucketStore) -> Value {
        let elapsed = self.clock.monotonic().saturating_sub(self.opened_at);
        status::report(&store.status(), &self.client.stats(), elapsed, &self.config)
    }
}
