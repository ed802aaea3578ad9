//! Rebuilding the local state from the bucket (R10).
//!
//! The generation was advanced, so that no other server sends anything from now on. What it sent before may still take
//! effect, and is waited for; then the chunks are listed, and a fresh set of markers takes the place of the old one. How
//! far this is stands in the generation's state file, under the token: whoever opens the store next and finds the token
//! still ours goes on there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};

use super::generation::{GENERATION_KEY, REQUESTS_LAST_MAX};
use super::in_use::IN_USE_KEY;
use super::listing::Listing;
use super::{BucketStore, RequestLifetimes};
use crate::backend::{BackendError, ObjectBackend, ObjectInfo, ObjectKey};
use crate::digest::Digest;
use crate::dir::{EntryKind, MarkerDir};
use crate::store::StoreError;
use crate::switch::is_off;
use crate::time::StoreTime;

/// Listings under way at once. A page of 1000 keys takes about 0.1 s, so that ten million chunks take half a minute.
const LISTINGS_MAX: usize = 32;

/// Prefixes after which what was listed is made durable.
const PREFIXES_SAVED: usize = 32;

/// The backend's clock is read this often while requests expire.
const POLL: Duration = Duration::from_secs(5);

/// What a rebuild is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RebuildPhase {
    /// Waiting until requests of earlier owners have expired.
    Waiting,
    /// Listing the chunks.
    Listing,
    /// The markers stand; the caller restores what is its own and then calls `finish_rebuild`.
    Metadata,
}

/// How far a rebuild is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RebuildProgress {
    /// What it is doing.
    pub phase: RebuildPhase,
    /// Seconds waited, or prefixes listed.
    pub done: u64,
    /// Of how many.
    pub total: u64,
    /// Chunks found so far.
    pub chunks: u64,
}

/// How far a rebuild is, as it is kept over a crash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RebuildRecord {
    /// Whose requests may still take effect.
    predecessor: Predecessor,
    /// When none of them does any more, in the backend's clock: nanoseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<i64>,
    /// For how many seconds requests of predecessors can take effect, as they said.
    #[serde(default)]
    requests_last: u64,
    step: Step,
    /// The first bytes of the digests that are listed completely and whose markers are durable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    listed: Vec<u8>,
    #[serde(default)]
    chunks: u64,
    /// Bytes of their objects.
    #[serde(default)]
    bytes: u64,
}

/// Who had the bucket before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Predecessor {
    /// Nobody: it is empty.
    Nobody,
    /// A server of ours, or this one.
    Ours,
    /// A server that knows of no generation.
    Foreign,
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    /// Wait and list.
    List,
    /// The fresh markers are complete and durable; put them in place.
    Switch,
    /// The caller restores what is its own.
    Metadata,
}

impl RebuildRecord {
    /// Starts in an empty bucket.
    pub(super) fn of_nothing() -> Self {
        Self::new(Predecessor::Nobody)
    }

    /// Starts in a bucket that a server of ours had.
    pub(super) fn of_ours() -> Self {
        Self::new(Predecessor::Ours)
    }

    /// Starts in a bucket that a server had which knows of no generation.
    pub(super) fn of_foreign() -> Self {
        Self::new(Predecessor::Foreign)
    }

    fn new(predecessor: Predecessor) -> Self {
        Self {
            predecessor,
            expires_at: None,
            requests_last: 0,
            step: Step::List,
            listed: Vec::new(),
            chunks: 0,
            bytes: 0,
        }
    }

    /// Has it wait for requests that can take effect for so long, at least.
    #[must_use]
    pub(super) fn waiting_for(mut self, requests_last: Duration) -> Self {
        self.requests_last = self.requests_last.max(requests_last.as_secs());
        self
    }

    /// Returns for how long requests of predecessors can take effect, as they said; no longer than any can.
    pub(super) fn requests_last(&self) -> Duration {
        Duration::from_secs(self.requests_last).min(REQUESTS_LAST_MAX)
    }

    /// Returns whether the bucket comes from a server that knows of no generation.
    pub(super) fn is_adopting(&self) -> bool {
        self.predecessor == Predecessor::Foreign
    }

