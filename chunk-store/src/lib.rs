//! A content-addressed chunk store with safe concurrent insert and sweep.
//!
//! A chunk is a piece of a backup stream, named by the SHA-256 of its data and stored as a [`Blob`](blob::Blob). Many
//! sessions insert and reference chunks while a collector removes those that nobody uses; this crate holds the protocol
//! between them, so that no chunk that anybody relies on is ever lost. It knows nothing of snapshots or indexes: what
//! is referenced, the collector is told by its caller (see `coldkeep-gc`).
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use coldkeep_chunk_store::blob::{Blob, Compression};
//! use coldkeep_chunk_store::{CheckedChunk, ChunkStore, Digest, StoreOptions, SystemClock};
//!
//! let folder = tempfile::tempdir()?;
//! let store = ChunkStore::open(folder.path(), StoreOptions::new(Arc::new(SystemClock::new()))).await?;
//! let session = store.begin_session().await?;
//! let data = b"some data";
//! let blob = Blob::encode(data, Compression::Zstd)?;
//! let chunk = CheckedChunk::check(Digest::of(data), data.len() as u64, blob.into_bytes())?;
//! store.insert(&session, chunk).await?;
//! store.sync().await?;
//! assert_eq!(store.load(&Digest::of(data)).await?.decode(data.len())?, &data[..]);
//! store.close().await?;
//! # Ok(())
//! # }
//! # tokio::runtime::Runtime::new().unwrap().block_on(example()).unwrap();
//! ```
//!
//! Chunks live in a folder ([`ChunkStore`]) or in a bucket of any S3 server, with markers and a bounded cache in a folder
//! ([`bucket::BucketStore`]); [`AnyStore`] is either.
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `s3` | yes | `backend::S3Backend`, buckets by way of `coldkeep-s3-client`; without it a `BucketStore` runs on any backend of its caller |
//! | `testing` | no | in-memory implementations of the traits, a manual clock, a backend that stops where a test says, and the conformance suites |
//!
//! Side effects sit behind small traits: [`ChunkDir`](dir::ChunkDir) (local files; [`MarkerDir`](dir::MarkerDir) beside a
//! bucket), [`ObjectBackend`](backend::ObjectBackend) (a bucket), [`Clock`] and [`Random`]. The store never starts tasks,
//! timers or random numbers of its own; on [`FsChunkDir`](dir::FsChunkDir) it needs a tokio runtime for blocking file work.
//!
//! # Why no chunk is lost
//!
//! The argument for stores in buckets stands in [`bucket`]. This one is for filesystem stores, where chunk file, marker and
//! object are one file. Names of rules and hazards are those of the project's design. *Used* means that the atime of the chunk's file was set to the store clock.
//!
//! 1. **A session's chunks are used within the session.** [`ChunkStore::insert`] and [`ChunkStore::touch`] tell a
//!    session that a chunk is stored only after its file was written, or its atime set, under lock(d) (R2, R4, R5). The
//!    store clock never runs backwards, also not over a restart (R12), so that this atime is at or after the session's
//!    start.
//! 2. **No cutoff passes an open session.** [`ChunkStore::begin_run`] takes the minimum over all open sessions while
//!    the registry is locked, and a session reads its start under the same lock (R13). A session that begins later
//!    begins after the run's start, and so after the cutoff.
//! 3. **Removal looks again.** [`ChunkStore::remove`] compares atime and cutoff and unlinks in one step under lock(d)
//!    (R7). Whatever order insert, touch and removal take for one digest: either the use comes first, then the removal
//!    sees it and keeps the chunk; or the removal comes first, then the insert finds no file and writes it, and the
//!    touch fails, which its session reports.
//!
//! So a chunk that an open session was told of stays until the session ends (I3). From its commit on, its index is
//! found by every later mark; a run that started earlier has a cutoff at or before the session's start (2), so its
//! removals fail (1, 3).
//!
//! | interleaving | upheld by | shown by |
//! |---|---|---|
//! | sweep decides, insert or reference of a known chunk, removal (H2) | R2, R5, R7 | `h02_a_chunk_touched_after_the_sweep_decided_is_kept` |
//! | clock steps back within a session, or over a restart (H13) | R12 | `h13_a_clock_that_steps_back_hides_no_use` |
//! | a session starts while the cutoff is evaluated | R13 | `the_cutoff_is_bounded_by_grace_and_by_the_oldest_open_session` |
//! | a blob that cannot be checked is offered for a plain chunk, or came first (H37) | R2 | `h37_unchecked_blobs_do_not_claim_plain_chunks` |
//! | a reader reads while the chunk is replaced | R4 | `a_replaced_chunk_stays_whole_for_whoever_is_reading_it` |
//! | power loss tears an unsynced chunk, the next session dedups against it (H38) | span of suspect mtimes | `h38_…` |
//! | a chunk is being written while another session's commit syncs (H38) | a sync vouches only for writes that had ended; a write ends with lock(d) | `h38_a_chunk_that_was_being_written_during_a_sync_stays_suspect` |
//! | the date jumps ahead before an unclean end (H38) | the clock is saved before a file gets a time far ahead of it | `h38_a_chunk_written_after_the_clock_jumped_ahead_is_suspect` |
//! | a write-back fails, which Linux reports once | no sync succeeds after one failed | `after_a_failed_sync_there_is_no_success` |
//! | a killed process leaves chunks in the page cache | sync at the next open | `what_a_killed_process_wrote_is_made_durable_at_the_next_open` |
//! | verify sets a chunk aside that a session relies on (H29) | R15 | `h29_setting_a_chunk_aside_fails_the_sessions_that_rely_on_it` |
//! | verify is stopped while it sets a chunk aside (H29) | sessions fail before the rename | `h29_sessions_fail_before_their_chunk_goes` |
//! | a read error is taken for corruption (H31) | R15 | `h31_a_failed_read_is_no_corruption` |
//! | a second process opens the store (H12) | R11 | `a_store_has_one_owner` |
//! | a filesystem that does not keep times | R12 | `collection_is_refused_where_times_are_not_kept` |
//!
//! A future that is dropped never lets go of lock(d) early: file work that has begun keeps the lock until it is done
//! ([`DigestGuard`]). The lock order is stated in the module of [`DigestLocks`].

mod any_store;
pub mod backend;
pub mod blob;
pub mod blocking;
pub mod bucket;
mod checked;
mod digest;
mod digest_set;
pub mod dir;
pub mod durable;
mod locks;
mod owner;
mod random;
mod session;
mod store;
#[doc(hidden)]
pub mod switch;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod time;

pub use any_store::AnyStore;
pub use checked::{CheckError, CheckedChunk};
pub use digest::{DIGEST_BYTES, Digest, DigestBuilder, ParseDigestError};
pub use digest_set::{DigestSet, DigestSetBuilder};
pub use locks::{DigestGuard, DigestLocks};
pub use owner::{OwnerError, OwnerLock};
pub use random::{Random, SystemRandom};
pub use session::{CacheUse, Run, Session, SessionFailed};
pub use store::{
    ChunkStore, InsertError, Inserted, ListedEntry, LoadError, OpenError, Quarantined, RunError, StoreError,
    StoreOptions, SyncLevel, TouchError,
};
pub use time::{Clock, Sleep, StoreClock, StoreTime, SystemClock};
