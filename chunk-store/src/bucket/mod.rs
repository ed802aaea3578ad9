//! A chunk store whose objects live in a bucket, with markers and a bounded cache in a local directory.
//!
//! # Words
//!
//! *object(d)* is the blob of digest d in the bucket. *marker(d)* is the local file of d: it means that object(d) exists.
//! It holds the blob (cached) or nothing; its atime is the chunk's last use, set to the store clock. *upload marker(d)*,
//! a second file, means that an upload of d may be under way or was cut short; its atime is the start of the latest one.
//! A digest is *condemned* while it is in an open batch of the sweep, *journalled* from the moment when that batch is on
//! disk until the outcome of its delete is certain, and *in limbo* while a delete was sent and not answered. The *token*
//! is the unique value of the generation object. *lock(d)* is held for local file work, and for the HEAD of R14 and R15.
//!
//! # Why no chunk is lost
//!
//! What must hold: a session that was told that d is stored can rely on object(d) until it ends (I3), or fails before it
//! can commit; and marker(d) means that object(d) exists, unless d is journalled (I2).
//!
//! 1. **Between "about to upload" and "told" there is always something local.** The upload marker stands before the
//!    request leaves (R1), and goes only after the marker was placed, which is after the acknowledgement (R4). A sweep
//!    that lists the object in between finds one of the two, younger than its cutoff (R7, R13), whatever the session
//!    caches (H1, H3, H17). A failed upload leaves its upload marker, so that nothing strips another upload of the same
//!    digest of its protection (H4, H8).
//! 2. **Deciding is one step with using.** Insert and reference refresh the marker under lock(d) (R2, R5); the sweep looks
//!    at the marks, the journal and the cutoff under the same lock and condemns (R7). If the use comes first, the sweep
//!    sees it. If the sweep comes first, the use takes the digest out of its batch (R8), or, when the batch is on disk,
//!    waits until the outcome of the delete is certain and then starts as for a chunk that nobody has (H2).
//! 3. **A delete that may still come keeps its digest out of use.** Before the first delete of a batch leaves, its digests,
//!    the expiry of its requests and the next token are on disk; markers go before the deletes. All attempts bear one
//!    signing time. An attempt without an answer puts the digest in limbo until the backend's own clock shows that the
//!    expiry has passed (R9), so no delete lands on a chunk that was uploaded again (H10, H21). An acknowledgement counts
//!    only if its digest was never journalled since its upload marker was set (H22). Replay after a crash deletes nothing:
//!    it removes the markers and waits (H9, H28).
//! 4. **Local state speaks for one generation of the bucket only.** Every open and every batch changes the token by
//!    compare-and-swap (R10). An old disk image, a copy, or a second server therefore finds a foreign token: at open it
//!    builds its markers anew from the bucket's own listing, after every request that was signed before has expired (H11,
//!    H23, H24); a running store closes, and its sessions fail (H12).
//! 5. **A commit is acknowledged between two looks at the token.** The manifest is put with a signing time from before the
//!    first look; a manifest that lands later than its expiry cannot be (H25). Requests for snapshot objects have an
//!    expiry, too, and a path with an unclear one is closed until it has passed (R19, H35, H36).
//! 6. **Reading resurrects nothing.** A fetched body fills a marker that is there, under lock(d), with the atime that it
//!    has; it never creates one (R6, H6). What is read from the cache is checked like what is read from the bucket (H19);
//!    of an encrypted chunk, which nobody can check, the tag in the bucket is compared once after an unclean end (H37).
//! 7. **"Already there" is believed only of a good object**: same size and tag as our blob, or fetched and checked (R3, H32).
//!
//! | interleaving | upheld by | shown by (module `tests`) |
//! |---|---|---|
//! | an object whose upload or insert is not over meets a sweep (H1, H3) | R1, R4, R7 | `batch::h01_…`, `batch::h03_…` |
//! | a use between the decision and the delete, or a delete between (H2) | R2, R7, R8 | `batch::h02_…` |
//! | one of two uploads fails, the other goes on (H4) | R4 | `insert::h04_…` |
//! | conditional puts collide until attempts run out (H5) | R3 | `insert::h05_…` |
//! | a download ends after its marker went (H6) | R6 | `cache::h06_…` |
//! | a chunk of an earlier snapshot is referenced, then swept (H7) | R5, R13 | `insert::touched::h07_…` |
//! | a crash between upload and marker (H8), a very long upload (H20) | R1, R7, R13 | `insert::h08_…`, `batch::h08_…`, `batch::h20_…` |
//! | eviction under a reader, cache or its disk full (H14) | R6 | `cache::h14_…`, `recency::h14_…`, `accounting` |
//! | a cached file is torn (H19) | check on read | `cache::h19_…` |
//! | a second server (H12), replay after a crash (H28) | R10, R11, R7 | `open::h12_…`, `paths::h12_…`, `open::h28_…` |
//! | old local state, copied disk, late delete of a predecessor (H11, H23, H24) | R10 | `rebuild::h11_…` … |
//! | a session without cache (H17), an object that only seems to be there (H32) | R1, R3 | `insert::h17_…`, `insert::h32_…` |
//! | a blob that cannot be checked (H37) | R2 | `insert::classes::h37_…` |
//! | an acknowledgement from before a late delete (H22) | R4 | `insert::h22_…` |
//! | deletes without an answer (H10, H21), refused keys (H18), cancelled runs (H27), power loss (H9) | R7, R9 | `batch::h09_…` … |
//! | a clock of the backend that is wrong or set back (H30) | R9 | `paths::h30_…`, and in `date` |
//! | healing on a stale listing (H26), setting aside (H29, H31) | R14, R15 | `batch::h26_…` … |
//! | late requests for snapshot objects (H25, H35), a superseded server (H36) | R10, R19 | `paths::h25_…` … |
//! | all of it at random | R1–R8 | `insert::interleaved` |
//!
//! # Lock order
//!
//! One guard of lock(d), or one batch of them, at a time; under it the small `std` mutexes of journal, cache and gate,
//! none of which is held across an await. Under lock(d) the network is used for the HEADs of R14 and R15 alone. Turns at
//! the generation and at the files of state wait on the network or the disk, and are taken without any lock(d), but by the
//! end of a store, which keeps everybody out.