    /// Returns for how long after the advance earlier requests may take effect; `None` if there are none.
    pub(super) fn wait(&self, lifetimes: &RequestLifetimes) -> Option<Duration> {
        let lasts = match self.predecessor {
            Predecessor::Nobody => return None,
            Predecessor::Ours => lifetimes.longest(),
            Predecessor::Foreign => lifetimes.longest().max(lifetimes.foreign),
        };
        Some(lasts.max(self.requests_last()).saturating_add(lifetimes.margin))
    }
}

/// Whether a rebuild is under way.
#[derive(Debug, Default)]
pub(super) struct RebuildState {
    is_unfinished: AtomicBool,
    progress: Mutex<Option<RebuildProgress>>,
}

impl RebuildState {
    /// Returns how far it is.
    pub(super) fn progress(&self) -> Option<RebuildProgress> {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_progress(&self, progress: Option<RebuildProgress>) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = progress;
    }
}

impl<D: MarkerDir, B: ObjectBackend> BucketStore<D, B> {
    /// Returns whether the store waits for [`Self::finish_rebuild`].
    pub fn is_rebuilding(&self) -> bool {
        self.rebuild.is_unfinished.load(Ordering::Acquire)
    }

    /// Ends a rebuild: what the caller keeps beside the chunks is restored, durably. Returns the bytes of the chunks' objects,
    /// 0 if there was no rebuild.
    ///
    /// # Errors
    /// [`StoreError::Closed`] after another server took the bucket over; [`StoreError::Dir`] if the state file could not
    /// be written: the rebuild is not over.
    ///
    /// # Cancel safety
    /// The rebuild may be over if the future is dropped; calling again is harmless.
    pub async fn finish_rebuild(&self) -> Result<u64, StoreError> {
        self.check_owned()?;
        let bytes = self.generation.file().rebuild.map_or(0, |record| record.bytes);
        self.record_rebuild(None).await?;
        self.rebuild.set_progress(None);
        self.rebuild.is_unfinished.store(false, Ordering::Release);
        Ok(bytes)
    }

    /// Makes the markers anew, from where `record` says; what is left is the caller's part.
    pub(super) async fn rebuild(&self, mut record: RebuildRecord) -> Result<(), StoreError> {
        self.rebuild.is_unfinished.store(true, Ordering::Release);
        if record.step == Step::List {
            self.wait_for_expiry(&mut record).await?;
            self.list_chunks(&mut record).await?;
            // Durable before the switch: from there on the fresh set may be in place, and must not be begun again.
            record.step = Step::Switch;
            self.record_rebuild(Some(record.clone())).await?;
        }
        if record.step == Step::Switch {
            self.check_token().await?;
            self.dir.switch_to_fresh().await?;
            // Its deletes have expired, and its markers are gone with all the others.
            self.journal.discard();
            self.save_journal().await?;
            self.cache.clear();
            // Else the order of the old markers would be read next.
            self.end_recency().await?;
            record.step = Step::Metadata;
            self.record_rebuild(Some(record.clone())).await?;
        }
        self.report(RebuildPhase::Metadata, 0, 0, record.chunks);
        Ok(())
    }

    /// Waits until nothing that was signed before the advance takes effect any more (hazard H24).
    async fn wait_for_expiry(&self, record: &mut RebuildRecord) -> Result<(), StoreError> {
        let Some(wait) = record.wait(&self.options.lifetimes).filter(|_| !is_off("r10")) else {
            return Ok(());
        };
        let until = if let Some(nanos) = record.expires_at {
            StoreTime::from_unix_nanos(nanos)
        } else {
            let until = self.backend_clock.estimate(&self.clock).plus(wait);
            record.expires_at = Some(until.unix_nanos());
            self.record_rebuild(Some(record.clone())).await?;
            until
        };
        loop {
            // Tells the backend's time, and whether somebody else has taken the bucket over meanwhile.
            self.check_token().await?;
            let date = self.backend_clock.latest().unwrap_or(StoreTime::EPOCH);
            if date > until {
                return Ok(());
            }
            let left = until.since(date);
            self.report(RebuildPhase::Waiting, wait.saturating_sub(left).as_secs(), wait.as_secs(), 0);
            // Dates are whole seconds: the one that is later may come a second after.
            self.clock.sleep(POLL.min(left + Duration::from_secs(1))).await;
        }
    }

    /// Lists all chunks and makes their markers, durably. Any listing that fails ends it (I6).
    async fn list_chunks(&self, record: &mut RebuildRecord) -> Result<(), StoreError> {
        self.dir.begin_fresh(!record.listed.is_empty()).await?;
        let total = u64::from(u8::MAX) + 1;
        if record.predecessor != Predecessor::Nobody {
            let mut left = (0..=u8::MAX).filter(|first| !record.listed.contains(first)).collect::<Vec<_>>();
            let mut listings = FuturesUnordered::new();
            loop {
                while listings.len() < LISTINGS_MAX
                    && let Some(first) = left.pop()
                {
                    listings.push(self.list_chunks_of(first));
                }
                let Some(listed) = listings.next().await else { break };
                let (first, chunks, bytes) = listed?;
                record.listed.push(first);
                record.chunks = record.chunks.saturating_add(chunks);
                record.bytes = record.bytes.saturating_add(bytes);
                let done = record.listed.len();
                self.report(RebuildPhase::Listing, done as u64, total, record.chunks);
                if done.is_multiple_of(PREFIXES_SAVED) {
                    self.dir.sync_fresh().await?;
                    // The markers bear its times; nobody else saves it while the store is being opened (R12).
                    self.save_clock().await?;
                    self.record_rebuild(Some(record.clone())).await?;
                }
            }
        }
        self.dir.sync_fresh().await?;
        self.save_clock().await
    }

    /// Lists the chunks whose digests begin with a byte, and adds their markers.
    async fn list_chunks_of(&self, first: u8) -> Result<(u8, u64, u64), StoreError> {
        let prefix = format!(".chunks/{first:02x}");
        let (mut listing, mut chunks, mut bytes) = (Listing::of(prefix), 0, 0);
        while let Some(page) = self.next_page(&mut listing).await? {
            bytes = page.iter().fold(bytes, |sum: u64, object| sum.saturating_add(object.len));
            let digests: Vec<Digest> = page.iter().filter_map(|object| chunk_of(&object.key)).collect();
            chunks += digests.len() as u64;
            if !digests.is_empty() {
                // Used now, as far as anybody knows: the old local state, which might tell better, is not to be trusted.
                // The clock is saved by whoever drives this, before what was listed counts.
                self.dir.add_fresh(digests, self.clock.now()).await?;
            }
        }
        Ok((first, chunks, bytes))
    }

    /// Returns whether nothing but what an open itself writes is in the bucket.
    pub(super) async fn is_bucket_empty(&self) -> Result<bool, BackendError> {
        let mut listing = Listing::of("");
        while let Some(page) = self.next_page(&mut listing).await? {
            let own = |object: &ObjectInfo| matches!(object.key.as_str(), GENERATION_KEY | IN_USE_KEY);
            if !page.iter().all(own) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn report(&self, phase: RebuildPhase, done: u64, total: u64, chunks: u64) {
        let progress = RebuildProgress { phase, done, total, chunks };
        self.rebuild.set_progress(Some(progress));
        if let Some(tell) = &self.options.progress {
            tell(progress);
        }
    }
}

/// Returns the chunk that an object is, unless it is a copy that was set aside or not ours at all.
fn chunk_of(key: &ObjectKey) -> Option<Digest> {
    key.entry().filter(|name| name.kind == EntryKind::Chunk).map(|name| name.digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_asks_for_an_endless_wait_gets_a_bounded_one() {
        let lifetimes = RequestLifetimes::default();
        for seconds in [u64::MAX, u64::MAX / 2] {
            let record = RebuildRecord { requests_last: seconds, ..RebuildRecord::of_ours() };
            assert_eq!(record.wait(&lifetimes), Some(REQUESTS_LAST_MAX + lifetimes.margin));
        }
    }

    #[test]
    fn only_keys_of_chunks_name_chunks() {
        let digest = Digest::of(b"abc");
        let key = |text: String| ObjectKey::new(text).unwrap();
        assert_eq!(chunk_of(&key(format!(".chunks/ba78/{digest}"))), Some(digest));
        for other in [
            format!(".chunks/ba78/{digest}.0.bad"),
            format!(".chunks/ba79/{digest}"),
            format!("chunks/ba78/{digest}"),
            format!(".chunks/ba78/{digest}/{digest}"),
            digest.to_string(),
            ".chunks/ba78/x".to_owned(),
        ] {
            assert_eq!(chunk_of(&key(other.clone())), None, "{other}");
        }
    }
}