mod adaptive;
mod batch;
mod cache;
mod classes;
mod closed;
mod date;
mod evict;
mod flights;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod generation;
mod heal;
mod in_use;
mod insert;
mod journal;
mod listing;
mod load;
mod lru;
mod open;
mod options;
mod own;
mod paths;
mod quarantine;
mod rebuild;
mod recency;
mod scan;
mod settle_wait;
mod shared_error;
mod status;
mod sweep;
mod touch;
mod upload;

use std::sync::Arc;

pub use batch::{Batch, BatchOutcome, Candidate, Condemned, Fate};
pub use closed::{Closed, CommitError};
pub use heal::Healed;
pub use in_use::{Holder, InUse};
pub use journal::{JournalCounts, JournalError};
pub use open::BucketOpenError;
pub use options::{BucketOptions, RequestLifetimes, Takeover};
pub use paths::{PathClaim, PathError};
pub use rebuild::{RebuildPhase, RebuildProgress};
pub use status::BucketStatus;
pub use sweep::{Outcome as SweepOutcome, SweepEntry, SweepPage, SweepShard};

use crate::backend::{AnyBackend, ObjectBackend};
use crate::dir::{DirError, FsChunkDir, MarkerDir};
use crate::locks::DigestLocks;
use crate::owner::OwnerLock;
use crate::session::{CacheUse, Registry, Session};
use crate::store::StoreError;
use crate::store::state::Suspects;
use crate::time::{StoreClock, StoreTime};

/// A chunk store in a bucket: markers and upload markers in a local directory say what the bucket holds.
///
/// All methods take `&self`; share it in an `Arc`.
pub struct BucketStore<D: MarkerDir = FsChunkDir, B: ObjectBackend = AnyBackend> {
    dir: D,
    /// Shared with work for the processor that goes on elsewhere.
    backend: Arc<B>,
    options: BucketOptions,
    clock: StoreClock,
    /// Only what it does for the clock is used: markers are empty or checked when they are read.
    state: Suspects,
    locks: DigestLocks,
    registry: Arc<Registry>,
    journal: journal::Journal,
    generation: generation::Generation,
    backend_clock: date::BackendClock,
    closed: closed::ClosedFlag,
    cache: cache::Cache,
    flights: flights::Flights,
    vouched: load::Vouched,
    gate: gate::Gate,
    uploads: classes::UploadClasses,
    rebuild: rebuild::RebuildState,
    _owner: Option<OwnerLock>,
}

impl<D: MarkerDir, B: ObjectBackend> BucketStore<D, B> {
    /// Returns the store clock (R12).
    pub fn clock(&self) -> &StoreClock {
        &self.clock
    }

    /// Returns the local directory.
    pub fn dir(&self) -> &D {
        &self.dir
    }

    /// Returns the backend.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// Starts a session: from now on nothing that it is told of is collected (R13, I3).
    ///
    /// # Errors
    /// [`StoreError::Closed`] while the store is being rebuilt or after another server took the bucket over;
    /// [`StoreError::Dir`] if the clock could not be saved.
    ///
    /// # Cancel safety
    /// Dropping the future starts nothing.
    pub async fn begin_session(&self, cache: CacheUse) -> Result<Session, StoreError> {
        self.check_open()?;
        let session = self.registry.begin_session(&self.clock, self.options.set_key, cache);
        self.save_clock().await?;
        // Registered by now, so that it is failed if the store is closed from here on.
        self.check_open()?;
        Ok(session)
    }

    /// Saves the clock; to be called at least once a minute while the store is open (R12).
    ///
    /// # Errors
    /// [`StoreError::Dir`] if the state file could not be written.
    pub async fn save_clock(&self) -> Result<(), StoreError> {
        Ok(self.state.save(&self.dir, &self.clock, false).await?)
    }

    /// Returns the time for a use that is about to be recorded on a marker; the saved clock is never far behind it.
    async fn begin_use(&self) -> Result<StoreTime, DirError> {
        self.state.begin_use(&self.dir, &self.clock).await
    }

    /// Saves the journal, synced.
    async fn save_journal(&self) -> Result<(), DirError> {
        self.journal.save(&self.dir).await
    }
}

impl<D: MarkerDir, B: ObjectBackend> std::fmt::Debug for BucketStore<D, B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BucketStore").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
